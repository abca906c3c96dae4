// IndexFile: a file of fixed-size entries in ascending order of a key, to which entries are added
// at the end. The offset index and the time index of a segment are both one.
//
// Read with positioned reads, not mapped. New entries are held in memory and written together: an
// index that a crash cuts short is rebuilt by recovery, so nothing waits for it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "io/io.h"

namespace odradek::log {

/// One page of entries of one index, kept between look-ups: a reader that goes through a log looks
/// up neighbours. Shared by all indexes of a log, which empties it when it cuts or drops an index.
struct IndexPage {
  static constexpr size_t kBytes = 4080;  // whole entries of both sizes
  const void* owner = nullptr;            // the index; null: empty
  size_t first = 0;                       // number of the first entry
  size_t count = 0;
  std::array<uint8_t, kBytes> bytes;
};

class IndexFile {
 public:
  static constexpr size_t kMaxEntrySize = 12;
  /// The field of an entry that a look-up compares.
  using Key = int64_t (*)(const uint8_t* entry);
  using Entry = std::array<uint8_t, kMaxEntrySize>;

  /// `entry_size` is 8 or 12. The file is not opened yet; `file_bytes` is its size (0: none).
  IndexFile(io::Disk& disk, std::string path, size_t entry_size, uint64_t file_bytes);

  const std::string& path() const { return path_; }
  size_t count() const { return written_ + pending_.size() / entry_size_; }
  /// False if the file's size is not a multiple of the entry size.
  bool whole() const { return whole_; }

  Result<void> add(ByteView entry);
  Result<Entry> at(size_t number);
  /// The last entry whose key is at most `target`; its number, or nothing.
  Result<std::optional<size_t>> floor(Key key, int64_t target, std::unique_ptr<IndexPage>& page);
  /// Drops all entries from `count` on.
  Result<void> truncate(size_t count);
  /// Writes what is held in memory.
  Result<void> flush();
  /// Flushes, and makes the file if there is none (Apache wants one for every segment). Cuts what
  /// is behind the last entry.
  Result<std::shared_ptr<io::File>> finish();
  /// Uses this open file, or (null) opens it again.
  void adopt(std::shared_ptr<io::File> file) { file_ = std::move(file); }
  /// Everything from entry `keep` on will be added again (recovery). What then turns out to be in
  /// the file already is not written.
  Result<void> begin_rewrite(size_t keep);
  /// All has been added: what the file holds beyond it is cut off.
  Result<void> end_rewrite();
  /// True if both keys go up from entry to entry (`second` may stay) and the first entry is not
  /// zeros: so it is neither what a power loss leaves of a page that was not written, nor damaged
  /// in a way that the order tells.
  Result<bool> ascending(Key first, Key second);
  /// The file, or its folder, has been renamed.
  void renamed(std::string path) {
    path_ = std::move(path);
    file_.reset();
  }

 private:
  static constexpr size_t kPendingBytes = 768;  // 96 or 64 entries

  Result<io::File*> file();
  Result<int64_t> key_at(Key key, size_t number);
  Result<void> load(IndexPage& page, size_t first);
  /// How many bytes of `pending_` lie where the file had something before the rewrite.
  size_t overlap() const;
  bool as_before(size_t bytes) const;

  io::Disk& disk_;
  std::string path_;
  size_t entry_size_;
  size_t written_;  // entries in the file
  bool whole_;
  std::shared_ptr<io::File> file_;
  ByteBuffer pending_;

  struct Rewrite {
    size_t from;     // entry
    bool ragged;     // the file ended with a piece of an entry
    ByteBuffer old;  // what the file had from there on
  };
  std::unique_ptr<Rewrite> rewrite_;
};

}  // namespace odradek::log
