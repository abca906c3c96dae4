#include "machines/runtime.h"

namespace odradek::machines {

std::string_view name(RuntimeState state) {
  switch (state) {
    case RuntimeState::kInitial:
      return "not loaded";
    case RuntimeState::kLoading:
      return "loading";
    case RuntimeState::kActive:
      return "active";
    case RuntimeState::kFailed:
      return "failed";
    case RuntimeState::kClosed:
      return "closed";
  }
  return "unknown";
}

bool may_follow(RuntimeState from, RuntimeState to) {
  using enum RuntimeState;
  switch (to) {
    case kInitial:
      return false;
    case kLoading:
      return from == kInitial || from == kFailed;
    case kActive:
      return from == kLoading;
    case kFailed:
      return from == kLoading || from == kActive;
    case kClosed:
      return true;
  }
  return false;
}

}  // namespace odradek::machines
