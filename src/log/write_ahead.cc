#include "log/write_ahead.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/crc32c.h"

namespace odradek::log {
namespace {

// An entry: header, then the bytes. Numbers are big-endian.
constexpr uint32_t kMagic = 0x4F445741;  // "ODWA"
constexpr size_t kCrcFrom = 8;           // CRC-32C of all that follows it, the bytes as well
constexpr size_t kLapAt = 8;
constexpr size_t kNumberAt = 16;  // within the lap, from 0 on
constexpr size_t kLengthAt = 20;
constexpr size_t kTopicAt = 24;
constexpr size_t kPartitionAt = 40;
constexpr size_t kBaseAt = 44;
constexpr size_t kPositionAt = 52;
constexpr size_t kBeforeAt = 60;
constexpr size_t kCrcBeforeAt = 68;
constexpr size_t kHeader = 72;

// Writing the bytes twice is worth it as long as they are few for each file whose sync it saves.
constexpr uint64_t kBytesPerFile = 64 << 10;
constexpr uint64_t kAppendedMax = 1 << 20;  // one entry
// By how much a file grows: to write zeros takes a while, and who writes much gets there once.
constexpr uint64_t kStep = 1 << 20;
constexpr uint64_t kStepMax = 4 << 20;
constexpr size_t kBufferMax = 1 << 20;
constexpr size_t kBufferIdle = 3 << 20;
constexpr size_t kBufferKept = 1 << 20;  // in use, round after round
constexpr size_t kReadStep = 1 << 20;

std::string path_of(const std::string& directory, int file) {
  return fmt::format("{}/odradek.wal-{}", directory, file);
}

uint64_t round_up(uint64_t bytes, uint64_t to) { return (bytes + to - 1) / to * to; }

uint64_t size_of(const io::Appended& appended) { return appended.to - appended.from; }

uint64_t size_of(const std::vector<io::Appended>& round) {
  uint64_t bytes = 0;
  for (const io::Appended& each : round) bytes += kHeader + size_of(each);
  return bytes;
}

}  // namespace

Result<void> remove_write_ahead(io::Disk& disk, const std::string& directory) {
  bool removed = false;
  for (int file : {0, 1}) {
    const std::string path = path_of(directory, file);
    if (!disk.exists(path)) continue;
    if (auto r = disk.remove(path); !r) return r;
    removed = true;
  }
  return removed ? disk.sync_directory(directory) : Result<void>{};
}

// ---- writing

Result<void> WriteAheadFile::begin() {
  if (auto r = remove_write_ahead(disk_, directory_); !r) return r;
  begun_ = true;
  return {};
}

bool WriteAheadFile::fits(const Lap& lap, uint64_t bytes) const {
  return lap.state == State::kFree ? bytes <= lap_bytes_
                                   : lap.state == State::kOpen && lap.used + bytes <= lap_bytes_;
}

bool WriteAheadFile::takes(const std::vector<io::Appended>& round) {
  if (!begun_) return false;
  if (failed_) return true;  // `write` tells
  for (const io::Appended& each : round) {
    if (each.topic.is_zero() || size_of(each) > kAppendedMax) return false;
  }
  const uint64_t bytes = size_of(round);
  return bytes <= kBytesPerFile * round.size() && (fits(laps_[0], bytes) || fits(laps_[1], bytes));
}

Result<WriteAheadFile::Lap*> WriteAheadFile::lap_for(uint64_t bytes) {
  if (!fits(laps_[open_], bytes) || laps_[open_].state == State::kFree) {
    next_lap();
    if (laps_[open_].state != State::kFree) open_ = 1 - open_;
    Lap& lap = laps_[open_];
    ODRADEK_CHECK(lap.state == State::kFree);
    lap.state = State::kOpen;
    lap.number = ++number_;
    lap.entries = 0;
    lap.used = 0;
    counts_.laps.fetch_add(1, std::memory_order_relaxed);
  }
  Lap& lap = laps_[open_];
  if (auto r = open_file(lap); !r) return std::unexpected(r.error());
  return &lap;
}

Result<void> WriteAheadFile::open_file(Lap& lap) {
  if (lap.file) return {};
  auto file = disk_.open(path_of(directory_, static_cast<int>(&lap - laps_.data())),
                         io::OpenMode::kCreateDirect);
  if (!file) return std::unexpected(file.error());
  if (auto r = disk_.sync_directory(directory_); !r) return r;
  lap.file = std::move(*file);
  return {};
}

Result<uint64_t> WriteAheadFile::write(const std::vector<io::Appended>& round) {
  if (failed_) return std::unexpected(*failed_);
  auto open = lap_for(size_of(round));
  if (!open) return std::unexpected(open.error());
  return ended(**open, round, write_round(**open, round));
}

std::optional<io::AheadWrite> WriteAheadFile::prepare(const std::vector<io::Appended>& round) {
  Lap& lap = laps_[open_];
  const uint64_t bytes = size_of(round);
  if (failed_ || lap.state != State::kOpen || !fits(lap, bytes) || !lap.file ||
      bytes + io::kBlock > kBufferMax || round_up(lap.used + bytes, io::kBlock) > lap.allocated) {
    return std::nullopt;
  }
  uint64_t at = 0;
  if (!fill(lap, round, at)) return std::nullopt;  // `write` tells
  buffer_.resize(round_up(buffer_.size(), io::kBlock));
  return io::AheadWrite{lap.file, at, ByteView(buffer_).subspan(block_)};
}

Result<uint64_t> WriteAheadFile::wrote(const std::vector<io::Appended>& round,
                                       const Result<void>& result) {
  Lap& lap = laps_[open_];
  block_ += end_ / io::kBlock * io::kBlock - lap.used / io::kBlock * io::kBlock;
  return ended(lap, round, result);
}

Result<void> WriteAheadFile::write_round(Lap& lap, const std::vector<io::Appended>& round) {
  uint64_t at = 0;
  if (auto r = fill(lap, round, at); !r) return r;
  uint64_t allocated = lap.allocated;
  if (end_ > allocated) {
    // Zeros as far as the next step: the writes that follow change no size, and to sync those is
    // much cheaper.
    const uint64_t step = std::clamp(allocated / kStep * kStep, kStep, kStepMax);
    allocated = round_up(std::min(round_up(end_, step), lap_bytes_), io::kBlock);
    buffer_.resize(block_ + (allocated - at));
  } else {
    buffer_.resize(round_up(buffer_.size(), io::kBlock));
  }
  if (auto r = put_blocks(lap, at); !r) return r;
  if (auto r = lap.file->sync(); !r) return r;
  block_ = buffer_.size() - (at - end_ / io::kBlock * io::kBlock);
  lap.allocated = allocated;
  return {};
}

/// The round's entries behind what the lap's last block has; `at` is then where in the file the
/// block at `block_` belongs.
Result<void> WriteAheadFile::fill(Lap& lap, const std::vector<io::Appended>& round, uint64_t& at) {
  at = lap.used / io::kBlock * io::kBlock;
  make_room(lap.used - at, std::min(size_of(round), kBufferMax));
  buffered_ = 0;
  for (const io::Appended& each : round) {
    if (auto r = put(lap, at, each); !r) return r;
  }
  end_ = at + (buffer_.size() - block_);
  return {};
}

/// The round is durable, or nobody knows what the lap's last block holds. Returns the lap.
Result<uint64_t> WriteAheadFile::ended(Lap& lap, const std::vector<io::Appended>& round,
                                       const Result<void>& result) {
  if (!result) {
    next_lap();
    return std::unexpected(result.error());
  }
  counts_.rounds.fetch_add(1, std::memory_order_relaxed);
  counts_.bytes.fetch_add(end_ - lap.used, std::memory_order_relaxed);
  lap.used = end_;
  lap.entries += buffered_;
  for (const io::Appended& each : round) hold(lap, each);
  return lap.number;
}

/// Behind what the lap's last block has, `used` bytes of it, for about as many as `bytes`. They
/// stay where they are in memory until the buffer's end is reached: next to nothing is copied.
void WriteAheadFile::make_room(size_t used, size_t bytes) {
  if (used == 0) block_ = 0;
  if (buffer_.capacity() > kBufferIdle) {
    Blocks kept(buffer_.begin() + static_cast<ptrdiff_t>(block_),
                buffer_.begin() + static_cast<ptrdiff_t>(block_ + used));
    buffer_.swap(kept);
    block_ = 0;
  } else if (block_ + used + bytes > kBufferKept) {
    std::copy_n(buffer_.begin() + static_cast<ptrdiff_t>(block_), used, buffer_.begin());
    block_ = 0;
  }
  buffer_.resize(block_ + used);
  buffer_.reserve(kBufferKept);
}

void WriteAheadFile::hold(Lap& lap, const io::Appended& appended) {
  const auto known = lap.files.find(appended.file.get());
  if (known == lap.files.end()) {
    lap.files.emplace(appended.file.get(),
                      Lap::Held{lap.files.size(), appended.file, appended.from, appended.to});
    return;
  }
  Lap::Held& held = known->second;
  // Another file may have come to lie where one was.
  const bool same =
      !held.file.owner_before(appended.file) && !appended.file.owner_before(held.file);
  if (!same) held = {held.order, appended.file, appended.from, appended.to};
  held.from = std::min(held.from, appended.from);
  held.to = std::max(held.to, appended.to);
}

Result<void> WriteAheadFile::put(Lap& lap, uint64_t& at, const io::Appended& appended) {
  const size_t length = size_of(appended);
  const size_t header = buffer_.size();
  buffer_.resize(header + kHeader + length);
  uint8_t* p = buffer_.data() + header;
  store_be<uint32_t>(p, kMagic);
  store_be<uint64_t>(p + kLapAt, lap.number);
  store_be<uint32_t>(p + kNumberAt, lap.entries + buffered_++);
  store_be<uint32_t>(p + kLengthAt, static_cast<uint32_t>(length));
  store_be<uint64_t>(p + kTopicAt, appended.topic.high);
  store_be<uint64_t>(p + kTopicAt + 8, appended.topic.low);
  store_be<int32_t>(p + kPartitionAt, appended.partition.value);
  store_be<int64_t>(p + kBaseAt, appended.base.value);
  store_be<uint64_t>(p + kPositionAt, appended.from);
  store_be<int64_t>(p + kBeforeAt, appended.before.value);
  store_be<uint32_t>(p + kCrcBeforeAt, appended.crc);
  if (appended.carried) {
    std::ranges::copy(appended.bytes, p + kHeader);
  } else {
    const auto read = appended.file->read(appended.from, MutableBytes(p + kHeader, length));
    if (!read) return std::unexpected(read.error());
    if (*read != length) {  // the log was cut meanwhile; nobody waits for this any more
      buffer_.resize(header);
      buffered_--;
      return {};
    }
  }
  store_be<uint32_t>(p + 4, crc32c(ByteView(p + kCrcFrom, kHeader - kCrcFrom + length)));
  if (buffer_.size() - block_ <= kBufferMax) return {};
  if (auto r = put_blocks(lap, at); !r) return r;
  buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<ptrdiff_t>(block_));
  block_ = 0;
  return {};
}

