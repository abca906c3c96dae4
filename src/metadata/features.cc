#include "metadata/features.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>

#include "base/check.h"
#include "wire/gen/feature_level_record.h"

namespace odradek::metadata {
namespace {

constexpr FeatureInfo kFeatures[] = {
    {kElrVersion, 0, 1},
    {kGroupVersion, 0, 1},
    {kKraftVersion, 0, 1},
    {kMetadataVersion, MetadataVersion::kMin, MetadataVersion::kLatest},
    {kShareVersion, 0, 1},
    {kStreamsVersion, 0, 1},
    {kTransactionVersion, 0, 2},
};

/// Release of level kMin + index, and whether going below it loses metadata.
struct Level {
  std::string_view release;
  bool changed_metadata;
};
constexpr Level kLevels[] = {
    {"3.3-IV3", true},   // 7
    {"3.4-IV0", true},   // 8
    {"3.5-IV0", false},  // 9
    {"3.5-IV1", false},  // 10
    {"3.5-IV2", true},   // 11
    {"3.6-IV0", false},  // 12
    {"3.6-IV1", true},   // 13
    {"3.6-IV2", true},   // 14
    {"3.7-IV0", true},   // 15
    {"3.7-IV1", false},  // 16
    {"3.7-IV2", true},   // 17
    {"3.7-IV3", false},  // 18
    {"3.7-IV4", false},  // 19
    {"3.8-IV0", false},  // 20
    {"3.9-IV0", false},  // 21
    {"4.0-IV0", false},  // 22
    {"4.0-IV1", true},   // 23
    {"4.0-IV2", false},  // 24
    {"4.0-IV3", false},  // 25
    {"4.1-IV0", false},  // 26
    {"4.1-IV1", false},  // 27
    {"4.2-IV0", false},  // 28
    {"4.2-IV1", false},  // 29
    {"4.3-IV0", true},   // 30
};
static_assert(std::size(kLevels) == MetadataVersion::kLatest - MetadataVersion::kMin + 1);

/// From which metadata.version on a new cluster gets a level by default, and which one it needs.
struct LevelRule {
  std::string_view feature;
  int16_t level;
  int16_t default_from;
  int16_t needs_metadata_version;
};
constexpr LevelRule kLevelRules[] = {
    {kElrVersion, 1, 26, 23},    {kGroupVersion, 1, 22, 0},       {kShareVersion, 1, 28, 0},
    {kStreamsVersion, 1, 29, 0}, {kTransactionVersion, 1, 24, 0}, {kTransactionVersion, 2, 24, 0},
    {kKraftVersion, 1, 21, 21},
};

}  // namespace

std::span<const FeatureInfo> supported_features() { return kFeatures; }

const FeatureInfo* find_feature(std::string_view name) {
  for (const FeatureInfo& f : kFeatures) {
    if (f.name == name) return &f;
  }
  return nullptr;
}

FeatureRanges supported_ranges() {
  FeatureRanges ranges;
  for (const FeatureInfo& f : kFeatures) ranges[std::string(f.name)] = {f.min, f.max};
  return ranges;
}

std::string_view MetadataVersion::release() const {
  if (level_ < kMin || level_ > kLatest) return {};
  return kLevels[level_ - kMin].release;
}

std::optional<MetadataVersion> MetadataVersion::parse(std::string_view text) {
  int16_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc{} && end == text.data() + text.size()) {
    if (number < kMin || number > kLatest) return std::nullopt;
    return MetadataVersion(number);
  }
  // "4.3" and "4.3.1" mean the last level of 4.3.
  std::string_view release = text;
  if (text.find('-') == std::string_view::npos) {
    const size_t second = text.find('.', text.find('.') + 1);
    release = text.substr(0, second);
  }
  for (int16_t level = kLatest; level >= kMin; level--) {
    const std::string_view name = MetadataVersion(level).release();
    if (name == text || (release.size() < name.size() && name.starts_with(release) &&
                         name[release.size()] == '-' && text.find('-') == std::string_view::npos)) {
      return MetadataVersion(level);
    }
  }
  return std::nullopt;
}

std::map<std::string, int16_t> default_levels(MetadataVersion version) {
  std::map<std::string, int16_t> levels{{std::string(kMetadataVersion), version.level()}};
  for (const LevelRule& rule : kLevelRules) {
    if (rule.feature == kKraftVersion || version.level() < rule.default_from) continue;
    levels[std::string(rule.feature)] = rule.level;
  }
  return levels;
}

std::vector<Record> bootstrap_records(const std::map<std::string, int16_t>& levels) {
  std::vector<Record> records;
  const auto add = [&](std::string_view name, int16_t level) {
    wire::FeatureLevelRecord r;
    r.name = name;
    r.feature_level = level;
    records.push_back(Record::of(r, 0));
  };
  const auto version = levels.find(std::string(kMetadataVersion));
  ODRADEK_CHECK(version != levels.end());
  add(kMetadataVersion, version->second);
  for (const auto& [name, level] : levels) {
    if (name != kMetadataVersion && name != kKraftVersion && level > 0) add(name, level);
  }
  return records;
}

