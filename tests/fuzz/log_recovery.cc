#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "fuzz/targets.h"
#include "log/file_names.h"
#include "log/log.h"
#include "log/write_ahead.h"
#include "sim/memory_disk.h"
#include "wire/record_batch.h"

namespace odradek::fuzz {

namespace {

constexpr const char* kFolder = "/t-0";

constexpr std::array<std::string_view, 10> kSuffixes = {
    ".log",      ".index",      ".timeindex",   ".txnindex",    ".snapshot",
    ".log.swap", ".index.swap", ".log.cleaned", ".log.deleted", ".timeindex.swap"};

constexpr uint8_t kWriteAhead = 240;

/// An entry as the write-ahead file writes it: for the segment with base `input[0]`, at a position
/// and offset that `how` and `input[2]` say.
void put_write_ahead(sim::MemoryDisk& disk, int how, ByteView input) {
  const ByteView bytes = input.subspan(3);
  if (bytes.empty()) return;
  const uint64_t position = input[2] * (how % 4 == 0 ? 0 : how % 4 == 1 ? 1 : 16);
  auto file = disk.open("/copied", io::OpenMode::kCreate).value();
  ODRADEK_CHECK(file->write(position, bytes).has_value());
  log::WriteAheadFile ahead(disk, "/", 1 << 20);
  ODRADEK_CHECK(ahead.begin().has_value());
  const io::Appended appended{.file = file,
                              .from = position,
                              .to = position + bytes.size(),
                              .topic = {},
                              .partition = PartitionIndex(0),
                              .base = Offset(input[0]),
                              .before = Offset(how / 4),
                              .crc = bytes.size() > 4 ? load_be<uint32_t>(bytes.data()) : 0};
  ODRADEK_CHECK(ahead.write({appended}).has_value());
}

void put_files(sim::MemoryDisk& disk, ByteView input) {
  ODRADEK_CHECK(disk.make_directory(kFolder).has_value());
  while (input.size() >= 4) {
    if (input[0] >= kWriteAhead) {
      const size_t length = std::min<size_t>(input[2], input.size() - 4);
      put_write_ahead(disk, input[0] - kWriteAhead, input.subspan(1, 3 + length));
      input = input.subspan(4 + length);
      continue;
    }
    size_t kind = input[0] % (kSuffixes.size() + 2);
    std::string name = kind < kSuffixes.size() ? log::file_name(Offset(input[1]), kSuffixes[kind])
                       : kind == kSuffixes.size() ? std::string(log::kEpochCheckpointFile)
                                                  : std::string(log::kPartitionMetadataFile);
    size_t size = std::min<size_t>(load_be<uint16_t>(&input[2]), input.size() - 4);
    auto file = disk.open(std::string(kFolder) + "/" + name, io::OpenMode::kCreate);
    ODRADEK_CHECK((*file)->truncate(0).has_value());
    ODRADEK_CHECK((*file)->write(0, input.subspan(4, size)).has_value());
    input = input.subspan(4 + size);
  }
}

std::unique_ptr<log::Log> open(sim::MemoryDisk& disk, bool clean, bool contiguous) {
  log::LogOptions options;
  options.disk = &disk;
  options.folder = kFolder;
  options.partition = log::TopicPartition{"t", PartitionIndex(0)};
  options.config.segment_bytes = 4096;
  options.config.index_interval_bytes = 100;
  options.clean = clean;
  options.contiguous = contiguous;
  auto ahead = log::Ahead::read(disk, "/");
  ODRADEK_CHECK(ahead.has_value());
  if (!clean) options.ahead = std::make_shared<log::Ahead>(std::move(*ahead));
  auto log = log::Log::open(std::move(options));
  return log ? std::move(*log) : nullptr;
}

/// Goes through the log by its batches; false if a read was refused.
bool walk(log::Log& log) {
  Offset from = log.start();
  while (from < log.end()) {
    auto r = log.read(from, {.max_bytes = 500, .upper_bound = log.end(), .at_least_one = true});
    if (!r) return false;
    if (r->piece.size() == 0) break;
    auto bytes = log::read_piece(r->piece);
    if (!bytes) return false;
    auto batch = wire::BatchHeader::parse(*bytes);
    ODRADEK_CHECK(batch.has_value());
    ODRADEK_CHECK(batch->last_offset() >= from);
    from = batch->next_offset();
  }
  return true;
}

}  // namespace

void log_recovery(ByteView input) {
  if (input.empty()) return;
  bool clean = (input[0] & 1) != 0, contiguous = (input[0] & 2) != 0;
  sim::MemoryDisk disk;
  put_files(disk, input.subspan(1));
  auto log = open(disk, clean, contiguous);
  if (!log) return;
  bool readable = walk(*log);
  ODRADEK_CHECK(readable || clean);  // what recovery has passed can be read
  auto ignored = log->offset_for_timestamp(WallMs(5));
  auto newest = log->max_timestamp();
  auto aborted = log->aborted_transactions(log->start(), log->end());
  Offset end = log->end();
  if (end.value > (int64_t{1} << 40)) return;
  wire::BatchBuilder builder(wire::BatchOptions{});
  builder.add(WallMs(7), std::nullopt, as_bytes("value"));
  ByteBuffer batch = *builder.build();
  auto appended = log->append_as_leader(MutableBytes(batch), LeaderEpoch(INT32_MAX),
                                        log::AppendOrigin::kClient, WallMs(7));
  if (!appended) return;
  ODRADEK_CHECK(appended->first == end);
  if (!log->close()) return;
  log.reset();
  log = open(disk, true, contiguous);
  ODRADEK_CHECK(log != nullptr || clean);
  if (log) ODRADEK_CHECK(log->end() == end + int64_t{1});
}

}  // namespace odradek::fuzz