/// Writes the whole blocks from `block_` on.
Result<void> WriteAheadFile::put_blocks(Lap& lap, uint64_t& at) {
  const size_t whole = (buffer_.size() - block_) / io::kBlock * io::kBlock;
  if (auto r = lap.file->write(at, ByteView(buffer_).subspan(block_, whole)); !r) return r;
  at += whole;
  block_ += whole;
  return {};
}

void WriteAheadFile::next_lap() {
  Lap& lap = laps_[open_];
  if (lap.state == State::kOpen) lap.state = lap.used > 0 ? State::kOver : State::kFree;
}

std::vector<io::FileRange> WriteAheadFile::over() {
  std::vector<io::FileRange> files;
  for (const Lap& lap : laps_) {
    if (lap.state == State::kFlushing) return files;
  }
  for (Lap& lap : laps_) {
    if (lap.state != State::kOver) continue;
    lap.state = State::kFlushing;
    files = live(lap);
    if (files.empty()) flushed({});
    break;
  }
  return files;
}

std::vector<io::FileRange> WriteAheadFile::live(const Lap& lap) {
  std::vector<const Lap::Held*> held;
  for (const auto& [key, each] : lap.files) held.push_back(&each);
  std::ranges::sort(held, {}, &Lap::Held::order);
  std::vector<io::FileRange> files;
  for (const Lap::Held* each : held) {
    if (auto file = each->file.lock()) files.push_back({std::move(file), each->from, each->to});
  }
  return files;
}

