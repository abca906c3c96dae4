// What the group coordinator's tests share: a machine whose decisions are replayed at once, a
// second one that is fed the stored records only, timers, and answers as lines.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "machines/group/group_machine.h"

namespace odradek::machines::group {

using Lines = std::vector<std::string>;

/// Topic ids are {1, 1}, {1, 2} …; broker 1 with rack "r1" has it all.
inline metadata::ImagePtr image_of(const std::vector<std::pair<std::string, int32_t>>& topics,
                                   int64_t offset) {
  auto image = std::make_shared<metadata::Image>();
  const auto token = metadata::next_edit_token();
  uint64_t id = 0;
  for (const auto& [name, count] : topics) {
    auto topic = std::make_shared<metadata::Topic>();
    topic->name = name;
    topic->id = Uuid{1, ++id};
    metadata::Partition partition;
    partition.replicas = {BrokerId(1)};
    for (int32_t i = 0; i < count; i++)
      topic->partitions.push_back(std::make_shared<const metadata::Partition>(partition));
    image->topics_by_id.set(token, topic);
    image->topics_by_name.set(token, topic);
  }
  auto broker = std::make_shared<metadata::Broker>();
  broker->id = BrokerId(1);
  broker->rack = "r1";
  image->brokers[broker->id] = broker;
  image->provenance.offset = Offset(offset);
  return image;
}

class TestGroups {
 public:
  explicit TestGroups(Settings settings = {})
      : settings_(settings), live_(settings), shadow_(settings) {
    take(live_.loaded(now()));
  }

  /// Decides, replays what was decided, keeps messages and timers.
  template <class Answer = Response, class C>
  Answer send(C command) {
    if constexpr (requires { command.token; }) {
      command.token = ++last_token_;
      waiting_.insert(last_token_);
    }
    Response response = take(live_.decide(Command(command), now()));
    if constexpr (requires { command.token; }) {
      if (!std::holds_alternative<NoAnswer>(response)) waiting_.erase(command.token);
    }
    if constexpr (std::is_same_v<Answer, Response>)
      return response;
    else
      return std::get<Answer>(response);
  }
  /// Token of the last Join or Sync.
  Token token() const { return last_token_; }
  /// The answer that came to a token; fails if none did.
  template <class Answer>
  Answer answer_to(Token token) {
    const auto at = answers_.find(token);
    EXPECT_NE(at, answers_.end()) << "token " << token << " was not answered";
    return at == answers_.end() ? Answer{} : std::get<Answer>(at->second);
  }
  bool answered(Token token) const { return answers_.contains(token); }
  /// Who waits, by token.
  const std::set<Token>& waiting() const { return waiting_; }

  /// Lets time pass; timers go off on their way.
  void advance(int64_t ms) {
    const int64_t until = clock_ + ms;
    while (true) {
      auto next = timers_.end();
      for (auto at = timers_.begin(); at != timers_.end(); ++at) {
        if (at->second <= until && (next == timers_.end() || at->second < next->second)) next = at;
      }
      if (next == timers_.end()) break;
      clock_ = std::max(clock_, next->second);
      const std::string key = next->first;
      timers_.erase(next);
      take(live_.decide(Command(TimerFired{key}), now()));
    }
    clock_ = until;
  }
  bool has_timer(const std::string& key) const { return timers_.contains(key); }
  size_t timer_count() const { return timers_.size(); }

  /// The topics with so many partitions each, in this order of their ids.
  void set_topics(const std::vector<std::pair<std::string, int32_t>>& topics) {
    image_ = image_of(topics, ++image_offset_);
    send(MetadataChanged{image_});
  }
  /// A setting of a group.
  void set_config(const std::string& group, metadata::GroupKey key, std::string value) {
    auto config = std::make_shared<metadata::ResourceConfig>();
    config->resource = {metadata::ResourceType::kGroup, group};
    config->values.emplace(metadata::def(key).name, std::move(value));
    auto image = std::make_shared<metadata::Image>(*image_);
    image->configs.set(metadata::next_edit_token(), config);
    image->provenance.offset = Offset(++image_offset_);
    image_ = image;
    send(MetadataChanged{image_});
  }
  const metadata::Image& image() const { return *image_; }

  /// As after a restart: only what was stored is left.
  void restart() {
    live_ = GroupMachine(settings_, image_);
    Offset at{0};
    for (const Record& r : log_) {
      live_.replay(at, r);
      at = at + int64_t{1};
    }
    timers_.clear();
    waiting_.clear();
    take(live_.loaded(now()));
  }
  /// Stored from outside, as another broker would have.
  void store(Record record) {
    live_.replay(next(), record);
    shadow_.replay(next(), record);
    log_.push_back(std::move(record));
  }

