#include "server/fetch_sessions.h"

#include <functional>

namespace odradek::server {
namespace {

using wire::ErrorCode;

constexpr Millis kEvictionMs{120'000};  // min.incremental.fetch.session.eviction.ms of Apache

}  // namespace

bool SessionPartition::must_respond(const wire::FetchResponse::PartitionData& data) {
  bool must = data.records && !data.records->empty();
  if (high_watermark != data.high_watermark) {
    high_watermark = data.high_watermark;
    must = true;
  }
  if (log_start != data.log_start_offset) {
    log_start = data.log_start_offset;
    must = true;
  }
  if (data.preferred_read_replica != -1 || data.diverging_epoch.epoch != -1) must = true;
  if (data.error_code != wire::wire_value(ErrorCode::kNone)) {
    high_watermark = -1;  // it is told again when the error goes away
    must = true;
  }
  return must;
}

// ---- FetchSession

size_t FetchSession::KeyHash::operator()(const Key& k) const {
  const size_t topic =
      k.topic_id.is_zero() ? std::hash<std::string_view>{}(k.topic) : std::hash<Uuid>{}(k.topic_id);
  return topic * 31 + static_cast<size_t>(k.index);
}

void FetchSession::set(const Uuid& topic_id, std::string_view topic, int32_t index,
                       const FetchParams& params) {
  if (SessionPartition* known = find(topic_id, topic, index)) {
    known->params = params;
    return;
  }
  partitions_.push_back({topic_id, std::string(topic), index, params});
  auto at = std::prev(partitions_.end());
  by_key_.emplace(key(topic_id, at->topic, index), at);
}

void FetchSession::forget(const Uuid& topic_id, std::string_view topic, int32_t index) {
  const auto at = by_key_.find(key(topic_id, topic, index));
  if (at == by_key_.end()) return;
  const auto partition = at->second;
  by_key_.erase(at);  // its key is a view into the partition
  partitions_.erase(partition);
}

SessionPartition* FetchSession::find(const Uuid& topic_id, std::string_view topic, int32_t index) {
  const auto at = by_key_.find(key(topic_id, topic, index));
  return at == by_key_.end() ? nullptr : &*at->second;
}

void FetchSession::move_to_end(SessionPartition& partition) {
  const auto at = by_key_.find(key(partition.topic_id, partition.topic, partition.index));
  if (at != by_key_.end()) partitions_.splice(partitions_.end(), partitions_, at->second);
}

// ---- FetchSessions

FetchSessions::Found FetchSessions::find(int32_t id, int32_t epoch, bool topic_ids) {
  const auto at = sessions_.find(id);
  if (at == sessions_.end()) return {nullptr, ErrorCode::kFetchSessionIdNotFound};
  FetchSession& session = *at->second;
  if (session.uses_topic_ids() != topic_ids) {
    return {nullptr, ErrorCode::kFetchSessionTopicIdError};
  }
  if (session.epoch() != epoch) return {nullptr, ErrorCode::kInvalidFetchSessionEpoch};
  return {at->second, ErrorCode::kNone};
}

std::shared_ptr<FetchSession> FetchSessions::create(bool privileged, size_t size, bool topic_ids) {
  if (sessions_.size() >= slots_ && !evict_for(privileged, size)) return nullptr;
  auto session = std::make_shared<FetchSession>();
  do {
    session->id_ = static_cast<int32_t>(loop_.random().next() & INT32_MAX);
  } while (session->id_ == kNoSession || sessions_.contains(session->id_));
  session->uses_topic_ids_ = topic_ids;
  session->privileged_ = privileged;
  session->created_ = session->last_used_ = loop_.clock().now();
  session->counted_size_ = size;
  sessions_.emplace(session->id_, session);
  by_use_.emplace(std::pair(session->last_used_, session->id_), session.get());
  return session;
}

void FetchSessions::touch(FetchSession& session) {
  if (!sessions_.contains(session.id_)) return;
  unrank(session);
  session.last_used_ = loop_.clock().now();
  session.counted_size_ = session.size();
  by_use_.emplace(std::pair(session.last_used_, session.id_), &session);
  const bool old = session.last_used_ > session.created_ + kEvictionMs;
  if (!session.privileged_ || old) evictable_by_privileged_.emplace(rank(session), &session);
  if (old) evictable_by_all_.emplace(rank(session), &session);
}

void FetchSessions::remove(int32_t id) {
  const auto at = sessions_.find(id);
  if (at == sessions_.end()) return;
  unrank(*at->second);
  sessions_.erase(at);
}

void FetchSessions::unrank(const FetchSession& session) {
  by_use_.erase({session.last_used_, session.id_});
  evictable_by_all_.erase(rank(session));
  evictable_by_privileged_.erase(rank(session));
}

bool FetchSessions::evict_for(bool privileged, size_t size) {
  if (slots_ == 0 || by_use_.empty()) return false;
  FetchSession* oldest = by_use_.begin()->second;
  if (loop_.clock().now() > oldest->last_used_ + kEvictionMs) {
    remove(oldest->id_);
    return true;
  }
  const auto& candidates = privileged ? evictable_by_privileged_ : evictable_by_all_;
  if (candidates.empty()) return false;
  const auto& [smallest, session] = *candidates.begin();
  if (Rank{privileged, size, 0} < smallest) return false;
  remove(session->id_);
  return true;
}

}  // namespace odradek::server
