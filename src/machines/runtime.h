// Runtime: hosts one machine over one log (machine.h).
//
//   submit: may we append? → decide → sizes → replay each record → timers → gather for the append →
//   park (end offset, response, messages)
//
// All that is submitted in one turn of the loop shares one append, made when the turn ends, but for
// decisions that are apart (machine.h), which are appended at once. Parked
// responses are released in order once the log has committed what is before their end offset; a
// read, and a decision whose records are all soft, waits behind the last pending write. A failed
// append discards the machine, which by then has seen records that nobody will ever read, and fails
// what is parked; its owner then loads it anew.
//
// A resource of one loop; every call comes from there.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/ids.h"
#include "base/result.h"
#include "machines/machine.h"

namespace odradek::machines {

/// What the runtime asks of its loop.
class RuntimeHost {
 public:
  using Callback = std::move_only_function<void()>;
  virtual ~RuntimeHost() = default;
  virtual WallMs wall() = 0;
  virtual uint64_t random() = 0;
  /// Calls back once, not before `after`; the result is for `cancel_timer` and never 0.
  virtual uint64_t start_timer(Millis after, Callback callback) = 0;
  virtual void cancel_timer(uint64_t id) = 0;
  /// Calls back when everything that is ready in this turn has run.
  virtual void at_turn_end(Callback callback) = 0;
};

enum class RuntimeState {
  kInitial,  // nothing yet
  kLoading,  // the log is being replayed
  kActive,   // decides
  kFailed,   // the machine was discarded; load it anew
  kClosed,   // for good
};
std::string_view name(RuntimeState state);
/// The table of allowed transitions.
bool may_follow(RuntimeState from, RuntimeState to);

struct RuntimeOptions {
  /// Responses that may wait; beyond it a command is refused.
  size_t parked_max = 10'000;
  /// A timer whose command was refused is tried again after this.
  Millis timer_retry{500};
};

template <Machine M, CommitLog<typename M::Record> L>
class Runtime {
 public:
  using Record = typename M::Record;
  using Command = typename M::Command;
  using Response = typename M::Response;
  using Message = MessageOf<M>;
  /// kClosed: not active (again later); kLimit: too many wait; kInvalid: the decision does not fit
  /// in one batch; else what the log said.
  using Outcome = Result<Response>;
  using Done = std::move_only_function<void(Outcome)>;
  using Make = std::function<std::unique_ptr<M>()>;
  using OnFailed = std::function<void(const Error&)>;
  using OnMessage = std::function<void(Message)>;

  /// `make` gives a fresh machine. `on_failed` is told when an append has failed, after the state
  /// is kFailed and before the parked responses fail.
  Runtime(L& log, RuntimeHost& host, Make make, OnFailed on_failed, RuntimeOptions options = {})
      : log_(log),
        host_(host),
        make_(std::move(make)),
        on_failed_(std::move(on_failed)),
        options_(options) {}
  ~Runtime() { *alive_ = false; }
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  /// Where the messages of decisions go, each after the response of its decision.
  void on_message(OnMessage on_message) { on_message_ = std::move(on_message); }

  RuntimeState state() const { return state_; }
  /// The machine, for reading; while loading or active.
  const M& machine() const {
    ODRADEK_CHECK(machine_ != nullptr);
    return *machine_;
  }
  size_t parked() const { return parked_.size(); }
  /// How long until a timer goes off; nothing if it is not set.
  std::optional<Millis> timer_left(const std::string& key) const {
    const auto at = timers_.find(key);
    if (at == timers_.end()) return std::nullopt;
    return Millis(at->second.due - host_.wall());
  }

  // ---- lifecycle
  /// Begins with a fresh machine; then `load` everything committed, then `loaded`.
  void start_loading() {
    move_to(RuntimeState::kLoading);
    machine_ = make_();
  }
  void load(Offset offset, const Record& record) {
    ODRADEK_CHECK(state_ == RuntimeState::kLoading);
    machine_->replay(offset, record);
  }
  /// Everything was loaded, and the log lets us append.
  void loaded() {
    move_to(RuntimeState::kActive);
    accept(machine_->loaded(now()), [](Outcome) {});
  }
  void close() {
    if (state_ == RuntimeState::kClosed) return;
    move_to(RuntimeState::kClosed);
    discard(Error{Errc::kClosed, "the machine was closed"});
  }
  /// What was appended will not be committed (a failed sync, leadership lost).
  void fail(const Error& error) {
    if (state_ == RuntimeState::kFailed || state_ == RuntimeState::kClosed) return;
    move_to(RuntimeState::kFailed);
    on_failed_(error);
    discard(error);
  }

  // ---- work
  /// Decides now; `done` is called once the decision is committed, maybe before this returns.
  void submit(const Command& command, Done done) {
    if (state_ != RuntimeState::kActive)
      return done(odradek::fail(Errc::kClosed, "the machine is " + std::string(name(state_))));
    if (parked_.size() >= options_.parked_max)
      return done(odradek::fail(Errc::kLimit, "too many commands wait for the log"));
    if (auto able = log_.can_append(); !able) return done(std::unexpected(able.error()));
    accept(machine_->decide(command, now()), std::move(done));
  }
  /// Everything in the log below `end` is committed.
  void committed(Offset end) {
    while (!parked_.empty() && parked_.front().end <= end && parked_.front().appended) {
      Parked p = std::move(parked_.front());
      parked_.pop_front();
      release(p.response, p.messages, p.done);
    }
  }

