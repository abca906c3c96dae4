// Members subscribe to different topics. First everyone keeps what it has and still wants; then
// what nobody has goes, topic by topic, to the subscriber with least; then partitions move, topic
// by topic, from those with most to those with least until no topic can be evened out further.
#include <algorithm>
#include <numeric>
#include <tuple>

#include "machines/group/assignor/assignors.h"

namespace odradek::machines::group::assignor {

namespace {
/// Gives the subscribers of a topic in turn: those that have least from the one end, those that
/// have most from the other, as if each that is given got or lost a partition.
class Scale {
 public:
  explicit Scale(const std::vector<int64_t>& sizes) : sizes_(sizes) {}

  /// The difference between most and least.
  int64_t load(const std::vector<uint32_t>& members) {
    members_ = members;
    std::ranges::sort(members_, {}, [&](uint32_t m) { return std::pair(sizes_[m], m); });
    low_end_ = low_next_ = 0;
    low_ = size(0) - 1;
    high_begin_ = high_end_ = high_next_ = members_.size();
    high_ = size(members_.size() - 1) + 1;
    return high_ - low_ - 2;
  }

  /// The one with least, from the left; the level of those met rises with each full turn.
  uint32_t take_low() {
    if (low_next_ == low_end_) {
      low_++;
      while (low_end_ < members_.size() && size(low_end_) == low_) low_end_++;
      low_next_ = 0;
    }
    return members_[low_next_++];
  }

  /// The one with most, from the right; nothing when all were dropped.
  std::optional<uint32_t> take_high() {
    if (high_next_ == high_begin_) {
      // Were all of this level dropped, the next level is that of the next member.
      high_ = high_end_ == high_begin_ && high_begin_ > 0 ? size(high_begin_ - 1) : high_ - 1;
      while (high_begin_ > 0 && size(high_begin_ - 1) == high_) high_begin_--;
      high_next_ = high_end_;
    }
    if (high_next_ == 0) return std::nullopt;
    return members_[--high_next_];
  }

  /// The last one that take_high() gave has nothing to give: it is not asked again.
  void drop_high() { std::swap(members_[high_next_], members_[--high_end_]); }

  bool even() const { return high_ - low_ <= 1; }

 private:
  int64_t size(size_t place) const { return sizes_[members_[place]]; }

  const std::vector<int64_t>& sizes_;
  std::vector<uint32_t> members_;
  // Members [0, low_end_) have low_ partitions, or one more when they had their turn; those of
  // [high_begin_, high_end_) have high_, or one less.
  size_t low_end_ = 0, low_next_ = 0;
  size_t high_begin_ = 0, high_end_ = 0, high_next_ = 0;
  int64_t low_ = 0, high_ = 0;
};

class UniformMixed {
 public:
  UniformMixed(const Group& group, const Catalog& catalog, const std::vector<uint32_t>& order)
      : group_(group),
        catalog_(catalog),
        order_(order),
        subscribers_(catalog.size()),
        owners_(catalog.size()),
        sizes_(order.size()),
        scale_(sizes_) {}

  std::vector<Assignment> make() {
    collect();
    std::vector<Assignment> out(order_.size());
    if (topics_.empty()) return out;
    keep();
    hand_out();
    balance();
    for (uint32_t m = 0; m < order_.size(); m++) out[order_[m]] = drafts_[m].take();
    return out;
  }

 private:
  static constexpr int32_t kNobody = -1;
  // Apache's limit for groups that only slowly become even.
  static constexpr int kRounds = 16;

  /// Topics, the one with most partitions for a subscriber first. Members count in `order_`.
  void collect() {
    drafts_.reserve(order_.size());
    for (uint32_t m = 0; m < order_.size(); m++) {
      const Member& member = group_.members[order_[m]];
      drafts_.emplace_back(catalog_, member.assigned);
      for (int32_t topic : catalog_.by_name(member.topics)) subscribers_[topic].push_back(m);
    }
    for (size_t topic = 0; topic < catalog_.size(); topic++) {
      if (subscribers_[topic].empty()) continue;
      topics_.push_back(static_cast<int32_t>(topic));
      owners_[topic].assign(static_cast<size_t>(catalog_.partitions(topics_.back())), kNobody);
    }
    std::ranges::sort(topics_, {}, [&](int32_t topic) {
      const auto count = static_cast<double>(subscribers_[topic].size());
      const Uuid& id = catalog_.id(topic);  // Java's halves have a sign
      return std::tuple(-catalog_.partitions(topic) / count, subscribers_[topic].size(),
                        static_cast<int64_t>(id.high), static_cast<int64_t>(id.low));
    });
  }

