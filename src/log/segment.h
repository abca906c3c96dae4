// Segment: one `.log` file with its indexes; offsets from `base` on.
//
// Only the last segment of a log is appended to. Files are opened when they are needed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/logger.h"
#include "base/result.h"
#include "io/io.h"
#include "log/batch_view.h"
#include "log/file_names.h"
#include "log/index_file.h"
#include "log/log_config.h"
#include "log/txn_index.h"

namespace odradek::log {

/// What all segments of a log share; outlives them.
struct SegmentContext {
  io::Disk& disk;
  std::string folder;
  LogConfig config;
  Logger logger;
  std::unique_ptr<IndexPage> page{};  // the index page that was looked at last
  std::string suffix{};               // behind the names of all files (`.cleaned`)
};

/// Sizes of a segment's files as the folder listed them.
struct SegmentFiles {
  uint64_t log = 0;
  uint64_t index = 0;
  uint64_t time_index = 0;
  uint64_t txn_index = 0;
};

/// A batch in a segment.
struct BatchAt {
  uint64_t position = 0;
  uint64_t size = 0;
  Offset base;
  Offset last;
};

/// The largest timestamp of a segment and the last offset of the first batch that has it.
struct MaxTimestamp {
  WallMs timestamp = kNoTimestamp;
  Offset offset = kNoOffset;
};

class Segment {
 public:
  Segment(SegmentContext& context, Offset base, const SegmentFiles& files, WallMs now,
          uint64_t random);

  Offset base() const { return base_; }
  uint64_t size() const { return size_; }
  /// The `.log` file.
  Result<std::shared_ptr<io::File>> file();
  std::string path(std::string_view suffix) const;

  /// Apache's rule (LogSegment.shouldRoll): size, age, a full index, an offset that does not fit.
  Result<bool> should_roll(uint64_t bytes, WallMs max_timestamp, Offset last, WallMs now);
  /// Appends whole batches whose offsets lie behind everything here. On an error nothing has
  /// changed; only if the file could not be cut back, `broken` is set. Without `write` the caller
  /// writes the bytes to the file, or calls `cut`, before anybody looks for them there.
  Result<void> append(ByteView batches, bool write = true);
  bool broken() const { return broken_; }

  /// The first batch whose last offset is at least `target`.
  Result<std::optional<BatchAt>> locate(Offset target);
  /// Offset behind the last batch (`base` if there is none), by the last index entry and a walk
  /// from there. kCorrupt if there is something that is not a batch.
  Result<Offset> next_offset();

  /// Largest timestamp of a record; −1 if no record has one.
  Result<MaxTimestamp> max_timestamp();
  /// The same, or the time of the file's last change: the age that retention goes by.
  Result<WallMs> age_timestamp();
  /// The largest timestamp of its first batch; nothing if it is empty.
  Result<std::optional<WallMs>> first_timestamp();
  /// Where to begin to look for a record at or after `timestamp` that is not below `from`.
  Result<uint64_t> position_for_timestamp(WallMs timestamp, Offset from);
  /// Position of an index entry at or before `offset`.
  Result<uint64_t> position_before(Offset offset);

  TxnIndex& txn_index() { return txn_index_; }
  /// Sizes of its files, indexes without what lies behind their entries.
  SegmentFiles files() const;
  /// Uses these open files, whose names are yet to become its own; `release` then forgets them.
  void adopt(std::shared_ptr<io::File> log, std::shared_ptr<io::File> index,
             std::shared_ptr<io::File> time_index, std::shared_ptr<io::File> txn_index,
             WallMs modified);
  void release();

  /// Removes everything at and above `offset`.
  Result<void> truncate_to(Offset offset);
  /// The same, when it is known that `offset` lies at this position of the file.
  Result<void> cut(Offset offset, uint64_t position);
  /// No more appends: last time index entry, indexes written and cut. Returns their files, for a
  /// sync.
  Result<std::vector<std::shared_ptr<io::File>>> finish();
  /// Writes what the indexes hold in memory. Returns their files, for a sync.
  Result<std::vector<std::shared_ptr<io::File>>> write_indexes();
  /// Empties the indexes and writes them anew from the batch headers. kCorrupt, and they are as
  /// they were, if the log is damaged.
  Result<void> rebuild_indexes();
  /// The folder of the context has changed: it was renamed.
  void folder_renamed();
  /// Renames the files to `*.deleted`; adds their paths to `doomed`.
  Result<void> doom(std::vector<std::string>& doomed);

  // ---- recovery: begin, one call for each good batch, end (cuts the file there). The indexes are
  // written only where they turn out to be wrong.
  /// Where recovery may begin: at the last batch that the index knows below `point`, if the indexes
  /// look sound. The caller knows that they were durable up to there (a producer snapshot inside
  /// the segment), and checks that there is such a batch.
  struct RecoveryStart {
    uint64_t position = 0;
    Offset last = kNoOffset;  // of the batch there; −1: the beginning of the segment
    size_t entries = 0;       // of the index, up to that batch
    size_t time_entries = 0;
  };
  Result<RecoveryStart> recovery_start(Offset point);
  Result<void> recovery_begin(const RecoveryStart& from);
  void recovery_batch(const BatchView& batch, uint64_t position);
  Result<void> recovery_end(uint64_t valid_bytes);
  /// Bytes that were lost have been written again; the file reaches to `end` at least.
  void restored(uint64_t end) { size_ = std::max(size_, end); }

  /// True if the indexes were listed with sizes that cannot be right.
  bool indexes_suspect() const;

 private:
  void index_batch(const BatchView& batch, uint64_t position);
  void add_offset_entry(Offset last, uint64_t position);
  void add_time_entry();
  Result<void> load_time();
  Result<std::optional<uint64_t>> indexed_position(Offset target);
  Result<std::optional<BatchAt>> walk_to(Offset target, uint64_t position);
  size_t max_entries(size_t entry_size) const;

  SegmentContext& context_;
  Offset base_;
  uint64_t size_;
  IndexFile index_;
  IndexFile time_index_;
  TxnIndex txn_index_;
  std::shared_ptr<io::File> file_;

  bool time_loaded_ = false;
  MaxTimestamp max_;        // with time_loaded_
  WallMs last_time_entry_;  // with time_loaded_
  uint64_t bytes_since_entry_ = 0;
  std::optional<WallMs> first_timestamp_;
  std::optional<WallMs> modified_;  // known without asking the disk
  WallMs created_;
  int64_t jitter_ms_;
  bool broken_ = false;
  bool rebuild_barred_ = false;  // the index lies, but the log is damaged too
};

}  // namespace odradek::log
