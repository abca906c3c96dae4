// A metadata directory that an Apache Kafka 4.3.1 node wrote (apache-metadata/: three starts;
// topics created, grown, deleted, altered; settings of brokers, groups and client metrics; a quota,
// a SCRAM credential, producer ids; nine snapshots on the way) means to us what it means to Apache:
// after each stretch of the log our image has exactly the records of Apache's snapshot of that
// offset.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "metadata/features.h"
#include "metadata/image_records.h"
#include "metadata/loader.h"
#include "node/controller_host.h"
#include "raft/snapshot.h"
#include "sim/sim_io.h"
#include "wire/gen/broker_heartbeat.h"
#include "wire/gen/broker_registration.h"
#include "wire/gen/create_topics.h"
#include "wire/gen/describe_quorum.h"
#include "wire/gen/register_broker_record.h"
#include "wire/gen/register_controller_record.h"
#include "wire/record_batch.h"

namespace odradek {
namespace {

const std::string kFolder = "/data/__cluster_metadata-0";
const Uuid kDirectory = Uuid::parse("ObIhXQ1zS1ezGZx4TsKm4w").value();

ByteBuffer read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return ByteBuffer(std::istreambuf_iterator<char>(in), {});
}

std::vector<metadata::Record> to_records(const raft::Batch& batch) {
  std::vector<metadata::Record> records;
  for (ByteView value : batch.values) {
    auto record = metadata::Record::from_value(value);
    EXPECT_TRUE(record) << record.error().message;
    EXPECT_EQ(record->to_value(), as_text(value)) << "encodes to the same bytes";
    records.push_back(std::move(*record));
  }
  return records;
}

// A registration lists its features in no particular order at Apache.
template <class T>
metadata::Record with_sorted_features(const metadata::Record& record) {
  Arena arena;
  T message = record.decode<T>(arena).value();
  std::sort(message.features.begin(), message.features.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return metadata::Record::of(message, record.version);
}

std::string line(const metadata::Record& record) {
  switch (record.type) {
    case wire::RegisterBrokerRecord::kRecordType:
      return with_sorted_features<wire::RegisterBrokerRecord>(record).to_line();
    case wire::RegisterControllerRecord::kRecordType:
      return with_sorted_features<wire::RegisterControllerRecord>(record).to_line();
    default:
      return record.to_line();
  }
}

// Topics and settings come in no particular order either.
std::vector<std::string> sorted_lines(const std::vector<metadata::Record>& records) {
  std::vector<std::string> lines;
  for (const auto& r : records) lines.push_back(line(r));
  std::sort(lines.begin(), lines.end());
  return lines;
}

// Lines that only one side has.
std::vector<std::string> difference(const std::vector<metadata::Record>& ours,
                                    const std::vector<metadata::Record>& theirs) {
  const auto a = sorted_lines(ours);
  const auto b = sorted_lines(theirs);
  std::vector<std::string> lines;
  std::set_symmetric_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(lines));
  return lines;
}

void copy_directory(sim::MemoryDisk& disk) {
  ASSERT_TRUE(disk.make_directory(kFolder));
  for (const auto& entry : std::filesystem::directory_iterator(APACHE_METADATA)) {
    auto file =
        disk.open(kFolder + "/" + entry.path().filename().string(), io::OpenMode::kCreate).value();
    ASSERT_TRUE(file->write(0, ByteView(read_file(entry.path()))));
  }
  disk.sync_everything();
}

std::vector<metadata::Record> snapshot_records(sim::MemoryDisk& disk, const raft::SnapshotId& id) {
  std::vector<metadata::Record> records;
  auto content = raft::read_snapshot(disk, kFolder + "/" + id.file_name(),
                                     [&](const raft::Batch& batch) -> Result<void> {
                                       for (auto& r : to_records(batch)) records.push_back(r);
                                       return {};
                                     });
  EXPECT_TRUE(content) << content.error().message;
  return records;
}

TEST(ApacheMetadata, OurImageIsApachesAtEachOfItsSnapshots) {
  sim::MemoryDisk disk;
  copy_directory(disk);
  const auto snapshots = raft::list_snapshots(disk, kFolder).value();
  ASSERT_EQ(snapshots.size(), 10U);
  const ByteBuffer log =
      read_file(std::filesystem::path(APACHE_METADATA) / "00000000000000000000.log");
  metadata::Loader loader;
  metadata::ImagePtr image;
  size_t next = 1;  // the first one is that of formatting
  wire::BatchIterator batches(log);
  while (auto header = batches.next().value()) {
    auto batch = raft::read_batch(*header);
    ASSERT_TRUE(batch) << batch.error().message;
    if (next < snapshots.size() && batch->base == snapshots[next].end) {
      const auto theirs = snapshot_records(disk, snapshots[next]);
      EXPECT_EQ(difference(metadata::to_records(*image), theirs), std::vector<std::string>{})
          << snapshots[next].file_name();
      next++;
    }
    const auto r = loader.batch(to_records(*batch), {batch->last, batch->epoch, batch->appended});
    ASSERT_TRUE(r) << r.error().message;
    if (auto publication = loader.take()) image = publication->image;
  }
  EXPECT_EQ(next, snapshots.size());
}

// The metadata side of a node, on that directory.
struct NodeTest : ::testing::Test {
  sim::Simulation sim{1};
  sim::SimIo& io = sim.add_node("node1", 2);
  std::unique_ptr<node::ControllerHost> host;
  std::optional<Error> fatal;

