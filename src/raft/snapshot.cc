#include "raft/snapshot.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/arena.h"
#include "base/check.h"
#include "wire/gen/snapshot_footer_record.h"
#include "wire/gen/snapshot_header_record.h"
#include "wire/reader.h"
#include "wire/record_batch.h"

namespace odradek::raft {

namespace {

constexpr std::string_view kSuffix = ".checkpoint";
constexpr size_t kEndDigits = 20;
constexpr size_t kEpochDigits = 10;
constexpr size_t kBatchBytesMax = 8 << 20;

template <class T>
std::optional<T> parse_digits(std::string_view text) {
  T n{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc{} || end != text.data() + text.size() || n < 0) return std::nullopt;
  return n;
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

// The batch at `position`; nothing at the end of the file.
Result<std::optional<ByteBuffer>> read_at(io::File& file, uint64_t position, uint64_t size) {
  if (position == size) return std::nullopt;
  ByteBuffer bytes(wire::kBatchHeaderSize);
  auto n = file.read(position, bytes);
  if (!n) return std::unexpected(n.error());
  if (*n < bytes.size()) return fail(Errc::kCorrupt, "ends inside a batch");
  const uint64_t length =
      static_cast<uint64_t>(load_be<uint32_t>(bytes.data() + 8)) + wire::kBatchOverhead;
  if (length < wire::kBatchHeaderSize || length > size - position)
    return fail(Errc::kCorrupt, fmt::format("a batch of {} bytes at {}", length, position));
  bytes.resize(length);
  n = file.read(position, bytes);
  if (!n) return std::unexpected(n.error());
  if (*n < bytes.size()) return fail(Errc::kCorrupt, "ends inside a batch");
  return bytes;
}

struct Seen {
  bool header = false;
  bool footer = false;
  WallMs last_timestamp = kNoTimestamp;
};

Result<void> look_at_controls(const Batch& batch, Seen& seen) {
  Arena arena;
  for (const ControlRecord& control : batch.controls) {
    if (control.type == wire::ControlType::kSnapshotFooter) seen.footer = true;
    if (control.type != wire::ControlType::kSnapshotHeader) continue;
    wire::SnapshotHeaderRecord header;
    wire::Reader reader(control.value, arena);
    if (auto r = header.decode(reader, 0); !r) return r;
    seen.header = true;
    seen.last_timestamp = WallMs(header.last_contained_log_timestamp);
  }
  return {};
}

Result<SnapshotContent> read_batches(io::File& file, const BatchSink& sink, bool first_only) {
  auto size = file.size();
  if (!size) return std::unexpected(size.error());
  Seen seen;
  VoterHistory voters;
  uint64_t position = 0;
  while (true) {
    auto bytes = read_at(file, position, *size);
    if (!bytes) return std::unexpected(bytes.error());
    if (!*bytes) break;
    if (seen.footer) return fail(Errc::kCorrupt, "goes on behind its footer");
    auto header = wire::BatchHeader::parse(**bytes);
    if (!header) return std::unexpected(header.error());
    auto batch = read_batch(*header);
    if (!batch) return std::unexpected(batch.error());
    if (auto r = look_at_controls(*batch, seen); !r) return std::unexpected(r.error());
    if (!seen.header) return fail(Errc::kCorrupt, "does not begin with a snapshot header");
    if (auto r = voters.apply(*batch); !r) return std::unexpected(r.error());
    if (!header->is_control())
      if (auto r = sink(*batch); !r) return std::unexpected(r.error());
    position += (*bytes)->size();
    if (first_only) return SnapshotContent{seen.last_timestamp, voters.current(), *size};
  }
  if (!seen.footer) return fail(Errc::kCorrupt, "has no footer");
  return SnapshotContent{seen.last_timestamp, voters.current(), *size};
}

}  // namespace

std::string SnapshotId::file_name() const {
  return fmt::format("{:020}-{:010}{}", end.value, epoch.value, kSuffix);
}

std::optional<SnapshotId> SnapshotId::parse(std::string_view name) {
  if (name.size() != kEndDigits + 1 + kEpochDigits + kSuffix.size()) return std::nullopt;
  if (!name.ends_with(kSuffix) || name[kEndDigits] != '-') return std::nullopt;
  const auto end = parse_digits<int64_t>(name.substr(0, kEndDigits));
  const auto epoch = parse_digits<int32_t>(name.substr(kEndDigits + 1, kEpochDigits));
  if (!end || !epoch) return std::nullopt;
  return SnapshotId{Offset(*end), LeaderEpoch(*epoch)};
}

namespace {

Result<SnapshotContent> read_file(io::Disk& disk, const std::string& path, const BatchSink& sink,
                                  bool first_only) {
  auto file = disk.open(path, io::OpenMode::kRead);
  if (!file) return std::unexpected(file.error());
  auto content = read_batches(**file, sink, first_only);
  if (!content) return fail(content.error().kind, path + ": " + content.error().message);
  return content;
}

}  // namespace

Result<SnapshotContent> read_snapshot(io::Disk& disk, const std::string& path,
                                      const BatchSink& sink) {
  return read_file(disk, path, sink, false);
}

Result<SnapshotContent> read_snapshot_header(io::Disk& disk, const std::string& path) {
  return read_file(disk, path, [](const Batch&) { return Result<void>(); }, true);
}

SnapshotWriter::SnapshotWriter(io::Disk& disk, std::string path, LeaderEpoch epoch, WallMs now)
    : disk_(disk), path_(std::move(path)), part_path_(path_ + ".part"), epoch_(epoch), now_(now) {}

Result<std::unique_ptr<SnapshotWriter>> SnapshotWriter::create(io::Disk& disk, std::string path,
                                                               LeaderEpoch epoch,
                                                               WallMs last_timestamp,
                                                               const VoterSet& voters, WallMs now) {
  std::unique_ptr<SnapshotWriter> writer(new SnapshotWriter(disk, std::move(path), epoch, now));
  auto file = disk.open(writer->part_path_, io::OpenMode::kCreate);
  if (!file) return std::unexpected(file.error());
  writer->file_ = std::move(*file);
  if (auto r = writer->file_->truncate(0); !r) return std::unexpected(r.error());

  wire::BatchBuilder batch({.leader_epoch = epoch, .control = true});
  wire::SnapshotHeaderRecord header;
  header.last_contained_log_timestamp = last_timestamp.value;
  batch.add_control(now, wire::ControlType::kSnapshotHeader, header);
  if (voters.kraft_version > 0) add_voter_records(batch, now, voters);
  const int32_t count = batch.count();
  auto bytes = batch.build();
  if (!bytes) return std::unexpected(bytes.error());
  if (auto r = writer->write(*bytes); !r) return std::unexpected(r.error());
  writer->next_ = Offset(count);
  return writer;
}

Result<void> SnapshotWriter::add(ByteView value) {
  const size_t size = wire::BatchBuilder::size_bound(std::nullopt, value);
  if (open_bytes_ + size > kBatchBytesMax && !open_.empty())
    if (auto r = flush(); !r) return r;
  open_.emplace_back(as_text(value));
  open_bytes_ += size;
  return {};
}

Result<void> SnapshotWriter::flush() {
  if (open_.empty()) return {};
  wire::BatchBuilder batch({.base_offset = next_, .leader_epoch = epoch_});
  for (const std::string& value : open_) batch.add(now_, std::nullopt, as_bytes(value));
  auto bytes = batch.build();
  if (!bytes) return std::unexpected(bytes.error());
  next_ = next_ + static_cast<int64_t>(open_.size());
  open_.clear();
  open_bytes_ = 0;
  return write(*bytes);
}

Result<void> SnapshotWriter::write(const ByteBuffer& batch) {
  if (auto r = file_->write(position_, ByteView(batch)); !r) return r;
  position_ += batch.size();
  return {};
}

Result<void> SnapshotWriter::finish() {
  if (auto r = flush(); !r) return r;
  wire::BatchBuilder batch({.base_offset = next_, .leader_epoch = epoch_, .control = true});
  batch.add_control(now_, wire::ControlType::kSnapshotFooter, wire::SnapshotFooterRecord{});
  auto bytes = batch.build();
  if (!bytes) return std::unexpected(bytes.error());
  if (auto r = write(*bytes); !r) return r;
  if (auto r = file_->sync(); !r) return r;
  file_.reset();
  if (auto r = disk_.rename(part_path_, path_); !r) return r;
  return disk_.sync_directory(folder_of(path_));
}

Result<std::vector<SnapshotId>> list_snapshots(io::Disk& disk, const std::string& folder) {
  auto entries = disk.list(folder);
  if (!entries) return std::unexpected(entries.error());
  std::vector<SnapshotId> found;
  for (const io::DirEntry& entry : *entries) {
    if (entry.is_directory) continue;
    const bool left_over =
        entry.name.ends_with(".checkpoint.part") || entry.name.ends_with(".checkpoint.deleted");
    if (left_over) {
      if (auto r = disk.remove(folder + "/" + entry.name); !r) return std::unexpected(r.error());
    } else if (auto id = SnapshotId::parse(entry.name)) {
      found.push_back(*id);
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace odradek::raft
