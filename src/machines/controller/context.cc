#include "machines/controller/context.h"

#include <algorithm>
#include <charconv>

namespace odradek::machines::control {

uint64_t Choices::next() {
  state_ += 0x9E3779B97F4A7C15ULL;
  uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

Uuid Choices::uuid() {
  while (true) {
    Uuid id{(next() & ~uint64_t{0xF000}) | 0x4000,
            (next() & ~(uint64_t{3} << 62)) | (uint64_t{2} << 62)};
    // Kafka's own tools take an id that begins with '-' for an option.
    if (id.to_string()[0] != '-') return id;
  }
}

ApiError api_error(wire::ErrorCode code) { return {code, std::string(wire::message(code))}; }

ApiError too_many_records() {
  return api_error(wire::ErrorCode::kPolicyViolation,
                   "Unable to perform excessively large batch operation.");
}

wire::ErrorCode check_broker_epoch(const metadata::Image& image, BrokerId id, BrokerEpoch epoch) {
  const metadata::Broker* broker = image.broker(id);
  if (broker == nullptr || broker->epoch != epoch) return wire::ErrorCode::kStaleBrokerEpoch;
  return wire::ErrorCode::kNone;
}

Uuid default_directory(const metadata::Image& image, BrokerId id) {
  const metadata::Broker* broker = image.broker(id);
  if (broker == nullptr) return kDirUnassigned;
  // A broker that registered before directories had ids keeps its replicas "migrating".
  if (broker->log_dirs.empty()) return kDirMigrating;
  return broker->log_dirs.size() == 1 ? broker->log_dirs[0] : kDirUnassigned;
}

namespace {

std::optional<std::string_view> altered(const Context& context, std::string_view topic,
                                        std::string_view name) {
  using metadata::ResourceType;
  const metadata::Image& image = context.image;
  if (auto v = image.config(ResourceType::kTopic, topic, name)) return v;
  const metadata::ConfigMap& own = image.broker_config(context.settings.node);
  if (auto at = own.find(name); at != own.end()) return at->second;
  return image.config(ResourceType::kBroker, "", name);
}

}  // namespace

int32_t effective_min_isr(const Context& context, const metadata::Topic& topic) {
  int32_t min_isr = context.settings.config->int32(metadata::BrokerKey::kMinInsyncReplicas);
  if (auto text = altered(context, topic.name, "min.insync.replicas")) {
    int32_t n = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), n);
    if (error == std::errc{} && end == text->data() + text->size()) min_isr = n;
  }
  const metadata::Partition* first = topic.partition(0);
  const auto replicas = static_cast<int32_t>(first ? first->replicas.size() : 1);
  return std::min(min_isr, replicas);
}

bool unclean_election_allowed(const Context& context, std::string_view topic) {
  if (auto text = altered(context, topic, "unclean.leader.election.enable")) return *text == "true";
  return context.settings.config->boolean(metadata::BrokerKey::kUncleanLeaderElectionEnable);
}

}  // namespace odradek::machines::control
