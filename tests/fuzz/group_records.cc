#include <algorithm>
#include <map>

#include "base/check.h"
#include "fuzz/targets.h"
#include "machines/group/group_machine.h"

namespace odradek::fuzz {

namespace {

using machines::GroupMachine;
using namespace machines::group;

/// A coordinator that decides; a second one is fed what it stores.
class Coordinator {
 public:
  void load(const Record& record) {
    live_.replay(next(), record);
    ODRADEK_CHECK(!record.to_line().empty());
  }
  void loaded() { take(live_.loaded(now())); }
  Response send(const Command& command) { return take(live_.decide(command, now())); }
  void fire_all() {
    const auto timers = std::move(timers_);
    timers_.clear();
    for (const auto& [key, after] : timers) {
      clock_ += std::clamp<int64_t>(after, 0, 1'000'000);
      send(machines::TimerFired{key});
    }
  }
  const State& state() const { return live_.state(); }
  uint64_t unreadable() const { return written_.unreadable(); }

 private:
  Offset next() { return Offset(++records_); }
  machines::Now now() { return {WallMs(clock_), ++random_, Offset(records_ + 1)}; }
  Response take(GroupMachine::Decision decision) {
    for (const Record& r : decision.records) {
      if (!r.soft()) written_.replay(Offset(records_), r);
      live_.replay(next(), r);
    }
    for (const auto& t : decision.timers) {
      timers_.erase(t.key);
      if (t.after) timers_[t.key] = t.after->value;
    }
    return std::move(decision.response);
  }

  GroupMachine live_{Settings{.max_size = 5}};
  GroupMachine written_{Settings{}};
  int64_t records_ = 0;
  int64_t clock_ = 1'000'000'000'000;
  uint64_t random_ = 0;
  std::map<std::string, int64_t> timers_;
};

void use(Coordinator& coordinator, const std::string& group) {
  Join join{.token = 1,
            .group = group,
            .client_id = "c",
            .session_timeout_ms = 10,
            .rebalance_timeout_ms = 10,
            .protocol_type = "consumer",
            .protocols = {{"range", "x"}}};
  coordinator.send(join);
  const ClassicGroup& known = *coordinator.state().find(group)->classic;
  if (!known.statics.empty()) {
    join.instance = known.statics.begin()->first;
    join.protocols = known.member(known.statics.begin()->second)->protocols;
    join.protocol_type = known.protocol_type.value_or("");
    coordinator.send(join);
  }
  coordinator.send(CommitOffsets{
      .group = group, .topics = {{.name = "t", .partitions = {{.index = 1, .offset = 2}}}}});
  coordinator.send(FetchOffsets{.group = group});
  coordinator.send(Describe{{group}});
  ConsumerHeartbeat beat{.group = group,
                         .member = "m",
                         .rebalance_timeout_ms = 10,
                         .topics = std::vector<std::string>{"t"},
                         .regex = "t.*",
                         .owned = Partitions()};
  coordinator.send(beat);
  beat.epoch = 1;
  coordinator.send(beat);
  coordinator.send(DescribeConsumers{{group}});
  coordinator.send(Heartbeat{.group = group, .generation = 1, .member = "m"});
  coordinator.send(Sync{.token = 2, .group = group, .generation = 1, .member = "m"});
  coordinator.send(ConsumerHeartbeat{.group = group, .member = "m", .epoch = -1});
  coordinator.send(DeleteOffsets{.group = group, .topics = {{"t", {0, 1}}}});
  coordinator.send(DeleteGroups{{group}});
}

}  // namespace

void group_records(ByteView input) {
  Coordinator coordinator;
  while (input.size() >= 5) {
    const uint8_t flags = input[0];
    const size_t key = std::min<size_t>(load_be<uint16_t>(&input[1]), input.size() - 5);
    const size_t value = std::min<size_t>(load_be<uint16_t>(&input[3]), input.size() - 5 - key);
    const ByteView bytes = input.subspan(5);
    const ProducerId producer((flags & 2) != 0 ? 7 : -1);
    if ((flags & 4) != 0) {
      coordinator.load(Record::marker(ProducerId(7), (flags & 8) != 0));
    } else {
      std::optional<ByteView> v;
      if ((flags & 1) == 0) v = bytes.subspan(key, value);
      coordinator.load(Record::loaded(bytes.first(key), v, producer));
    }
    input = bytes.subspan(key + value);
  }
  coordinator.loaded();
  std::vector<std::string> groups;
  for (const auto& [id, group] : coordinator.state().groups()) groups.push_back(id);
  for (const std::string& id : groups) use(coordinator, id);
  coordinator.send(List{});
  for (int i = 0; i < 4; i++) coordinator.fire_all();
  ODRADEK_CHECK(coordinator.unreadable() == 0);
}

}  // namespace odradek::fuzz
