// The write-ahead files of a log directory, `odradek.wal-0` and `odradek.wal-1`: copies of small
// appends to many logs, so that one sync makes all of them durable (io::WriteAhead). Only a power
// loss makes them matter: after a kill the page cache still holds the segments. Apache Kafka leaves
// such files alone, and a clean stop removes them (docs/formats/write-ahead.md).
//
//   WriteAheadFile  writes them, for the directory's sync queue
//   Ahead           what they hold at start, for Log::open
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include <boost/align/aligned_allocator.hpp>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/uuid.h"
#include "io/io.h"

namespace odradek::log {

/// Counts for metrics; read from any thread.
struct WriteAheadCounts {
  std::atomic<uint64_t> rounds{0};
  std::atomic<uint64_t> bytes{0};
  std::atomic<uint64_t> laps{0};
};

class WriteAheadFile : public io::WriteAhead {
 public:
  /// A lap ends before its file is larger than `lap_bytes`.
  WriteAheadFile(io::Disk& disk, std::string directory, uint64_t lap_bytes)
      : disk_(disk), directory_(std::move(directory)), lap_bytes_(lap_bytes) {}

  Result<void> begin() override;
  bool takes(const std::vector<io::Appended>& round) override;
  Result<uint64_t> write(const std::vector<io::Appended>& round) override;
  std::optional<io::AheadWrite> prepare(const std::vector<io::Appended>& round) override;
  Result<uint64_t> wrote(const std::vector<io::Appended>& round,
                         const Result<void>& result) override;
  void next_lap() override;
  std::vector<io::FileRange> over() override;
  void flushed(const Result<void>& result) override;
  Result<void> intact() const override;
  uint64_t flushed_lap() const override { return flushed_; }
  std::vector<std::shared_ptr<io::File>> unflushed() override;
  Result<void> forget() override;

  const WriteAheadCounts& counts() const { return counts_; }

 private:
  using Blocks = std::vector<uint8_t, boost::alignment::aligned_allocator<uint8_t, io::kBlock>>;
  enum class State : uint8_t { kFree, kOpen, kOver, kFlushing };
  struct Lap {
    State state = State::kFree;
    uint64_t number = 0;
    uint32_t entries = 0;
    uint64_t used = 0;       // bytes
    uint64_t allocated = 0;  // size of the file: writing inside it needs no journal of the system
    std::shared_ptr<io::File> file;
    /// Whose bytes are in it, and which came first: that is the order in which they are synced.
    /// Whoever lets a segment go has synced or removed it; kept here, a removed one would keep its
    /// space.
    struct Held {
      size_t order;
      std::weak_ptr<io::File> file;
      uint64_t from;  // where in the file
      uint64_t to;
    };
    std::unordered_map<io::File*, Held> files;
  };

  bool fits(const Lap& lap, uint64_t bytes) const;
  static void hold(Lap& lap, const io::Appended& appended);
  static std::vector<io::FileRange> live(const Lap& lap);
  Result<Lap*> lap_for(uint64_t bytes);
  Result<void> open_file(Lap& lap);
  Result<void> write_round(Lap& lap, const std::vector<io::Appended>& round);
  Result<void> fill(Lap& lap, const std::vector<io::Appended>& round, uint64_t& at);
  Result<uint64_t> ended(Lap& lap, const std::vector<io::Appended>& round,
                         const Result<void>& result);
  void make_room(size_t used, size_t bytes);
  Result<void> put(Lap& lap, uint64_t& at, const io::Appended& appended);
  Result<void> put_blocks(Lap& lap, uint64_t& at);

  io::Disk& disk_;
  const std::string directory_;
  const uint64_t lap_bytes_;
  bool begun_ = false;
  std::array<Lap, 2> laps_;
  size_t open_ = 0;      // the lap that is, or was last, written
  uint64_t number_ = 0;  // of the newest lap
  uint64_t flushed_ = 0;
  std::optional<Error> failed_;  // a lap could not be flushed
  /// Whole blocks are written: from `block_` on it has what the open lap's last block has, and then
  /// new entries.
  Blocks buffer_;
  size_t block_ = 0;
  uint32_t buffered_ = 0;  // entries in the buffer
  uint64_t end_ = 0;       // of the round's entries, in the file
  WriteAheadCounts counts_;
};

/// Removes the files. No error if there are none.
Result<void> remove_write_ahead(io::Disk& disk, const std::string& directory);

class Ahead {
 public:
  /// A run of bytes that was appended to a segment.
  struct Range {
    uint64_t from;  // positions in the segment
    uint64_t to;
    Offset before;  // log end offset in front of it
    uint32_t crc;   // of the batch in front of it
    int file;
    uint64_t at;  // where the bytes lie in the write-ahead file
  };

  /// Reads what is whole in both files. Nothing, if there are none.
  static Result<Ahead> read(io::Disk& disk, const std::string& directory);

  bool empty() const { return ranges_.empty(); }
  bool holds(const Uuid& topic, PartitionIndex partition) const;
  /// Ascending, without overlaps: of two appends to the same place the later one counts. Empty:
  /// there are none.
  const std::vector<Range>& find(const Uuid& topic, PartitionIndex partition, Offset base) const;
  /// Fills `into` with a range's bytes from its position `from` on. From any thread.
  Result<void> copy(const Range& range, uint64_t from, MutableBytes into) const;

 private:
  void add(ByteView header, int file, uint64_t at);
  Result<void> read_file(io::File& file, int index);

  std::array<std::shared_ptr<io::File>, 2> files_;
  std::map<std::tuple<Uuid, PartitionIndex, Offset>, std::vector<Range>> ranges_;
};

}  // namespace odradek::log
