#include "machines/txn/txn_machine.h"

#include <utility>

namespace odradek::machines {

namespace txn {
namespace {

/// Calls the decision of a command.
struct Decide {
  Draft& d;
  Response operator()(const Init& c) { return init(d, c); }
  Response operator()(const Add& c) { return add(d, c); }
  Response operator()(const Verify& c) { return verify(d, c); }
  Response operator()(const End& c) { return end(d, c); }
  Response operator()(const Describe& c) { return describe(d, c); }
  Response operator()(const List& c) { return list(d, c); }
  Response operator()(const MarkersWritten& c) {
    markers_written(d, c);
    return NoAnswer{};
  }
  Response operator()(const TimeOut& c) {
    time_out(d, c);
    return NoAnswer{};
  }
  Response operator()(const SetVersion& c) {
    if (c.version != d.state.version()) d.records.push_back({Version{c.version}});
    return NoAnswer{};
  }
  Response operator()(const TimerFired& c) {
    if (c.key == kTimeoutTimer) abort_timed_out(d);
    if (c.key == kExpiryTimer) expire(d);
    return NoAnswer{};
  }
};

}  // namespace
}  // namespace txn

TxnMachine::Decision TxnMachine::decide(const Command& command, Now now) const {
  txn::Draft draft{state_, settings_, now};
  txn::Response response = std::visit(txn::Decide{draft}, command);
  // The first id brings the search for forgotten ones with it.
  if (state_.transactions().empty() && std::holds_alternative<txn::Init>(command) &&
      !draft.records.empty())
    draft.arm(txn::kExpiryTimer, settings_.expiration_check);
  return {std::move(draft.records), std::move(response), std::move(draft.timers),
          std::move(draft.messages)};
}

TxnMachine::Decision TxnMachine::loaded(Now now) const {
  txn::Draft draft{state_, settings_, now};
  txn::resume(draft);
  return {std::move(draft.records), txn::NoAnswer{}, std::move(draft.timers),
          std::move(draft.messages)};
}

}  // namespace odradek::machines
