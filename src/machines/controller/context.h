// Context: what a decision of the controller is made from, and what it comes to. The files beside
// this one fill it in; controller.cc turns it into a Decision.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/arena.h"
#include "machines/controller/controller.h"
#include "machines/machine.h"
#include "metadata/features.h"
#include "metadata/image.h"
#include "metadata/record.h"
#include "wire/errors.h"

namespace odradek::machines::control {

/// Random numbers for one decision: a function of its seed alone (SplitMix64).
class Choices {
 public:
  explicit Choices(uint64_t seed) : state_(seed) {}
  uint64_t next();
  /// 0 to n − 1; n is small.
  size_t below(size_t n) { return static_cast<size_t>(next() % n); }
  /// A version 4 uuid whose text does not begin with '-'.
  Uuid uuid();

 private:
  uint64_t state_;
};

/// A refusal as it goes into an answer.
struct ApiError {
  wire::ErrorCode code = wire::ErrorCode::kNone;
  std::optional<std::string> message;

  bool failed() const { return code != wire::ErrorCode::kNone; }
};
/// With the code's own sentence.
ApiError api_error(wire::ErrorCode code);
template <class... A>
ApiError api_error(wire::ErrorCode code, fmt::format_string<A...> f, A&&... args) {
  return {code, fmt::format(f, std::forward<A>(args)...)};
}

struct Context {
  static constexpr size_t kTextMax = 8192;

  const metadata::Image& image;
  const ControllerSettings& settings;
  const std::map<BrokerId, Offset>& registered_at;
  Now now;
  Choices choices;
  Arena& arena;

  std::vector<metadata::Record> records{};
  std::vector<TimerOrder> timers{};

  metadata::MetadataVersion version() const {
    return metadata::MetadataVersion(image.metadata_version());
  }
  template <class T>
  void add(const T& record, int16_t record_version) {
    records.push_back(metadata::Record::of(record, record_version));
  }
  /// Text that lives until the answer is encoded. It may quote what the request says, so it is cut
  /// where an answer could not hold it.
  std::optional<std::string_view> keep(const std::optional<std::string>& text) {
    if (!text) return std::nullopt;
    size_t size = std::min(text->size(), kTextMax);
    while (size < text->size() && size > 0 && ((*text)[size] & 0xC0) == 0x80) size--;  // UTF-8
    return arena.copy(std::string_view(*text).substr(0, size));
  }
};

/// Records that one request may make, as at Apache.
inline constexpr size_t kRecordsMax = 10'000;
/// What a request with more of them is answered.
ApiError too_many_records();

/// Checks that (broker, epoch) is the registration we know: STALE_BROKER_EPOCH.
wire::ErrorCode check_broker_epoch(const metadata::Image& image, BrokerId id, BrokerEpoch epoch);

/// The directory of a broker's new replica: its only one, else unassigned.
Uuid default_directory(const metadata::Image& image, BrokerId id);

// ---- settings of a topic as they count for the controller: topic, cluster default, own file
/// min.insync.replicas, at most the replication factor.
int32_t effective_min_isr(const Context& context, const metadata::Topic& topic);
bool unclean_election_allowed(const Context& context, std::string_view topic);

}  // namespace odradek::machines::control
