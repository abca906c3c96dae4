// Records to images and back: the rules of apply.h, the loader, the publisher.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <charconv>
#include <fstream>

#include "metadata/apply.h"
#include "metadata/features.h"
#include "metadata/image_records.h"
#include "metadata/loader.h"
#include "metadata/publisher.h"
#include "metadata/record_types.h"

namespace odradek::metadata {
namespace {

using testing::ElementsAre;

const Uuid kTopicA{7, 1};
const Uuid kTopicB{7, 2};

Array<int32_t> ids(Arena& arena, std::initializer_list<int32_t> in) {
  Array<int32_t> out;
  for (const int32_t id : in) out.add(arena, id);
  return out;
}

Record topic(std::string_view name, Uuid id) {
  wire::TopicRecord r;
  r.name = name;
  r.topic_id = id;
  return Record::of(r, 0);
}

Record partition(Uuid id, int32_t index, std::initializer_list<int32_t> replicas = {1}) {
  Arena arena;
  wire::PartitionRecord r;
  r.topic_id = id;
  r.partition_id = index;
  r.replicas = ids(arena, replicas);
  r.isr = r.replicas;
  for (size_t i = 0; i < replicas.size(); i++) r.directories.add(arena, Uuid{100, i});
  r.leader = *replicas.begin();
  r.leader_epoch = 0;
  r.partition_epoch = 0;
  return Record::of(r, 2);
}

Record config(ResourceType type, std::string_view resource, std::string_view name,
              std::optional<std::string_view> value) {
  wire::ConfigRecord r;
  r.resource_type = static_cast<int8_t>(type);
  r.resource_name = resource;
  r.name = name;
  r.value = value;
  return Record::of(r, 0);
}

Record feature(std::string_view name, int16_t level) {
  wire::FeatureLevelRecord r;
  r.name = name;
  r.feature_level = level;
  return Record::of(r, 0);
}

Record register_broker(int32_t id, int64_t epoch, bool fenced = true) {
  Arena arena;
  wire::RegisterBrokerRecord r;
  r.broker_id = id;
  r.broker_epoch = epoch;
  r.incarnation_id = Uuid{static_cast<uint64_t>(id), static_cast<uint64_t>(epoch)};
  r.end_points.add(arena, {"PLAINTEXT", "h", 9092, 0});
  r.features.add(arena, {"metadata.version", 7, 30});
  r.rack = std::nullopt;
  r.fenced = fenced;
  r.log_dirs.add(arena, Uuid{101, 2});
  r.log_dirs.add(arena, Uuid{101, 1});
  return Record::of(r, 4);
}

void apply(ImageBuilder& b, std::initializer_list<Record> records) {
  for (const Record& r : records) {
    const auto result = b.apply(r);
    ASSERT_TRUE(result) << result.error().message;
  }
}

TEST(Record, StoredValueHasTheFrame) {
  const Record r = feature("metadata.version", 30);
  EXPECT_EQ(r.to_value().substr(0, 3), std::string("\x01\x0c\x00", 3));
  EXPECT_EQ(Record::from_value(as_bytes(r.to_value())).value(), r);
  EXPECT_LE(r.to_value().size(), r.value_size_max());
  EXPECT_FALSE(Record::from_value(as_bytes("\x02\x0c")));
}

TEST(Record, TrailingBytesAreAnError) {
  Record r = topic("a", kTopicA);
  r.body += 'x';
  Arena arena;
  EXPECT_FALSE(r.decode<wire::TopicRecord>(arena));
}

TEST(Apply, TopicsAndConfigsComeAndGoTogether) {
  ImageBuilder b;
  apply(b, {topic("a", kTopicA), partition(kTopicA, 0), partition(kTopicA, 1),
            config(ResourceType::kTopic, "a", "retention.ms", "5")});
  const ImagePtr first = b.build().image;
  ASSERT_NE(first->topic("a"), nullptr);
  EXPECT_EQ(first->topic("a")->partitions.size(), 2U);
  EXPECT_EQ(first->config(ResourceType::kTopic, "a", "retention.ms"), "5");

  wire::RemoveTopicRecord remove;
  remove.topic_id = kTopicA;
  apply(b, {Record::of(remove, 0), topic("a", kTopicB)});
  const Publication second = b.build();
  EXPECT_EQ(second.image->topic("a")->id, kTopicB);
  EXPECT_EQ(second.image->topic(kTopicA), nullptr);
  EXPECT_TRUE(second.image->topic_config("a").empty());
  EXPECT_EQ(second.delta->topics.at(kTopicA).after, nullptr);
  EXPECT_EQ(second.delta->topics.at(kTopicB).before, nullptr);
  EXPECT_TRUE(second.delta->configs.contains({ResourceType::kTopic, "a"}));
  // The image published before did not move.
  EXPECT_EQ(first->topic("a")->id, kTopicA);
  EXPECT_EQ(first->topic_config("a").size(), 1U);
}

TEST(Apply, PartitionChangeRaisesEpochsByRule) {
  ImageBuilder b;
  apply(b, {topic("a", kTopicA), partition(kTopicA, 0, {1, 2, 3})});
  const ImagePtr before = b.build().image;
  Arena arena;
  wire::PartitionChangeRecord isr;
  isr.topic_id = kTopicA;
  isr.partition_id = 0;
  isr.isr = ids(arena, {1, 2});
  apply(b, {Record::of(isr, 2)});
  const Partition* p = b.image().partition("a", 0);
  EXPECT_EQ(p->partition_epoch, 1);
  EXPECT_EQ(p->leader_epoch, LeaderEpoch(0));
  wire::PartitionChangeRecord same_leader;
  same_leader.topic_id = kTopicA;
  same_leader.partition_id = 0;
  same_leader.leader = 1;
  apply(b, {Record::of(same_leader, 2)});
  p = b.image().partition("a", 0);
  EXPECT_EQ(p->partition_epoch, 2);
  EXPECT_EQ(p->leader_epoch, LeaderEpoch(1));
  EXPECT_EQ(p->isr.size(), 2U);
  EXPECT_EQ(before->partition("a", 0)->partition_epoch, 0);
}

TEST(Apply, NewReplicasKeepKnownDirectories) {
  ImageBuilder b;
  apply(b, {topic("a", kTopicA), partition(kTopicA, 0, {1, 2})});
  Arena arena;
  wire::PartitionChangeRecord r;
  r.topic_id = kTopicA;
  r.partition_id = 0;
  r.replicas = ids(arena, {3, 2});
  apply(b, {Record::of(r, 2)});
  EXPECT_THAT(b.image().partition("a", 0)->directories, ElementsAre(kDirUnassigned, Uuid{100, 1}));
}

TEST(Apply, ChangesOfWhatDoesNotExistAreErrors) {
  ImageBuilder b;
  wire::PartitionChangeRecord change;
  change.topic_id = kTopicA;
  change.partition_id = 0;
  EXPECT_FALSE(b.apply(Record::of(change, 0)));
  EXPECT_FALSE(b.apply(partition(kTopicA, 0)));
  wire::RemoveTopicRecord remove;
  remove.topic_id = kTopicA;
  EXPECT_FALSE(b.apply(Record::of(remove, 0)));
  wire::UnregisterBrokerRecord unregister;
  unregister.broker_id = 1;
  EXPECT_FALSE(b.apply(Record::of(unregister, 0)));
  wire::ClearElrRecord clear;
  clear.topic_name = "nope";
  EXPECT_FALSE(b.apply(Record::of(clear, 0)));
  EXPECT_FALSE(b.apply(Record{99, 0, ""}));
  apply(b, {topic("a", kTopicA)});
  EXPECT_FALSE(b.apply(topic("a", kTopicB)));
}

TEST(Apply, BrokerChangesFollowTheirFields) {
  ImageBuilder b;
  apply(b, {register_broker(1, 10)});
  EXPECT_TRUE(b.image().broker(BrokerId(1))->fenced);
  EXPECT_THAT(b.image().broker(BrokerId(1))->log_dirs, ElementsAre(Uuid{101, 1}, Uuid{101, 2}));
  wire::BrokerRegistrationChangeRecord unfence;
  unfence.broker_id = 1;
  unfence.broker_epoch = 10;
  unfence.fenced = -1;
  apply(b, {Record::of(unfence, 0)});
  EXPECT_FALSE(b.image().broker(BrokerId(1))->fenced);
  Arena arena;
  wire::BrokerRegistrationChangeRecord cordoned;
  cordoned.broker_id = 1;
  cordoned.broker_epoch = 10;
  cordoned.cordoned_log_dirs = Array<Uuid>();
  apply(b, {Record::of(cordoned, 3)});
  const Broker* broker = b.image().broker(BrokerId(1));
  EXPECT_FALSE(broker->fenced);
  EXPECT_EQ(broker->log_dirs.size(), 2U);
  EXPECT_TRUE(broker->cordoned_log_dirs && broker->cordoned_log_dirs->empty());
  unfence.broker_epoch = 11;
  EXPECT_FALSE(b.apply(Record::of(unfence, 0)));
}

TEST(Apply, ClearElrRaisesTheEpochOnlyWhereItChanges) {
  ImageBuilder b;
  apply(b, {topic("a", kTopicA), partition(kTopicA, 0, {1, 2}), partition(kTopicA, 1, {1, 2})});
  Arena arena;
  wire::PartitionChangeRecord elr;
  elr.topic_id = kTopicA;
  elr.partition_id = 1;
  elr.eligible_leader_replicas = ids(arena, {2});
  wire::ClearElrRecord all;
  apply(b, {Record::of(elr, 2), Record::of(all, 0)});
  EXPECT_EQ(b.image().partition("a", 0)->partition_epoch, 0);
  EXPECT_EQ(b.image().partition("a", 1)->partition_epoch, 2);
  EXPECT_TRUE(b.image().partition("a", 1)->elr.empty());
}

TEST(Apply, FeatureLevelsAboveOursAreRefused) {
  ImageBuilder b;
  apply(b, {feature("metadata.version", 30), feature("group.version", 1),
            feature("group.version", 0)});
  EXPECT_EQ(b.image().metadata_version(), 30);
  EXPECT_EQ(b.image().features.size(), 1U);
  EXPECT_FALSE(b.apply(feature("metadata.version", 31)));
  EXPECT_FALSE(b.apply(feature("unheard.of", 1)));
}

TEST(Loader, ShowsATransactionOnlyAtItsEnd) {
  Loader loader;
  const Record begin = Record::of(wire::BeginTransactionRecord{}, 0);
  const Record end = Record::of(wire::EndTransactionRecord{}, 0);
  const Record abort = Record::of(wire::AbortTransactionRecord{}, 0);
  const auto at = [](int64_t offset) {
    return Provenance{Offset(offset), LeaderEpoch(1), WallMs(5)};
  };
  ASSERT_TRUE(loader.batch(std::vector{begin, topic("a", kTopicA)}, at(1)));
  EXPECT_FALSE(loader.take());
  ASSERT_TRUE(loader.batch(std::vector{topic("b", kTopicB), end}, at(3)));
  auto p = loader.take();
  ASSERT_TRUE(p);
  EXPECT_EQ(p->image->topics_by_name.size(), 2U);
  EXPECT_EQ(p->image->provenance.offset, Offset(3));
  EXPECT_FALSE(loader.take());

  ASSERT_TRUE(loader.batch(std::vector{begin, topic("c", Uuid{7, 3}), abort}, at(6)));
  p = loader.take();
  ASSERT_TRUE(p);
  EXPECT_TRUE(p->delta->empty());
  EXPECT_EQ(p->image->topic("c"), nullptr);
  EXPECT_EQ(p->image->provenance.offset, Offset(6));
  EXPECT_FALSE(loader.batch(std::vector{end}, at(7)));
}

TEST(Loader, SnapshotReplacesEverything) {
  Loader loader;
  ASSERT_TRUE(
      loader.batch(std::vector{topic("a", kTopicA), partition(kTopicA, 0), topic("b", kTopicB),
                               partition(kTopicB, 0), config(ResourceType::kTopic, "a", "x", "1")},
                   {Offset(4), LeaderEpoch(1), WallMs(0)}));
  loader.take();
  ASSERT_TRUE(loader.snapshot(std::vector{topic("b", kTopicB), partition(kTopicB, 0)},
                              {Offset(9), LeaderEpoch(1), WallMs(0)}));
  const auto p = loader.take();
  ASSERT_TRUE(p);
  EXPECT_TRUE(p->delta->from_snapshot);
  EXPECT_EQ(p->image->topic("a"), nullptr);
  EXPECT_EQ(p->delta->topics.at(kTopicA).after, nullptr);
  EXPECT_TRUE(p->delta->configs.contains({ResourceType::kTopic, "a"}));
  int changed = 0;
  p->delta->for_each_partition(
      [&](const TopicChange& c, int32_t, const Partition*, const Partition*) {
        EXPECT_EQ(c.before->name, "a");
        changed++;
      });
  EXPECT_EQ(changed, 1);  // b-0 is what it was
}

TEST(ImageRecords, RoundTrip) {
  Arena arena;
  wire::ClientQuotaRecord quota;
  quota.entity.add(arena, {"user", std::nullopt});
  quota.key = "producer_byte_rate";
  quota.value = 12.5;
  wire::ProducerIdsRecord producer;
  producer.next_producer_id = 1000;
  wire::AccessControlEntryRecord acl;
  acl.id = Uuid{3, 3};
  acl.principal = "User:x";
  wire::UserScramCredentialRecord scram;
  scram.name = "u";
  scram.mechanism = 1;
  scram.salt = as_bytes("salt");
  wire::DelegationTokenRecord token;
  token.token_id = "t";
  token.owner = "User:o";
  wire::RegisterControllerRecord controller;
  controller.controller_id = 1;
  ImageBuilder b;
  apply(
      b,
      {feature("group.version", 1), feature("metadata.version", 30), register_broker(1, 10, false),
       Record::of(controller, 0), topic("a", kTopicA), partition(kTopicA, 0, {1, 2}),
       config(ResourceType::kBroker, "", "min.insync.replicas", "1"), Record::of(quota, 0),
       Record::of(producer, 0), Record::of(acl, 0), Record::of(scram, 0), Record::of(token, 0)});
  const std::vector<Record> records = to_records(b.image());
  std::vector<int16_t> types;
  for (const Record& r : records) types.push_back(r.type);
  EXPECT_THAT(types, ElementsAre(12, 12, 0, 27, 2, 3, 4, 14, 15, 18, 11, 10));
  EXPECT_EQ(records[0], feature("metadata.version", 30));
  EXPECT_EQ(records[2].version, 4);
  EXPECT_EQ(records[5].version, 2);
  ImageBuilder again;
  for (const Record& r : records) ASSERT_TRUE(again.apply(r));
  EXPECT_EQ(to_records(again.image()), records);
  EXPECT_FALSE(again.image().broker(BrokerId(1))->rack);
  EXPECT_FALSE(again.image().config(ResourceType::kBroker, "", "nope"));
  EXPECT_NE(again.image().quotas.find({{"user", std::nullopt}}), nullptr);
  EXPECT_EQ(*again.image().broker(BrokerId(1)), *b.image().broker(BrokerId(1)));
  EXPECT_EQ(*again.image().partition("a", 0), *b.image().partition("a", 0));
}

TEST(ImageRecords, VersionsFollowMetadataVersion) {
  ImageBuilder b;
  apply(b, {feature("metadata.version", 14), register_broker(1, 10), topic("a", kTopicA),
            partition(kTopicA, 0)});
  const auto records = to_records(b.image());
  ASSERT_EQ(records.size(), 4U);
  EXPECT_EQ(records[1].version, 2);
  EXPECT_EQ(records[3].version, 0);
}

ByteBuffer from_hex(std::string_view text) {
  ByteBuffer bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    uint8_t byte = 0;
    std::from_chars(text.data() + i, text.data() + i + 2, byte, 16);
    bytes.push_back(byte);
  }
  return bytes;
}

/// testdata/metadata_log.txt: records by offset, and the snapshot of the offsets below 32.
struct RecordedLog {
  std::vector<std::pair<int64_t, Record>> log;
  std::vector<Record> snapshot;
};
RecordedLog recorded_log() {
  RecordedLog r;
  std::ifstream file(std::string(TESTDATA) + "/metadata_log.txt");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("#")) continue;
    const size_t space = line.find(' ');
    const ByteBuffer bytes = from_hex(std::string_view(line).substr(space + 1));
    const auto record = Record::from_value(bytes);
    EXPECT_TRUE(record) << line;
    EXPECT_EQ(record->to_value(), as_text(bytes));
    if (line.starts_with("snapshot")) {
      r.snapshot.push_back(*record);
    } else {
      r.log.emplace_back(std::stoll(line), *record);
    }
  }
  EXPECT_GT(r.log.size(), 40U);
  return r;
}