  NodeTest() { copy_directory(io.disk()); }
  ~NodeTest() override { host.reset(); }

  void start(uint64_t snapshot_bytes = 20 << 20) {
    auto config = metadata::BrokerConfig::load(metadata::BrokerConfig::standalone_properties());
    host = std::make_unique<node::ControllerHost>(
        io,
        raft::DriverOptions{.io = &io,
                            .loop = &io.loop(0),
                            .directory = "/data",
                            .node = BrokerId(1),
                            .directory_id = kDirectory,
                            .listeners = {{"CONTROLLER", "127.0.0.1", 26092}},
                            .snapshot_bytes = snapshot_bytes},
        machines::ControllerSettings{"XDMpHncGTYq0X8WQIXQ0OQ", BrokerId(1), config->config, {}},
        [this](const Error& error) { fatal = error; }, Logger());
    auto r = host->open();
    ASSERT_TRUE(r) << r.error().message;
    r = host->start();
    ASSERT_TRUE(r) << r.error().message;
  }
  const metadata::Image& image() { return *host->publisher().current(); }
  std::vector<std::string> image_lines() { return sorted_lines(metadata::to_records(image())); }

  template <class Response, class Request>
  Result<Response> ask(const Request& request, int16_t version) {
    wire::Writer writer;
    request.encode(writer, version);
    std::optional<Result<ByteBuffer>> answer;
    host->submit({static_cast<wire::ApiKey>(Request::kApiKey), version, writer.take()},
                 [&](Result<ByteBuffer> r) { answer = std::move(r); });
    EXPECT_TRUE(sim.run_until([&] { return answer.has_value(); }, Millis(1000)));
    if (!*answer) return std::unexpected(answer->error());
    kept.push_back(std::move(**answer));
    Response response;
    wire::Reader reader(kept.back(), arena);
    EXPECT_TRUE(response.decode(reader, version));
    return response;
  }
  // Registers and unfences the broker, as its own process would.
  void join() {
    wire::BrokerRegistrationRequest request;
    request.broker_id = 1;
    request.cluster_id = "XDMpHncGTYq0X8WQIXQ0OQ";
    request.incarnation_id = Uuid{1, 2};
    request.listeners.add(arena) = {"PLAINTEXT", "127.0.0.1", 25092, 0};
    for (const auto& f : metadata::supported_features())
      request.features.add(arena) = {f.name, f.min, f.max};
    request.rack = std::nullopt;
    request.log_dirs.add(arena, kDirectory);
    const auto registered = ask<wire::BrokerRegistrationResponse>(request, 4);
    ASSERT_TRUE(registered);
    ASSERT_EQ(registered->error_code, 0);
    wire::BrokerHeartbeatRequest heartbeat;
    heartbeat.broker_id = 1;
    heartbeat.broker_epoch = registered->broker_epoch;
    heartbeat.current_metadata_offset = image().provenance.offset.value;
    const auto beat = ask<wire::BrokerHeartbeatResponse>(heartbeat, 2);
    ASSERT_TRUE(beat && !beat->is_fenced);
  }
  Result<wire::CreateTopicsResponse> create(std::string_view name, int32_t partitions = 1) {
    wire::CreateTopicsRequest request;
    auto& topic = request.topics.add(arena);
    topic.name = name;
    topic.num_partitions = partitions;
    topic.replication_factor = 1;
    return ask<wire::CreateTopicsResponse>(request, 7);
  }

