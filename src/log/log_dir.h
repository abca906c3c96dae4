// LogDir: one directory of `log.dirs`: its lock, meta.properties, checkpoint files, clean-shutdown
// marker, and the folders of its partitions (docs/formats/log-directory.md).
//
// Calls block on the disk: use them at start and stop, or on a file thread. Every Error names the
// file or directory.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/logger.h"
#include "base/result.h"
#include "base/uuid.h"
#include "io/io.h"
#include "log/log.h"

namespace odradek::log {

// ---- meta.properties

/// Whose directory this is. Version 0 files have `broker.id` and may lack the rest.
struct MetaProperties {
  int version = 1;
  std::optional<std::string> cluster_id;
  std::optional<BrokerId> node_id;
  std::optional<Uuid> directory_id;
  bool operator==(const MetaProperties&) const = default;
};

/// kCorrupt with the offending line. Order, comments, escapes and unknown keys as in a Java
/// properties file.
Result<MetaProperties> parse_meta_properties(std::string_view text);
std::string to_text(const MetaProperties& meta);

// ---- checkpoints

/// Content of recovery-point-, log-start- and replication-offset-checkpoint.
using OffsetCheckpoint = std::map<TopicPartition, Offset>;

enum class CheckpointKind { kRecoveryPoint, kLogStart, kHighWatermark, kCleaner };
std::string_view file_name(CheckpointKind kind);

Result<OffsetCheckpoint> parse_offset_checkpoint(std::string_view text);
std::string to_text(const OffsetCheckpoint& checkpoint);

Result<std::vector<EpochEntry>> parse_epoch_checkpoint(std::string_view text);
std::string epoch_checkpoint_text(const std::vector<EpochEntry>& epochs);

Result<Uuid> parse_partition_metadata(std::string_view text);
std::string partition_metadata_text(const Uuid& topic_id);

/// Reads a whole file of at most 256 MiB; kNotFound if it is missing, kLimit if it is larger.
Result<std::string> read_small_file(io::Disk& disk, const std::string& path);
/// Writes PATH.tmp, renames it to PATH. With `durable` both the file and its directory are synced.
Result<void> write_text_file(io::Disk& disk, const std::string& path, std::string_view text,
                             bool durable = true);

/// Empty, or zeros: what a power loss leaves of a small file whose content was never synced.
bool is_blank(std::string_view text);
/// Makes a directory and its missing parents, and their names durable: a power loss that takes the
/// name takes everything in it.
Result<void> make_durable_directory(io::Disk& disk, const std::string& path);

// ---- folders

enum class FolderKind { kPartition, kDelete, kFuture, kStray };

struct PartitionFolder {
  std::string name;  // of the folder
  FolderKind kind = FolderKind::kPartition;
  TopicPartition partition;
};

/// Understands a folder's name; kInvalid for a name that is not one of ours.
Result<PartitionFolder> parse_folder_name(std::string_view name);
/// `topic-index.<32 hex digits>-delete` (or -future, -stray); the topic is cut so that the name has
/// at most 255 bytes.
std::string doomed_name(const TopicPartition& partition, const Uuid& unique, FolderKind kind);

class LogDir {
 public:
  /// Takes `.lock` (kExists: another process has the directory). The directory must exist.
  static Result<std::unique_ptr<LogDir>> open(io::Disk& disk, std::string path, Logger logger);

  const std::string& path() const { return path_; }
  io::Disk& disk() const { return disk_; }
  std::string folder_path(const TopicPartition& partition) const;

  /// Nothing if the file is missing (the directory is not formatted).
  Result<std::optional<MetaProperties>> read_meta() const;
  Result<void> write_meta(const MetaProperties& meta) const;

  Result<OffsetCheckpoint> read_checkpoint(CheckpointKind kind) const;
  Result<void> write_checkpoint(CheckpointKind kind, const OffsetCheckpoint& checkpoint) const;

  struct CleanMarker {
    bool clean = false;
    BrokerEpoch broker_epoch{-1};  // −1 if the marker did not say
  };
  /// Reads and removes `.kafka_cleanshutdown`.
  Result<CleanMarker> take_clean_marker() const;
  /// The last thing written at a clean stop.
  Result<void> write_clean_marker(BrokerEpoch epoch) const;

  /// All partition folders, sorted by name. kInvalid names an unknown folder: Apache refuses to
  /// start with one. Plain files are ignored.
  Result<std::vector<PartitionFolder>> list() const;

  /// Renames a partition's folder to its -delete or -stray name; returns the new path. The owner
  /// removes a -delete folder later (`Disk::remove_tree`).
  Result<std::string> set_aside(const std::string& folder_path, const TopicPartition& partition,
                                const Uuid& unique, FolderKind kind) const;

 private:
  LogDir(io::Disk& disk, std::string path, std::unique_ptr<io::DirLock> lock, Logger logger);

  io::Disk& disk_;
  std::string path_;
  std::unique_ptr<io::DirLock> lock_;
  Logger logger_;
};

/// kInvalid if two directories have the same directory id, or do not agree about cluster or node.
Result<void> check_same_node(const std::vector<std::pair<std::string, MetaProperties>>& dirs);

// ---- loading

using LoadedLogs = std::vector<Result<std::unique_ptr<Log>>>;

/// Opens logs on `parallel` file threads (`Io::background`); `done` gets them in the order of
/// `options`, on `reply_to`. `opened` (may be empty) is called after each log, on the thread that
/// opened it; what recovery does within a log tells LogOptions::progress.
void load_logs(io::Io& io, io::Loop& reply_to, std::vector<LogOptions> options, int parallel,
               std::function<void()> opened, std::move_only_function<void(LoadedLogs)> done);

}  // namespace odradek::log
