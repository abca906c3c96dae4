// History: what clients of a simulation were told, and whether it can be true.
//
// Every record that is produced has a value of its own, sent in one batch only (repeated by
// idempotent producers alone). So the rules are simple:
//   - an acknowledged record is at its offset, for ever, and at no other (acks=1: until a power
//     loss);
//   - what a consumer has seen at an offset, every consumer sees there, always;
//   - the acknowledged records of a producer lie in a partition in the order in which it sent them;
//   - a partition's high watermark never goes back, and everything below it is there.
// The first rule that is broken is kept as `failure`.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace odradek::sim {

class History {
 public:
  struct Partition {
    std::string topic;
    int32_t index = 0;
    auto operator<=>(const Partition&) const = default;
    std::string text() const { return topic + "-" + std::to_string(index); }
  };
  enum class Acks { kOne, kAll };

  void acked(const Partition& at, int64_t offset, const std::string& producer,
             const std::string& value, Acks acks);
  void observed(const Partition& at, int64_t offset, const std::string& value);
  /// The highest one that anybody has seen so far.
  int64_t known_high_watermark(const Partition& at) { return partitions_[at].high_watermark; }
  /// What an answer said; `floor` is known_high_watermark from before its request was sent
  /// (answers of different connections may overtake each other).
  void high_watermark(const Partition& at, int64_t offset, int64_t floor);
  /// Records that were acknowledged with acks=1 so far may be gone, if nobody saw them.
  void power_lost();
  int power_losses() const { return power_losses_; }
  /// `values` is all of a partition, from offset 0; empty: no record has this offset.
  void check_all(const Partition& at, const std::vector<std::string>& values);

  void fail(std::string what);
  const std::optional<std::string>& failure() const { return failure_; }
  uint64_t acked_count() const { return acked_count_; }
  uint64_t observed_count() const { return observed_count_; }

 private:
  struct Promise {
    std::string value;
    const char* source = "";  // who may rely on it
  };
  struct State {
    std::map<int64_t, Promise> promised;  // by offset: must be there for ever
    std::map<int64_t, Promise> until_power_loss;
    std::map<std::string, int64_t> last_acked;  // per producer
    int64_t high_watermark = 0;
  };

  void place(const Partition& at, int64_t offset, const std::string& value);
  void promise(const Partition& at, std::map<int64_t, Promise>& into, int64_t offset,
               const std::string& value, const char* source);

  std::map<Partition, State> partitions_;
  struct Place {
    Partition partition;
    int64_t offset;
  };
  std::map<std::string, Place> places_;  // of values that must not be anywhere else
  std::optional<std::string> failure_;
  int power_losses_ = 0;
  uint64_t acked_count_ = 0;
  uint64_t observed_count_ = 0;
};

}  // namespace odradek::sim
