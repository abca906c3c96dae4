// History: what clients of a simulation were told, and whether it can be true.
//
// Every record that is produced has a value of its own, sent in one batch only (repeated by
// idempotent producers alone). So the rules are simple:
//   - an acknowledged record is at its offset, for ever, and at no other (acks=1: until a power
//     loss);
//   - what a consumer has seen at an offset, every consumer sees there, always;
//   - the acknowledged records of a producer lie in a partition in the order in which it sent them;
//   - a partition's high watermark never goes back, and everything below it is there, but for what
//     retention or DeleteRecords may have removed; what DeleteRecords has removed stays away.
// The first rule that is broken is kept as `failure`.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
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
  /// From now on records below `offset` may be gone: a DeleteRecords is under way, or (kEverything)
  /// the topic has a limit.
  void may_begin_at(const Partition& at, int64_t offset);
  static constexpr int64_t kEverything = INT64_MAX;
  /// DeleteRecords was acknowledged: nothing below `offset` is ever seen again.
  void begins_at(const Partition& at, int64_t offset);
  bool may_be_cut_in_front(const Partition& at) {
    return partitions_[at].start_max > 0 || front_may_be_lost(at);
  }
  /// A bit of the only replica was flipped in the batch at `offset`: what is promised of the
  /// partition from there on is void. Nobody may append to it any more.
  void rotted(const Partition& at, int64_t offset);
  bool rotten(const Partition& at) { return rotten_from(at) < kEverything; }
  int64_t rotten_from(const Partition& at) { return partitions_[at].rotten_from; }
  /// The topic's deletion was asked for: nothing of it counts any more.
  void deleted(const std::string& topic);
  bool is_deleted(const std::string& topic) const { return deleted_.contains(topic); }
  /// `values` is all of a partition, by offset, which begins at `start` and ends at `end`. Between
  /// segments, and in front, a power loss may leave a gap of what nobody was promised.
  void check_all(const Partition& at, int64_t start, int64_t end,
                 const std::map<int64_t, std::string>& values);

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
    int64_t start_min = 0;  // nothing below is there
    int64_t start_max = 0;  // everything from here on is there
    int64_t rotten_from = kEverything;
    std::optional<int64_t> first_lost_above;  // the high watermark at the first power loss
  };

  /// Whether a power loss may have taken segments from the front: names that were never durable,
  /// while that of a later segment was. So nothing there was visible then.
  bool front_may_be_lost(const Partition& at);

  void place(const Partition& at, int64_t offset, const std::string& value);
  void promise(const Partition& at, std::map<int64_t, Promise>& into, int64_t offset,
               const std::string& value, const char* source);

  std::map<Partition, State> partitions_;
  struct Place {
    Partition partition;
    int64_t offset;
  };
  std::map<std::string, Place> places_;  // of values that must not be anywhere else
  std::set<std::string> deleted_;        // topics
  std::optional<std::string> failure_;
  int power_losses_ = 0;
  uint64_t acked_count_ = 0;
  uint64_t observed_count_ = 0;
};

}  // namespace odradek::sim