  Arena arena;
  std::vector<ByteBuffer> kept;
};
using ApacheNode = NodeTest;

TEST_F(ApacheNode, GoesOnInItsDirectory) {
  start();
  wire::DescribeQuorumRequest quorum;
  auto& topic = quorum.topics.add(arena);
  topic.topic_name = "__cluster_metadata";
  topic.partitions.add(arena);
  const auto described = ask<wire::DescribeQuorumResponse>(quorum, 2);
  ASSERT_TRUE(described);
  EXPECT_EQ(described->topics[0].partitions[0].leader_epoch, 4) << "Apache had three";
  EXPECT_EQ(described->topics[0].partitions[0].high_watermark, 336)
      << "one LeaderChange and nothing else";
  join();
  EXPECT_EQ(image().partition("plain", 0)->leader, BrokerId(1)) << "unfenced, it leads again";
  ASSERT_EQ(create("ours")->topics[0].error_code, 0);
  EXPECT_NE(image().topic("ours"), nullptr) << "answered after the image shows it";
  const auto before = image_lines();
  ASSERT_TRUE(host->close());
  start();
  EXPECT_EQ(image_lines(), before);
}

TEST_F(ApacheNode, WritesSnapshotsThatReplaceTheLog) {
  start(/*snapshot_bytes=*/2000);
  join();
  for (int i = 0; i < 20; i++)
    ASSERT_EQ(create("topic-" + std::to_string(i))->topics[0].error_code, 0);
  sim.run_for(Millis(200));
  const auto snapshots = raft::list_snapshots(io.disk(), kFolder).value();
  EXPECT_GT(snapshots.size(), 10U);
  EXPECT_GT(snapshots.back().end, Offset(336));
  const auto before = image_lines();
  io.power_loss();
  host.reset();
  io.restart();
  start();
  EXPECT_EQ(image_lines(), before) << "all of it was answered";
}

TEST_F(ApacheNode, AFullDiskCostsTheRequestAndNothingElse) {
  start();
  join();
  const auto before = image_lines();
  io.disk().set_space(0);
  const auto refused = create("too-much", 100);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, Errc::kNoSpace);
  sim.run_for(Millis(10));
  EXPECT_EQ(image_lines(), before);
  io.disk().set_space(uint64_t{1} << 40);
  // The new controller has forgotten the topic that is in no log.
  const auto created = create("too-much", 2);
  ASSERT_TRUE(created) << created.error().message;
  EXPECT_EQ(created->topics[0].error_code, 0);
  EXPECT_EQ(image().topic("too-much")->partitions.size(), 2U);
  EXPECT_FALSE(fatal);
}

TEST_F(ApacheNode, AFailedSyncIsTheEnd) {
  start();
  join();
  io.disk().set_fault([](sim::DiskOp op, const std::string&) -> std::optional<Error> {
    if (op == sim::DiskOp::kSync) return Error{Errc::kIo, "broken"};
    return std::nullopt;
  });
  wire::Writer writer;
  wire::CreateTopicsRequest request;
  auto& topic = request.topics.add(arena);
  topic.name = "never";
  topic.num_partitions = 1;
  topic.replication_factor = 1;
  request.encode(writer, 7);
  bool answered = false;
  host->submit({wire::ApiKey::kCreateTopics, 7, writer.take()},
               [&](Result<ByteBuffer> r) { answered = r.has_value(); });
  sim.run_for(Millis(100));
  ASSERT_TRUE(fatal);
  EXPECT_EQ(fatal->message, "broken");
  EXPECT_FALSE(answered);
  EXPECT_EQ(image().topic("never"), nullptr);
}

}  // namespace
}  // namespace odradek
