// `odradek dump-log FILE…`: what is in a file of a log directory, decoded. Segments, metadata log
// and snapshots, indexes, producer snapshots. Reads files that no broker has open, or that one has.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <memory>

#include "app/cli.h"
#include "base/crc32c.h"
#include "machines/group/record.h"
#include "machines/txn/record.h"
#include "metadata/record.h"
#include "wire/compression.h"
#include "wire/gen/producer_snapshot.h"
#include "wire/record_batch.h"

namespace odradek::app {

namespace {

constexpr size_t kChunk = 4 << 20;

/// What the records are.
enum class Decoder { kNone, kMetadata, kGroups, kTransactions };

struct DumpOptions {
  std::vector<std::string> files;
  bool headers_only = false;
  bool metadata = false;
  bool groups = false;
  bool transactions = false;
};

std::string_view codec_name(wire::Codec codec) {
  switch (codec) {
    case wire::Codec::kNone:
      return "none";
    case wire::Codec::kGzip:
      return "gzip";
    case wire::Codec::kSnappy:
      return "snappy";
    case wire::Codec::kLz4:
      return "lz4";
    case wire::Codec::kZstd:
      return "zstd";
  }
  return "unknown";
}

/// UTF-8 text as it is; anything else as a count of bytes.
boost::json::value text_or_size(const std::optional<ByteView>& bytes) {
  if (!bytes) return nullptr;
  const auto text = as_text(*bytes);
  const bool printable = std::all_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t';
  });
  boost::json::value v(text);
  if (printable) return v;
  return boost::json::value(fmt::format("({} bytes)", bytes->size()));
}

/// Reads a file piecewise and hands out whole batches.
class BatchFile {
 public:
  explicit BatchFile(const std::string& path) : in_(path, std::ios::binary) {}

  bool is_open() const { return in_.is_open(); }
  uint64_t position() const { return position_; }

  /// The next batch; nothing at the end (or at preallocated zeros).
  Result<std::optional<wire::BatchHeader>> next() {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<ptrdiff_t>(taken_));
    position_ += taken_;
    taken_ = 0;
    if (!fill(wire::kBatchHeaderSize)) return std::nullopt;
    const auto length = load_be<int32_t>(buffer_.data() + 8);
    if (length == 0) return std::nullopt;
    if (length < 0 || length > (1 << 30))
      return fail(Errc::kCorrupt, fmt::format("a batch length of {}", length));
    if (!fill(static_cast<size_t>(length) + 12))
      return fail(Errc::kCorrupt, "the file ends inside a batch");
    auto batch = wire::BatchHeader::parse(buffer_);
    if (!batch) return std::unexpected(batch.error());
    taken_ = batch->size();
    return *batch;
  }

 private:
  bool fill(size_t size) {
    while (buffer_.size() < size) {
      const size_t had = buffer_.size();
      buffer_.resize(had + std::max(kChunk, size - had));
      in_.read(reinterpret_cast<char*>(buffer_.data()) + had,
               static_cast<std::streamsize>(buffer_.size() - had));
      buffer_.resize(had + static_cast<size_t>(in_.gcount()));
      if (in_.gcount() == 0) return buffer_.size() >= size;
    }
    return true;
  }

  std::ifstream in_;
  ByteBuffer buffer_;
  size_t taken_ = 0;
  uint64_t position_ = 0;
};

boost::json::object batch_json(const wire::BatchHeader& b, uint64_t position) {
  return {{"baseOffset", b.base_offset().value},
          {"lastOffset", b.last_offset().value},
          {"count", b.count()},
          {"leaderEpoch", b.leader_epoch().value},
          {"producerId", b.producer_id().value},
          {"producerEpoch", b.producer_epoch().value},
          {"baseSequence", b.base_sequence()},
          {"maxTimestamp", b.max_timestamp().value},
          {"codec", codec_name(b.codec())},
          {"transactional", b.is_transactional()},
          {"control", b.is_control()},
          {"position", position},
          {"size", b.size()},
          {"crcValid", b.crc_matches()}};
}