TEST(RecordedLog, EveryRecordIsEncodedAsApacheDid) {
  for (const auto& [offset, record] : recorded_log().log) {
    const bool known = with_record_type(record.type, [&]<class T>() {
      Arena arena;
      const auto message = record.decode<T>(arena);
      ASSERT_TRUE(message) << message.error().message;
      EXPECT_EQ(Record::of(*message, record.version), record) << record.to_line();
    });
    EXPECT_TRUE(known) << offset;
  }
}

TEST(RecordedLog, ImageGivesApachesSnapshot) {
  const RecordedLog recorded = recorded_log();
  Loader loader;
  for (const auto& [offset, record] : recorded.log) {
    if (offset >= 32) break;
    const auto r = loader.batch({&record, 1}, {Offset(offset), LeaderEpoch(1), WallMs(0)});
    ASSERT_TRUE(r) << r.error().message;
  }
  const auto p = loader.take();
  ASSERT_TRUE(p);
  const auto lines = [](const std::vector<Record>& records) {
    std::vector<std::string> out;
    // The features of a broker or controller come in the order of a hash map there.
    for (const Record& r : records) {
      if (r.type != 0 && r.type != 27) out.push_back(r.to_line());
    }
    return out;
  };
  const std::vector<Record> ours = to_records(*p->image);
  EXPECT_THAT(lines(ours), testing::UnorderedElementsAreArray(lines(recorded.snapshot)));
  ImageBuilder theirs;
  for (const Record& r : recorded.snapshot) ASSERT_TRUE(theirs.apply(r));
  EXPECT_EQ(*theirs.image().broker(BrokerId(1)), *p->image->broker(BrokerId(1)));
  EXPECT_EQ(*theirs.image().controller(BrokerId(1)), *p->image->controller(BrokerId(1)));
  // Order of kinds, not of what is within one kind.
  std::vector<int16_t> our_types;
  std::vector<int16_t> their_types;
  for (const Record& r : ours) our_types.push_back(r.type);
  for (const Record& r : recorded.snapshot) their_types.push_back(r.type);
  const auto without_repeats = [](std::vector<int16_t>& v) {
    for (int16_t& t : v) t = t == 3 ? int16_t{2} : t;  // partitions follow their topic
    v.erase(std::unique(v.begin(), v.end()), v.end());
  };
  without_repeats(our_types);
  without_repeats(their_types);
  EXPECT_EQ(our_types, their_types);
}

