// Snapshots of the metadata log: `<end offset>-<epoch>.checkpoint` beside the log, and
// `bootstrap.checkpoint`, which is shaped alike (docs/formats/metadata-log.md).
//
// A snapshot is a row of record batches with offsets counted from 0: a control batch (header, and
// with kraft.version 1 the voters), data batches, a control batch (footer). Calls block on the
// disk.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "io/io.h"
#include "raft/batch.h"
#include "raft/step.h"

namespace odradek::raft {

/// The part of the log that a snapshot stands for: everything below `end`, written up to `epoch`.
struct SnapshotId {
  Offset end{0};
  LeaderEpoch epoch{0};
  auto operator<=>(const SnapshotId&) const = default;

  /// `00000000000000000042-0000000003.checkpoint`.
  std::string file_name() const;
  /// Nothing if the name is not that of a finished snapshot.
  static std::optional<SnapshotId> parse(std::string_view file_name);
};

/// What the control batches of a snapshot say.
struct SnapshotContent {
  WallMs last_timestamp = kNoTimestamp;  // of the last batch that it stands for
  std::optional<VoterSet> voters;        // kraft.version 1 and up
  uint64_t bytes = 0;
};

/// Reads a snapshot and hands its data batches over in order. kCorrupt (with the file's name) if
/// header or footer are missing or a checksum is wrong.
Result<SnapshotContent> read_snapshot(io::Disk& disk, const std::string& path,
                                      const BatchSink& sink);

/// Reads its first batch only.
Result<SnapshotContent> read_snapshot_header(io::Disk& disk, const std::string& path);

/// Writes one. Until `finish` the file carries a name that readers ignore.
class SnapshotWriter {
 public:
  /// `path` is the final one. `voters` with kraft.version 0, or none at all, are not written.
  static Result<std::unique_ptr<SnapshotWriter>> create(io::Disk& disk, std::string path,
                                                        LeaderEpoch epoch, WallMs last_timestamp,
                                                        const VoterSet& voters, WallMs now);
  /// Adds a framed metadata record.
  Result<void> add(ByteView value);
  /// Footer, sync, rename, sync of the folder. The writer is used up.
  Result<void> finish();

 private:
  SnapshotWriter(io::Disk& disk, std::string path, LeaderEpoch epoch, WallMs now);
  Result<void> write(const ByteBuffer& batch);
  Result<void> flush();

  io::Disk& disk_;
  std::string path_;
  std::string part_path_;
  LeaderEpoch epoch_;
  WallMs now_;
  std::shared_ptr<io::File> file_;
  uint64_t position_ = 0;
  Offset next_{0};
  std::vector<std::string> open_;  // values of the batch that is being gathered
  size_t open_bytes_ = 0;
};

/// Finished snapshots in a folder, oldest first. Parts and doomed ones that a crash left are
/// removed.
Result<std::vector<SnapshotId>> list_snapshots(io::Disk& disk, const std::string& folder);

}  // namespace odradek::raft