boost::json::value record_json(const wire::RecordView& r, const wire::BatchHeader& batch,
                               Decoder decoder) {
  boost::json::object o{{"offset", r.offset.value}, {"timestamp", r.timestamp.value}};
  if (batch.is_control()) {
    auto type = wire::control_type(r);
    o["control"] = type ? static_cast<int>(*type) : -1;
    if (type && (*type == wire::ControlType::kCommit || *type == wire::ControlType::kAbort)) {
      o["outcome"] = *type == wire::ControlType::kCommit ? "commit" : "abort";
      if (const auto epoch = wire::marker_coordinator_epoch(r)) o["coordinatorEpoch"] = *epoch;
    }
    return o;
  }
  if (decoder == Decoder::kMetadata && r.value) {
    auto record = metadata::Record::from_value(*r.value);
    o["record"] = record ? record->to_line() : record.error().message;
    return o;
  }
  if (decoder == Decoder::kGroups && r.key) {
    const ProducerId producer = batch.is_transactional() ? batch.producer_id() : ProducerId(-1);
    o["record"] = machines::group::Record::loaded(*r.key, r.value, producer).to_line();
    return o;
  }
  if (decoder == Decoder::kTransactions && r.key) {
    o["record"] = machines::txn::Record::loaded(*r.key, r.value, ProducerId(-1)).to_line();
    return o;
  }
  o["key"] = text_or_size(r.key);
  o["value"] = text_or_size(r.value);
  boost::json::array headers;
  r.for_each_header([&](const wire::RecordHeader& h) {
    headers.push_back({{"name", h.key}, {"value", text_or_size(h.value)}});
  });
  if (!headers.empty()) o["headers"] = headers;
  return o;
}

void print_batch(const Cli& cli, const boost::json::object& batch,
                 const boost::json::array& records) {
  if (cli.json) {
    boost::json::object all = batch;
    all["records"] = records;
    return print_json(all);
  }
  std::string line;
  for (const auto& [name, value] : batch)
    line += fmt::format("{}: {} ", std::string_view(name), boost::json::serialize(value));
  fmt::print("{}\n", line);
  for (const auto& r : records) {
    const auto* record = r.get_object().if_contains("record");
    if (record != nullptr) {
      fmt::print("  {} {}\n", boost::json::serialize(r.at("offset")),
                 std::string_view(record->get_string()));
    } else {
      fmt::print("  {}\n", boost::json::serialize(r));
    }
  }
}

void dump_batches(Cli& cli, const std::string& path, const DumpOptions& options, Decoder decoder) {
  BatchFile file(path);
  wire::Decompressor decompressor;
  auto shown = std::chrono::steady_clock::now();
  for (;;) {
    auto batch = file.next();
    const uint64_t at = file.position();
    if (!batch)
      return report(cli, fmt::format("{}: at byte {}: {}", path, at, batch.error().message));
    if (!*batch) return;
    boost::json::array records;
    if (!options.headers_only && (*batch)->crc_matches()) {
      wire::RecordIterator it(**batch, decompressor);
      wire::RecordView record;
      for (;;) {
        auto more = it.next(record);
        if (!more) {
          report(cli, fmt::format("{}: batch at byte {}: {}", path, at, more.error().message));
          break;
        }
        if (!*more) break;
        records.push_back(record_json(record, **batch, decoder));
      }
    }
    print_batch(cli, batch_json(**batch, at), records);
    if (auto now = std::chrono::steady_clock::now(); now - shown > std::chrono::seconds(2)) {
      shown = now;
      fmt::print(stderr, "{}: {} MiB read\n", path, at >> 20);
    }
  }
}

ByteBuffer read_whole(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return ByteBuffer(std::istreambuf_iterator<char>(in), {});
}