void WriteAheadFile::flushed(const Result<void>& result) {
  if (!result) failed_ = result.error();
  for (Lap& lap : laps_) {
    if (lap.state != State::kFlushing || failed_) continue;
    flushed_ = std::max(flushed_, lap.number);
    lap.state = State::kFree;
    lap.files.clear();
  }
}

Result<void> WriteAheadFile::intact() const {
  return failed_ ? Result<void>(std::unexpected(*failed_)) : Result<void>{};
}

std::vector<std::shared_ptr<io::File>> WriteAheadFile::unflushed() {
  std::vector<std::shared_ptr<io::File>> files;
  for (const Lap& lap : laps_) {
    for (io::FileRange& range : live(lap)) files.push_back(std::move(range.file));
  }
  return files;
}

Result<void> WriteAheadFile::forget() {
  for (Lap& lap : laps_) {
    if (!lap.file) continue;
    if (auto r = lap.file->truncate(0); !r) return r;
    if (auto r = lap.file->sync(); !r) return r;
    lap.allocated = lap.used = 0;
    if (lap.state == State::kFlushing) continue;  // still under way
    lap.state = State::kFree;
    lap.files.clear();
  }
  flushed_ = number_;
  return {};
}

// ---- reading

Result<Ahead> Ahead::read(io::Disk& disk, const std::string& directory) {
  Ahead ahead;
  std::array<uint64_t, 2> laps{};
  for (int i : {0, 1}) {
    auto file = disk.open(path_of(directory, i), io::OpenMode::kRead);
    if (!file && file.error().kind == Errc::kNotFound) continue;
    if (!file) return std::unexpected(file.error());
    std::array<uint8_t, kHeader> first;
    const auto got = (*file)->read(0, first);
    if (!got) return std::unexpected(got.error());
    if (*got == kHeader) laps[i] = load_be<uint64_t>(first.data() + kLapAt);
    ahead.files_[i] = std::move(*file);
  }
  const int older = laps[0] <= laps[1] ? 0 : 1;
  for (int i : {older, 1 - older}) {
    if (!ahead.files_[i]) continue;
    if (auto r = ahead.read_file(*ahead.files_[i], i); !r) return std::unexpected(r.error());
  }
  return ahead;
}