  const State& state() const { return live_.state(); }
  const State& shadow() const { return shadow_.state(); }
  const ConsumerGroup& consumer(std::string_view id) const { return *state().find_consumer(id); }
  const ClassicGroup& classic(std::string_view id) const { return *state().find(id)->classic; }
  /// Stored records of the last decision.
  const Lines& lines() const { return lines_; }
  const std::vector<Record>& log() const { return log_; }
  int64_t clock() const { return clock_; }

 private:
  Offset next() const { return Offset(static_cast<int64_t>(log_.size())); }
  Now now() { return {WallMs(clock_), ++random_, next()}; }
  Response take(GroupMachine::Decision decision) {
    lines_.clear();
    for (Record& r : decision.records) {
      live_.replay(next(), r);
      if (r.soft()) continue;
      shadow_.replay(next(), r);
      lines_.push_back(r.to_line());
      log_.push_back(std::move(r));
    }
    for (const TimerOrder& t : decision.timers) {
      if (t.if_absent && timers_.contains(t.key)) continue;
      timers_.erase(t.key);
      if (t.after) timers_[t.key] = clock_ + t.after->value;
    }
    for (Message& m : decision.messages) {
      EXPECT_TRUE(waiting_.erase(m.token) == 1 || restarted_) << "nobody waits for " << m.token;
      answers_.emplace(m.token, std::move(m.answer));
    }
    return std::move(decision.response);
  }

  Settings settings_;
  metadata::ImagePtr image_ = std::make_shared<const metadata::Image>();
  int64_t image_offset_ = 0;
  GroupMachine live_;
  GroupMachine shadow_;
  int64_t clock_ = 1'000'000;
  uint64_t random_ = 0;
  Token last_token_ = 0;
  bool restarted_ = false;
  Lines lines_;
  std::vector<Record> log_;
  std::map<std::string, int64_t> timers_;
  std::set<Token> waiting_;
  std::map<Token, std::variant<JoinAnswer, SyncAnswer>> answers_;
};

inline Join join_of(std::string group, std::string member = "",
                    std::vector<Protocol> protocols = {{"range", "r"}}) {
  return {.group = std::move(group),
          .member = std::move(member),
          .client_id = "client",
          .client_host = "/127.0.0.1",
          .session_timeout_ms = 10'000,
          .rebalance_timeout_ms = 60'000,
          .protocol_type = "consumer",
          .protocols = std::move(protocols),
          .id_required = true};
}

/// A consumer protocol subscription, version 0.
inline std::string subscription(std::vector<std::string> topics) {
  std::string out{"\0\0\0\0\0", 5};
  out += static_cast<char>(topics.size());
  for (const auto& t : topics) out += std::string{"\0", 1} + static_cast<char>(t.size()) + t;
  return out + std::string{"\xFF\xFF\xFF\xFF", 4};
}

/// A member from its first request to its place in the group.
struct TestMember {
  std::string id;
  Token join = 0;
  JoinAnswer joined{};
};

/// Asks for an id and joins; the answer may come later.
inline TestMember enter(TestGroups& groups, const std::string& group,
                        std::vector<Protocol> protocols = {{"range", "r"}}) {
  const auto first = groups.send<JoinAnswer>(join_of(group, "", protocols));
  EXPECT_EQ(first.error, ErrorCode::kMemberIdRequired);
  TestMember member{first.member};
  groups.send<NoAnswer>(join_of(group, member.id, protocols));
  member.join = groups.token();
  return member;
}

inline void joined(TestGroups& groups, TestMember& member) {
  member.joined = groups.answer_to<JoinAnswer>(member.join);
  EXPECT_EQ(member.joined.error, ErrorCode::kNone);
  EXPECT_EQ(member.joined.member, member.id);
}

inline Sync sync_of(const std::string& group, const TestMember& member,
                    std::vector<Sync::Assignment> assignments = {}) {
  return {.group = group,
          .generation = member.joined.generation,
          .member = member.id,
          .protocol_type = "consumer",
          .protocol = member.joined.protocol,
          .assignments = std::move(assignments)};
}

/// A stable group of `n` members; the first leads, and member i has "a<i>".
inline std::vector<TestMember> stable(TestGroups& groups, const std::string& group, int n,
                                      std::vector<Protocol> protocols = {{"range", "r"}}) {
  std::vector<TestMember> members;
  for (int i = 0; i < n; i++) members.push_back(enter(groups, group, protocols));
  groups.advance(6'000);
  std::vector<Sync::Assignment> assignments;
  for (size_t i = 0; i < members.size(); i++) {
    joined(groups, members[i]);
    assignments.push_back({members[i].id, fmt::format("a{}", i)});
  }
  for (size_t i = members.size(); i-- > 0;) {
    const bool leads = members[i].joined.leader == members[i].id;
    groups.send(sync_of(group, members[i], leads ? assignments : std::vector<Sync::Assignment>()));
  }
  EXPECT_EQ(groups.classic(group).state, ClassicState::kStable);
  return members;
}

}  // namespace odradek::machines::group
