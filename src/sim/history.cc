#include "sim/history.h"

#include <fmt/format.h>

#include <algorithm>

namespace odradek::sim {

void History::fail(std::string what) {
  if (!failure_) failure_ = std::move(what);
}

void History::place(const Partition& at, int64_t offset, const std::string& value) {
  auto [it, fresh] = places_.try_emplace(value, Place{at, offset});
  if (!fresh && (it->second.partition != at || it->second.offset != offset)) {
    fail(fmt::format("record {} is at {} offset {} and at {} offset {}", value,
                     it->second.partition.text(), it->second.offset, at.text(), offset));
  }
}

void History::promise(const Partition& at, std::map<int64_t, Promise>& into, int64_t offset,
                      const std::string& value, const char* source) {
  place(at, offset, value);
  State& state = partitions_[at];
  for (auto* promises : {&state.promised, &state.until_power_loss}) {
    auto it = promises->find(offset);
    if (it != promises->end() && it->second.value != value) {
      fail(fmt::format("{} offset {}: {} {}, and now it is {}", at.text(), offset, it->second.value,
                       it->second.source, value));
    }
  }
  into.try_emplace(offset, Promise{value, source});
}

void History::acked(const Partition& at, int64_t offset, const std::string& producer,
                    const std::string& value, Acks acks) {
  acked_count_++;
  State& state = partitions_[at];
  if (is_deleted(at.topic) || offset >= state.rotten_from) return;
  if (acks == Acks::kAll) {
    promise(at, state.promised, offset, value, "was acknowledged with acks=all");
  } else {
    promise(at, state.until_power_loss, offset, value, "was acknowledged with acks=1");
  }
  auto [last, fresh] = state.last_acked.try_emplace(producer, offset);
  if (!fresh && last->second >= offset) {
    fail(fmt::format("{}: {} of {} was acknowledged at {}, an earlier one at {}", at.text(), value,
                     producer, offset, last->second));
  }
  last->second = offset;
}

void History::observed(const Partition& at, int64_t offset, const std::string& value) {
  observed_count_++;
  State& state = partitions_[at];
  if (is_deleted(at.topic) || offset >= state.rotten_from) return;
  if (offset < state.start_min) {
    fail(fmt::format("{} offset {}: {} was deleted and is back", at.text(), offset, value));
  }
  promise(at, state.promised, offset, value, "was seen by a consumer");
}

void History::high_watermark(const Partition& at, int64_t offset, int64_t floor) {
  if (rotten(at)) return;
  if (offset < floor) {
    fail(fmt::format("{}: the high watermark went from {} back to {}", at.text(), floor, offset));
  }
  int64_t& known = partitions_[at].high_watermark;
  known = std::max(known, offset);
}

void History::power_lost() {
  power_losses_++;
  for (auto& [partition, state] : partitions_) {
    if (!state.first_lost_above) state.first_lost_above = state.high_watermark;
    for (auto& [offset, promise] : state.until_power_loss) {
      // It may come again at another offset only if it was never promised for ever.
      if (!state.promised.contains(offset)) places_.erase(promise.value);
    }
    state.until_power_loss.clear();
    std::erase_if(state.last_acked,
                  [&](const auto& last) { return !state.promised.contains(last.second); });
  }
}

bool History::front_may_be_lost(const Partition& at) {
  const State& state = partitions_[at];
  return power_losses_ > 0 &&
         state.first_lost_above.value_or(0) <= std::max(state.start_max, state.start_min);
}

void History::may_begin_at(const Partition& at, int64_t offset) {
  State& state = partitions_[at];
  state.start_max = std::max(state.start_max, offset);
}

void History::begins_at(const Partition& at, int64_t offset) {
  State& state = partitions_[at];
  state.start_min = std::max(state.start_min, offset);
}

void History::rotted(const Partition& at, int64_t offset) {
  State& state = partitions_[at];
  state.rotten_from = std::min(state.rotten_from, offset);
  for (auto* promises : {&state.promised, &state.until_power_loss}) {
    for (auto it = promises->lower_bound(offset); it != promises->end();) {
      places_.erase(it->second.value);
      it = promises->erase(it);
    }
  }
}

void History::deleted(const std::string& topic) {
  deleted_.insert(topic);
  std::erase_if(partitions_, [&](const auto& item) { return item.first.topic == topic; });
  std::erase_if(places_, [&](const auto& item) { return item.second.partition.topic == topic; });
}

void History::check_all(const Partition& at, int64_t start, int64_t end,
                        const std::map<int64_t, std::string>& values) {
  State& state = partitions_[at];
  if (!rotten(at)) {
    if (end < state.high_watermark) {
      fail(fmt::format("{}: it ends at {}, but the high watermark was {}", at.text(), end,
                       state.high_watermark));
    }
    const bool late = start > std::max(state.start_max, state.start_min);
    if (start < state.start_min || (late && !front_may_be_lost(at))) {
      fail(fmt::format("{}: it begins at {}, not between {} and {}", at.text(), start,
                       state.start_min, state.start_max));
    }
  }
  for (auto* promises : {&state.promised, &state.until_power_loss}) {
    for (auto& [offset, promise] : *promises) {
      if (offset < std::max(state.start_min, start) && offset < state.start_max) continue;
      const auto found = values.find(offset);
      if (found == values.end()) {
        return fail(fmt::format("{} offset {}: {} {}, and is gone", at.text(), offset,
                                promise.value, promise.source));
      }
      if (found->second != promise.value) {
        return fail(fmt::format("{} offset {}: {} {}, and now it is {}", at.text(), offset,
                                promise.value, promise.source, found->second));
      }
    }
  }
  for (const auto& [offset, value] : values) {
    if (offset < state.rotten_from) place(at, offset, value);
  }
}

}  // namespace odradek::sim
