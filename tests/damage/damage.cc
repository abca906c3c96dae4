#include "damage/damage.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <memory>

#include "base/check.h"
#include "base/logger.h"
#include "log/log.h"
#include "node/node.h"
#include "sim/memory_disk.h"
#include "sim/sim_io.h"
#include "sim/wire_client.h"
#include "wire/errors.h"
#include "wire/gen/create_topics.h"
#include "wire/gen/fetch.h"
#include "wire/gen/init_producer_id.h"
#include "wire/gen/list_offsets.h"
#include "wire/gen/produce.h"
#include "wire/record_batch.h"

#if __has_feature(address_sanitizer)
// The coroutines of a node that was killed are never resumed or freed.
extern "C" int __lsan_is_turned_off() { return 1; }
#endif

namespace odradek::damage {

namespace {

constexpr uint16_t kPort = 9092;
constexpr Millis kPatience(60'000);
constexpr size_t kLinesKept = 40;
constexpr const char* kRoot = "/data";
const std::vector<std::string> kTopics = {"plain", "txn"};

class Lines : public LogSink {
 public:
  void write(Level, std::string_view component, std::string_view line) override {
    kept_.push_back(fmt::format("{}: {}", component, line));
    if (kept_.size() > kLinesKept) kept_.pop_front();
  }
  std::vector<std::string> kept() const { return {kept_.begin(), kept_.end()}; }

 private:
  std::deque<std::string> kept_;
};

/// A simulated machine with a node on it, and a client beside.
class Machine {
 public:
  Machine() : sim_(1), io_(sim_.add_node("broker", 1)), client_io_(sim_.add_node("client", 1)) {
    sim_.options().latency_us_max = 20;
    sim_.options().sync_us_max = 200;
  }
  ~Machine() {
    if (!serving_) return;  // a node that did not start is destroyed
    if (!refusal_) stop();
    // One that gave up ends with its process: no destructor runs, its memory is lost.
    if (refusal_ || hangs_) (void)node_.release();
  }

  sim::MemoryDisk& disk() { return io_.disk(); }
  void pass(Millis time) { sim_.run_for(time); }
  io::Loop& client_loop() { return client_io_.loop(0); }
  io::Endpoint broker() const { return {"broker", kPort}; }
  const Lines& lines() const { return lines_; }
  const std::optional<std::string>& refusal() const { return refusal_; }

  /// False with `refusal` set if it does not serve.
  bool start() {
    auto properties = metadata::BrokerConfig::standalone_properties();
    properties["log.dirs"] = kRoot;
    properties["odradek.write.ahead.bytes"] = "2000";  // every byte of it is damaged, too
    auto loaded = metadata::BrokerConfig::load(std::move(properties));
    ODRADEK_CHECK(loaded.has_value());
    node_ = std::make_unique<node::Node>(
        io_, node::NodeOptions{.config = loaded->config,
                               .logger = Logger(&lines_, "node"),
                               .format_if_new = true,
                               .on_fatal = [this](const Error& e) { refuse(e); }});
    io_.loop(0).post([this] {
      node_->start([this](Result<void> r) {
        if (!r) return refuse(r.error());
        serving_ = true;
      });
    });
    if (sim_.run_until([&] { return serving_ || refusal_; }, kPatience)) return serving_;
    hangs_ = true;
    return false;
  }
  bool hangs() const { return hangs_; }

  void stop() {
    bool stopped = false;
    io_.loop(0).post([&] { node_->stop([&] { stopped = true; }); });
    hangs_ |= !sim_.run_until([&] { return stopped || refusal_; }, kPatience);
    if (refusal_ || hangs_) return;
    serving_ = false;
    node_.reset();
  }

  /// kill -9; the node's memory is lost.
  void kill() {
    io_.kill();
    (void)node_.release();
    io_.restart();  // its disk can be read again
    serving_ = false;
  }

  /// Runs a client's coroutine to its end; false if the node gave up or did not answer.
  bool run(io::Task<bool> task) {
    std::optional<bool> done;
    io::spawn(finish(std::move(task), done));
    if (!sim_.run_until([&] { return done.has_value() || refusal_; }, kPatience)) hangs_ = true;
    return done.value_or(false);
  }

 private:
  static io::Task<void> finish(io::Task<bool> task, std::optional<bool>& done) {
    done = co_await std::move(task);
  }
  void refuse(const Error& e) {
    if (!refusal_) refusal_ = e.message;
  }

  sim::Simulation sim_;
  sim::SimIo& io_;
  sim::SimIo& client_io_;
  Lines lines_;
  std::unique_ptr<node::Node> node_;
  bool serving_ = false;
  bool hangs_ = false;
  std::optional<std::string> refusal_;
};

// ---- the client

io::Task<bool> create_topics(Machine& machine) {
  sim::WireClient client(machine.client_loop(), machine.broker());
  Arena arena;
  wire::CreateTopicsRequest request;
  request.timeout_ms = 10'000;
  for (const std::string& name : kTopics) {
    auto& topic = request.topics.add(arena);
    topic.name = name;
    topic.num_partitions = 1;
    topic.replication_factor = 1;
    for (const auto& [key, value] :
         {std::pair("index.interval.bytes", "50"), {"segment.ms", "1000"}}) {
      auto& config = topic.configs.add(arena);
      config.name = key;
      config.value = value;
    }
  }
  auto reply =
      co_await client.call<wire::CreateTopicsRequest, wire::CreateTopicsResponse>(request, 7);
  if (!reply) co_return false;
  for (const auto& topic : reply->body.topics)
    if (topic.error_code != 0) co_return false;
  co_return true;
}

struct Sent {
  std::string topic;
  int64_t timestamp;
  wire::Codec codec;
  int32_t sequence;  // −1: a producer without id
  std::vector<std::string> values;
};

ByteBuffer batch_of(const Sent& sent) {
  wire::BatchOptions options{.codec = sent.codec};
  if (sent.sequence >= 0) {
    options.producer_id = ProducerId(7);
    options.producer_epoch = ProducerEpoch(0);
    options.base_sequence = sent.sequence;
  }
  wire::BatchBuilder builder(options);
  for (const std::string& value : sent.values)
    builder.add(WallMs(sent.timestamp), as_bytes("key"), as_bytes(value));
  return *builder.build();
}

/// Base offset of the answer; an error of the node is none.
io::Task<bool> produce(Machine& machine, const Sent& sent, int64_t& base) {
  sim::WireClient client(machine.client_loop(), machine.broker());
  Arena arena;
  wire::ProduceRequest request;
  request.acks = -1;
  request.timeout_ms = 10'000;
  auto& topic = request.topic_data.add(arena);
  topic.name = sent.topic;
  const ByteBuffer bytes = batch_of(sent);
  topic.partition_data.add(arena).records = bytes;
  auto reply = co_await client.call<wire::ProduceRequest, wire::ProduceResponse>(request, 9);
  if (!reply) co_return false;
  const auto& answer = reply->body.responses[0].partition_responses[0];
  base = answer.base_offset;
  co_return answer.error_code == 0;
}

/// What a consumer is given.
struct Read {
  std::map<int64_t, std::string> records;
  bool wrong_checksum = false;
  std::string problem;  // something that no consumer can understand
  std::string error;    // the node's
};

void take_batches(ByteView bytes, int64_t& position, Read& read) {
  wire::Decompressor decompressor;
  wire::BatchIterator batches(bytes);
  while (true) {
    auto batch = batches.next();
    if (!batch) {
      read.wrong_checksum = true;  // Apache's consumer stops here as well
      return;
    }
    if (!*batch) return;
    const wire::BatchHeader& b = **batch;
    if (!b.crc_matches()) {
      read.wrong_checksum = true;
      return;
    }
    if (!b.is_control()) {
      wire::RecordIterator records(b, decompressor);
      wire::RecordView r;
      auto more = records.next(r);
      for (; more && *more; more = records.next(r))
        if (r.offset.value >= position) read.records[r.offset.value] = as_text(*r.value);
      if (!more) read.problem = more.error().message;
    }
    if (b.next_offset().value <= position) {
      read.problem = fmt::format("a batch that ends at {} for {}", b.next_offset().value, position);
      return;
    }
    position = b.next_offset().value;
  }
}

io::Task<bool> start_offset(Machine& machine, const std::string& name, int64_t& start) {
  sim::WireClient client(machine.client_loop(), machine.broker());
  Arena arena;
  wire::ListOffsetsRequest request;
  auto& topic = request.topics.add(arena);
  topic.name = name;
  topic.partitions.add(arena).timestamp = -2;
  auto reply =
      co_await client.call<wire::ListOffsetsRequest, wire::ListOffsetsResponse>(request, 7);
  if (!reply) co_return false;
  const auto& answer = reply->body.topics[0].partitions[0];
  start = answer.offset;
  co_return answer.error_code == 0;
}

/// Reads a partition from its start to the high watermark.
io::Task<bool> consume(Machine& machine, const std::string& name, Read& read) {
  int64_t position = 0;
  if (!co_await start_offset(machine, name, position)) {
    read.error = "no start offset";
    co_return true;
  }
  sim::WireClient client(machine.client_loop(), machine.broker());
  for (int round = 0; round < 200; round++) {
    Arena arena;
    wire::FetchRequest request;
    request.max_bytes = 1 << 20;
    auto& topic = request.topics.add(arena);
    topic.topic = name;
    auto& partition = topic.partitions.add(arena);
    partition.fetch_offset = position;
    partition.partition_max_bytes = 300;
    auto reply = co_await client.call<wire::FetchRequest, wire::FetchResponse>(request, 11);
    if (!reply) co_return false;
    const auto& answer = reply->body.responses[0].partitions[0];
    if (answer.error_code != 0) {
      read.error = wire::name(static_cast<wire::ErrorCode>(answer.error_code));
      co_return true;
    }
    if (position >= answer.high_watermark) co_return true;
    const int64_t before = position;
    ByteBuffer bytes;
    if (answer.records) {
      for (const Piece& piece : answer.records->pieces)
        bytes.insert(bytes.end(), piece.memory.begin(), piece.memory.end());
    }
    take_batches(bytes, position, read);
    if (!read.problem.empty() || read.wrong_checksum) co_return true;
    if (position == before) {
      read.problem =
          fmt::format("nothing at {} below the high watermark {}", position, answer.high_watermark);
      co_return true;
    }
  }
  read.problem = "no end";
  co_return true;
}

// ---- making a directory

void save(sim::MemoryDisk& disk, const std::string& path, Files& files) {
  for (const io::DirEntry& e : disk.list(path).value()) {
    const std::string name = path + "/" + e.name;
    if (e.is_directory) {
      save(disk, name, files);
      continue;
    }
    auto file = disk.open(name, io::OpenMode::kRead).value();
    ByteBuffer bytes(file->size().value());
    ODRADEK_CHECK(file->read(0, MutableBytes(bytes)).has_value());
    files[name] = std::move(bytes);
  }
}

void load(sim::MemoryDisk& disk, const Files& files) {
  for (const auto& [path, bytes] : files) {
    for (size_t slash = path.find('/', 1); slash != std::string::npos;
         slash = path.find('/', slash + 1)) {
      const std::string folder = path.substr(0, slash);
      if (!disk.exists(folder)) ODRADEK_CHECK(disk.make_directory(folder).has_value());
    }
    auto file = disk.open(path, io::OpenMode::kCreate).value();
    ODRADEK_CHECK(file->write(0, bytes).has_value());
  }
  disk.sync_everything();
}

void send(Machine& machine, const Sent& sent) {
  int64_t base = -1;
  ODRADEK_CHECK(machine.run(produce(machine, sent, base)) && base >= 0);
}

/// Batches of all kinds, in three segments.
void fill(Machine& machine, int from) {
  constexpr wire::Codec kCodecs[] = {wire::Codec::kNone, wire::Codec::kGzip, wire::Codec::kLz4};
  const int64_t now = machine.client_loop().clock().wall().value;
  for (int n = from; n < from + 6; n++) {
    send(machine, {.topic = "plain",
                   .timestamp = now + n / 2 * 1500,
                   .codec = kCodecs[n % 3],
                   .sequence = n * 2,
                   .values = {fmt::format("a{}", n), fmt::format("b{}", n)}});
  }
}

/// What a transaction coordinator would have made: aborted and committed transactions. Written
/// while no node runs.
void add_transactions(sim::MemoryDisk& disk) {
  log::LogOptions options;
  options.disk = &disk;
  options.folder = std::string(kRoot) + "/txn-0";
  options.partition = log::TopicPartition{"txn", PartitionIndex(0)};
  options.config.index_interval_bytes = 50;
  options.clean = true;
  auto log = log::Log::open(std::move(options));
  ODRADEK_CHECK(log.has_value());
  for (int n = 0; n < 6; n++) {
    wire::BatchBuilder builder({.transactional = true,
                                .producer_id = ProducerId(9),
                                .producer_epoch = ProducerEpoch(0),
                                .base_sequence = n});
    builder.add(WallMs(1'000'000 + n), std::nullopt, as_bytes(fmt::format("t{}", n)));
    ByteBuffer batch = *builder.build();
    auto r = (*log)->append_as_leader(MutableBytes(batch), LeaderEpoch(0),
                                      log::AppendOrigin::kCoordinator, WallMs(1'000'000));
    ODRADEK_CHECK(r.has_value() && r->error == wire::ErrorCode::kNone);
    if (n % 2 == 0) continue;
    ByteBuffer marker =
        wire::end_transaction_batch(Offset(0), LeaderEpoch(0), ProducerId(9), ProducerEpoch(0),
                                    n == 3, 1, WallMs(1'000'000 + n));
    r = (*log)->append_as_leader(MutableBytes(marker), LeaderEpoch(0),
                                 log::AppendOrigin::kCoordinator, WallMs(1'000'000));
    ODRADEK_CHECK(r.has_value());
  }
  ODRADEK_CHECK((*log)->close().has_value());
}

Read read_topic(Machine& machine, const std::string& topic, bool& answered) {
  Read read;
  answered = machine.run(consume(machine, topic, read));
  return read;
}

/// What a consumer finds of a directory that is not damaged.
void note_records(Directory& directory) {
  Machine machine;
  load(machine.disk(), directory.files);
  ODRADEK_CHECK(machine.start());
  for (const std::string& topic : kTopics) {
    bool answered = false;
    Read read = read_topic(machine, topic, answered);
    ODRADEK_CHECK(answered && read.problem.empty() && read.error.empty());
    ODRADEK_CHECK(!read.wrong_checksum && !read.records.empty());
    directory.records[topic] = std::move(read.records);
  }
}

Trial judge(Machine& machine, const Directory& directory, const Damage& damage) {
  const Outcome bad = damage.unprotected ? Outcome::kUnprotected : Outcome::kWrong;
  bool less = false, shown = false;
  for (const std::string& topic : kTopics) {
    bool answered = false;
    const Read read = read_topic(machine, topic, answered);
    if (machine.refusal()) return {Outcome::kRefused, *machine.refusal()};
    if (!answered) return {Outcome::kWrong, topic + ": no answer"};
    if (!read.problem.empty()) return {bad, topic + ": " + read.problem};
    shown |= read.wrong_checksum;
    const auto& wanted = directory.records.at(topic);
    for (const auto& [offset, value] : read.records) {
      const auto at = wanted.find(offset);
      if (at == wanted.end() || at->second != value)
        return {bad, fmt::format("{}: {} at {}", topic, value, offset)};
    }
    less |= !read.error.empty() || read.records.size() != wanted.size();
    if (!read.error.empty()) continue;
    // It must be of use: one more record goes in and comes out.
    int64_t base = -1;
    const Sent more{.topic = topic,
                    .timestamp = machine.client_loop().clock().wall().value,
                    .codec = wire::Codec::kNone,
                    .sequence = -1,
                    .values = {"more"}};
    const bool took = machine.run(produce(machine, more, base));
    if (machine.refusal()) return {Outcome::kRefused, *machine.refusal()};
    if (!took) return {bad, topic + ": takes no record"};
  }
  if (shown) return {Outcome::kShown, ""};
  return {less ? Outcome::kLess : Outcome::kWhole, ""};
}

}  // namespace

const char* name(Outcome outcome) {
  constexpr const char* kNames[kOutcomes] = {"whole",       "less",    "shown",
                                             "unprotected", "refused", "wrong"};
  return kNames[static_cast<size_t>(outcome)];
}

Directory make_directory(bool clean) {
  Directory directory;
  {
    Machine machine;
    ODRADEK_CHECK(machine.start());
    ODRADEK_CHECK(machine.run(create_topics(machine)));
    fill(machine, 0);
    machine.stop();
    add_transactions(machine.disk());
    save(machine.disk(), kRoot, directory.files);
  }
  if (!clean) {
    Machine machine;
    load(machine.disk(), directory.files);
    ODRADEK_CHECK(machine.start());
    fill(machine, 6);
    machine.pass(Millis(2'000));
    machine.kill();
    directory.files.clear();
    save(machine.disk(), kRoot, directory.files);
  }
  note_records(directory);
  return directory;
}

bool is_derived(const std::string& path) {
  return path.ends_with("index") || path.ends_with(".snapshot");
}

bool is_unprotected(const Directory& directory, const std::string& path, size_t at) {
  if (is_derived(path)) return false;
  if (!path.ends_with(".log") && !path.ends_with(".checkpoint")) return true;
  const ByteBuffer& bytes = directory.files.at(path);
  for (size_t batch = 0; batch + wire::kBatchHeaderSize <= bytes.size();) {
    const size_t size = wire::BatchHeader(bytes.data() + batch).size();
    if (at < batch + size) return at < batch + 8 || (at >= batch + 12 && at < batch + 16);
    batch += size;
  }
  return false;
}

Trial try_start(const Directory& directory, const Damage& damage) {
  Files files = directory.files;
  ByteBuffer& bytes = files.at(damage.path);
  if (damage.flip == 0) {
    bytes.resize(damage.at);
  } else {
    bytes[damage.at] ^= damage.flip;
  }
  Machine machine;
  load(machine.disk(), files);
  Trial trial;
  if (machine.start()) {
    trial = judge(machine, directory, damage);
    if (!machine.refusal()) machine.stop();
  } else if (machine.refusal()) {
    trial = {Outcome::kRefused, *machine.refusal()};
  }
  if (machine.hangs()) trial = {Outcome::kWrong, "hangs"};
  // What can be made anew from the log must be.
  if (is_derived(damage.path) && trial.outcome != Outcome::kWhole)
    trial = {Outcome::kWrong, fmt::format("{}: {}", name(trial.outcome), trial.what)};
  // A folder that does not say whose it is must not make place for an empty one.
  if (damage.flip == 0 && damage.at > 0 && damage.path.ends_with("/partition.metadata") &&
      trial.outcome != Outcome::kRefused)
    trial = {Outcome::kWrong, fmt::format("{}: {}", name(trial.outcome), trial.what)};
  // One clear line: it names the file, or at least speaks of the directory.
  if (trial.outcome == Outcome::kRefused && trial.what.find(kRoot) == std::string::npos &&
      trial.what.find("directory") == std::string::npos)
    trial = {Outcome::kWrong, "a refusal that names no file: " + trial.what};
  trial.log = machine.lines().kept();
  return trial;
}

}  // namespace odradek::damage
