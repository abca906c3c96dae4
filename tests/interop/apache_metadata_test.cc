// A metadata directory that an Apache Kafka 4.3.1 node wrote (apache-metadata/: three starts;
// topics created, grown, deleted, altered; settings of brokers, groups and client metrics; a quota,
// a SCRAM credential, producer ids; nine snapshots on the way) means to us what it means to Apache:
// after each stretch of the log our image has exactly the records of Apache's snapshot of that
// offset.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "machines/controller/controller.h"
#include "machines/runtime.h"
#include "metadata/image_records.h"
#include "metadata/loader.h"
#include "raft/driver.h"
#include "raft/snapshot.h"
#include "sim/sim_io.h"
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

// A node's worth of driver, loader and controller.
class Host : public raft::Listener, public machines::RuntimeHost {
 public:
  explicit Host(sim::SimIo& io) : io_(io) {
    auto config = metadata::BrokerConfig::load(metadata::BrokerConfig::standalone_properties());
    settings_ = {"XDMpHncGTYq0X8WQIXQ0OQ", BrokerId(1), config->config, {}};
    auto opened = raft::Driver::open({.io = &io,
                                      .loop = &io.loop(0),
                                      .directory = "/data",
                                      .node = BrokerId(1),
                                      .directory_id = kDirectory,
                                      .listeners = {{"CONTROLLER", "127.0.0.1", 26092}}},
                                     *this);
    EXPECT_TRUE(opened) << opened.error().message;
    driver = std::move(*opened);
    runtime = std::make_unique<Runtime>(
        *driver, *this, [this] { return std::make_unique<machines::Controller>(settings_); },
        [](const Error& e) { ADD_FAILURE() << e.message; });
    runtime->start_loading();
    const auto r = driver->start();
    EXPECT_TRUE(r) << r.error().message;
  }

  void begin_snapshot() override { in_snapshot_ = true; }
  Result<void> end_snapshot(raft::SnapshotId id, WallMs last_timestamp) override {
    in_snapshot_ = false;
    const Offset last = id.end - int64_t{1};
    for (const auto& r : held_) runtime->load(last, r);
    return loader_.snapshot(held_, {last, id.epoch, last_timestamp});
  }
  Result<void> on_batch(const raft::Batch& batch) override {
    auto records = to_records(batch);
    if (in_snapshot_) {
      held_.insert(held_.end(), records.begin(), records.end());
      return {};
    }
    if (runtime->state() == machines::RuntimeState::kLoading)
      for (size_t i = 0; i < records.size(); i++)
        runtime->load(batch.base + static_cast<int64_t>(i), records[i]);
    return loader_.batch(records, {batch.last, batch.epoch, batch.appended});
  }
  void on_leader(LeaderEpoch) override { runtime->loaded(); }
  void on_committed(Offset end) override {
    if (auto publication = loader_.take()) image = publication->image;
    runtime->committed(end);
  }
  void on_snapshot_due() override {}
  void on_failed(const Error& error) override { ADD_FAILURE() << error.message; }

  WallMs wall() override { return io_.loop(0).clock().wall(); }
  uint64_t random() override { return io_.loop(0).random().next(); }
  uint64_t start_timer(Millis after, Callback callback) override {
    return static_cast<uint64_t>(io_.loop(0).timers().start(after, std::move(callback)));
  }
  void cancel_timer(uint64_t id) override {
    io_.loop(0).timers().cancel(static_cast<io::TimerId>(id));
  }
  void at_turn_end(Callback callback) override { io_.loop(0).at_turn_end(std::move(callback)); }

  using Runtime = machines::Runtime<machines::Controller, raft::Driver>;
  std::unique_ptr<raft::Driver> driver;
  std::unique_ptr<Runtime> runtime;
  metadata::ImagePtr image;

 private:
  sim::SimIo& io_;
  machines::ControllerSettings settings_;
  metadata::Loader loader_;
  bool in_snapshot_ = false;
  std::vector<metadata::Record> held_;
};

TEST(ApacheMetadata, ANodeGoesOnFromItsDirectory) {
  sim::Simulation sim(1);
  sim::SimIo& io = sim.add_node("node1", 1);
  copy_directory(io.disk());
  std::vector<std::string> before;
  {
    Host host(io);
    EXPECT_EQ(host.driver->step().epoch(), LeaderEpoch(4)) << "Apache had three";
    EXPECT_EQ(host.driver->end(), Offset(336)) << "one LeaderChange and nothing else";
    before = sorted_lines(metadata::to_records(*host.image));
    EXPECT_EQ(sorted_lines(metadata::to_records(host.runtime->machine().image())), before);

    // A snapshot of ours, of that image, is a snapshot to the reader.
    const auto image = host.image;
    host.driver->write_snapshot(image->provenance.offset, image->provenance.epoch,
                                image->provenance.appended, [image](const auto& sink) {
                                  metadata::for_each_record(*image, [&](const auto& record) {
                                    sink(as_bytes(record.to_value()));
                                  });
                                });
    sim.run_for(Millis(100));
    const auto snapshots = raft::list_snapshots(io.disk(), kFolder).value();
    ASSERT_EQ(snapshots.back().end, Offset(336));
    EXPECT_EQ(sorted_lines(snapshot_records(io.disk(), snapshots.back())), before);
    ASSERT_TRUE(host.driver->close());
  }
  Host again(io);
  EXPECT_EQ(sorted_lines(metadata::to_records(*again.image)), before);
  EXPECT_EQ(again.driver->step().epoch(), LeaderEpoch(5));
}

}  // namespace
}  // namespace odradek