  bool subscribes(uint32_t m, int32_t topic) const {
    return topic >= 0 && std::ranges::binary_search(subscribers_[topic], m);
  }

  void keep() {
    for (uint32_t m = 0; m < order_.size(); m++) {
      for (size_t place = 0; place < drafts_[m].had().size(); place++) {
        const Draft::Held& held = drafts_[m].had()[place];
        if (!subscribes(m, held.topic)) {
          drafts_[m].remove_held(place);
          continue;
        }
        sizes_[m] += static_cast<int64_t>(held.partitions.size());
        for (int32_t p : held.partitions) owners_[held.topic][p] = static_cast<int32_t>(m);
      }
    }
  }

  void hand_out() {
    for (int32_t topic : topics_) {
      if (std::ranges::count(owners_[topic], kNobody) == 0) continue;
      scale_.load(subscribers_[topic]);
      for (int32_t p = 0; p < catalog_.partitions(topic); p++)
        if (owners_[topic][p] == kNobody) give(topic, p, scale_.take_low());
    }
  }

  /// Round after round over the topics that can be evened out, until a whole round moved nothing.
  void balance() {
    std::erase_if(topics_, [&](int32_t topic) { return subscribers_[topic].size() < 2; });
    std::optional<size_t> last_moved;
    for (int round = 0; round < kRounds; round++) {
      for (size_t i = 0; i < topics_.size(); i++) {
        if (last_moved == i) return;
        if (balance(topics_[i]) || !last_moved) last_moved = i;
      }
    }
  }

  /// Whether a partition moved.
  bool balance(int32_t topic) {
    if (scale_.load(subscribers_[topic]) <= 1) return false;
    // Each owner's partitions side by side; the highest go first.
    const std::vector<int32_t> owners = owners_[topic];
    std::vector<int32_t> partitions(owners.size());
    std::iota(partitions.begin(), partitions.end(), 0);
    std::ranges::sort(partitions, {}, [&](int32_t p) { return std::pair(owners[p], p); });
    struct Run {
      size_t begin, end;
    };
    std::vector<Run> runs(order_.size());
    for (size_t i = 0; i < partitions.size(); i++) {
      Run& run = runs[static_cast<size_t>(owners[partitions[i]])];
      if (run.end == 0) run.begin = i;
      run.end = i + 1;
    }

    bool moved = false;
    while (!scale_.even()) {
      auto high = scale_.take_high();
      while (high && runs[*high].begin == runs[*high].end) {
        scale_.drop_high();
        high = scale_.take_high();
      }
      if (!high) break;
      const int32_t partition = partitions[--runs[*high].end];
      const uint32_t low = scale_.take_low();
      if (scale_.even()) break;
      give(topic, partition, low);
      moved = true;
    }
    return moved;
  }

  void give(int32_t topic, int32_t partition, uint32_t m) {
    int32_t& owner = owners_[topic][partition];
    if (owner != kNobody) {
      drafts_[owner].remove(topic, partition);
      sizes_[owner]--;
    }
    owner = static_cast<int32_t>(m);
    const size_t subscribers = subscribers_[topic].size();
    const size_t each = (owners_[topic].size() + subscribers - 1) / subscribers;
    drafts_[m].add(topic, partition, JavaSet::sized_capacity(each));
    sizes_[m]++;
  }

  const Group& group_;
  const Catalog& catalog_;
  const std::vector<uint32_t>& order_;
  std::vector<int32_t> topics_;
  std::vector<std::vector<uint32_t>> subscribers_;  // of a topic
  std::vector<std::vector<int32_t>> owners_;        // of a topic's partitions
  std::vector<int64_t> sizes_;                      // of a member's assignment
  std::vector<Draft> drafts_;                       // of a member
  Scale scale_;
};
}  // namespace

std::vector<Assignment> uniform_mixed(const Group& group, const Catalog& catalog,
                                      const std::vector<uint32_t>& order) {
  return UniformMixed(group, catalog, order).make();
}

}  // namespace odradek::machines::group::assignor