/// Entries of an index; trailing zeros of a live one are left out.
void dump_index(Cli& cli, const std::string& path, int64_t base, bool time) {
  const ByteBuffer bytes = read_whole(path);
  const size_t step = time ? 12 : 8;
  if (bytes.size() % step != 0)
    report(cli, fmt::format("{}: size {} is not a multiple of {}", path, bytes.size(), step));
  for (size_t at = 0; at + step <= bytes.size(); at += step) {
    const uint8_t* p = bytes.data() + at;
    const bool zeros = std::all_of(p, p + step, [](uint8_t b) { return b == 0; });
    if (zeros && at > 0) break;
    boost::json::object o;
    if (time) {
      o = {{"timestamp", load_be<int64_t>(p)}, {"offset", base + load_be<int32_t>(p + 8)}};
    } else {
      o = {{"offset", base + load_be<int32_t>(p)}, {"position", load_be<int32_t>(p + 4)}};
    }
    print_json(o);
  }
}

void dump_producers(Cli& cli, const std::string& path) {
  const ByteBuffer bytes = read_whole(path);
  Arena arena;
  wire::Reader reader(bytes, arena);
  const int16_t version = reader.int16();
  wire::ProducerSnapshot snapshot;
  if (version != 1 || !snapshot.decode(reader, version))
    return report(cli, fmt::format("{}: not a producer snapshot", path));
  if (crc32c(ByteView(bytes).subspan(6)) != snapshot.crc)
    report(cli, fmt::format("{}: the checksum is wrong", path));
  for (const auto& p : snapshot.producer_entries) {
    print_json({{"producerId", p.producer_id},
                {"epoch", p.epoch},
                {"lastSequence", p.last_sequence},
                {"lastOffset", p.last_offset},
                {"offsetDelta", p.offset_delta},
                {"timestamp", p.timestamp},
                {"coordinatorEpoch", p.coordinator_epoch},
                {"transactionFirstOffset", p.current_txn_first_offset}});
  }
}

bool ends_with(const std::string& text, std::string_view end) { return text.ends_with(end); }

void dump(Cli& cli, const DumpOptions& options) {
  for (const std::string& path : options.files) {
    struct stat info{};
    if (stat(path.c_str(), &info) != 0) {
      report(cli, fmt::format("{}: {}", path, strerror(errno)),
             "Name a .log, .index, .timeindex, .snapshot or .checkpoint file.");
      continue;
    }
    const std::string name = path.substr(path.rfind('/') + 1);
    if (options.files.size() > 1 && !cli.json) fmt::print("{}\n", path);
    const int64_t base = std::atoll(name.c_str());
    Decoder decoder = Decoder::kNone;
    if (options.metadata || path.find("__cluster_metadata-") != std::string::npos) {
      decoder = Decoder::kMetadata;
    } else if (options.groups || path.find("__consumer_offsets-") != std::string::npos) {
      decoder = Decoder::kGroups;
    } else if (options.transactions || path.find("__transaction_state-") != std::string::npos) {
      decoder = Decoder::kTransactions;
    }
    if (ends_with(name, ".log")) {
      dump_batches(cli, path, options, decoder);
    } else if (ends_with(name, ".checkpoint")) {
      dump_batches(cli, path, options, Decoder::kMetadata);
    } else if (ends_with(name, ".timeindex")) {
      dump_index(cli, path, base, true);
    } else if (ends_with(name, ".index")) {
      dump_index(cli, path, base, false);
    } else if (ends_with(name, ".snapshot")) {
      dump_producers(cli, path);
    } else {
      report(cli, fmt::format("{}: what is in it is not known from its name", path),
             "Name a .log, .index, .timeindex, .snapshot or .checkpoint file.");
    }
  }
}

}  // namespace

void add_dump_log(CLI::App& program, Cli& cli) {
  auto* command = program.add_subcommand("dump-log", "Show what is in files of a log directory");
  auto options = std::make_shared<DumpOptions>();
  command->add_option("file", options->files, "files")->required();
  command->add_flag("--headers-only", options->headers_only, "batches without their records");
  command->add_flag("--metadata", options->metadata, "decode values as metadata records");
  command->add_flag("--groups", options->groups, "decode records of groups and their offsets");
  command->add_flag("--transactions", options->transactions, "decode records of transactions");
  command->add_flag("--json", cli.json, "one JSON object a batch");
  command->callback([&cli, options] { dump(cli, *options); });
}

}  // namespace odradek::app
