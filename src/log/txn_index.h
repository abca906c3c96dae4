// TxnIndex: the aborted transactions of a segment (`.txnindex`). The file exists only if there are
// any.
//
// Every change goes into the log's next sync, so that below the recovery point the file is whole:
// recovery keeps these entries, and writes those above anew.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "io/io.h"

namespace odradek::log {

struct AbortedEntry {
  ProducerId producer;
  Offset first;
  Offset last;         // of the marker
  Offset last_stable;  // last stable offset when the marker was written
  bool operator==(const AbortedEntry&) const = default;
};

class TxnIndex {
 public:
  TxnIndex(io::Disk& disk, std::string path, uint64_t file_bytes);

  bool exists() const { return exists_; }
  const std::string& path() const { return path_; }
  /// Takes the room that `count` more entries need, before the markers are written: once these are,
  /// an entry must not fail for want of it.
  Result<void> reserve(size_t count);
  /// Gives back what was reserved: there are no markers.
  Result<void> give_back();
  Result<void> add(const AbortedEntry& entry);
  /// kCorrupt for an unknown version; a piece of an entry at the end is left out.
  Result<std::vector<AbortedEntry>> entries();
  /// Drops entries whose last offset is at or above `offset`, and from the first one on that is
  /// none: a power loss may leave zeros where some were written.
  Result<void> truncate_to(Offset offset);
  /// The open file, for a sync; null if there is none.
  Result<std::shared_ptr<io::File>> file();
  uint64_t bytes() const { return size_; }
  /// The file has changed since the last `take_unsynced`.
  bool unsynced() const { return unsynced_; }
  /// As `file`; whoever takes it syncs it.
  Result<std::shared_ptr<io::File>> take_unsynced();
  /// Uses this open file, or (null) opens it again.
  void adopt(std::shared_ptr<io::File> file) { file_ = std::move(file); }
  /// The file, or its folder, has been renamed.
  void renamed(std::string path) {
    path_ = std::move(path);
    file_.reset();
  }

 private:
  io::Disk& disk_;
  std::string path_;
  bool exists_;
  uint64_t size_;
  bool unsynced_ = false;
  std::shared_ptr<io::File> file_;
};

}  // namespace odradek::log
