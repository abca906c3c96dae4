// What the transaction coordinator's tests share: a machine whose decisions are replayed at once, a
// second one that is fed the stored records only, timers, and messages as lines.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "machines/txn/txn_machine.h"

namespace odradek::machines::txn {

using Lines = std::vector<std::string>;

inline std::string cause_name(Cause cause) {
  switch (cause) {
    case Cause::kClient:
      return "client";
    case Cause::kTimedOut:
      return "timed out";
    case Cause::kFenced:
      return "fenced";
    case Cause::kLoaded:
      return "loaded";
  }
  return "";
}

inline std::string to_line(const Message& message) {
  if (const auto* n = std::get_if<NeedsProducerId>(&message))
    return fmt::format("{} needs a producer id", n->who.id);
  const auto& f = std::get<Finish>(message);
  std::string line =
      fmt::format("{} {} {}/{} v{} {}:", f.commit ? "commit" : "abort", f.who.id,
                  f.who.producer.value, f.who.epoch.value, f.version, cause_name(f.cause));
  for (const auto& p : f.partitions) line += fmt::format(" {}-{}", p.topic, p.index);
  return line;
}

/// State, producer and epoch, what it is to become, partitions.
inline std::string to_line(const Transaction& t) {
  std::string line = fmt::format("{} {}/{}", name(t.status), t.producer.value, t.epoch.value);
  if (t.next.value != -1) line += fmt::format(" then {}", t.next.value);
  for (const auto& p : t.partitions) line += fmt::format(" {}-{}", p.topic, p.index);
  return line;
}

class TestTxns {
 public:
  explicit TestTxns(Settings settings = {})
      : settings_(settings), live_(settings), shadow_(settings) {
    take(live_.loaded(now()));
  }

  template <class Answer = Response, class C>
  Answer send(C command) {
    Response response = take(live_.decide(Command(command), now()));
    if constexpr (std::is_same_v<Answer, Response>)
      return response;
    else
      return std::get<Answer>(response);
  }
  /// A producer begins (or goes on, with what it knows of itself); a fresh id if it takes one.
  InitAnswer init(const std::string& id, ProducerId producer = ProducerId(-1),
                  ProducerEpoch epoch = ProducerEpoch(-1), int32_t timeout_ms = 60'000) {
    Init command{{id, producer, epoch}, timeout_ms};
    auto answer = send<InitAnswer>(command);
    if (!answer.needs_id) return answer;
    command.fresh = fresh();
    return send<InitAnswer>(command);
  }
  Producer start(const std::string& id) {
    const auto a = init(id);
    EXPECT_EQ(a.error, ErrorCode::kNone);
    return {id, a.producer, a.epoch};
  }
  ErrorCode add(const Producer& who, std::vector<TopicPartition> partitions, int16_t version = 2) {
    return send<AddAnswer>(Add{who, version, std::move(partitions)}).error;
  }
  EndAnswer end(const Producer& who, bool commit, int16_t version = 2) {
    End command{who, commit, version};
    auto answer = send<EndAnswer>(command);
    if (!answer.needs_id) return answer;
    command.fresh = fresh();
    return send<EndAnswer>(command);
  }
  /// The host writes the markers of everything that was asked for.
  void write_markers() {
    for (const Message& m : std::exchange(messages_, {})) {
      if (const auto* f = std::get_if<Finish>(&m)) {
        send(MarkersWritten{f->who});
      } else {
        send(TimeOut{std::get<NeedsProducerId>(m).who, fresh()});
      }
    }
  }
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
  /// As after a restart: only what was stored is left.
  void restart() {
    live_ = TxnMachine(settings_);
    Offset at{0};
    for (const Record& r : log_) {
      live_.replay(at, r);
      at = at + int64_t{1};
    }
    timers_.clear();
    messages_.clear();
    take(live_.loaded(now()));
  }
  /// Stored from outside, as another broker would have.
  void store(const std::string& id, const Transaction& t) {
    const Record r = Record::of(id, t, settings_.version);
    live_.replay(next(), r);
    shadow_.replay(next(), r);
    log_.push_back(r);
  }

  const State& state() const { return live_.state(); }
  const State& shadow() const { return shadow_.state(); }
  std::string line(const std::string& id) const {
    const Transaction* t = state().find(id);
    return t == nullptr ? "nothing" : to_line(*t);
  }
  /// Records of the last decision.
  const Lines& lines() const { return lines_; }
  Lines messages() const {
    Lines out;
    for (const Message& m : messages_) out.push_back(to_line(m));
    return out;
  }
  const std::vector<Message>& raw_messages() const { return messages_; }
  const std::vector<Record>& log() const { return log_; }
  bool has_timer(std::string_view key) const { return timers_.contains(std::string(key)); }
  int64_t clock() const { return clock_; }
  ProducerId fresh() { return ProducerId(next_id_++); }

 private:
  Offset next() const { return Offset(static_cast<int64_t>(log_.size())); }
  Now now() { return {WallMs(clock_), ++random_, next()}; }
  Response take(TxnMachine::Decision decision) {
    lines_.clear();
    for (Record& r : decision.records) {
      live_.replay(next(), r);
      lines_.push_back(r.to_line());
      if (r.soft()) continue;
      shadow_.replay(next(), r);
      log_.push_back(std::move(r));
    }
    for (const TimerOrder& t : decision.timers) {
      timers_.erase(t.key);
      if (t.after) timers_[t.key] = clock_ + t.after->value;
    }
    for (Message& m : decision.messages) messages_.push_back(std::move(m));
    return std::move(decision.response);
  }

  Settings settings_;
  TxnMachine live_;
  TxnMachine shadow_;
  int64_t clock_ = 1'000'000;
  uint64_t random_ = 0;
  int64_t next_id_ = 100;
  Lines lines_;
  std::vector<Record> log_;
  std::vector<Message> messages_;
  std::map<std::string, int64_t> timers_;
};

}  // namespace odradek::machines::txn
