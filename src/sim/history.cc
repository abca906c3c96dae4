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
  promise(at, partitions_[at].promised, offset, value, "was seen by a consumer");
}

void History::high_watermark(const Partition& at, int64_t offset, int64_t floor) {
  if (offset < floor) {
    fail(fmt::format("{}: the high watermark went from {} back to {}", at.text(), floor, offset));
  }
  int64_t& known = partitions_[at].high_watermark;
  known = std::max(known, offset);
}

void History::power_lost() {
  power_losses_++;
  for (auto& [partition, state] : partitions_) {
    for (auto& [offset, promise] : state.until_power_loss) {
      // It may come again at another offset only if it was never promised for ever.
      if (!state.promised.contains(offset)) places_.erase(promise.value);
    }
    state.until_power_loss.clear();
    std::erase_if(state.last_acked,
                  [&](const auto& last) { return !state.promised.contains(last.second); });
  }
}

void History::check_all(const Partition& at, const std::vector<std::string>& values) {
  State& state = partitions_[at];
  if (static_cast<int64_t>(values.size()) < state.high_watermark) {
    fail(fmt::format("{}: {} records, but the high watermark was {}", at.text(), values.size(),
                     state.high_watermark));
  }
  for (auto* promises : {&state.promised, &state.until_power_loss}) {
    for (auto& [offset, promise] : *promises) {
      if (offset >= static_cast<int64_t>(values.size())) {
        return fail(fmt::format("{} offset {}: {} {}, and is gone", at.text(), offset,
                                promise.value, promise.source));
      }
      const std::string& value = values[static_cast<size_t>(offset)];
      if (value != promise.value) {
        return fail(fmt::format("{} offset {}: {} {}, and now it is {}", at.text(), offset,
                                promise.value, promise.source, value));
      }
    }
  }
  for (size_t i = 0; i < values.size(); i++) {
    if (!values[i].empty()) place(at, static_cast<int64_t>(i), values[i]);
  }
}

}  // namespace odradek::sim