TEST(RecordedLog, WholeLogApplies) {
  Loader loader;
  for (const auto& [offset, record] : recorded_log().log) {
    const auto r = loader.batch({&record, 1}, {Offset(offset), LeaderEpoch(1), WallMs(0)});
    ASSERT_TRUE(r) << r.error().message;
  }
  const ImagePtr image = loader.take()->image;
  EXPECT_EQ(image->topic("gone"), nullptr);
  EXPECT_EQ(image->topic("alpha")->partitions.size(), 4U);
  EXPECT_EQ(image->partition("alpha", 0)->leader, kNoBroker);  // it shut down in order
  EXPECT_EQ(image->feature("group.version"), 0);
  EXPECT_EQ(image->acls.size(), 1U);
  EXPECT_EQ(image->scram.size(), 1U);
  EXPECT_EQ(image->next_producer_id, 1000);
  EXPECT_EQ(image->config(ResourceType::kTopic, "alpha", "min.insync.replicas"), "2");
  EXPECT_TRUE(image->broker(BrokerId(1))->fenced);
}

TEST(Record, PrintsAsOneLine) {
  EXPECT_EQ(topic("a", kTopicA).to_line(),
            R"(TopicRecord v0 {"name":"a","topicId":"AAAAAAAAAAcAAAAAAAAAAQ"})");
  EXPECT_EQ((Record{99, 1, "xy"}).to_line(), "record type 99 v1, 2 bytes");
}

