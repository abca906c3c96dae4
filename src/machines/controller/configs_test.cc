// AlterConfigs, IncrementalAlterConfigs, UpdateFeatures.
#include "machines/controller/controller_testing.h"
#include "wire/gen/alter_configs.h"
#include "wire/gen/incremental_alter_configs.h"
#include "wire/gen/update_features.h"

namespace odradek::machines {
namespace {

constexpr int8_t kTopic = 2;
constexpr int8_t kBroker = 4;

struct Alter {
  int8_t type;
  std::string_view resource;
  std::string_view name;
  std::optional<std::string_view> value;
  int8_t operation = 0;
};

std::vector<std::string> alter(TestController& c, const std::vector<Alter>& alters,
                               bool validate_only = false) {
  wire::IncrementalAlterConfigsRequest request;
  for (const Alter& a : alters) {
    auto& resource = request.resources.add(c.arena);
    resource.resource_type = a.type;
    resource.resource_name = a.resource;
    resource.configs.add(c.arena) = {a.name, a.operation, a.value};
  }
  request.validate_only = validate_only;
  std::vector<std::string> answers;
  for (const auto& r : c.send<wire::IncrementalAlterConfigsResponse>(request, 1).responses)
    answers.push_back(error_text(r));
  return answers;
}

TEST(IncrementalAlterConfigs, ResourcesAreAnsweredOneByOne) {
  TestController c;
  c.add_broker(1);
  c.create("t");
  const auto answers = alter(c, {{kTopic, "t", "retention.ms", "5000"},
                                 {kTopic, "none", "retention.ms", "5000"},
                                 {kBroker, "", "log.retention.ms", "7000"},
                                 {99, "x", "a", "b"}});
  ASSERT_EQ(answers.size(), 4U);
  EXPECT_EQ(answers[0], "NONE");
  EXPECT_EQ(answers[1].substr(0, 26), "UNKNOWN_TOPIC_OR_PARTITION");
  EXPECT_EQ(answers[2], "NONE");
  EXPECT_EQ(answers[3], "UNSUPPORTED_VERSION: Unknown resource type 99.");
  EXPECT_EQ(c.lines(), (Lines{config_line(2, "t", "retention.ms", "\"5000\""),
                              config_line(4, "", "log.retention.ms", "\"7000\"")}));
  alter(c, {{kTopic, "t", "retention.ms", std::nullopt, 1}});
  EXPECT_TRUE(c.image().topic_config("t").empty());
}

TEST(IncrementalAlterConfigs, ValidateOnlyAndDuplicates) {
  TestController c;
  c.add_broker(1);
  c.create("t");
  EXPECT_EQ(alter(c, {{kTopic, "t", "retention.ms", "5000"}}, true), (Lines{"NONE"}));
  EXPECT_TRUE(c.lines().empty());
  EXPECT_EQ(alter(c, {{kTopic, "t", "retention.ms", "1"}, {kTopic, "t", "segment.ms", "1"}}),
            (Lines{"INVALID_REQUEST: Duplicate resource."}));
  EXPECT_EQ(alter(c, {{kTopic, "t", "retention.ms", "1", 7}}),
            (Lines{"INVALID_REQUEST: Unknown operation type 7"}));
}

TEST(AlterConfigs, ReplacesAllSettings) {
  TestController c;
  c.add_broker(1);
  c.create("t");
  alter(c, {{kTopic, "t", "retention.ms", "5000"}});
  wire::AlterConfigsRequest request;
  auto& resource = request.resources.add(c.arena);
  resource.resource_type = kTopic;
  resource.resource_name = "t";
  resource.configs.add(c.arena) = {"segment.ms", "77"};
  EXPECT_EQ(error_text(c.send<wire::AlterConfigsResponse>(request, 2).responses[0]), "NONE");
  EXPECT_EQ(c.image().topic_config("t"), (metadata::ConfigMap{{"segment.ms", "77"}}));
}

std::string update(TestController& c, std::string_view feature, int16_t level, int8_t type = 1,
                   bool validate_only = false, int16_t version = 2) {
  wire::UpdateFeaturesRequest request;
  auto& u = request.feature_updates.add(c.arena);
  u.feature = feature;
  u.max_version_level = level;
  u.upgrade_type = type;
  request.validate_only = validate_only;
  return error_text(c.send<wire::UpdateFeaturesResponse>(request, version));
}

TEST(UpdateFeatures, UpAndDown) {
  TestController c;
  c.add_broker(1);
  EXPECT_EQ(update(c, "transaction.version", 1),
            "INVALID_UPDATE_VERSION: The update failed for all features since the following "
            "feature had an error: Invalid update version 1 for feature transaction.version. Can't "
            "downgrade the version of this feature without setting the upgrade type to either safe "
            "or unsafe downgrade.");
  EXPECT_EQ(update(c, "transaction.version", 1, 2, true), "NONE");
  EXPECT_TRUE(c.lines().empty());
  EXPECT_EQ(update(c, "transaction.version", 1, 2), "NONE");
  EXPECT_EQ(c.lines(), (Lines{feature_line("transaction.version", 1)}));
  EXPECT_EQ(update(c, "transaction.version", 2, 1, false, 1), "NONE");
  EXPECT_EQ(update(c, "nonsense", 1).substr(0, 22), "INVALID_UPDATE_VERSION");
  EXPECT_EQ(update(c, "kraft.version", 2).substr(0, 22), "INVALID_UPDATE_VERSION");
  EXPECT_EQ(update(c, "metadata.version", 31).substr(0, 22), "INVALID_UPDATE_VERSION");
}

TEST(UpdateFeatures, LevelsThatNeedEachOtherComeTogether) {
  TestController c;
  EXPECT_EQ(update(c, "share.version", 0, 2), "NONE");
  EXPECT_EQ(update(c, "streams.version", 0, 2), "NONE");
  EXPECT_EQ(update(c, "metadata.version", 27, 2).substr(0, 22), "INVALID_UPDATE_VERSION")
      << "4.3 changed metadata";
}

TEST(UpdateFeatures, OneRefusalRefusesAll) {
  TestController c;
  wire::UpdateFeaturesRequest request;
  for (std::string_view feature : {"group.version", "nonsense"}) {
    auto& u = request.feature_updates.add(c.arena);
    u.feature = feature;
    u.max_version_level = 1;
  }
  EXPECT_NE(c.send<wire::UpdateFeaturesResponse>(request, 1).error_code, 0);
  EXPECT_TRUE(c.lines().empty());
}

TEST(UpdateFeatures, TurningElrOnWritesTheMinIsr) {
  TestController c({{"min.insync.replicas", "2"}}, 0);
  c.add_broker(1);
  EXPECT_EQ(alter(c, {{kBroker, "1", "min.insync.replicas", "3"}}), (Lines{"NONE"}));
  EXPECT_EQ(update(c, "eligible.leader.replicas.version", 1), "NONE");
  EXPECT_EQ(c.lines(), (Lines{config_line(4, "", "min.insync.replicas", "\"2\""),
                              config_line(4, "1", "min.insync.replicas", "null"),
                              feature_line("eligible.leader.replicas.version", 1)}));
}

}  // namespace
}  // namespace odradek::machines