Result<void> check_dependencies(const std::map<std::string, int16_t>& levels) {
  const auto version = levels.find(std::string(kMetadataVersion));
  const int16_t have = version == levels.end() ? int16_t{0} : version->second;
  for (const LevelRule& rule : kLevelRules) {
    const auto at = levels.find(std::string(rule.feature));
    if (at == levels.end() || at->second != rule.level || have >= rule.needs_metadata_version)
      continue;
    return fail(
        Errc::kInvalid,
        fmt::format("{} could not be set to {} because it depends on metadata.version={} ({})",
                    rule.feature, rule.level, rule.needs_metadata_version,
                    MetadataVersion(rule.needs_metadata_version).release()));
  }
  return {};
}

bool metadata_changed_between(MetadataVersion from, MetadataVersion to) {
  const int16_t high = std::max(from.level(), to.level());
  const int16_t low = std::min(from.level(), to.level());
  for (int16_t level = high; level > low; level--) {
    if (level < MetadataVersion::kMin || level > MetadataVersion::kLatest) return true;
    if (kLevels[level - MetadataVersion::kMin].changed_metadata) return true;
  }
  return false;
}

namespace {

/// Why the nodes cannot take the level; empty when they can.
std::string why_unsupported(const Image& image, BrokerId local, std::string_view name,
                            int16_t level) {
  const auto check = [&](std::string_view kind, BrokerId id, const FeatureRanges& ranges) {
    const auto at = ranges.find(name);
    const FeatureRange range = at == ranges.end() ? FeatureRange{} : at->second;
    if (level >= range.min && level <= range.max) return std::string();
    if (at == ranges.end())
      return fmt::format("{} {} does not support this feature.", kind, id.value);
    return fmt::format("{} {} only supports versions {}-{}", kind, id.value, range.min, range.max);
  };
  const FeatureInfo* ours = find_feature(name);
  if (level != 0 && (ours == nullptr || level < ours->min || level > ours->max)) {
    if (ours == nullptr)
      return fmt::format("Local controller {} does not support this feature.", local.value);
    return fmt::format("Local controller {} only supports versions {}-{}", local.value, ours->min,
                       ours->max);
  }
  for (const auto& [id, broker] : image.brokers) {
    if (auto why = check("Broker", id, broker->features); !why.empty()) return why;
  }
  for (const auto& [id, controller] : image.controllers) {
    if (auto why = check("Controller", id, controller->features); !why.empty()) return why;
  }
  return {};
}

}  // namespace

namespace {

/// Going from one metadata.version to another.
Result<void> check_version_update(int16_t now, int16_t level, FeatureUpgrade type) {
  if (level < MetadataVersion::kMin || level > MetadataVersion::kLatest) {
    return fail(Errc::kInvalid,
                fmt::format("Invalid metadata.version {}. Valid versions are from {} to {}.", level,
                            MetadataVersion::kMin, MetadataVersion::kLatest));
  }
  if (level >= now || !metadata_changed_between(MetadataVersion(now), MetadataVersion(level)))
    return {};
  return fail(Errc::kInvalid,
              fmt::format("Unsupported metadata.version downgrade from {} to {}. {}",
                          MetadataVersion(now).release(), MetadataVersion(level).release(),
                          type == FeatureUpgrade::kUnsafeDowngrade
                              ? "Unsafe metadata downgrade is not supported in this version."
                              : "Refusing to perform the requested downgrade because it might "
                                "delete metadata information."));
}

}  // namespace

Result<void> check_feature_update(const Image& image, BrokerId local, std::string_view name,
                                  int16_t level, FeatureUpgrade type) {
  const auto invalid = [&](std::string_view why) {
    return fail(Errc::kInvalid,
                fmt::format("Invalid update version {} for feature {}. {}", level, name, why));
  };
  const int16_t now = image.feature(name);
  if (level < 0) return invalid("A feature version cannot be less than 0.");
  if (auto why = why_unsupported(image, local, name, level); !why.empty()) return invalid(why);
  if (level < now && type == FeatureUpgrade::kUpgrade) {
    return invalid(
        "Can't downgrade the version of this feature without setting the upgrade type to either "
        "safe or unsafe downgrade.");
  }
  if (level > now && type != FeatureUpgrade::kUpgrade)
    return invalid("Can't downgrade to a newer version.");
  if (name == kMetadataVersion) {
    if (auto r = check_version_update(now, level, type); !r) return r;
  }
  std::map<std::string, int16_t> levels(image.features.begin(), image.features.end());
  levels[std::string(name)] = level;
  return check_dependencies(levels);
}

}  // namespace odradek::metadata
