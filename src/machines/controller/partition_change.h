// PartitionChange: the one place that makes PartitionChangeRecords. A caller states what it wants
// of a partition (another ISR, a leader, other replicas); `build` finishes reassignments, keeps the
// eligible leader replicas, elects, and says what changed.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "machines/controller/context.h"

namespace odradek::machines::control {

enum class Election {
  kOnline,     // keep a valid leader, else the first valid replica
  kPreferred,  // the first replica if it is valid
  kUnclean,    // as online; if there is none, any replica that is alive
};

/// Whether a broker may lead some partition now.
using MayLead = std::function<bool(BrokerId)>;

class PartitionChange {
 public:
  /// `may_lead` defaults to: active, and the replica's directory is online.
  PartitionChange(const Context& context, const metadata::Topic& topic, int32_t index,
                  MayLead may_lead = {});
  PartitionChange(const PartitionChange&) = delete;
  PartitionChange& operator=(const PartitionChange&) = delete;

  PartitionChange& isr(std::vector<BrokerId> target) {
    isr_ = std::move(target);
    return *this;
  }
  PartitionChange& replicas(std::vector<BrokerId> target) {
    replicas_ = std::move(target);
    return *this;
  }
  PartitionChange& reassignment(std::vector<BrokerId> adding, std::vector<BrokerId> removing) {
    adding_ = std::move(adding);
    removing_ = std::move(removing);
    return *this;
  }
  PartitionChange& election(Election kind) {
    election_ = kind;
    return *this;
  }
  PartitionChange& recovery(metadata::RecoveryState target) {
    recovery_ = target;
    return *this;
  }
  /// Where the broker's replica lives from now on: a leader may be elected by it at once.
  PartitionChange& directory(BrokerId id, const Uuid& where) {
    moved_.emplace(id, where);
    return *this;
  }
  /// This broker lost what it had not synced: it is not eligible any more.
  PartitionChange& unclean_shutdown(BrokerId id) {
    unclean_ = id;
    return *this;
  }

  /// The record; nothing when nothing changes.
  std::optional<metadata::Record> build();

 private:
  struct Elected {
    BrokerId id;
    bool unclean;
  };

  void finish_reassignment();
  void update_elr();
  bool valid_leader(BrokerId id) const;
  Uuid directory_of(BrokerId id) const;
  bool last_known_may_lead() const;
  Elected elect() const;
  void elect_into(wire::PartitionChangeRecord& record);
  void write_elr(wire::PartitionChangeRecord& record);
  void write_last_known(wire::PartitionChangeRecord& record);
  void write_assignment(wire::PartitionChangeRecord& record);

  const Context& context_;
  const metadata::Topic& topic_;
  int32_t index_;
  const metadata::Partition& old_;
  MayLead may_lead_;
  bool elr_enabled_;
  int32_t min_isr_;

  Election election_ = Election::kOnline;
  std::vector<BrokerId> isr_;
  std::vector<BrokerId> replicas_;
  std::vector<BrokerId> adding_;
  std::vector<BrokerId> removing_;
  std::vector<BrokerId> elr_;
  metadata::RecoveryState recovery_;
  std::optional<BrokerId> unclean_;
  std::map<BrokerId, Uuid> moved_;
};

/// A list of ids as records hold it, in the context's arena.
Array<int32_t> to_array(Arena& arena, const std::vector<BrokerId>& ids);
std::vector<BrokerId> to_ids(const Array<int32_t>& ids);
bool contains(const std::vector<BrokerId>& ids, BrokerId id);
std::vector<BrokerId> without(const std::vector<BrokerId>& ids, const std::vector<BrokerId>& gone);

}  // namespace odradek::machines::control
