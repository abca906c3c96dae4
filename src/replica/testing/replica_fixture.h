// ReplicaNode: the replica room of one simulated node: log directories, a shard per loop, and
// metadata made of records. For tests of this room and of the handlers.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "metadata/apply.h"
#include "replica/shard.h"
#include "replica/startup.h"
#include "sim/sim_io.h"
#include "wire/gen/config_record.h"
#include "wire/gen/partition_change_record.h"
#include "wire/gen/partition_record.h"
#include "wire/gen/remove_topic_record.h"
#include "wire/gen/topic_record.h"
#include "wire/record_batch.h"

namespace odradek::replica {

struct BatchSpec {
  int records = 1;
  size_t value_size = 100;
  ProducerId producer{-1};
  ProducerEpoch epoch{-1};
  int32_t sequence = -1;
  WallMs timestamp{1'000};
  wire::Codec codec = wire::Codec::kNone;
};

inline ByteBuffer make_batch(const BatchSpec& spec = {}) {
  wire::BatchBuilder builder({.codec = spec.codec,
                              .producer_id = spec.producer,
                              .producer_epoch = spec.epoch,
                              .base_sequence = spec.sequence});
  const std::string value(spec.value_size, 'v');
  for (int i = 0; i < spec.records; i++) builder.add(spec.timestamp, std::nullopt, as_bytes(value));
  return *builder.build();
}

class ReplicaNode {
 public:
  static constexpr BrokerId kNode{1};
  static constexpr uint64_t kAheadBytes = 256 << 10;

  ReplicaNode(sim::Simulation& simulation, sim::SimIo& machine, int dir_count)
      : sim(simulation), node(machine), dir_count_(dir_count) {
    for (int i = 0; i < dir_count; i++) {
      EXPECT_TRUE(node.disk().make_directory("/d" + std::to_string(i)));
    }
    start();
  }
  ~ReplicaNode() { stop(); }

