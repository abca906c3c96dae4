// FetchSessions: the incremental fetch sessions (KIP-227) of one loop.
//
// A session remembers the partitions of a client's full fetch, so that later requests and answers
// name only what changed. The client proves that it is in step by the session's epoch. The cache is
// bounded (max.incremental.fetch.session.cache.slots, divided among the loops); a session may be
// evicted when it was silent for long, or by one with more partitions. Sessions belong to a loop: a
// client that comes back on a connection of another loop gets FETCH_SESSION_ID_NOT_FOUND and starts
// a new one, as after an eviction.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>

#include "base/ids.h"
#include "base/uuid.h"
#include "io/io.h"
#include "wire/errors.h"
#include "wire/gen/fetch.h"

namespace odradek::server {

inline constexpr int32_t kNoSession = 0;
inline constexpr int32_t kInitialEpoch = 0;  // a full fetch that may make a session
inline constexpr int32_t kFinalEpoch = -1;   // a full fetch without one; ends the one it names

/// After `epoch`; wraps to 1.
inline int32_t next_session_epoch(int32_t epoch) {
  if (epoch < 0) return kFinalEpoch;
  return epoch == INT32_MAX ? 1 : epoch + 1;
}

/// What a fetch asks of one partition.
struct FetchParams {
  int64_t from = 0;
  int32_t bytes_max = 0;
  int32_t leader_epoch = -1;
  int32_t last_fetched_epoch = -1;
};

/// A partition of a session.
struct SessionPartition {
  Uuid topic_id;      // zero in sessions that use names
  std::string topic;  // empty while the id is not known to the image
  int32_t index = 0;
  FetchParams params;
  // As last told to the client.
  int64_t high_watermark = -1;
  int64_t log_start = -1;

  /// Whether the answer must name this partition; notes what it says.
  bool must_respond(const wire::FetchResponse::PartitionData& data);
};

class FetchSession {
 public:
  /// In the order in which they are served: one that gave records goes to the end.
  using Partitions = std::list<SessionPartition>;

  int32_t id() const { return id_; }
  int32_t epoch() const { return epoch_; }
  void set_epoch(int32_t epoch) { epoch_ = epoch; }
  bool uses_topic_ids() const { return uses_topic_ids_; }
  Partitions& partitions() { return partitions_; }
  size_t size() const { return partitions_.size(); }

  /// Adds or changes.
  void set(const Uuid& topic_id, std::string_view topic, int32_t index, const FetchParams& params);
  void forget(const Uuid& topic_id, std::string_view topic, int32_t index);
  /// Null when it was forgotten.
  SessionPartition* find(const Uuid& topic_id, std::string_view topic, int32_t index);
  void move_to_end(SessionPartition& partition);

 private:
  friend class FetchSessions;
  /// The id, or the name where the id is zero. The name is a view into the partition.
  struct Key {
    Uuid topic_id;
    std::string_view topic;
    int32_t index;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& k) const;
  };
  static Key key(const Uuid& topic_id, std::string_view topic, int32_t index) {
    return {topic_id, topic_id.is_zero() ? topic : std::string_view(), index};
  }

  int32_t id_ = kNoSession;
  int32_t epoch_ = 1;
  bool uses_topic_ids_ = false;
  bool privileged_ = false;
  MonoNs created_{0};
  MonoNs last_used_{0};
  size_t counted_size_ = 0;  // as the cache's order knows it
  Partitions partitions_;
  std::unordered_map<Key, Partitions::iterator, KeyHash> by_key_;
};

class FetchSessions {
 public:
  /// `slots`: sessions of this loop at most; 0: none.
  FetchSessions(io::Loop& loop, size_t slots) : loop_(loop), slots_(slots) {}

  /// A session for an incremental request in `epoch`; or FETCH_SESSION_ID_NOT_FOUND,
  /// INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR.
  struct Found {
    std::shared_ptr<FetchSession> session;
    wire::ErrorCode error{};
  };
  Found find(int32_t id, int32_t epoch, bool topic_ids);
  /// Room for a session with `size` partitions: a new one, filled by the caller before `touch`;
  /// null when there is none. `privileged`: a follower's.
  std::shared_ptr<FetchSession> create(bool privileged, size_t size, bool topic_ids);
  /// Notes use and size.
  void touch(FetchSession& session);
  void remove(int32_t id);
  size_t size() const { return sessions_.size(); }

 private:
  /// Smallest first: the one to evict.
  using Rank = std::tuple<bool, size_t, int32_t>;  // privileged, partitions, id
  static Rank rank(const FetchSession& s) { return {s.privileged_, s.counted_size_, s.id_}; }
  bool evict_for(bool privileged, size_t size);
  void unrank(const FetchSession& session);

  io::Loop& loop_;
  size_t slots_;
  std::unordered_map<int32_t, std::shared_ptr<FetchSession>> sessions_;
  std::map<std::pair<MonoNs, int32_t>, FetchSession*> by_use_;
  std::map<Rank, FetchSession*> evictable_by_all_;
  std::map<Rank, FetchSession*> evictable_by_privileged_;
};

}  // namespace odradek::server