TEST(Publisher, EverySubscriberThenTheCaller) {
  std::vector<std::move_only_function<void()>> queue;
  const Post post = [&](std::move_only_function<void()> f) { queue.push_back(std::move(f)); };
  const auto drain = [&] {
    while (!queue.empty()) {
      auto f = std::move(queue.front());
      queue.erase(queue.begin());
      f();
    }
  };
  std::string seen;
  auto publisher = std::make_unique<Publisher>(post);
  publisher->subscribe(post, [&](const Publication& p) {
    seen += fmt::format("1:{} ", p.image->provenance.offset.value);
  });
  publisher->subscribe(post, [&](const Publication& p) {
    seen += fmt::format("2:{} ", p.image->provenance.offset.value);
  });
  ImageBuilder b;
  b.set_provenance({Offset(1), LeaderEpoch(0), WallMs(0)});
  publisher->publish(b.build(), [&] { seen += "all "; });
  b.set_provenance({Offset(2), LeaderEpoch(0), WallMs(0)});
  publisher->publish(b.build());
  EXPECT_EQ(publisher->current()->provenance.offset, Offset(2));
  EXPECT_EQ(seen, "");
  drain();
  EXPECT_EQ(seen, "1:1 2:1 1:2 2:2 all ");
  publisher->publish(b.build(), [&] { FAIL(); });
  publisher.reset();
  drain();
}

