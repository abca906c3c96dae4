// Delta: what changed between two images, as the parts of a broker need to know it.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "metadata/image.h"

namespace odradek::metadata {

/// A topic before and after: null before means new, null after means deleted.
struct TopicChange {
  TopicPtr before;
  TopicPtr after;
};

struct Delta {
  ImagePtr before;  // never null; the first delta starts from an empty image
  ImagePtr after;
  bool from_snapshot = false;  // `after` replaces all: what is absent from it was deleted

  /// By id. A topic that was deleted and came back under its name has two entries.
  std::map<Uuid, TopicChange> topics;
  /// Resources with at least one changed setting; those of deleted topics too.
  std::set<ConfigResource> configs;
  std::set<BrokerId> brokers;
  std::set<BrokerId> controllers;
  /// New levels; 0 for a feature that was disabled.
  std::map<std::string, int16_t> features;
  std::set<QuotaEntity> quotas;
  std::set<Uuid> acls;
  std::set<std::pair<std::string, ScramMechanism>> scram;
  std::set<std::string> tokens;
  std::optional<int64_t> next_producer_id;

  /// Nothing but the offset moved.
  bool empty() const;
  /// Calls `f(const TopicChange&, int32_t index, const Partition* before, const Partition* after)`
  /// for each partition that is new, changed or gone.
  template <class F>
  void for_each_partition(F&& f) const {
    for (const auto& [id, change] : topics) {
      const size_t old_size = change.before ? change.before->partitions.size() : 0;
      const size_t new_size = change.after ? change.after->partitions.size() : 0;
      for (size_t i = 0; i < std::max(old_size, new_size); i++) {
        const Partition* old_one = i < old_size ? change.before->partitions[i].get() : nullptr;
        const Partition* new_one = i < new_size ? change.after->partitions[i].get() : nullptr;
        if (old_one == new_one) continue;
        if (from_snapshot && old_one != nullptr && new_one != nullptr && *old_one == *new_one)
          continue;
        f(change, static_cast<int32_t>(i), old_one, new_one);
      }
    }
  }
};
using DeltaPtr = std::shared_ptr<const Delta>;

/// A new image and how it differs from the one before.
struct Publication {
  ImagePtr image;
  DeltaPtr delta;
};

}  // namespace odradek::metadata
