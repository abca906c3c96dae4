#include "machines/controller/placement.h"

#include <utility>

#include "base/check.h"

namespace odradek::machines::control {

namespace {

template <class T>
void shuffle_all(std::vector<T>& items, Choices& choices) {
  for (size_t i = items.size(); i > 1; i--) std::swap(items[i - 1], items[choices.below(i)]);
}

bool usable(const metadata::Broker& broker) {
  if (broker.in_controlled_shutdown) return false;
  return !broker.cordoned_log_dirs || broker.cordoned_log_dirs->empty() ||
         broker.cordoned_log_dirs->size() < broker.log_dirs.size();
}

}  // namespace

Placement::Placement(Context& context) : choices_(context.choices) {
  std::map<std::optional<std::string>, Rack> racks;
  for (const auto& [id, broker] : context.image.brokers) {
    if (!usable(*broker)) continue;
    Rack& rack = racks[broker->rack];
    (broker->fenced ? rack.fenced : rack.unfenced).brokers.push_back(id);
    brokers_++;
    if (!broker->fenced) unfenced_++;
  }
  for (auto& [name, rack] : racks) {
    for (Ring* ring : {&rack.unfenced, &rack.fenced})
      if (!ring->brokers.empty()) ring->offset = choices_.below(ring->brokers.size());
    racks_.push_back(std::move(rack));
  }
  if (!racks_.empty()) first_rack_ = choices_.below(racks_.size());
}

std::optional<BrokerId> Placement::Ring::next(int now) {
  if (brokers.empty()) return std::nullopt;
  if (round != now) {
    round = now;
    index = 0;
    offset = (offset + 1) % brokers.size();
  }
  if (index >= brokers.size()) return std::nullopt;
  return brokers[(index++ + offset) % brokers.size()];
}

void Placement::shuffle() {
  shuffle_all(racks_, choices_);
  for (Rack& rack : racks_) {
    shuffle_all(rack.fenced.brokers, choices_);
    shuffle_all(rack.unfenced.brokers, choices_);
  }
}

std::vector<BrokerId> Placement::place_one(int16_t replication_factor) {
  if (round_ == static_cast<int>(unfenced_) && unfenced_ > 1) {
    shuffle();
    round_ = 0;
  }
  if (first_rack_ >= racks_.size()) first_rack_ = 0;
  std::vector<BrokerId> replicas;
  // The leader: of the next rack that has somebody unfenced.
  size_t leader_rack = first_rack_;
  while (true) {
    if (auto id = racks_[leader_rack].unfenced.next(round_)) {
      replicas.push_back(*id);
      break;
    }
    leader_rack = (leader_rack + 1) % racks_.size();
  }
  // The others, rack by rack; the leader's rack waits for the second time around.
  bool pass_leader_rack = true;
  for (size_t at = first_rack_; replicas.size() < static_cast<size_t>(replication_factor);
       at = (at + 1) % racks_.size()) {
    if (at == leader_rack && pass_leader_rack) {
      pass_leader_rack = false;
      continue;
    }
    auto id = racks_[at].unfenced.next(round_);
    if (!id) id = racks_[at].fenced.next(round_);
    if (id) replicas.push_back(*id);
  }
  round_++;
  first_rack_++;
  return replicas;
}

Result<std::vector<std::vector<BrokerId>>> Placement::place(int32_t count,
                                                            int16_t replication_factor) {
  ODRADEK_CHECK(replication_factor > 0 && count > 0);
  if (unfenced_ == 0) return fail(Errc::kInvalid, "All brokers are currently fenced.");
  if (static_cast<size_t>(replication_factor) > brokers_)
    return fail(Errc::kInvalid,
                fmt::format("The target replication factor of {} cannot be reached because only {} "
                            "broker(s) are registered or some brokers have all their log "
                            "directories cordoned.",
                            replication_factor, brokers_));
  std::vector<std::vector<BrokerId>> placed;
  placed.reserve(static_cast<size_t>(count));
  for (int32_t i = 0; i < count; i++) placed.push_back(place_one(replication_factor));
  return placed;
}

}  // namespace odradek::machines::control