TEST(BucketMap, OldVersionsStay) {
  ImageBuilder b;
  std::vector<ImagePtr> versions;
  for (uint64_t i = 0; i < 500; i++) {
    apply(b, {topic(fmt::format("t{}", i), Uuid{1, i}), partition(Uuid{1, i}, 0)});
    versions.push_back(b.build().image);
  }
  for (size_t i = 0; i < versions.size(); i++) {
    ASSERT_EQ(versions[i]->topics_by_id.size(), i + 1);
    ASSERT_EQ(versions[i]->topics_by_name.size(), i + 1);
    ASSERT_NE(versions[i]->topic(fmt::format("t{}", i)), nullptr);
    ASSERT_EQ(versions[i]->topic(fmt::format("t{}", i + 1)), nullptr);
    size_t n = 0;
    versions[i]->for_each_topic([&](const TopicPtr&) { n++; });
    ASSERT_EQ(n, i + 1);
  }
}

TEST(Features, Levels) {
  EXPECT_EQ(MetadataVersion::parse("4.3-IV0")->level(), 30);
  EXPECT_EQ(MetadataVersion::parse("4.0")->level(), 25);
  EXPECT_EQ(MetadataVersion::parse("3.7.1")->level(), 19);
  EXPECT_EQ(MetadataVersion::parse("7")->level(), 7);
  EXPECT_FALSE(MetadataVersion::parse("31"));
  EXPECT_FALSE(MetadataVersion::parse("4"));
  EXPECT_FALSE(MetadataVersion::parse("3.2"));
  const auto levels = default_levels(MetadataVersion(30));
  EXPECT_EQ(levels, (std::map<std::string, int16_t>{{"metadata.version", 30},
                                                    {"eligible.leader.replicas.version", 1},
                                                    {"group.version", 1},
                                                    {"share.version", 1},
                                                    {"streams.version", 1},
                                                    {"transaction.version", 2}}));
  EXPECT_EQ(default_levels(MetadataVersion(21)).size(), 1U);
  EXPECT_EQ(bootstrap_records(levels).front(), feature("metadata.version", 30));
  EXPECT_EQ(bootstrap_records(levels).size(), 6U);
}

