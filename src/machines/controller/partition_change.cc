#include "machines/controller/partition_change.h"

#include <algorithm>
#include <utility>

#include "wire/gen/partition_change_record.h"

namespace odradek::machines::control {

namespace {
constexpr int32_t kNoLeaderChange = -2;
}

Array<int32_t> to_array(Arena& arena, const std::vector<BrokerId>& ids) {
  Array<int32_t> out;
  out.reserve(arena, ids.size());
  for (BrokerId id : ids) out.add(arena, id.value);
  return out;
}

std::vector<BrokerId> to_ids(const Array<int32_t>& ids) {
  std::vector<BrokerId> out;
  out.reserve(ids.size());
  for (int32_t id : ids) out.emplace_back(id);
  return out;
}

bool contains(const std::vector<BrokerId>& ids, BrokerId id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

std::vector<BrokerId> without(const std::vector<BrokerId>& ids, const std::vector<BrokerId>& gone) {
  std::vector<BrokerId> out;
  for (BrokerId id : ids)
    if (!contains(gone, id)) out.push_back(id);
  return out;
}

PartitionChange::PartitionChange(const Context& context, const metadata::Topic& topic,
                                 int32_t index, MayLead may_lead)
    : context_(context),
      topic_(topic),
      index_(index),
      old_(*topic.partition(index)),
      may_lead_(std::move(may_lead)),
      elr_enabled_(context.image.elr_enabled() && context.version().elr_fields()),
      min_isr_(effective_min_isr(context, topic)),
      isr_(old_.isr),
      replicas_(old_.replicas),
      adding_(old_.adding),
      removing_(old_.removing),
      elr_(old_.elr),
      recovery_(old_.recovery) {
  MayLead alive = may_lead_ ? std::move(may_lead_) : [&image = context.image](BrokerId id) {
    const metadata::Broker* broker = image.broker(id);
    return broker != nullptr && broker->active();
  };
  may_lead_ = [this, alive = std::move(alive)](BrokerId id) {
    const metadata::Broker* broker = context_.image.broker(id);
    return alive(id) && broker != nullptr && broker->has_online_dir(directory_of(id));
  };
}

Uuid PartitionChange::directory_of(BrokerId id) const {
  const auto moved = moved_.find(id);
  return moved != moved_.end() ? moved->second : old_.directory(id);
}

// A reassignment ends when all that were to be added are in the ISR and somebody stays.
void PartitionChange::finish_reassignment() {
  if (adding_.empty() && removing_.empty()) return;
  std::vector<BrokerId> isr = without(isr_, removing_);
  std::vector<BrokerId> replicas = without(replicas_, removing_);
  const auto has = [&](BrokerId id) { return contains(isr, id); };
  if (isr.empty() || replicas.empty()) return;
  if (!std::all_of(adding_.begin(), adding_.end(), has)) return;
  // With fewer replicas than before, all that stay must be in sync.
  if (removing_.size() > adding_.size() && !std::all_of(replicas.begin(), replicas.end(), has))
    return;
  isr_ = std::move(isr);
  replicas_ = std::move(replicas);
  adding_.clear();
  removing_.clear();
}

void PartitionChange::update_elr() {
  if (!elr_enabled_) return;
  if (isr_.size() >= static_cast<size_t>(std::max(min_isr_, 0))) {
    elr_.clear();
    return;
  }
  // Whoever was in sync when it left still has everything that was committed.
  std::vector<BrokerId> candidates = elr_;
  for (BrokerId id : old_.isr)
    if (!contains(candidates, id)) candidates.push_back(id);
  std::sort(candidates.begin(), candidates.end());
  elr_.clear();
  for (BrokerId id : candidates)
    if (!contains(isr_, id) && unclean_ != id) elr_.push_back(id);
}

bool PartitionChange::valid_leader(BrokerId id) const {
  const bool in_sync = contains(isr_, id) || (isr_.empty() && contains(elr_, id));
  return in_sync && may_lead_(id);
}

bool PartitionChange::last_known_may_lead() const {
  return elr_enabled_ && isr_.empty() && elr_.empty() && old_.last_known_elr.size() == 1 &&
         may_lead_(old_.last_known_elr[0]);
}

PartitionChange::Elected PartitionChange::elect() const {
  if (election_ == Election::kPreferred && !replicas_.empty() && valid_leader(replicas_[0]))
    return {replicas_[0], false};
  if (old_.has_leader() && valid_leader(old_.leader)) return {old_.leader, false};
  for (BrokerId id : replicas_)
    if (valid_leader(id)) return {id, false};
  if (last_known_may_lead()) return {old_.last_known_elr[0], true};
  if (election_ == Election::kUnclean)
    for (BrokerId id : replicas_)
      if (may_lead_(id)) return {id, true};
  return {kNoBroker, false};
}

void PartitionChange::elect_into(wire::PartitionChangeRecord& record) {
  const Elected elected = elect();
  if (elected.id == old_.leader) return;
  record.leader = elected.id.value;
  if (contains(elr_, elected.id)) {
    isr_ = {elected.id};
    elr_ = without(elr_, isr_);
  } else if (elected.unclean) {
    // Only the new leader is known to hold what is now the truth.
    record.isr = to_array(context_.arena, {elected.id});
    if (old_.recovery != metadata::RecoveryState::kRecovering)
      record.leader_recovery_state = static_cast<int8_t>(metadata::RecoveryState::kRecovering);
  }
}

void PartitionChange::write_elr(wire::PartitionChangeRecord& record) {
  const bool clean = !record.isr;
  if (!clean || !elr_enabled_) elr_.clear();
  if (elr_ != old_.elr) record.eligible_leader_replicas = to_array(context_.arena, elr_);
}

void PartitionChange::write_last_known(wire::PartitionChangeRecord& record) {
  if (!elr_enabled_) return;
  const bool same = old_.last_known_elr == std::vector<BrokerId>{old_.leader};
  const bool leader_stays = old_.has_leader() && record.leader != kNoBroker.value;
  if (record.isr && record.isr->empty() && !same) {
    // Only when the partition becomes leaderless; afterwards it stays who it was.
    if (old_.has_leader()) record.last_known_elr = to_array(context_.arena, {old_.leader});
  } else if ((record.leader >= 0 || leader_stays) && !old_.last_known_elr.empty()) {
    record.last_known_elr = Array<int32_t>();
  }
}

void PartitionChange::write_assignment(wire::PartitionChangeRecord& record) {
  Arena& arena = context_.arena;
  if (!replicas_.empty() && context_.version().directories()) {
    std::vector<Uuid> directories;
    for (BrokerId id : replicas_)
      directories.push_back(old_.is_replica(id) ? directory_of(id)
                                                : default_directory(context_.image, id));
    if (directories != old_.directories) {
      Array<Uuid> list;
      for (const Uuid& d : directories) list.add(arena, d);
      record.directories = list;
    }
  }
  if (!replicas_.empty() && replicas_ != old_.replicas)
    record.replicas = to_array(arena, replicas_);
  if (removing_ != old_.removing) record.removing_replicas = to_array(arena, removing_);
  if (adding_ != old_.adding) record.adding_replicas = to_array(arena, adding_);
}

std::optional<metadata::Record> PartitionChange::build() {
  wire::PartitionChangeRecord record;
  record.topic_id = topic_.id;
  record.partition_id = index_;

  finish_reassignment();
  update_elr();
  elect_into(record);
  // Naming the leader bumps its epoch: needed when a replica goes away.
  const auto kept = [&](BrokerId id) { return contains(replicas_, id); };
  if (record.leader == kNoLeaderChange &&
      !std::all_of(old_.replicas.begin(), old_.replicas.end(), kept))
    record.leader = old_.leader.value;
  write_elr(record);
  // Without ELR an ISR never becomes empty: the last member stays although it is gone.
  if (!record.isr && (!isr_.empty() || elr_enabled_) && isr_ != old_.isr)
    record.isr = to_array(context_.arena, isr_);
  if (!context_.version().no_epoch_bump_on_isr_shrink() && record.leader == kNoLeaderChange &&
      record.isr && !without(old_.isr, to_ids(*record.isr)).empty())
    record.leader = old_.leader.value;
  write_last_known(record);
  write_assignment(record);
  if (recovery_ != old_.recovery) record.leader_recovery_state = static_cast<int8_t>(recovery_);

  const bool changes = record.isr || record.leader != kNoLeaderChange || record.replicas ||
                       record.removing_replicas || record.adding_replicas ||
                       record.leader_recovery_state != -1 || record.directories ||
                       record.eligible_leader_replicas || record.last_known_elr;
  if (!changes) return std::nullopt;
  return metadata::Record::of(record, context_.version().partition_change_record());
}

}  // namespace odradek::machines::control
