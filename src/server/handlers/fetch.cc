// Fetch (key 1), versions 4 to 18.
//
// 4 isolation level; 5 log start offset; 7 sessions; 9 leader epoch; 10 zstd; 11 rack; 12 flexible,
// last fetched epoch and diverging epoch; 13 topic ids; 15 replica state; 16 node endpoints on
// NOT_LEADER_OR_FOLLOWER; 17 and 18 for followers.
//
// A fetch reads its partitions in order until its byte limits are reached; the first batch found is
// returned whole however large it is. If that is less than min bytes it waits on every loop that
// owns one of its partitions, and reads once more when enough is there, a partition has changed, or
// max wait is over. Topics that are not known do not end the wait, errors of known ones do
// (Apache). Records leave as (file, position, length); nothing of them passes through here.
// Followers and preferred replicas come with replication: a fetch of a broker is refused.
#include <algorithm>
#include <atomic>
#include <memory>

#include "metadata/broker_config.h"
#include "server/fetch_sessions.h"
#include "server/partition_access.h"
#include "wire/gen/fetch.h"

namespace odradek::server {
namespace {

using replica::Visibility;
using wire::ErrorCode;
using PartitionData = wire::FetchResponse::PartitionData;

/// One partition of the request or the session.
struct Item {
  Uuid topic_id;          // zero below version 13
  std::string_view name;  // empty if only the id is known
  const metadata::Topic* topic = nullptr;
  int32_t index = 0;
  int loop = -1;  // owner; −1: not readable, the outcome says why
  bool visited = false;
  FetchParams params;
  replica::FetchOutcome outcome;
  replica::FetchWatch watch;
};
using Items = Scoped<Item>;

struct Budget {
  int64_t left;
  int64_t bytes = 0;  // read so far
};

struct Call {
  Request& request;
  Items& items;
  Visibility visibility;
  int64_t bytes_min;
  int64_t bytes_max;
  Millis wait_max;
};

// ---- which partitions

FetchParams params_of(const wire::FetchRequest::FetchPartition& p) {
  // Every negative epoch means none, as at Apache.
  return {p.fetch_offset, p.partition_max_bytes, std::max(p.current_leader_epoch, -1),
          std::max(p.last_fetched_epoch, -1)};
}

/// Finds the topic and owner; the error if there is none.
void resolve(Request& request, const metadata::Image& image, Item& item) {
  const bool by_id = request.version() >= 13;
  item.topic = by_id ? image.topic(item.topic_id) : image.topic(item.name);
  if (item.topic == nullptr && by_id) {
    // A session knows the name of a topic that was there once: has it come back as another one?
    item.outcome.error = item.name.empty()                   ? ErrorCode::kUnknownTopicId
                         : image.topic(item.name) != nullptr ? ErrorCode::kInconsistentTopicId
                                                             : ErrorCode::kUnknownTopicOrPartition;
  } else if (item.topic == nullptr || item.topic->partition(item.index) == nullptr) {
    item.outcome.error = ErrorCode::kUnknownTopicOrPartition;
  } else {
    item.loop = owner_of(request.services(), item.topic->id, item.index);
  }
  // The name must outlive the frame and the session's entry.
  item.name =
      item.topic != nullptr ? std::string_view(item.topic->name) : request.arena().copy(item.name);
}

size_t count_partitions(const wire::FetchRequest& message) {
  size_t n = 0;
  for (const auto& topic : message.topics) n += topic.partitions.size();
  return n;
}

void items_of_request(Request& request, const metadata::Image& image,
                      const wire::FetchRequest& message, Items& items) {
  size_t next = 0;
  for (const auto& topic : message.topics) {
    for (const auto& partition : topic.partitions) {
      Item& item = items[next++];
      item.topic_id = topic.topic_id;
      item.name = topic.topic;
      item.index = partition.partition;
      item.params = params_of(partition);
      resolve(request, image, item);
    }
  }
}

void items_of_session(Request& request, const metadata::Image& image, FetchSession& session,
                      Items& items) {
  size_t next = 0;
  for (SessionPartition& partition : session.partitions()) {
    Item& item = items[next++];
    item.topic_id = partition.topic_id;
    item.name = partition.topic;
    item.index = partition.index;
    item.params = partition.params;
    resolve(request, image, item);
    if (partition.topic.empty() && item.topic != nullptr) partition.topic = item.topic->name;
  }
}

void update_session(const wire::FetchRequest& message, FetchSession& session) {
  for (const auto& topic : message.topics) {
    for (const auto& partition : topic.partitions) {
      session.set(topic.topic_id, topic.topic, partition.partition, params_of(partition));
    }
  }
  for (const auto& topic : message.forgotten_topics_data) {
    for (const int32_t index : topic.partitions) session.forget(topic.topic_id, topic.topic, index);
  }
}

// ---- reading

void read_one(const Call& call, replica::Shard& shard, Item& item, Budget& budget) {
  replica::Partition* partition = shard.find(item.topic->id, PartitionIndex(item.index));
  if (partition == nullptr) {
    item.outcome = {.error = ErrorCode::kNotLeaderOrFollower};
    return;
  }
  if (call.request.version() < 10 &&
      partition->settings().config.compression == metadata::CompressionType::kZstd) {
    item.outcome = {.error = ErrorCode::kUnsupportedCompressionType};
    return;
  }
  const int64_t limit = std::clamp<int64_t>(item.params.bytes_max, 0, budget.left);
  item.outcome =
      partition->fetch({.from = Offset(item.params.from),
                        .current_epoch = LeaderEpoch(item.params.leader_epoch),
                        .last_fetched_epoch = LeaderEpoch(item.params.last_fetched_epoch),
                        .visibility = call.visibility,
                        .bytes_max = static_cast<uint32_t>(limit),
                        .at_least_one = budget.bytes == 0});
  const auto size = static_cast<int64_t>(item.outcome.piece.size());
  budget.bytes += size;
  budget.left = std::max<int64_t>(budget.left - size, 0);
}

bool all_here(const Call& call) {
  const int home = call.request.services().loop.index();
  return std::all_of(call.items.begin(), call.items.end(),
                     [home](const Item& i) { return i.loop < 0 || i.loop == home; });
}

/// Reads everything once.
io::Task<int64_t> read_all(const Call& call) {
  Services& services = call.request.services();
  Budget budget{call.bytes_max};
  const auto read = [&call, &budget](replica::Shard& shard, Item& item) {
    read_one(call, shard, item, budget);
  };
  if (all_here(call)) {
    replica::Shard& shard = *services.shards[static_cast<size_t>(services.loop.index())];
    for (Item& item : call.items) {
      if (item.loop >= 0) read(shard, item);
    }
  } else {
    co_await visit_owners(services, call.items, read);
  }
  co_return budget.bytes;
}

// ---- waiting

bool answers_now(const Call& call, int64_t bytes) {
  if (call.wait_max.value <= 0 || bytes >= call.bytes_min) return true;
  bool readable = false;
  for (const Item& item : call.items) {
    if (item.loop < 0) continue;
    readable = true;
    if (item.outcome.error != ErrorCode::kNone) return true;
    if (item.outcome.diverging.epoch != kNoEpoch) return true;
  }
  return !readable;
}

/// Hangs the partitions of one loop on a wait; what has gone meanwhile ends it.
void add_watches(const Call& call, replica::Shard& shard, replica::FetchWait& wait, int loop) {
  for (Item& item : call.items) {
    if (item.loop != loop) continue;
    replica::Partition* partition = shard.find(item.topic->id, PartitionIndex(item.index));
    if (partition == nullptr || partition->check_leader() != ErrorCode::kNone) {
      wait.wake();
      continue;
    }
    const int64_t seen = static_cast<int64_t>(item.outcome.piece.size());
    wait.add(*partition, item.watch, Offset(item.params.from), call.visibility,
             static_cast<uint32_t>(std::max(item.params.bytes_max, 0)), seen);
  }
}

/// A wait over several loops: the first of them that is through ends the others.
struct SharedWait {
  explicit SharedWait(size_t loops) : waits(loops) {}
  std::atomic<int64_t> bytes{0};
  std::vector<replica::FetchWait*> waits;  // by loop; each is used on its own loop
  // on the connection's loop
  std::vector<int> loops;
  size_t left = 0;
  bool woken = false;
  io::Completion<bool> done;
};

void wake_all(Services& services, const std::shared_ptr<SharedWait>& shared) {
  if (std::exchange(shared->woken, true)) return;
  for (const int loop : shared->loops) {
    services.shards[static_cast<size_t>(loop)]->loop().post([shared, loop] {
      replica::FetchWait* wait = shared->waits[static_cast<size_t>(loop)];
      if (wait != nullptr) wait->wake();
    });
  }
}

io::Task<void> wait_on(const Call& call, int loop, std::shared_ptr<SharedWait> shared) {
  Services& services = call.request.services();
  replica::Shard& shard = *services.shards[static_cast<size_t>(loop)];
  co_await shard.loop().hop();
  {
    replica::FetchWait wait(shard, call.bytes_min, &shared->bytes);
    shared->waits[static_cast<size_t>(loop)] = &wait;
    add_watches(call, shard, wait, loop);
    co_await wait.until(call.wait_max);
    shared->waits[static_cast<size_t>(loop)] = nullptr;
  }
  co_await services.loop.hop();
  wake_all(services, shared);
  if (--shared->left == 0) shared->done.complete(true);
}

io::Task<void> wait_everywhere(const Call& call, int64_t bytes) {
  Services& services = call.request.services();
  auto shared = std::make_shared<SharedWait>(services.shards.size());
  shared->bytes = bytes;
  for (const Item& item : call.items) {
    if (item.loop < 0 || std::ranges::count(shared->loops, item.loop) != 0) continue;
    shared->loops.push_back(item.loop);
  }
  shared->left = shared->loops.size();
  call.request.on_abandon([&services, shared] { wake_all(services, shared); });
  for (const int loop : shared->loops) io::spawn(wait_on(call, loop, shared));
  co_await shared->done;
  call.request.on_abandon({});
}

io::Task<void> wait_here(const Call& call, int64_t bytes_read) {
  Services& services = call.request.services();
  const int home = services.loop.index();
  replica::Shard& shard = *services.shards[static_cast<size_t>(home)];
  std::atomic<int64_t> bytes{bytes_read};
  replica::FetchWait wait(shard, call.bytes_min, &bytes);
  add_watches(call, shard, wait, home);
  call.request.on_abandon([&wait] { wait.wake(); });
  co_await wait.until(call.wait_max);
  call.request.on_abandon({});
}

/// Reads, waits if it must, and reads again.
io::Task<void> run(const Call& call) {
  const int64_t bytes = co_await read_all(call);
  if (answers_now(call, bytes) || call.request.is_abandoned()) co_return;
  call.request.release_frame();
  if (all_here(call)) {
    co_await wait_here(call, bytes);
  } else {
    co_await wait_everywhere(call, bytes);
  }
  if (!call.request.is_abandoned()) co_await read_all(call);
}

// ---- answering

PartitionData to_data(Request& request, const metadata::Image& image, const Item& item,
                      bool read_committed, wire::FetchResponse& answer) {
  const replica::FetchOutcome& outcome = item.outcome;
  PartitionData data;
  ErrorCode error = outcome.error;
  if (error == ErrorCode::kNotLeaderOrFollower && item.topic != nullptr) {
    // Deleted while it waited? The newest image knows.
    const metadata::Topic* now = image.topic(item.topic->id);
    error = missing_partition(now, item.index);
  }
  const bool leader_hint = request.version() >= 16 && (error == ErrorCode::kNotLeaderOrFollower ||
                                                       error == ErrorCode::kFencedLeaderEpoch);
  if (leader_hint) {
    name_leader(request, image, image.topic(item.topic->id), item.index, data.current_leader,
                answer);
  }
  // Clients of these versions do not know the storage error and would not retry.
  if (error == ErrorCode::kKafkaStorageError && request.version() <= 5) {
    error = ErrorCode::kNotLeaderOrFollower;
  }
  data.partition_index = item.index;
  data.error_code = wire::wire_value(error);
  data.high_watermark = outcome.high_watermark.value;
  data.last_stable_offset = outcome.last_stable.value;
  data.log_start_offset = outcome.log_start.value;
  data.diverging_epoch.epoch = outcome.diverging.epoch.value;
  data.diverging_epoch.end_offset = outcome.diverging.end.value;
  // Null for readers of everything; what was never looked at has the default, an empty list.
  if (item.loop >= 0) data.aborted_transactions = std::nullopt;
  if (read_committed && outcome.error == ErrorCode::kNone) {
    auto& aborted = data.aborted_transactions.emplace();
    for (const log::AbortedTransaction& t : outcome.aborted) {
      auto& a = aborted.add(request.arena());
      a.producer_id = t.id.value;
      a.first_offset = t.first.value;
    }
  }
  data.records = wire::RecordsRef{};
  if (outcome.piece.size() > 0) data.records->pieces = {&outcome.piece, 1};
  return data;
}

/// Adds a partition's data behind those before it of the same topic.
void add_data(Request& request, const Item& item, const PartitionData& data,
              wire::FetchResponse& answer) {
  const bool by_id = request.version() >= 13;
  const bool same =
      !answer.responses.empty() && (by_id ? answer.responses.back().topic_id == item.topic_id
                                          : answer.responses.back().topic == item.name);
  if (!same) {
    auto& topic = answer.responses.add(request.arena());
    topic.topic_id = item.topic_id;
    topic.topic = item.name;
  }
  answer.responses.back().partitions.add(request.arena(), data);
}

/// Calls `f` for what was read, then for what could not be: the order of Apache's answers.
template <class F>
void in_order_of_answer(const Items& items, F f) {
  for (const Item& item : items) {
    if (item.loop >= 0) f(item);
  }
  for (const Item& item : items) {
    if (item.loop < 0) f(item);
  }
}

/// An answer without partitions.
void respond_error(Request& request, ErrorCode error, int32_t session_id) {
  wire::FetchResponse answer;
  answer.error_code = wire::wire_value(error);
  answer.session_id = session_id;
  request.respond(answer);
}

void respond_full(const Call& call, bool make_session) {
  Request& request = call.request;
  FetchSessions* sessions = request.services().fetch_sessions;
  const metadata::ImagePtr image = request.services().image;
  const bool by_id = request.version() >= 13;
  std::shared_ptr<FetchSession> session;
  if (make_session && sessions != nullptr) {
    session = sessions->create(false, call.items.size(), by_id);
  }
  wire::FetchResponse answer;
  in_order_of_answer(call.items, [&](const Item& item) {
    const PartitionData data =
        to_data(request, *image, item, call.visibility == Visibility::kStable, answer);
    add_data(request, item, data, answer);
    if (!session) return;
    session->set(item.topic_id, item.name, item.index, item.params);
    session->find(item.topic_id, item.name, item.index)->must_respond(data);
  });
  if (session) {
    sessions->touch(*session);
    answer.session_id = session->id();
  }
  request.respond(answer);
}

void respond_incremental(const Call& call, FetchSession& session, int32_t epoch) {
  Request& request = call.request;
  if (session.epoch() != epoch) {  // another request of the session was faster
    return respond_error(request, ErrorCode::kInvalidFetchSessionEpoch, session.id());
  }
  const metadata::ImagePtr image = request.services().image;
  wire::FetchResponse answer;
  answer.session_id = session.id();
  in_order_of_answer(call.items, [&](const Item& item) {
    const PartitionData data =
        to_data(request, *image, item, call.visibility == Visibility::kStable, answer);
    SessionPartition* partition = session.find(item.topic_id, item.name, item.index);
    if (partition == nullptr || !partition->must_respond(data)) return;
    add_data(request, item, data, answer);
    if (!data.records->empty()) session.move_to_end(*partition);
  });
  request.respond(answer);
}

Call make_call(Request& request, const wire::FetchRequest& message, Items& items) {
  const int64_t bytes_max = std::min(
      message.max_bytes, request.services().config->int32(metadata::BrokerKey::kFetchMaxBytes));
  return {request,
          items,
          message.isolation_level == 1 ? Visibility::kStable : Visibility::kCommitted,
          std::min<int64_t>(message.min_bytes, bytes_max),
          std::max<int64_t>(bytes_max, 0),
          Millis(message.max_wait_ms)};
}

io::Task<void> fetch_full(Request& request, const wire::FetchRequest& message) {
  if (message.session_id != kNoSession && request.services().fetch_sessions != nullptr) {
    request.services().fetch_sessions->remove(message.session_id);
  }
  const bool make_session = message.session_epoch == kInitialEpoch && request.version() >= 7;
  const metadata::ImagePtr image = request.services().image;
  Items items(request.arena(), count_partitions(message));
  items_of_request(request, *image, message, items);
  const Call call = make_call(request, message, items);
  co_await run(call);
  respond_full(call, make_session);
}

io::Task<void> fetch_incremental(Request& request, const wire::FetchRequest& message) {
  FetchSessions* sessions = request.services().fetch_sessions;
  FetchSessions::Found found{nullptr, ErrorCode::kFetchSessionIdNotFound};
  if (sessions != nullptr) {
    found = sessions->find(message.session_id, message.session_epoch, request.version() >= 13);
  }
  if (found.error != ErrorCode::kNone) {
    respond_error(request, found.error, kNoSession);
    co_return;
  }
  FetchSession& session = *found.session;
  update_session(message, session);
  const metadata::ImagePtr image = request.services().image;
  if (session.size() == 0) {  // the client has forgotten them all
    sessions->remove(session.id());
    respond_error(request, ErrorCode::kNone, kNoSession);
    co_return;
  }
  sessions->touch(session);
  const int32_t epoch = next_session_epoch(message.session_epoch);
  session.set_epoch(epoch);
  Items items(request.arena(), session.size());
  items_of_session(request, *image, session, items);
  const Call call = make_call(request, message, items);
  co_await run(call);
  respond_incremental(call, session, epoch);
}

}  // namespace

io::Task<void> handle_fetch(Request& request) {
  wire::FetchRequest message;
  if (!request.decode(message)) co_return;
  const int32_t replica =
      request.version() >= 15 ? message.replica_state.replica_id : message.replica_id;
  if (replica >= 0) {
    wire::FetchResponse answer;
    for (const auto& topic : message.topics) {
      for (const auto& partition : topic.partitions) {
        Item item{.topic_id = topic.topic_id, .name = topic.topic};
        PartitionData data;
        data.partition_index = partition.partition;
        data.error_code = wire::wire_value(ErrorCode::kNotLeaderOrFollower);
        data.high_watermark = -1;
        data.records = wire::RecordsRef{};
        add_data(request, item, data, answer);
      }
    }
    request.respond(answer);
  } else if (message.session_epoch == kInitialEpoch || message.session_epoch == kFinalEpoch) {
    co_await fetch_full(request, message);
  } else {
    co_await fetch_incremental(request, message);
  }
}

}  // namespace odradek::server