TEST(Features, UpdatesAreChecked) {
  ImageBuilder b;
  apply(b, {feature("metadata.version", 26), feature("transaction.version", 2),
            register_broker(1, 1)});
  const auto check = [&](std::string_view name, int16_t level, FeatureUpgrade type) {
    const auto r = check_feature_update(b.image(), BrokerId(1), name, level, type);
    return r ? std::string("ok") : r.error().message;
  };
  EXPECT_EQ(check("metadata.version", 30, FeatureUpgrade::kUpgrade), "ok");
  EXPECT_EQ(check("metadata.version", 31, FeatureUpgrade::kUpgrade),
            "Invalid update version 31 for feature metadata.version. Local controller 1 only "
            "supports versions 7-30");
  EXPECT_EQ(
      check("metadata.version", 24, FeatureUpgrade::kUpgrade),
      "Invalid update version 24 for feature metadata.version. Can't downgrade the version of "
      "this feature without setting the upgrade type to either safe or unsafe downgrade.");
  EXPECT_EQ(check("metadata.version", 24, FeatureUpgrade::kSafeDowngrade), "ok");
  EXPECT_EQ(
      check("metadata.version", 21, FeatureUpgrade::kSafeDowngrade),
      "Unsupported metadata.version downgrade from 4.1-IV0 to 3.9-IV0. Refusing to perform the "
      "requested downgrade because it might delete metadata information.");
  // Broker 1 registered with nothing but metadata.version.
  EXPECT_EQ(check("group.version", 1, FeatureUpgrade::kUpgrade),
            "Invalid update version 1 for feature group.version. Broker 1 does not support this "
            "feature.");
  EXPECT_EQ(check_dependencies({{"metadata.version", 22}, {"eligible.leader.replicas.version", 1}})
                .error()
                .message,
            "eligible.leader.replicas.version could not be set to 1 because it depends on "
            "metadata.version=23 (4.0-IV1)");
}

}  // namespace
}  // namespace odradek::metadata
