// Features: the named levels that a cluster agrees on, what this build supports of them, and which
// record versions a metadata.version allows. Facts: Kafka 4.3's MetadataVersion and Feature.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "metadata/image.h"
#include "metadata/record.h"

namespace odradek::metadata {

inline constexpr std::string_view kMetadataVersion = "metadata.version";
inline constexpr std::string_view kKraftVersion = "kraft.version";
inline constexpr std::string_view kTransactionVersion = "transaction.version";
inline constexpr std::string_view kGroupVersion = "group.version";
inline constexpr std::string_view kElrVersion = "eligible.leader.replicas.version";
inline constexpr std::string_view kShareVersion = "share.version";
inline constexpr std::string_view kStreamsVersion = "streams.version";

/// One feature that this build knows.
struct FeatureInfo {
  std::string_view name;
  int16_t min;
  int16_t max;
};
/// In the order of ApiVersions answers; kraft.version included.
std::span<const FeatureInfo> supported_features();
/// Null for a name that we do not know.
const FeatureInfo* find_feature(std::string_view name);
/// The ranges to register with.
FeatureRanges supported_ranges();

/// A level of metadata.version: its release name and what it allows.
class MetadataVersion {
 public:
  static constexpr int16_t kMin = 7;      // 3.3-IV3
  static constexpr int16_t kLatest = 30;  // 4.3-IV0

  constexpr explicit MetadataVersion(int16_t level) : level_(level) {}
  constexpr int16_t level() const { return level_; }
  /// "4.3-IV0"; empty when unknown.
  std::string_view release() const;
  /// Of "4.3-IV0", "4.3" (the last of that release), or a number.
  static std::optional<MetadataVersion> parse(std::string_view text);

  constexpr bool scram() const { return level_ >= 11; }
  /// Below, the controller must bump the leader epoch when the ISR shrinks.
  constexpr bool no_epoch_bump_on_isr_shrink() const { return level_ >= 12; }
  constexpr bool metadata_transactions() const { return level_ >= 13; }
  constexpr bool delegation_tokens() const { return level_ >= 14; }
  constexpr bool controller_registration() const { return level_ >= 15; }
  constexpr bool directories() const { return level_ >= 17; }
  constexpr bool elr_fields() const { return level_ >= 23; }
  constexpr bool cordoned_dirs() const { return level_ >= 30; }

  constexpr int16_t register_broker_record() const {
    return level_ >= 30 ? 4 : level_ >= 17 ? 3 : level_ >= 8 ? 2 : 1;
  }
  constexpr int16_t partition_record() const { return level_ >= 23 ? 2 : level_ >= 17 ? 1 : 0; }
  constexpr int16_t partition_change_record() const { return partition_record(); }
  /// Version of the Fetch requests that brokers send each other.
  constexpr int16_t inter_broker_fetch() const {
    return level_ >= 27   ? 18
           : level_ >= 21 ? 17
           : level_ >= 19 ? 16
           : level_ >= 10 ? 15
           : level_ >= 9  ? 14
                          : 13;
  }
  auto operator<=>(const MetadataVersion&) const = default;

 private:
  int16_t level_;
};

/// Levels, by name, that a new cluster gets at `version` (metadata.version included, kraft.version
/// not): of each feature the highest whose release is not above it.
std::map<std::string, int16_t> default_levels(MetadataVersion version);

/// Records of bootstrap.checkpoint: metadata.version first, then the others by name, levels above 0
/// only. `levels` must contain metadata.version.
std::vector<Record> bootstrap_records(const std::map<std::string, int16_t>& levels);

/// Checks that `levels` fit each other: group, transaction, share, streams and ELR levels need a
/// metadata.version. The error names feature and missing level.
Result<void> check_dependencies(const std::map<std::string, int16_t>& levels);

enum class FeatureUpgrade : int8_t { kUpgrade = 1, kSafeDowngrade = 2, kUnsafeDowngrade = 3 };
/// Checks one entry of UpdateFeatures against what is finalized and what every registered broker
/// and controller (and we, node `local`) support. Success: the level may be written (also when it
/// is what it was). kraft.version is not for here: it lives in control records.
Result<void> check_feature_update(const Image& image, BrokerId local, std::string_view name,
                                  int16_t level, FeatureUpgrade type);
/// Whether metadata changed in a way that forbids going from `from` down to `to`.
bool metadata_changed_between(MetadataVersion from, MetadataVersion to);

}  // namespace odradek::metadata
