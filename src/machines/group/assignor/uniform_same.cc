// All members subscribe to the same topics: each has its quota, keeps what fits into it, and fills
// up from what is left, in the order of topics and members.
#include "machines/group/assignor/assignors.h"

namespace odradek::machines::group::assignor {

namespace {
class UniformSame {
 public:
  UniformSame(const Group& group, const Catalog& catalog, const std::vector<uint32_t>& order)
      : group_(group), catalog_(catalog), order_(order), subscribed_(catalog.size()) {}

  std::vector<Assignment> make() {
    drafts_.reserve(group_.members.size());
    for (const Member& member : group_.members) drafts_.emplace_back(catalog_, member.assigned);
    collect();
    std::vector<Assignment> out(drafts_.size());
    // Nothing to subscribe to: nobody keeps anything.
    if (topics_.empty()) return out;
    keep();
    fill();
    for (size_t i = 0; i < out.size(); i++) out[i] = drafts_[i].take();
    return out;
  }

 private:
  struct Unfilled {
    uint32_t member;
    int64_t room;
  };
  struct Partition {
    int32_t topic, partition;
  };

  /// The topics, how many partitions there are, and those that nobody has.
  void collect() {
    JavaSet ids(JavaSet::copy_capacity(group_.members[order_[0]].topics.size()));
    for (int32_t topic : catalog_.by_name(group_.members[order_[0]].topics))
      ids.put(topic, catalog_.id_hash(topic));
    ids.for_each([&](int32_t topic, Nothing) { topics_.push_back(topic); });

    std::vector<std::vector<bool>> taken(catalog_.size());
    for (int32_t topic : topics_) {
      subscribed_[topic] = true;
      taken[topic].resize(static_cast<size_t>(catalog_.partitions(topic)));
    }
    for (const Draft& draft : drafts_)
      for (const Draft::Held& held : draft.had())
        if (held.topic >= 0 && subscribed_[held.topic])
          for (int32_t p : held.partitions) taken[held.topic][p] = true;
    for (int32_t topic : topics_) {
      total_ += catalog_.partitions(topic);
      for (int32_t p = 0; p < catalog_.partitions(topic); p++)
        if (!taken[topic][p]) free_.push_back({topic, p});
    }
  }

  /// Takes away what is over a member's quota or of a topic that the group left. Where partitions
  /// do not divide evenly, those who have one more already may keep it; what then remains goes to
  /// the last.
  void keep() {
    const auto members = static_cast<int64_t>(order_.size());
    int64_t extra = total_ % members, left = members;
    for (uint32_t member : order_) {
      Draft& draft = drafts_[member];
      const int64_t one_more = extra > 0 ? 1 : 0;
      int64_t room = total_ / members + one_more;
      for (size_t place = 0; place < draft.had().size(); place++) {
        const Draft::Held& held = draft.had()[place];
        if (held.topic < 0 || !subscribed_[held.topic]) {
          draft.remove_held(place);
          continue;
        }
        for (int32_t p : held.partitions) {
          if (room > 0) {
            room--;
            continue;
          }
          draft.remove(held.topic, p);
          free_.push_back({held.topic, p});
        }
      }
      const bool declined = room > 0 && left > extra;
      if (declined) room -= one_more;
      if (!declined) extra -= one_more;
      left--;
      if (room > 0) unfilled_.push_back({member, room});
    }
  }

  void fill() {
    size_t next = 0;
    for (const auto& [member, room] : unfilled_)
      for (int64_t i = 0; i < room && next < free_.size(); i++, next++)
        drafts_[member].add(free_[next].topic, free_[next].partition);
  }

  const Group& group_;
  const Catalog& catalog_;
  const std::vector<uint32_t>& order_;
  std::vector<bool> subscribed_;
  std::vector<int32_t> topics_;
  std::vector<Draft> drafts_;
  std::vector<Partition> free_;
  std::vector<Unfilled> unfilled_;
  int64_t total_ = 0;
};
}  // namespace

std::vector<Assignment> uniform_same(const Group& group, const Catalog& catalog,
                                     const std::vector<uint32_t>& order) {
  return UniformSame(group, catalog, order).make();
}

}  // namespace odradek::machines::group::assignor
