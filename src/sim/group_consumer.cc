#include "sim/group_consumer.h"

#include <fmt/format.h>

#include <algorithm>

#include "wire/gen/offset_commit.h"
#include "wire/gen/offset_fetch.h"

namespace odradek::sim {

using wire::ErrorCode;

namespace {

/// Calls `topic(name)` for each topic, which answers where its partitions go.
template <class AddTopic>
void add_partitions(Arena& arena, const std::set<History::Partition>& partitions,
                    AddTopic add_topic) {
  Array<int32_t>* indexes = nullptr;
  const std::string* topic = nullptr;
  for (const auto& p : partitions) {
    if (topic == nullptr || *topic != p.topic) indexes = &add_topic(p.topic);
    topic = &p.topic;
    indexes->add(arena) = p.index;
  }
}

wire::OffsetFetchRequest offset_fetch_request(const ClientWorld& world, Arena& arena,
                                              const OffsetsAsked& asked, int16_t version) {
  wire::OffsetFetchRequest request;
  request.require_stable = version >= 7;
  const bool all = asked.partitions.empty();
  if (version < 8) {
    request.group_id = asked.group;
    if (all) request.topics = std::nullopt;
    add_partitions(arena, asked.partitions, [&](const std::string& name) -> Array<int32_t>& {
      auto& topic = request.topics->add(arena);
      topic.name = name;
      return topic.partition_indexes;
    });
    return request;
  }
  auto& group = request.groups.add(arena);
  group.group_id = asked.group;
  if (asked.member) {
    group.member_id = *asked.member;
    group.member_epoch = asked.epoch;
  }
  if (all) group.topics = std::nullopt;
  add_partitions(arena, asked.partitions, [&](const std::string& name) -> Array<int32_t>& {
    auto& topic = group.topics->add(arena);
    topic.name = name;
    topic.topic_id = world.topic_id(name);
    return topic.partition_indexes;
  });
  return request;
}

/// The offsets of one topic; the first error that one of them has.
template <class Topic>
ErrorCode take_offsets(const std::string& name, const Topic& topic,
                       std::vector<CommittedOffset>& into) {
  for (const auto& p : topic.partitions) {
    if (p.error_code != 0) return static_cast<ErrorCode>(p.error_code);
    into.push_back(
        {{name, p.partition_index}, p.committed_offset, std::string(p.metadata.value_or(""))});
  }
  return ErrorCode::kNone;
}

/// The first error that the answer has; its offsets.
ErrorCode take_answer(const ClientWorld& world, const wire::OffsetFetchResponse& body,
                      int16_t version, std::vector<CommittedOffset>& into) {
  const bool many = version >= 8;
  if (many && body.groups.size() != 1) return ErrorCode::kUnknownServerError;
  auto error = static_cast<ErrorCode>(many ? body.groups[0].error_code : body.error_code);
  if (!many) {
    for (const auto& topic : body.topics) {
      if (error == ErrorCode::kNone) error = take_offsets(std::string(topic.name), topic, into);
    }
    return error;
  }
  for (const auto& topic : body.groups[0].topics) {
    const KnownTopic* known = version >= 10 ? world.topic(topic.topic_id) : nullptr;
    const std::string name = known != nullptr ? known->name : std::string(topic.name);
    if (error == ErrorCode::kNone) error = take_offsets(name, topic, into);
  }
  return error;
}

/// What says for certain that a commit was not done.
bool refusal(ErrorCode error) {
  switch (error) {
    case ErrorCode::kIllegalGeneration:
    case ErrorCode::kUnknownMemberId:
    case ErrorCode::kFencedInstanceId:
    case ErrorCode::kRebalanceInProgress:
    case ErrorCode::kStaleMemberEpoch:
    case ErrorCode::kFencedMemberEpoch:
    case ErrorCode::kGroupIdNotFound:
      return true;
    default:
      return false;
  }
}

}  // namespace

io::Task<std::expected<std::vector<CommittedOffset>, ErrorCode>> ask_offsets(ClientWorld& world,
                                                                             WireClient& client,
                                                                             OffsetsAsked asked,
                                                                             int16_t version) {
  Arena arena;
  const wire::OffsetFetchRequest request = offset_fetch_request(world, arena, asked, version);
  auto reply =
      co_await client.call<wire::OffsetFetchRequest, wire::OffsetFetchResponse>(request, version);
  if (!reply) co_return std::unexpected(ErrorCode::kNetworkException);
  std::vector<CommittedOffset> offsets;
  const ErrorCode error = take_answer(world, reply->body, version, offsets);
  if (error != ErrorCode::kNone) co_return std::unexpected(error);
  co_return offsets;
}

io::Task<std::optional<std::vector<CommittedOffset>>> read_offsets(GroupWorld& world,
                                                                   WireClient& client,
                                                                   OffsetsAsked asked) {
  const int16_t least = asked.member ? 9 : asked.partitions.empty() ? 2 : 1;
  const auto version = static_cast<int16_t>(world.clients.sim.rng().between(least, 10));
  const GroupHistory::Moment sent = world.history.moment();
  auto answer = co_await ask_offsets(world.clients, client, asked, version);
  if (!answer) {
    if (!refusal(answer.error()))
      (void)may_retry(world.clients, "OffsetFetch", wire::wire_value(answer.error()));
    co_return std::nullopt;
  }
  std::vector<CommittedOffset>& offsets = *answer;
  for (const CommittedOffset& o : offsets)
    world.history.read(asked.group, o.at, o.offset, o.metadata, sent);
  // What was asked for and not answered is a loss, too.
  for (const auto& p : asked.partitions) {
    if (std::ranges::find(offsets, p, &CommittedOffset::at) == offsets.end())
      world.history.fail(fmt::format("OffsetFetch is answered without {}", p.text()));
  }
  co_return offsets;
}

std::set<History::Partition> GroupConsumer::owned() const {
  std::set<History::Partition> all = unread;
  for (const auto& [p, offset] : positions) all.insert(p);
  return all;
}

io::Task<void> GroupConsumer::read_positions() {
  if (unread.empty()) co_return;
  OffsetsAsked asked{.group = plan.group, .partitions = unread};
  if (plan.consumer_protocol) {
    asked.member = id;
    asked.epoch = epoch;
  }
  const auto offsets = co_await read_offsets(world, coordinator, std::move(asked));
  if (!offsets) co_return;
  for (const CommittedOffset& o : *offsets) {
    if (unread.erase(o.at) != 0) positions[o.at] = std::max<int64_t>(o.offset, 0);
  }
}

io::Task<void> GroupConsumer::poll() {
  if (positions.empty()) {
    co_await loop.sleep(Millis(rng().between(1, 50)));
    co_return;
  }
  const Positions before = positions;
  const std::function<void(const History::Partition&, int64_t, std::string)> each =
      [this](const History::Partition& p, int64_t offset, std::string value) {
        world.clients.history.observed(p, offset, value);
      };
  const Fetched fetched = co_await fetch(world.clients, data, positions, each);
  for (const auto& [p, to] : positions) {
    const int64_t from = before.at(p);
    if (to != from) world.history.consumed(plan.group, p, from, to);
  }
  if (!fetched.ok) co_await loop.sleep(kRetryPause);
}

io::Task<bool> GroupConsumer::commit(Positions these, int32_t as_epoch) {
  if (these.empty()) co_return true;
  Arena arena;
  wire::OffsetCommitRequest request;
  const int64_t least = plan.consumer_protocol ? 9 : plan.instance ? 7 : 2;
  const auto version = static_cast<int16_t>(rng().between(least, 10));
  request.group_id = plan.group;
  request.member_id = id;
  request.generation_id_or_member_epoch = as_epoch;
  if (plan.instance) request.group_instance_id = *plan.instance;
  std::map<History::Partition, GroupHistory::CommitId> ids;
  wire::OffsetCommitRequest::OffsetCommitRequestTopic* topic = nullptr;
  for (const auto& [p, offset] : these) {
    const auto commit = world.history.commit(
        {plan.group, id, as_epoch, p, offset, plan.consumer_protocol || plan.mixed});
    ids[p] = commit;
    if (topic == nullptr || topic->name != p.topic) topic = &request.topics.add(arena);
    topic->name = p.topic;
    topic->topic_id = world.clients.topic_id(p.topic);
    auto& partition = topic->partitions.add(arena);
    partition.partition_index = p.index;
    partition.committed_offset = offset;
    partition.committed_metadata = arena.copy(GroupHistory::metadata(commit));
  }
  auto reply = co_await coordinator.call<wire::OffsetCommitRequest, wire::OffsetCommitResponse>(
      request, version);
  if (!reply) {
    for (const auto& [p, commit] : ids) world.history.unknown(commit);
    co_return false;
  }
  bool ok = true;
  for (const auto& t : reply->body.topics) {
    const KnownTopic* known = version >= 10 ? world.clients.topic(t.topic_id) : nullptr;
    for (const auto& p : t.partitions) {
      const History::Partition at{known != nullptr ? known->name : std::string(t.name),
                                  p.partition_index};
      const auto commit = ids.find(at);
      if (commit == ids.end()) {
        world.history.fail(fmt::format("OffsetCommit is answered with {}", at.text()));
        co_return false;
      }
      const auto error = static_cast<ErrorCode>(p.error_code);
      ok = ok && error == ErrorCode::kNone;
      if (error == ErrorCode::kNone) {
        world.history.accepted(commit->second);
      } else if (refusal(error)) {
        world.history.refused(commit->second);
      } else {
        world.history.unknown(commit->second);
        (void)may_retry(world.clients, "OffsetCommit", p.error_code);
      }
    }
  }
  co_return ok;
}

}  // namespace odradek::sim
