#include "node/group_host.h"

#include <utility>

namespace odradek::node {

namespace {

using machines::group::CommitOffsets;
using machines::group::EndTransaction;
using machines::group::Join;
using machines::group::NoAnswer;
using machines::group::Response;
using machines::group::Sync;
using machines::group::Token;
using machines::group::TopicsDeleted;

/// The token of a command whose answer may come from another one; null: it cannot.
Token* token_of(machines::group::Command& command) {
  if (auto* join = std::get_if<Join>(&command)) return &join->token;
  if (auto* sync = std::get_if<Sync>(&command)) return &sync->token;
  return nullptr;
}

wire::Codec codec_of(const metadata::BrokerConfig& c) {
  const int32_t codec = c.int32(metadata::BrokerKey::kOffsetsTopicCompressionCodec);
  return codec >= 0 && codec <= static_cast<int32_t>(wire::Codec::kZstd)
             ? static_cast<wire::Codec>(codec)
             : wire::Codec::kNone;
}

}  // namespace

GroupHost::GroupHost(replica::Shard& shard, metadata::BrokerConfigPtr config, Logger logger)
    : shard_(shard), config_(std::move(config)), logger_(logger) {
  shard_.watch(std::string(server::kOffsetsTopic), *this);
}

GroupHost::~GroupHost() {
  for (auto& [index, hosted] : hosted_) hosted->coordinator->close();
}

void GroupHost::changed(replica::Partition& partition) {
  const bool leads = partition.is_leader() && !partition.offline();
  const bool hosts = hosted_.contains(partition.index().value);
  if (leads && !hosts) begin(partition);
  if (!leads && hosts) gone(partition);
}

void GroupHost::committed(replica::Partition& partition) {
  const auto at = hosted_.find(partition.index().value);
  if (at != hosted_.end()) at->second->coordinator->committed();
}

void GroupHost::gone(replica::Partition& partition) {
  auto node = hosted_.extract(partition.index().value);
  if (node.empty()) return;
  node.mapped()->coordinator->close();
  // It may be in the midst of an answer.
  shard_.loop().post([hosted = std::move(node.mapped())] {});
}

void GroupHost::begin(replica::Partition& partition) {
  const int32_t index = partition.index().value;
  auto owned = std::make_unique<Hosted>();
  Hosted* hosted = owned.get();
  hosted->partition = &partition;
  hosted->coordinator = std::make_unique<Coordinator<machines::GroupMachine>>(
      shard_, partition, codec_of(*config_),
      Coordinator<machines::GroupMachine>::Hooks{
          .make =
              [this, hosted, &partition] {
                hosted->changed = {};
                return std::make_unique<machines::GroupMachine>(settings(partition), image_);
              },
          .on_message = [hosted](machines::group::Message m) { answer(*hosted, std::move(m)); },
          .on_loaded =
              [this, index] {
                tell_metadata(index);
                remove_deleted(index);
              },
          .on_lost = [hosted] { fail_waiting(*hosted); }},
      logger_);
  hosted_[index] = std::move(owned);
  hosted->coordinator->start();
}

void GroupHost::answer(Hosted& hosted, machines::group::Message message) {
  auto node = hosted.waiting.extract(message.token);
  if (node.empty()) return;
  node.mapped()(std::visit([](auto& a) { return Response(std::move(a)); }, message.answer));
}

void GroupHost::fail_waiting(Hosted& hosted) {
  auto waiting = std::exchange(hosted.waiting, {});
  for (auto& [token, done] : waiting) done(std::unexpected(wire::ErrorCode::kNotCoordinator));
}

void GroupHost::submit(int32_t partition, machines::group::Command command, Done done) {
  const auto at = hosted_.find(partition);
  if (at == hosted_.end()) return done(std::unexpected(wire::ErrorCode::kNotCoordinator));
  Hosted* hosted = at->second.get();
  if (hosted->changed.image || hosted->changed.settings) tell_metadata(partition);
  if (hosted->coordinator->active()) {
    const wire::ErrorCode error = check(*hosted, command);
    if (error != wire::ErrorCode::kNone) return done(std::unexpected(error));
  }
  Token* token = token_of(command);
  if (token == nullptr) return hosted->coordinator->submit(command, std::move(done));
  const Token mine = *token = ++last_token_;
  hosted->coordinator->submit(
      command, [hosted, mine, done = std::move(done)](server::GroupResult result) mutable {
        if (result && std::holds_alternative<NoAnswer>(*result)) {
          hosted->waiting.emplace(mine, std::move(done));
        } else {
          done(std::move(result));
        }
      });
}

// The log would refuse the append, and with it the machine that has replayed the records would go.
wire::ErrorCode GroupHost::check(const Hosted& hosted, const machines::group::Command& command) {
  const log::Log& log = hosted.partition->log();
  if (const auto* commit = std::get_if<CommitOffsets>(&command); commit && commit->transaction) {
    const auto& t = *commit->transaction;
    return log.check_transactional(t.producer, t.epoch,
                                   {.guard = t.guard, .verified_only = t.verified_only});
  }
  if (const auto* end = std::get_if<EndTransaction>(&command)) {
    return log.check_marker(end->producer, end->epoch, end->coordinator_epoch,
                            {.marker_version = end->version});
  }
  return wire::ErrorCode::kNone;
}

void GroupHost::remove_deleted(const metadata::Delta& delta) {
  TopicsDeleted deleted;
  for (const auto& [id, change] : delta.topics) {
    if (change.before && !change.after) deleted.topics.push_back({change.before->name, id});
  }
  if (deleted.topics.empty()) return;
  std::vector<int32_t> indexes;
  for (auto& [index, hosted] : hosted_) {
    auto& waiting = hosted->deleted.topics;
    waiting.insert(waiting.end(), deleted.topics.begin(), deleted.topics.end());
    indexes.push_back(index);
  }
  for (const int32_t index : indexes) remove_deleted(index);
}

void GroupHost::remove_deleted(int32_t partition) {
  const auto at = hosted_.find(partition);
  if (at == hosted_.end() || at->second->deleted.topics.empty()) return;
  Hosted* hosted = at->second.get();
  if (!hosted->coordinator->active()) return;  // once it is loaded
  TopicsDeleted command = std::exchange(hosted->deleted, {});
  hosted->coordinator->submit(
      machines::group::Command(command), [this, partition, hosted, command](auto result) {
        const bool more = !result || std::get<machines::group::TopicsDeletedAnswer>(*result).more;
        if (!more) return;
        // The rest, or all of it once the coordinator is loaded again.
        auto& waiting = hosted->deleted.topics;
        waiting.insert(waiting.end(), command.topics.begin(), command.topics.end());
        if (result) remove_deleted(partition);
      });
}

}  // namespace odradek::node
