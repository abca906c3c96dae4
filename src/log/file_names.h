// Names of the files in a partition's folder: a base offset as 20 decimal digits, then a suffix.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"

namespace odradek::log {

inline constexpr std::string_view kLogSuffix = ".log";
inline constexpr std::string_view kIndexSuffix = ".index";
inline constexpr std::string_view kTimeIndexSuffix = ".timeindex";
inline constexpr std::string_view kTxnIndexSuffix = ".txnindex";
inline constexpr std::string_view kSnapshotSuffix = ".snapshot";
inline constexpr std::string_view kDeletedSuffix = ".deleted";
inline constexpr std::string_view kCleanedSuffix = ".cleaned";
inline constexpr std::string_view kSwapSuffix = ".swap";

inline constexpr std::string_view kEpochCheckpointFile = "leader-epoch-checkpoint";
inline constexpr std::string_view kPartitionMetadataFile = "partition.metadata";

/// `00000000000000001000.log`
std::string file_name(Offset base, std::string_view suffix);

struct ParsedName {
  Offset base;
  std::string_view suffix;  // everything behind the digits, a view of the name
};
/// Nothing unless the name begins with exactly 20 digits that fit an offset, followed by a dot.
std::optional<ParsedName> parse_file_name(std::string_view name);

}  // namespace odradek::log
