// UpdateFeatures 0-2 (0: AllowDowngrade; 1: upgrade types, dry run; 2: no answers by feature), and
// the first records of a log.
#include <string>

#include "machines/controller/apis.h"
#include "wire/gen/abort_transaction_record.h"
#include "wire/gen/begin_transaction_record.h"
#include "wire/gen/config_record.h"
#include "wire/gen/end_transaction_record.h"
#include "wire/gen/feature_level_record.h"

namespace odradek::machines::control {

namespace {

using metadata::FeatureUpgrade;
using metadata::ResourceType;
using wire::ErrorCode;

constexpr std::string_view kMinIsr = "min.insync.replicas";

void add_config(Context& context, std::string_view broker, std::optional<std::string_view> value) {
  wire::ConfigRecord record;
  record.resource_type = static_cast<int8_t>(ResourceType::kBroker);
  record.resource_name = broker;
  record.name = kMinIsr;
  record.value = value;
  context.add(record, 0);
}

// With eligible leader replicas the controller must know the min ISR: it becomes a setting of the
// cluster, and single brokers have none of their own.
void prepare_elr(Context& context) {
  const metadata::Image& image = context.image;
  if (!image.config(ResourceType::kBroker, "", kMinIsr)) {
    const int32_t own = context.settings.config->int32(metadata::BrokerKey::kMinInsyncReplicas);
    add_config(context, "", context.arena.copy(std::to_string(own)));
  }
  for (const auto& [id, broker] : image.brokers) {
    const std::string_view name = context.arena.copy(std::to_string(id.value));
    if (image.config(ResourceType::kBroker, name, kMinIsr)) add_config(context, name, std::nullopt);
  }
}

std::optional<FeatureUpgrade> upgrade_type(
    const wire::UpdateFeaturesRequest::FeatureUpdateKey& update, int16_t version) {
  if (version == 0)
    return update.allow_downgrade ? FeatureUpgrade::kSafeDowngrade : FeatureUpgrade::kUpgrade;
  if (update.upgrade_type < 1 || update.upgrade_type > 3) return std::nullopt;
  return static_cast<FeatureUpgrade>(update.upgrade_type);
}

// The levels as they would be after all other updates: features depend on each other, and one
// request may raise several.
metadata::Image with_others(const metadata::Image& image,
                            const wire::UpdateFeaturesRequest& request, std::string_view feature) {
  metadata::Image out = image;
  for (const auto& update : request.feature_updates)
    if (update.feature != feature)
      out.features[std::string(update.feature)] = update.max_version_level;
  return out;
}

// Why an update is refused; nothing when its records have been added.
std::optional<std::string> update_one(Context& context, const wire::UpdateFeaturesRequest& request,
                                      const wire::UpdateFeaturesRequest::FeatureUpdateKey& update,
                                      int16_t version) {
  const int16_t level = update.max_version_level;
  const auto type = upgrade_type(update, version);
  if (!type)
    return fmt::format(
        "Invalid update version {} for feature {}. The controller does not support "
        "the given upgrade type.",
        level, update.feature);
  if (update.feature == metadata::kKraftVersion)
    return fmt::format("Invalid update version {} for feature {}. This quorum cannot change it.",
                       level, update.feature);
  if (auto r = metadata::check_feature_update(with_others(context.image, request, update.feature),
                                              context.settings.node, update.feature, level, *type);
      !r)
    return r.error().message;
  if (update.feature == metadata::kElrVersion && level > 0 && !context.image.elr_enabled())
    prepare_elr(context);
  wire::FeatureLevelRecord record;
  record.name = update.feature;
  record.feature_level = level;
  context.add(record, 0);
  return std::nullopt;
}

}  // namespace

wire::UpdateFeaturesResponse update_features(Context& context,
                                             const wire::UpdateFeaturesRequest& request,
                                             int16_t version) {
  wire::UpdateFeaturesResponse response;
  response.error_message = std::nullopt;
  for (const auto& update : request.feature_updates) {
    auto why = update_one(context, request, update, version);
    if (!why) continue;
    context.records.clear();
    response.error_code = wire_value(ErrorCode::kInvalidUpdateVersion);
    response.error_message = context.keep(
        "The update failed for all features since the following feature had an error: " + *why);
    return response;
  }
  if (version <= 1) {
    for (const auto& update : request.feature_updates) {
      auto& result = response.results.add(context.arena);
      result.feature = update.feature;
      result.error_message = std::nullopt;
    }
  }
  if (version >= 1 && request.validate_only) context.records.clear();
  return response;
}

void bootstrap(Context& context) {
  std::vector<metadata::Record> first = context.settings.bootstrap;
  if (first.empty()) {
    first = metadata::bootstrap_records(
        {{std::string(metadata::kMetadataVersion), metadata::MetadataVersion::kLatest}});
  }
  int16_t version = 0;
  int16_t elr = 0;
  for (const metadata::Record& r : first) {
    if (r.type != wire::FeatureLevelRecord::kRecordType) continue;
    auto feature = r.decode<wire::FeatureLevelRecord>(context.arena);
    if (!feature) continue;
    if (feature->name == metadata::kMetadataVersion) version = feature->feature_level;
    if (feature->name == metadata::kElrVersion) elr = feature->feature_level;
  }
  const bool transaction = metadata::MetadataVersion(version).metadata_transactions();
  if (transaction) {
    wire::BeginTransactionRecord begin;
    begin.name = "Bootstrap records";
    context.add(begin, 0);
  }
  for (metadata::Record& r : first) context.records.push_back(std::move(r));
  if (elr > 0) prepare_elr(context);
  if (transaction) context.add(wire::EndTransactionRecord{}, 0);
}

}  // namespace odradek::machines::control