  /// Builds the node's objects over what is on the disk.
  void start() {
    std::vector<LogDirs::Entry> entries;
    for (int i = 0; i < dir_count_; i++) {
      auto dir = log::LogDir::open(node.disk(), "/d" + std::to_string(i), Logger());
      ASSERT_TRUE(dir) << dir.error().message;
      auto marker = (*dir)->take_clean_marker();
      ASSERT_TRUE(marker);
      entries.push_back({.dir = std::move(*dir),
                         .id = Uuid{9, static_cast<uint64_t>(1000 + i)},
                         .clean = marker->clean});
    }
    dirs = std::make_unique<LogDirs>(
        node, node.loop(0), std::move(entries), kAheadBytes, [this](const Error&) { fatal++; },
        Logger());
    const ResolveSettings resolve = [](const metadata::Image& image, const std::string& topic) {
      return settings_of(image, topic);
    };
    for (int i = 0; i < node.loop_count(); i++) {
      ShardSettings settings{.node_id = kNode, .loops = node.loop_count()};
      shards.push_back(
          std::make_unique<Shard>(node, node.loop(i), *dirs, settings, resolve, Logger()));
    }
  }
  /// Loads what is on disk and applies the image so far.
  void load() {
    std::vector<Shard*> pointers;
    for (auto& s : shards) pointers.push_back(s.get());
    const ResolveSettings resolve = settings_of;
    bool done = false;
    recovery = std::make_unique<RecoveryStatus>();
    const metadata::ImagePtr now = image;
    node.loop(0).post([&] {
      load_partitions({.io = node,
                       .loop = node.loop(0),
                       .dirs = *dirs,
                       .image = *now,
                       .shards = pointers,
                       .resolve = resolve,
                       .status = *recovery,
                       .logger = Logger()},
                      [&](Result<void> r) {
                        EXPECT_TRUE(r) << r.error().message;
                        done = true;
                      });
    });
    ASSERT_TRUE(sim.run_until([&] { return done; }, Millis(60'000)));
    sim.run_for(Millis(5));  // the logs are on their way to their shards
    metadata::Delta delta{
        .before = std::make_shared<metadata::Image>(), .after = now, .from_snapshot = true};
    now->for_each_topic([&](const metadata::TopicPtr& t) { delta.topics[t->id] = {nullptr, t}; });
    publish({now, std::make_shared<metadata::Delta>(std::move(delta))});
  }
  void stop() {
    // Coroutines that wait would leak.
    for (auto& s : shards) {
      for (Partition* p : s->partitions()) p->fail_waiters(wire::ErrorCode::kNotLeaderOrFollower);
    }
    shards.clear();
    dirs.reset();
  }
  /// A clean stop with marker.
  void close() {
    size_t closed = 0;
    for (auto& s : shards) {
      s->loop().post([&] {
        s->close([&](Result<void> r) {
          EXPECT_TRUE(r);
          closed++;
        });
      });
    }
    ASSERT_TRUE(sim.run_until([&] { return closed == shards.size(); }, Millis(60'000)));
    sim.run_for(Millis(1));  // what the shards have reported arrives first
    bool done = false;
    dirs->close(BrokerEpoch(7), [&](Result<void> r) {
      EXPECT_TRUE(r);
      done = true;
    });
    ASSERT_TRUE(sim.run_until([&] { return done; }, Millis(60'000)));
    stop();
  }

  // ---- metadata

  template <class Message>
  void record(const Message& message, int16_t version) {
    ASSERT_TRUE(builder_.apply(metadata::Record::of(message, version)));
  }
  /// Publishes what the records have changed and waits until every shard has it.
  void publish() { publish(build()); }
  metadata::Publication build() {
    metadata::Publication p = builder_.build();
    image = p.image;
    return p;
  }
  void publish(const metadata::Publication& p) { publish(std::vector{p}); }
  /// The shards get all of them in one turn.
  void publish(const std::vector<metadata::Publication>& all) {
    size_t applied = 0;
    for (auto& s : shards) {
      s->loop().post([&] {
        for (const metadata::Publication& p : all) s->apply(p);
        applied++;
      });
    }
    ASSERT_TRUE(sim.run_until([&] { return applied == shards.size(); }, Millis(60'000)));
  }
  Uuid create_topic(const std::string& name, int partitions = 1,
                    std::vector<std::pair<std::string, std::string>> configs = {}) {
    const Uuid id = record_topic(name, partitions, std::move(configs));
    publish();
    return id;
  }
  Uuid record_topic(const std::string& name, int partitions = 1,
                    std::vector<std::pair<std::string, std::string>> configs = {}) {
    const Uuid id{77, ++next_topic_};
    record(wire::TopicRecord{.name = name, .topic_id = id}, 0);
    for (const auto& [key, value] : configs) set_config(name, key, value);
    for (int i = 0; i < partitions; i++) {
      int32_t self = kNode.value;
      wire::PartitionRecord p;
      p.partition_id = i;
      p.topic_id = id;
      p.replicas = {&self, 1};
      p.isr = {&self, 1};
      p.leader = self;
      p.leader_epoch = 0;
      p.partition_epoch = 0;
      record(p, 0);
    }
    return id;
  }
  void set_config(const std::string& topic, const std::string& key, const std::string& value) {
    record(
        wire::ConfigRecord{.resource_type = 2, .resource_name = topic, .name = key, .value = value},
        0);
  }
  void delete_topic(const Uuid& id) {
    record(wire::RemoveTopicRecord{.topic_id = id}, 0);
    publish();
  }
  /// A new leader (epoch + 1).
  void set_leader(const Uuid& id, BrokerId leader) {
    record_leader(id, leader, 0);
    publish();
  }
  void record_leader(const Uuid& id, BrokerId leader, int32_t index) {
    wire::PartitionChangeRecord change;
    change.partition_id = index;
    change.topic_id = id;
    change.leader = leader.value;
    record(change, 0);
  }

  // ---- doing

  Shard& shard() { return *shards[0]; }
  Partition& partition(const Uuid& id, int32_t index = 0) {
    Partition* p =
        shards[static_cast<size_t>(owner_loop(id, PartitionIndex(index), node.loop_count()))]->find(
            id, PartitionIndex(index));
    EXPECT_NE(p, nullptr);
    return *p;
  }
  /// Runs `f` in a turn of loop 0, to its end.
  template <class F>
  void on_loop(F f) {
    bool done = false;
    node.loop(0).post([&] {
      f();
      done = true;
    });
    ASSERT_TRUE(sim.run_until([&] { return done; }, Millis(60'000)));
  }
  /// Appends on loop 0; waits for nothing.
  ProduceOutcome produce(const Uuid& id, const BatchSpec& spec = {}, int16_t acks = -1) {
    ProduceOutcome out;
    on_loop([&] {
      ByteBuffer batch = make_batch(spec);
      out = partition(id).produce(batch, {.acks = acks, .now = node.loop(0).clock().wall()});
    });
    return out;
  }

  sim::Simulation& sim;
  sim::SimIo& node;
  int fatal = 0;
  std::unique_ptr<LogDirs> dirs;
  std::unique_ptr<RecoveryStatus> recovery;  // of the last load()
  std::vector<std::unique_ptr<Shard>> shards;
  metadata::ImagePtr image;

 private:
  static TopicSettings settings_of(const metadata::Image& image, const std::string& topic) {
    metadata::ResolvedTopicConfig config;
    for (const auto& [key, value] : image.topic_config(topic)) {
      if (key == "flush.messages") config.flush_messages = std::stoll(value);
      if (key == "flush.ms") config.flush_interval = Millis(std::stoll(value));
      if (key == "max.message.bytes") config.max_message_bytes = std::stoi(value);
      if (key == "min.insync.replicas") config.min_insync_replicas = std::stoi(value);
      if (key == "segment.bytes") config.segment_bytes = std::stoi(value);
      if (key == "retention.bytes") config.retention_bytes = std::stoll(value);
      if (key == "file.delete.delay.ms") config.file_delete_delay = Millis(std::stoll(value));
      if (key == "compression.type") config.compression = metadata::CompressionType::kGzip;
      if (key == "message.timestamp.type") {
        config.timestamp_type = metadata::TimestampType::kLogAppendTime;
      }
      if (key == "cleanup.policy") {
        config.cleanup_delete = false;
        config.cleanup_compact = true;
      }
    }
    return make_topic_settings(config, Millis(86'400'000));
  }

  int dir_count_;
  metadata::ImageBuilder builder_;
  uint64_t next_topic_ = 0;
};

namespace testing_detail {
struct Machine {
  explicit Machine(int loops) : node(simulation.add_node("n", loops)) {}
  sim::Simulation simulation{11};
  sim::SimIo& node;
};
}  // namespace testing_detail

/// A test with one such node of its own.
class ReplicaFixture : public testing::Test, private testing_detail::Machine, public ReplicaNode {
 protected:
  explicit ReplicaFixture(int loops = 1, int dir_count = 1)
      : Machine(loops), ReplicaNode(Machine::simulation, Machine::node, dir_count) {}
  using ReplicaNode::node;
};

}  // namespace odradek::replica