/// Up to the first entry that is not whole, or is left of an earlier lap.
Result<void> Ahead::read_file(io::File& file, int index) {
  ByteBuffer buffer;
  uint64_t buffer_at = 0;  // in the file
  size_t from = 0;         // in the buffer
  uint64_t lap = 0;
  // Makes `n` bytes from `from` on available; false if the file has not got so many.
  const auto have = [&](size_t n) -> Result<bool> {
    if (buffer.size() - from >= n) return true;
    buffer.erase(buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(from));
    buffer_at += std::exchange(from, 0);
    const size_t kept = buffer.size();
    buffer.resize(std::max(n, kept + kReadStep));
    auto got = file.read(buffer_at + kept, MutableBytes(buffer).subspan(kept));
    if (!got) return std::unexpected(got.error());
    buffer.resize(kept + *got);
    return buffer.size() >= n;
  };
  for (uint32_t number = 0;; number++) {
    auto there = have(kHeader);
    if (!there) return std::unexpected(there.error());
    if (!*there || load_be<uint32_t>(buffer.data() + from) != kMagic) return {};
    const auto length = load_be<uint32_t>(buffer.data() + from + kLengthAt);
    if (length == 0 || length > kAppendedMax) return {};
    there = have(kHeader + length);
    if (!there) return std::unexpected(there.error());
    if (!*there) return {};
    const uint8_t* p = buffer.data() + from;
    if (load_be<uint32_t>(p + 4) != crc32c(ByteView(p + kCrcFrom, kHeader - kCrcFrom + length))) {
      return {};
    }
    if (number == 0) lap = load_be<uint64_t>(p + kLapAt);
    if (load_be<uint64_t>(p + kLapAt) != lap || load_be<uint32_t>(p + kNumberAt) != number) {
      return {};
    }
    add(ByteView(p, kHeader), index, buffer_at + from + kHeader);
    from += kHeader + length;
  }
}

void Ahead::add(ByteView header, int file, uint64_t at) {
  const uint8_t* p = header.data();
  const Uuid topic{load_be<uint64_t>(p + kTopicAt), load_be<uint64_t>(p + kTopicAt + 8)};
  const PartitionIndex partition(load_be<int32_t>(p + kPartitionAt));
  auto& ranges = ranges_[{topic, partition, Offset(load_be<int64_t>(p + kBaseAt))}];
  const auto from = load_be<uint64_t>(p + kPositionAt);
  if (from > INT64_MAX) return;
  while (!ranges.empty() && ranges.back().from >= from) ranges.pop_back();
  if (!ranges.empty()) ranges.back().to = std::min(ranges.back().to, from);
  ranges.push_back({.from = from,
                    .to = from + load_be<uint32_t>(p + kLengthAt),
                    .before = Offset(load_be<int64_t>(p + kBeforeAt)),
                    .crc = load_be<uint32_t>(p + kCrcBeforeAt),
                    .file = file,
                    .at = at});
}

bool Ahead::holds(const Uuid& topic, PartitionIndex partition) const {
  const auto at = ranges_.lower_bound({topic, partition, Offset(INT64_MIN)});
  return at != ranges_.end() && std::get<0>(at->first) == topic &&
         std::get<1>(at->first) == partition;
}

const std::vector<Ahead::Range>& Ahead::find(const Uuid& topic, PartitionIndex partition,
                                             Offset base) const {
  static const std::vector<Range> kNone;
  const auto at = ranges_.find({topic, partition, base});
  return at == ranges_.end() ? kNone : at->second;
}

Result<void> Ahead::copy(const Range& range, uint64_t from, MutableBytes into) const {
  ODRADEK_CHECK(from >= range.from && from + into.size() <= range.to);
  auto got = files_[range.file]->read(range.at + (from - range.from), into);
  if (!got) return std::unexpected(got.error());
  if (*got != into.size()) return fail(Errc::kIo, files_[range.file]->path() + ": became shorter");
  return {};
}

}  // namespace odradek::log