 private:
  struct Parked {
    Offset end;
    bool appended;  // the records before `end` are in the log
    Response response;
    std::vector<Message> messages;
    Done done;
  };

  struct Armed {
    uint64_t id = 0;  // the host's
    WallMs due{0};
  };

  void move_to(RuntimeState next) {
    ODRADEK_CHECK(may_follow(state_, next));
    state_ = next;
  }
  Offset next_offset() const { return log_.end() + static_cast<int64_t>(gathered_.size()); }
  Now now() { return Now{host_.wall(), host_.random(), next_offset()}; }

  void accept(DecisionOf<M> decision, Done done) {
    size_t bytes = 0;
    bool apart = false;
    for (const Record& r : decision.records) {
      bytes += is_soft(r) ? 0 : log_.size_of(r);
      apart |= is_apart(r);
    }
    if (bytes > log_.batch_bytes_max())
      return done(odradek::fail(Errc::kInvalid, "the decision does not fit in one batch"));
    if ((apart || gathered_bytes_ + bytes > log_.batch_bytes_max()) && !append_gathered())
      return done(odradek::fail(Errc::kClosed, "the machine is failed"));
    bool durable = false;
    for (Record& r : decision.records) {
      machine_->replay(next_offset(), r);
      if (is_soft(r)) continue;
      durable = true;
      gathered_.push_back(std::move(r));
    }
    gathered_bytes_ += bytes;
    for (const TimerOrder& order : decision.timers) {
      if (order.if_absent && timers_.contains(order.key)) continue;
      set_timer(order.key, order.after);
    }
    if (gathered_.empty() && parked_.empty())
      return release(decision.response, decision.messages, done);
    if (durable) arm_append();
    if (apart && !append_gathered())
      return done(odradek::fail(Errc::kClosed, "the machine is failed"));
    // A read waits behind what is parked: the last of it has the highest end offset.
    const Offset end = durable ? next_offset() : parked_.back().end;
    parked_.push_back({end, gathered_.empty(), std::move(decision.response),
                       std::move(decision.messages), std::move(done)});
  }
  void arm_append() {
    if (append_armed_) return;
    append_armed_ = true;
    host_.at_turn_end([this, alive = alive_] {
      if (!*alive) return;
      append_armed_ = false;
      if (append_gathered()) committed(log_.committed());
    });
  }
  /// False if that failed. Releases nothing: a decision that waits for room in the batch must not
  /// be overtaken by commands that a released answer brings.
  bool append_gathered() {
    if (gathered_.empty()) return state_ == RuntimeState::kActive;
    const Offset predicted = next_offset();
    auto end = log_.append(std::span<const Record>(gathered_));
    if (end && *end != predicted)
      end = odradek::fail(Errc::kCorrupt, "an append ended at another offset than predicted");
    if (!end) {
      fail(end.error());
      return false;
    }
    gathered_.clear();
    gathered_bytes_ = 0;
    for (Parked& p : parked_) p.appended = true;
    return true;
  }

  void release(Response& response, std::vector<Message>& messages, Done& done) {
    done(Outcome(std::move(response)));
    for (Message& message : messages) on_message_(std::move(message));
  }
  void set_timer(const std::string& key, std::optional<Millis> after) {
    if (auto at = timers_.find(key); at != timers_.end()) {
      host_.cancel_timer(at->second.id);
      timers_.erase(at);
    }
    if (!after || state_ != RuntimeState::kActive) return;
    Armed& armed = timers_[key];
    armed.due = host_.wall() + *after;
    armed.id = host_.start_timer(*after, [this, key, alive = alive_] {
      if (*alive) fire(key);
    });
  }
  void fire(const std::string& key) {
    timers_.erase(key);
    submit(Command(TimerFired{key}), [this, key, alive = alive_](Outcome outcome) {
      if (outcome || !*alive || state_ != RuntimeState::kActive) return;
      if (!timers_.contains(key)) set_timer(key, options_.timer_retry);
    });
  }
  void discard(const Error& error) {
    for (const auto& [key, armed] : timers_) host_.cancel_timer(armed.id);
    timers_.clear();
    gathered_.clear();
    gathered_bytes_ = 0;
    machine_.reset();
    // Whoever is told may come back with the next command: it must not find itself in this list.
    std::deque<Parked> parked = std::move(parked_);
    parked_.clear();
    for (Parked& p : parked) p.done(std::unexpected(error));
  }

  L& log_;
  RuntimeHost& host_;
  Make make_;
  OnFailed on_failed_;
  OnMessage on_message_;
  RuntimeOptions options_;

  RuntimeState state_ = RuntimeState::kInitial;
  std::unique_ptr<M> machine_;
  std::vector<Record> gathered_;
  size_t gathered_bytes_ = 0;
  bool append_armed_ = false;
  std::deque<Parked> parked_;  // by end offset
  std::map<std::string, Armed> timers_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace odradek::machines
