// Targets for the files of a node other than its logs: indexes of a sound log, checkpoints and
// their like, snapshots of the metadata log.
#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "fuzz/targets.h"
#include "log/file_names.h"
#include "log/log.h"
#include "log/log_dir.h"
#include "log/producer_state.h"
#include "metadata/loader.h"
#include "raft/quorum_state.h"
#include "raft/snapshot.h"
#include "sim/memory_disk.h"
#include "wire/record_batch.h"

namespace odradek::fuzz {

namespace {

constexpr const char* kFolder = "/t-0";
constexpr int64_t kRecords = 60;

void put(sim::MemoryDisk& disk, const std::string& path, ByteView bytes) {
  auto file = disk.open(path, io::OpenMode::kCreate);
  ODRADEK_CHECK(file.has_value() && (*file)->truncate(0).has_value());
  ODRADEK_CHECK((*file)->write(0, bytes).has_value());
}

// ---- index_files

log::LogOptions log_options(sim::MemoryDisk& disk, bool clean) {
  log::LogOptions options;
  options.disk = &disk;
  options.folder = kFolder;
  options.partition = log::TopicPartition{"t", PartitionIndex(0)};
  options.config.segment_bytes = 1500;
  options.config.index_interval_bytes = 100;
  options.clean = clean;
  return options;
}

ByteBuffer record_batch(int64_t n, bool transactional) {
  wire::BatchOptions options;
  if (transactional) {
    options.transactional = true;
    options.producer_id = ProducerId(7);
    options.producer_epoch = ProducerEpoch(0);
    options.base_sequence = static_cast<int32_t>(n);
  }
  wire::BatchBuilder builder(options);
  builder.add(WallMs(1000 + n), std::nullopt, as_bytes(std::to_string(n)));
  return *builder.build();
}

/// The files of a log of several segments with aborted transactions, stopped cleanly: by name.
const std::map<std::string, ByteBuffer>& sound_log() {
  static const auto files = [] {
    sim::MemoryDisk disk;
    auto log = log::Log::open(log_options(disk, true));
    ODRADEK_CHECK(log.has_value());
    for (int64_t n = 0; n < kRecords; n++) {
      const bool marker = n % 10 == 9;
      ByteBuffer batch =
          marker ? wire::end_transaction_batch(Offset(0), LeaderEpoch(0), ProducerId(7),
                                               ProducerEpoch(0), false, 1, WallMs(1000 + n))
                 : record_batch(n, n % 10 > 5);
      auto appended = (*log)->append_as_leader(MutableBytes(batch), LeaderEpoch(0),
                                               log::AppendOrigin::kCoordinator, WallMs(1000));
      ODRADEK_CHECK(appended && appended->first == Offset(n));
    }
    ODRADEK_CHECK((*log)->close().has_value());
    std::map<std::string, ByteBuffer> out;
    for (const io::DirEntry& e : disk.list(kFolder).value()) {
      auto file = disk.open(std::string(kFolder) + "/" + e.name, io::OpenMode::kRead).value();
      ByteBuffer bytes(file->size().value());
      ODRADEK_CHECK(file->read(0, MutableBytes(bytes)).has_value());
      out[e.name] = std::move(bytes);
    }
    return out;
  }();
  return files;
}

/// Replaces index files by those of the input.
void put_indexes(sim::MemoryDisk& disk, ByteView input) {
  constexpr std::array<std::string_view, 3> kSuffixes = {log::kIndexSuffix, log::kTimeIndexSuffix,
                                                         log::kTxnIndexSuffix};
  std::vector<Offset> bases;
  for (const auto& [name, bytes] : sound_log())
    if (auto parsed = log::parse_file_name(name); parsed && parsed->suffix == log::kLogSuffix)
      bases.push_back(parsed->base);
  while (input.size() >= 4) {
    const std::string name =
        log::file_name(bases[input[1] % bases.size()], kSuffixes[input[0] % kSuffixes.size()]);
    const size_t size = std::min<size_t>(load_be<uint16_t>(&input[2]), input.size() - 4);
    put(disk, std::string(kFolder) + "/" + name, input.subspan(4, size));
    input = input.subspan(4 + size);
  }
}

// ---- checkpoint_files

template <class Parsed, class Text, class Parse>
void check_text(const Parsed& parsed, Text to_text, Parse parse) {
  if (!parsed) return;
  auto again = parse(to_text(*parsed));
  ODRADEK_CHECK(again.has_value() && *again == *parsed);
}

void clean_marker(ByteView bytes) {
  sim::MemoryDisk disk;
  ODRADEK_CHECK(disk.make_directory("/d").has_value());
  put(disk, "/d/.kafka_cleanshutdown", bytes);
  auto dir = log::LogDir::open(disk, "/d", Logger());
  ODRADEK_CHECK(dir.has_value());
  auto marker = (*dir)->take_clean_marker();
  ODRADEK_CHECK(!marker || marker->clean);
  ODRADEK_CHECK(!disk.exists("/d/.kafka_cleanshutdown"));
}

void producer_snapshot(ByteView input, bool put_crc_right) {
  ByteBuffer bytes(input.begin(), input.end());
  if (put_crc_right && bytes.size() > 6)
    store_be(bytes.data() + 2, crc32c(ByteView(bytes).subspan(6)));
  auto entries = log::decode_snapshot(bytes);
  if (!entries) return;
  log::ProducerState state;
  state.load(*entries);
  const auto known = state.entries();
  auto again = log::decode_snapshot(log::encode_snapshot(known));
  ODRADEK_CHECK(again.has_value() && again->size() == known.size());
  ODRADEK_CHECK(state.first_unstable().has_value() ==
                std::any_of(known.begin(), known.end(), [](const log::ProducerEntry& e) {
                  return e.transaction_start != kNoOffset;
                }));
}

// ---- metadata_snapshot

/// Makes the batches of a file end where it ends, with checksums that match.
void repair_batches(ByteBuffer& bytes) {
  for (size_t at = 0; bytes.size() - at >= wire::kBatchHeaderSize;) {
    const size_t left = bytes.size() - at;
    uint8_t* batch = bytes.data() + at;
    size_t size = static_cast<size_t>(load_be<uint32_t>(batch + 8)) + wire::kBatchOverhead;
    if (size < wire::kBatchHeaderSize || size > left) {
      size = left;
      store_be(batch + 8, static_cast<uint32_t>(size - wire::kBatchOverhead));
    }
    batch[16] = static_cast<uint8_t>(wire::kMagic);
    store_be(batch + 17, wire::BatchHeader(batch).computed_crc());
    at += size;
  }
}

}  // namespace

void index_files(ByteView input) {
  if (input.empty()) return;
  const bool clean = (input[0] & 1) != 0;
  sim::MemoryDisk disk;
  ODRADEK_CHECK(disk.make_directory(kFolder).has_value());
  for (const auto& [name, bytes] : sound_log()) put(disk, std::string(kFolder) + "/" + name, bytes);
  put_indexes(disk, input.subspan(1));
  auto log = log::Log::open(log_options(disk, clean));
  ODRADEK_CHECK(log.has_value());
  ODRADEK_CHECK((*log)->end() == Offset(kRecords));
  for (int64_t n = 0; n < kRecords; n += 1 + n % 3) {
    auto r = (*log)->read(Offset(n),
                          {.max_bytes = 1, .upper_bound = Offset(kRecords), .at_least_one = true});
    ODRADEK_CHECK(r.has_value() && r->piece.size() > 0);
    auto bytes = log::read_piece(r->piece);
    ODRADEK_CHECK(bytes.has_value());
    auto batch = wire::BatchHeader::parse(*bytes);
    ODRADEK_CHECK(batch.has_value() && batch->base_offset() == Offset(n));
    auto found = (*log)->offset_for_timestamp(WallMs(1000 + n));
  }
  auto newest = (*log)->max_timestamp();
  auto aborted = (*log)->aborted_transactions(Offset(0), Offset(kRecords));
  ByteBuffer batch = record_batch(kRecords, false);
  auto appended = (*log)->append_as_leader(MutableBytes(batch), LeaderEpoch(0),
                                           log::AppendOrigin::kClient, WallMs(1000));
  ODRADEK_CHECK(appended && appended->first == Offset(kRecords));
  ODRADEK_CHECK((*log)->truncate_to(Offset(kRecords / 2)).has_value());
  ODRADEK_CHECK((*log)->end() == Offset(kRecords / 2));
}

void checkpoint_files(ByteView input) {
  if (input.empty()) return;
  const uint8_t kind = input[0] & 0x7f;
  const ByteView bytes = input.subspan(1);
  const std::string_view text = as_text(bytes);
  switch (kind % 7) {
    case 0:
      return check_text(
          log::parse_offset_checkpoint(text), [](const auto& c) { return log::to_text(c); },
          log::parse_offset_checkpoint);
    case 1:
      return check_text(log::parse_epoch_checkpoint(text), log::epoch_checkpoint_text,
                        log::parse_epoch_checkpoint);
    case 2:
      return check_text(log::parse_partition_metadata(text), log::partition_metadata_text,
                        log::parse_partition_metadata);
    case 3:
      return check_text(
          log::parse_meta_properties(text), [](const auto& m) { return log::to_text(m); },
          log::parse_meta_properties);
    case 4: {
      raft::VoterSet voters{.kraft_version = 1, .voters = {}};
      return check_text(
          raft::parse_quorum_state(text),
          [&](const auto& s) { return raft::quorum_state_text(s, voters); },
          raft::parse_quorum_state);
    }
    case 5:
      return clean_marker(bytes);
    default:
      return producer_snapshot(bytes, (input[0] & 0x80) != 0);
  }
}

void metadata_snapshot(ByteView input) {
  if (input.empty()) return;
  ByteBuffer bytes(input.begin() + 1, input.end());
  if ((input[0] & 1) != 0) repair_batches(bytes);
  sim::MemoryDisk disk;
  put(disk, "/s.checkpoint", bytes);
  std::vector<metadata::Record> records;
  auto content = raft::read_snapshot(disk, "/s.checkpoint", [&](const raft::Batch& batch) {
    for (ByteView value : batch.values) {
      auto record = metadata::Record::from_value(value);
      if (!record) return Result<void>(std::unexpected(record.error()));
      records.push_back(std::move(*record));
    }
    return Result<void>();
  });
  auto header = raft::read_snapshot_header(disk, "/s.checkpoint");
  ODRADEK_CHECK(!content || header.has_value());
  metadata::Loader loader;
  if (!loader.snapshot(records, {.offset = Offset(9)})) return;
  if (auto image = loader.take(); image && content) ODRADEK_CHECK(image->image != nullptr);
}

}  // namespace odradek::fuzz
