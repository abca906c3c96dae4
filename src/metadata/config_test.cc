// The settings: parsing, the broker's configuration, and the answers of Apache Kafka 4.3.1 as
// recorded in testdata/.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "metadata/apply.h"
#include "metadata/broker_config.h"
#include "metadata/config_alter.h"
#include "metadata/config_defs.h"
#include "metadata/config_describe.h"
#include "metadata/record_types.h"
#include "metadata/topic_config.h"
#include "wire/errors.h"

namespace odradek::metadata {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// What start-up of a test node needs, changed by `changes`; a name with "-" before it is left out.
Properties base_properties(
    std::initializer_list<std::pair<std::string, std::string>> changes = {}) {
  Properties p{{"process.roles", "broker,controller"},
               {"node.id", "1"},
               {"controller.quorum.voters", "1@localhost:9093"},
               {"listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"},
               {"controller.listener.names", "CONTROLLER"}};
  for (const auto& [name, value] : changes) {
    if (name[0] == '-') {
      p.erase(name.substr(1));
    } else {
      p[name] = value;
    }
  }
  return p;
}

std::string load_error(std::initializer_list<std::pair<std::string, std::string>> changes) {
  const auto r = BrokerConfig::load(base_properties(changes));
  return r ? "ok" : r.error().message;
}

BrokerConfigPtr load(std::initializer_list<std::pair<std::string, std::string>> changes = {}) {
  auto r = BrokerConfig::load(base_properties(changes));
  EXPECT_TRUE(r) << (r ? "" : r.error().message);
  return r->config;
}

Record config_record(ResourceType type, std::string_view resource, std::string_view name,
                     std::string_view value) {
  wire::ConfigRecord r;
  r.resource_type = static_cast<int8_t>(type);
  r.resource_name = resource;
  r.name = name;
  r.value = value;
  return Record::of(r, 0);
}

TEST(ConfigDefs, TablesAreSortedAndTheirDefaultsValid) {
  for (const auto table :
       {broker_configs(), topic_configs(), group_configs(), client_metrics_configs()}) {
    for (size_t i = 0; i < table.size(); i++) {
      if (i > 0) EXPECT_LT(table[i - 1].name, table[i].name);
      const auto value = parse_config(table[i], table[i].fallback);
      EXPECT_TRUE(value) << (value ? "" : value.error().message);
      for (const ConfigSynonym& s : table[i].synonyms)
        EXPECT_NE(find_broker_config(s.name), nullptr) << s.name;
    }
  }
  for (const ChangedDefault& c : changed_defaults())
    EXPECT_TRUE(find_broker_config(c.name)->apache_fallback) << c.name;
  EXPECT_EQ(def(BrokerKey::kNumPartitions).name, "num.partitions");
  EXPECT_EQ(def(TopicKey::kRetentionMs).name, "retention.ms");
  EXPECT_EQ(find_broker_config("nope"), nullptr);
}

TEST(ConfigValue, TextIsWhatJavaPrints) {
  const auto text = [](ConfigValue v) { return *config_text(v); };
  EXPECT_EQ(text(0.5), "0.5");
  EXPECT_EQ(text(2.0), "2.0");
  EXPECT_EQ(text(1.7976931348623157E308), "1.7976931348623157E308");
  EXPECT_EQ(text(2147483647.0), "2.147483647E9");
  EXPECT_EQ(text(0.0001), "1.0E-4");
  EXPECT_EQ(text(true), "true");
  EXPECT_EQ(text(split_list(" a , b,a ")), "a,b");
}

TEST(Properties, AllOfJavasFormat) {
  const auto p = parse_properties(
      "# comment\n! also\n\n"
      "a=1\n  b : 2\nc 3\nd\n"
      "long=one,\\\n   two\\\r\n three\n"
      "path=C\\:\\\\x\\tq\n"
      "with\\ space\\=key=v \n"
      "u=\\u00e9\\ud83d\\ude00\n"
      "a=last\n"
      "tail=x\\\\\n"
      "e==x\n"
      "end\\");
  ASSERT_TRUE(p);
  EXPECT_EQ(*p, (Properties{{"a", "last"},
                            {"b", "2"},
                            {"c", "3"},
                            {"d", ""},
                            {"long", "one,twothree"},
                            {"path", "C:\\x\tq"},
                            {"with space=key", "v "},
                            {"u", "\xc3\xa9\xf0\x9f\x98\x80"},
                            {"tail", "x\\"},
                            {"e", "=x"},
                            {"end", ""}}));
  EXPECT_FALSE(parse_properties("a=\\u12"));
  EXPECT_EQ(parse_override("a=b=c").value(), (std::pair<std::string, std::string>("a", "b=c")));
  EXPECT_FALSE(parse_override("a"));
}

TEST(BrokerConfig, StandaloneWorks) {
  const auto r = BrokerConfig::load(BrokerConfig::standalone_properties());
  ASSERT_TRUE(r) << r.error().message;
  EXPECT_TRUE(r->warnings.empty());
  const BrokerConfig& c = *r->config;
  EXPECT_EQ(c.node_id(), BrokerId(1));
  ASSERT_EQ(c.listeners().size(), 1U);
  EXPECT_EQ(c.listeners()[0], (Endpoint{"PLAINTEXT", "127.0.0.1", 9092, {}}));
  EXPECT_EQ(c.controller_listeners()[0].port, 9093);
  EXPECT_EQ(c.inter_broker_listener(), "PLAINTEXT");
  EXPECT_THAT(c.log_dirs(), ElementsAre("./odradek-data"));
  EXPECT_EQ(c.metadata_log_dir(), "./odradek-data");
  EXPECT_EQ(c.int32(BrokerKey::kOffsetsTopicReplicationFactor), 1);
  EXPECT_EQ(c.int64(BrokerKey::kLogFlushIntervalMessages), 1);
  EXPECT_EQ(c.log_retention(), Millis(168LL * 3600000));
}

TEST(BrokerConfig, RetentionPrecedence) {
  EXPECT_EQ(load({{"log.retention.hours", "1"}})->log_retention(), Millis(3600000));
  EXPECT_EQ(load({{"log.retention.hours", "1"}, {"log.retention.minutes", "2"}})->log_retention(),
            Millis(120000));
  const auto all = load(
      {{"log.retention.hours", "1"}, {"log.retention.minutes", "2"}, {"log.retention.ms", "3"}});
  EXPECT_EQ(all->log_retention(), Millis(3));
  EXPECT_EQ(resolve_topic_config({}, *all).retention, Millis(3));
  EXPECT_EQ(resolve_topic_config({}, *load({{"log.retention.minutes", "2"}})).retention,
            Millis(120000));
  EXPECT_EQ(load({{"log.retention.minutes", "-1"}})->log_retention(), Millis(-1));
  EXPECT_EQ(config_text(resolve_topic_value(def(TopicKey::kRetentionMs), {},
                                            *load({{"log.retention.minutes", "-1"}}))),
            "-1");
}

TEST(BrokerConfig, ListenersAreParsed) {
  const auto c = load(
      {{"listeners", "plaintext://[::1]:9092,EXT://:0,CONTROLLER://:9093"},
       {"listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,EXT:PLAINTEXT,CONTROLLER:PLAINTEXT"},
       {"advertised.listeners", "PLAINTEXT://h:1,EXT://x:2,CONTROLLER://c:3"},
       {"inter.broker.listener.name", "EXT"}});
  EXPECT_EQ(c->listeners()[0], (Endpoint{"PLAINTEXT", "::1", 9092, {}}));
  EXPECT_EQ(c->listeners()[1].host, "");
  EXPECT_EQ(c->inter_broker_listener(), "EXT");
  EXPECT_EQ(c->advertised_listeners()[1], (Endpoint{"EXT", "x", 2, {}}));
  EXPECT_EQ(c->advertised_controller_listeners()[0].host, "c");
  EXPECT_TRUE(c->is_controller_listener("CONTROLLER"));
}

TEST(BrokerConfig, WhatApacheRefuses) {
  using P = std::pair<std::string, std::string>;
  const std::vector<std::pair<P, std::string>> cases = {
      {{"-process.roles", ""},
       "Missing required configuration \"process.roles\" which has no default value."},
      {{"process.roles", "foo"},
       "Invalid value foo for configuration process.roles: String must be one of: broker, "
       "controller"},
      {{"process.roles", ""},
       "Configuration 'process.roles' must not be empty. Valid values include: [broker, "
       "controller]"},
      {{"log.dirs", ""},
       "Configuration 'log.dirs' must not be empty. Valid values include: any non-empty value"},
      {{"log.dirs", "/a,,b"}, "Configuration 'log.dirs' values must not be empty."},
      {{"log.dirs", "/a,/a"}, "ok"},
      {{"node.id", "-1"}, "Invalid value -1 for configuration broker.id: "},
      {{"node.id", "2"},
       "If process.roles contains the 'controller' role, the node id 2 must be included in the set "
       "of voters"},
      {{"broker.id", "3"}, "You must set `node.id` to the same value as `broker.id`."},
      {{"-listeners", ""},
       "controller.listener.names must contain at least one value appearing in the 'listeners'"},
      {{"listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9092"},
       "If you have two listeners on the same port then one needs to be IPv4 and the other IPv6"},
      {{"listeners", "PLAINTEXT://a:1,PLAINTEXT://b:2"},
       "Each listener must have a different name, listeners: [PLAINTEXT://a:1, PLAINTEXT://b:2]"},
      {{"listeners", "FOO://a:1,CONTROLLER://:2"},
       "Error creating broker listeners from '[FOO://a:1, CONTROLLER://:2]': No security protocol "
       "defined for listener FOO"},
      {{"listeners", "x"}, "Unable to parse a listener name from x"},
      {{"listeners", "PLAINTEXT://:x,CONTROLLER://:1"},
       "Unable to parse PLAINTEXT://:x to a broker endpoint"},
      {{"listeners", "PLAINTEXT://0.0.0.0:9092,CONTROLLER://:9093"},
       "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP "
       "address."},
      {{"listener.security.protocol.map", "PLAINTEXT:FOO,CONTROLLER:PLAINTEXT"},
       "Invalid security protocol `FOO` defined in listener.security.protocol.map"},
      {{"inter.broker.listener.name", "CONTROLLER"},
       "inter.broker.listener.name must be a listener name defined in advertised.listeners. The "
       "valid options based on currently configured listeners are PLAINTEXT"},
      {{"inter.broker.listener.name", "FOO"},
       "Listener with name FOO defined in inter.broker.listener.name not found in "
       "listener.security.protocol.map."},
      {{"-controller.quorum.voters", ""},
       "If using process.roles, either controller.quorum.bootstrap.servers must contain the set"},
      {{"controller.quorum.voters", "x"}, "Each entry should be in the form `{id}@{host}:{port}`."},
      {{"controller.quorum.voters", "1@x"},
       "Failed to parse host name from entry 1@x for the configuration controller.quorum.voters."},
      {{"controller.quorum.voters", "x@h:1"}, "Failed to parse voter ID as an integer from x"},
      {{"controller.quorum.bootstrap.servers", "x"},
       "Failed to parse host name from x for the configuration "
       "controller.quorum.bootstrap.servers."},
      {{"-controller.listener.names", ""},
       "Missing required configuration \"controller.listener.names\""},
      {{"controller.listener.names", "NOPE"},
       "No security protocol defined for listener CONTROLLER"},
      {{"log.retention.ms", "0"},
       "log.retention.ms must be unlimited (-1) or, greater than or equal to 1"},
      {{"log.roll.ms", "0"}, "log.roll.ms must be greater than or equal to 1"},
      {{"log.roll.jitter.ms", "-1"}, "log.roll.jitter.ms must be greater than or equal to 0"},
      {{"replica.fetch.wait.max.ms", "99999"},
       "replica.socket.timeout.ms should always be at least"},
      {{"queued.max.request.bytes", "5"},
       "queued.max.request.bytes must be larger or equal to socket.request.max.bytes"},
      {{"socket.request.max.bytes", "2000000000"}, "ok"},
      {{"offsets.topic.compression.codec", "9"}, "Unknown compression type id: 9"},
      {{"group.consumer.session.timeout.ms", "1"},
       "group.consumer.session.timeout.ms must be greater than or equal to "
       "group.consumer.min.session.timeout.ms"},
      {{"group.consumer.max.session.timeout.ms", "100"},
       "group.consumer.max.session.timeout.ms must be greater than or equal to "
       "group.consumer.min.session.timeout.ms"},
      {{"group.streams.num.standby.replicas", "3"},
       "group.streams.num.standby.replicas must be less than or equal to "
       "group.streams.max.standby.replicas"},
      {{"group.coordinator.rebalance.protocols", "consumer"},
       "Disabling the 'classic' protocol is not supported."},
      {{"num.partitions", "0"},
       "Invalid value 0 for configuration num.partitions: Value must be at least 1"},
      {{"num.partitions", "x"},
       "Invalid value x for configuration num.partitions: Not a number of type INT"},
      {{"auto.create.topics.enable", "yes"},
       "Invalid value yes for configuration auto.create.topics.enable: Expected value to be either "
       "true or false"},
      {{"group.consumer.migration.policy", "x"},
       "String must be one of (case insensitive): DISABLED, DOWNGRADE, UPGRADE, BIDIRECTIONAL"},
      {{"max.connections.per.ip", "0"}, "max.connections.per.ip can be set to zero only if"},
      {{"max.connections.per.ip.overrides", "x:y"},
       "Error parsing configuration property 'max.connections.per.ip.overrides'"},
      {{"early.start.listeners", "FOO"}, "early.start.listeners contains listener FOO"},
      {{"cordoned.log.dirs", "/x"},
       "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : "
       "/x"},
      {{"remote.log.metadata.manager.class.name", ""}, "String must be non-empty"},
      {{"log.segment.bytes", "5"}, "Value must be at least 1048576"},
      {{"metadata.log.dir", ""}, "ok"},
      {{"unknown", "1"}, "ok"},
  };
  for (const auto& [change, want] : cases) {
    const std::string got = load_error({change});
    if (change.first == "node.id" && change.second == "-1") {
      EXPECT_THAT(got, HasSubstr("Value must be at least 0"));
    } else {
      EXPECT_THAT(got, HasSubstr(want)) << change.first << "=" << change.second;
    }
  }
}

TEST(BrokerConfig, WhatIsNotBuiltStopsTheStart) {
  EXPECT_THAT(load_error({{"process.roles", "broker"}}), HasSubstr("combined node"));
  EXPECT_THAT(load_error({{"controller.quorum.voters", "1@a:1,2@b:2"}}),
              HasSubstr("only this node"));
  EXPECT_THAT(load_error({{"listener.security.protocol.map", "PLAINTEXT:SSL,CONTROLLER:PLAINTEXT"},
                          {"inter.broker.listener.name", "PLAINTEXT"}}),
              HasSubstr("TLS or SASL"));
  EXPECT_THAT(load_error({{"authorizer.class.name",
                           "org.apache.kafka.metadata.authorizer.StandardAuthorizer"}}),
              HasSubstr("access control"));
  EXPECT_THAT(load_error({{"create.topic.policy.class.name", "a.b.C"}}), HasSubstr("plug-ins"));
  EXPECT_THAT(load_error({{"metric.reporters", "a.b.C"}}), HasSubstr("plug-ins"));
  EXPECT_THAT(load_error({{"group.consumer.assignors", "a.b.C"}}), HasSubstr("plug-ins"));
  EXPECT_EQ(load_error({{"group.consumer.assignors",
                         "org.apache.kafka.coordinator.group.assignor.RangeAssignor"}}),
            "ok");
}

TEST(BrokerConfig, WarnsOfWhatItIgnores) {
  const auto r = BrokerConfig::load(
      base_properties({{"nope", "1"}, {"num.io.threads", "8"}, {"ssl.keystore.location", "/x"}}));
  ASSERT_TRUE(r);
  EXPECT_THAT(
      r->warnings,
      ElementsAre("nope: unknown setting, ignored", "num.io.threads: has no meaning here, ignored",
                  "ssl.keystore.location: no listener uses TLS or SASL, ignored"));
}

TEST(BrokerConfig, DynamicValuesOverlay) {
  const auto c = load({{"message.max.bytes", "5"}});
  std::vector<std::string> warnings;
  const auto d = c->with_dynamic({{"message.max.bytes", "10"},
                                  {"log.segment.bytes", "1"},
                                  {"num.partitions", "9"},
                                  {"x.y", "1"}},
                                 {{"message.max.bytes", "20"}}, &warnings);
  EXPECT_EQ(c->int32(BrokerKey::kMessageMaxBytes), 5);
  EXPECT_EQ(d->int32(BrokerKey::kMessageMaxBytes), 20);
  EXPECT_EQ(d->int32(BrokerKey::kNumPartitions), 1);
  EXPECT_EQ(warnings.size(), 2U);
  EXPECT_EQ(resolve_topic_config({}, *d).max_message_bytes, 20);
  EXPECT_EQ(resolve_topic_config({{"max.message.bytes", "30"}}, *d).max_message_bytes, 30);
  EXPECT_EQ(d->with_dynamic({{"message.max.bytes", "10"}}, {}, nullptr)
                ->int32(BrokerKey::kMessageMaxBytes),
            10);
  EXPECT_EQ(d->with_dynamic({}, {}, nullptr)->int32(BrokerKey::kMessageMaxBytes), 5);
}

TEST(TopicConfig, DefaultsAreTheStructs) {
  EXPECT_EQ(resolve_topic_config({}, *load()), ResolvedTopicConfig{});
  EXPECT_TRUE(resolve_topic_config({}, *load()).synced());
  EXPECT_FALSE(resolve_topic_config({{"flush.messages", "9223372036854775807"}}, *load()).synced());
  const auto c =
      resolve_topic_config({{"cleanup.policy", "compact"}, {"retention.ms", "-1"}}, *load());
  EXPECT_TRUE(c.cleanup_compact && !c.cleanup_delete);
  EXPECT_EQ(c.retention, Millis(-1));
}

// ---- Against Apache ----

std::string source_name(ConfigSource source) {
  switch (source) {
    case ConfigSource::kDynamicTopic:
      return "DYNAMIC_TOPIC_CONFIG";
    case ConfigSource::kDynamicBroker:
      return "DYNAMIC_BROKER_CONFIG";
    case ConfigSource::kDynamicDefaultBroker:
      return "DYNAMIC_DEFAULT_BROKER_CONFIG";
    case ConfigSource::kStaticBroker:
      return "STATIC_BROKER_CONFIG";
    case ConfigSource::kDefault:
      return "DEFAULT_CONFIG";
    case ConfigSource::kGroup:
      return "DYNAMIC_GROUP_CONFIG";
    case ConfigSource::kClientMetrics:
      return "DYNAMIC_CLIENT_METRICS_CONFIG";
    default:
      return "?";
  }
}

std::string to_line(const DescribedConfig& c) {
  constexpr std::string_view kTypes[] = {"UNKNOWN", "BOOLEAN", "STRING", "INT",   "SHORT",
                                         "LONG",    "DOUBLE",  "LIST",   "CLASS", "PASSWORD"};
  std::vector<std::string> synonyms;
  for (const auto& s : c.synonyms)
    synonyms.push_back(s.name + "=" + s.value.value_or("null") + "@" + source_name(s.source));
  return fmt::format("{}|{}|{}|{}|{}|{}|{}", c.name, c.value.value_or("null"),
                     source_name(c.source), c.read_only ? "ro" : "rw", c.sensitive ? "secret" : "-",
                     kTypes[static_cast<size_t>(c.type)], fmt::join(synonyms, ";"));
}

std::vector<std::string> read_lines(const std::string& name) {
  std::ifstream file(std::string(TESTDATA) + "/" + name);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  EXPECT_GT(lines.size(), 10U) << name;
  return lines;
}

ConfigResource parse_resource(std::string_view kind, std::string_view name) {
  const ResourceType type = kind == "TOPIC"    ? ResourceType::kTopic
                            : kind == "BROKER" ? ResourceType::kBroker
                            : kind == "GROUP"  ? ResourceType::kGroup
                                               : ResourceType::kClientMetrics;
  return {type, std::string(name)};
}

/// A node that follows its own image, as the real one does.
class TestNode {
 public:
  explicit TestNode(BrokerConfigPtr config) : config_(std::move(config)) {
    for (const auto& [name, level] :
         {std::pair("metadata.version", 30), std::pair("eligible.leader.replicas.version", 1)}) {
      wire::FeatureLevelRecord r;
      r.name = name;
      r.feature_level = static_cast<int16_t>(level);
      apply(Record::of(r, 0));
    }
    wire::RegisterBrokerRecord broker;
    broker.broker_id = 1;
    apply(Record::of(broker, 4));
    apply(config_record(ResourceType::kBroker, "", "min.insync.replicas", "1"));
    for (const auto& [name, low] : {std::pair("t1", 1), std::pair("t2", 2)}) {
      wire::TopicRecord r;
      r.name = name;
      r.topic_id = Uuid{9, static_cast<uint64_t>(low)};
      apply(Record::of(r, 0));
    }
  }
  void apply(const Record& r) {
    const auto result = builder_.apply(r);
    ASSERT_TRUE(result) << result.error().message;
    config_ = config_->with_dynamic(image().default_broker_config(),
                                    image().broker_config(BrokerId(1)), nullptr);
  }
  const Image& image() const { return builder_.image(); }
  const BrokerConfig& config() const { return *config_; }

  AlterOutcome alter(const ConfigResource& resource, std::span<const AlterEntry> entries) {
    AlterOutcome o = check_before_forwarding(image(), config(), resource, entries, true);
    if (o.error == wire::ErrorCode::kNone)
      o = alter_incrementally(image(), config(), resource, entries);
    for (const Record& r : o.records) apply(r);
    return o;
  }

 private:
  ImageBuilder builder_;
  BrokerConfigPtr config_;
};

BrokerConfigPtr recorded_node() {
  return load({{"controller.quorum.bootstrap.servers", "localhost:9093"},
               {"-controller.quorum.voters", ""},
               {"advertised.listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"},
               {"listener.security.protocol.map", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"},
               {"inter.broker.listener.name", "PLAINTEXT"},
               {"log.dirs", "/data/kafka"},
               {"offsets.topic.replication.factor", "1"},
               {"transaction.state.log.replication.factor", "1"},
               {"transaction.state.log.min.isr", "1"},
               {"share.coordinator.state.topic.replication.factor", "1"},
               {"share.coordinator.state.topic.min.isr", "1"},
               {"group.initial.rebalance.delay.ms", "0"},
               {"log.retention.minutes", "1000"},
               {"log.retention.hours", "5"},
               {"num.io.threads", "4"},
               {"unknown.setting", "7"},
               {"flush.messages", "3"},
               {"log.roll.hours", "24"}});
}

/// "SET a=b" → entry; views into `text`.
AlterEntry parse_entry(std::string_view text) {
  const size_t space = text.find(' ');
  const std::string_view op = text.substr(0, space);
  const std::string_view rest = text.substr(space + 1);
  const size_t equals = rest.find('=');
  AlterEntry e;
  e.name = rest.substr(0, equals);
  e.op = op == "SET"      ? AlterOp::kSet
         : op == "DELETE" ? AlterOp::kDelete
         : op == "APPEND" ? AlterOp::kAppend
                          : AlterOp::kSubtract;
  if (rest.substr(equals + 1) != "null") e.value = rest.substr(equals + 1);
  return e;
}

/// An ALTER line: what was asked, and what Apache answered.
struct RecordedAlter {
  ConfigResource resource;
  std::vector<AlterEntry> entries;
  std::string_view answer;
};
RecordedAlter parse_alter(std::string_view line) {
  const size_t open = line.find('[');
  const size_t close = line.find("] ");
  const size_t arrow = line.find(" -> ");
  RecordedAlter a;
  a.resource = parse_resource(line.substr(6, open - 7), line.substr(open + 1, close - open - 1));
  a.answer = line.substr(arrow + 4);
  std::string_view ops = line.substr(close + 2, arrow - close - 2);
  while (true) {
    size_t next = std::string_view::npos;
    for (const std::string_view op : {", SET ", ", APPEND "}) next = std::min(next, ops.find(op));
    a.entries.push_back(parse_entry(ops.substr(0, next)));
    if (next == std::string_view::npos) break;
    ops.remove_prefix(next + 2);
  }
  return a;
}

/// Lines where we mean to differ.
bool differs_by_intent(std::string_view line, bool after_change) {
  const std::string_view name = line.substr(0, line.find('|'));
  // Our defaults (changed_defaults) and our own settings.
  if (name == "flush.messages" || name == "log.flush.interval.messages" ||
      name == "queued.max.request.bytes" || name.starts_with("odradek."))
    return true;
  // After any dynamic change Apache shows the defaults of these two under the source of the file.
  if (after_change && (name == "log.retention.hours" || name == "log.retention.minutes"))
    return true;
  // TLS and SASL settings cannot be changed yet.
  return name == "sasl.jaas.config";
}

TEST(Describe, AsApacheAnswers) {
  TestNode node(recorded_node());
  node.apply(config_record(ResourceType::kTopic, "t2", "retention.ms", "5000"));
  node.apply(config_record(ResourceType::kTopic, "t2", "cleanup.policy", "compact,delete"));
  std::vector<std::string> want;
  std::vector<std::string> got;
  bool changed = false;
  const std::vector<std::string> lines = read_lines("describe_configs.txt");
  for (const std::string& line : lines) {
    if (line.starts_with("ALTER")) {
      changed = true;
      const RecordedAlter a = parse_alter(line);
      if (a.answer == "ok") node.alter(a.resource, a.entries);
    } else if (line.starts_with("== ")) {
      DescribeQuery query;
      query.resource =
          parse_resource(line.substr(3, line.find(" [") - 3),
                         line.substr(line.find('[') + 1, line.find(']') - line.find('[') - 1));
      query.synonyms = true;
      const DescribeAnswer answer = describe_config(node.image(), node.config(), query);
      EXPECT_EQ(answer.error, wire::ErrorCode::kNone);
      got.push_back(line);
      want.push_back(line);
      for (const DescribedConfig& c : answer.configs) {
        if (!differs_by_intent(to_line(c), changed)) got.push_back(to_line(c));
      }
    } else if (line.find('|') != std::string::npos && !line.starts_with("#")) {
      if (!differs_by_intent(line, changed)) want.push_back(line);
    }
  }
  ASSERT_GT(want.size(), 700U);
  for (size_t i = 0; i < std::min(want.size(), got.size()); i++) ASSERT_EQ(got[i], want[i]);
  EXPECT_EQ(got.size(), want.size());
}

TEST(Describe, ChangedDefaultsShowApachesValue) {
  TestNode node(load());
  DescribeQuery query;
  query.resource = {ResourceType::kTopic, "t1"};
  query.keys = {{"flush.messages"}};
  query.synonyms = true;
  const DescribeAnswer answer = describe_config(node.image(), node.config(), query);
  ASSERT_EQ(answer.configs.size(), 1U);
  EXPECT_EQ(
      to_line(answer.configs[0]),
      "flush.messages|1|DEFAULT_CONFIG|rw|-|LONG|log.flush.interval.messages=1@DEFAULT_CONFIG;"
      "log.flush.interval.messages=9223372036854775807@DEFAULT_CONFIG");
}

TEST(Describe, DocumentationIsToldOnRequest) {
  TestNode node(load());
  DescribeQuery query;
  query.resource = {ResourceType::kBroker, "1"};
  query.keys = {{"log.retention.minutes", "num.partitions"}};
  query.documentation = true;
  auto answer = describe_config(node.image(), node.config(), query);
  ASSERT_EQ(answer.configs.size(), 2U);
  EXPECT_EQ(
      answer.configs[0].documentation,
      "Default of retention.ms: segments go when their newest record is older; -1 is no limit.");
  EXPECT_EQ(answer.configs[1].documentation, "Partitions of a topic that does not say.");
  EXPECT_TRUE(answer.configs[1].synonyms.empty());
  query.documentation = false;
  answer = describe_config(node.image(), node.config(), query);
  EXPECT_FALSE(answer.configs[1].documentation);
}

TEST(Describe, Errors) {
  TestNode node(load());
  const auto error = [&](ResourceType type, std::string name) {
    const auto a = describe_config(node.image(), node.config(), {{type, name}, {}, false, false});
    return fmt::format("{} {}", wire::name(a.error), a.message);
  };
  EXPECT_EQ(error(ResourceType::kTopic, "nope"), "UNKNOWN_TOPIC_OR_PARTITION ");
  EXPECT_EQ(error(ResourceType::kBroker, "7"),
            "INVALID_REQUEST Unexpected broker id, expected 1 or empty string, but received 7");
  EXPECT_EQ(error(ResourceType::kBroker, "x"),
            "INVALID_REQUEST Broker id must be an integer, but it is: x");
  EXPECT_EQ(error(ResourceType::kBrokerLogger, "1"), "NONE ");
}

TEST(Alter, AsApacheAnswers) {
  TestNode node(load({{"log.retention.minutes", "1000"}, {"num.io.threads", "4"}}));
  int compared = 0;
  const std::vector<std::string> lines = read_lines("alter_configs.txt");
  for (const std::string& line : lines) {
    if (!line.starts_with("ALTER")) continue;
    const bool ours_differs = line.ends_with(" (odradek: refused)");
    const RecordedAlter a = parse_alter(line);
    const AlterOutcome o = node.alter(a.resource, a.entries);
    if (ours_differs) {
      EXPECT_NE(o.error, wire::ErrorCode::kNone) << line;
      continue;
    }
    compared++;
    if (a.answer == "ok") {
      EXPECT_EQ(o.error, wire::ErrorCode::kNone) << line << "\n" << o.message;
      continue;
    }
    const size_t colon = a.answer.find(": ");
    EXPECT_EQ(wire::name(o.error), a.answer.substr(0, colon)) << line;
    EXPECT_EQ(o.message, a.answer.substr(colon + 2)) << line;
  }
  EXPECT_GT(compared, 100);
}

TEST(Alter, RecordsAndClearElr) {
  TestNode node(load());
  const AlterEntry set{"min.insync.replicas", AlterOp::kSet, "2"};
  auto o =
      alter_incrementally(node.image(), node.config(), {ResourceType::kTopic, "t1"}, {&set, 1});
  ASSERT_EQ(o.records.size(), 2U);
  EXPECT_EQ(o.records[0], config_record(ResourceType::kTopic, "t1", "min.insync.replicas", "2"));
  EXPECT_EQ(o.records[1].type, wire::ClearElrRecord::kRecordType);
  o = alter_incrementally(node.image(), node.config(), {ResourceType::kTopic, "new"}, {&set, 1},
                          true);
  EXPECT_EQ(o.error, wire::ErrorCode::kNone);
  EXPECT_EQ(o.records.size(), 1U);
}

TEST(Alter, WhollyDeletesWhatIsNotNamed) {
  TestNode node(load());
  node.apply(config_record(ResourceType::kTopic, "t1", "retention.ms", "5"));
  node.apply(config_record(ResourceType::kTopic, "t1", "segment.ms", "6"));
  const AlterEntry entries[] = {{"retention.ms", AlterOp::kSet, "5"},
                                {"flush.ms", AlterOp::kSet, "7"}};
  const auto o = alter_wholly(node.image(), node.config(), {ResourceType::kTopic, "t1"}, entries);
  ASSERT_EQ(o.error, wire::ErrorCode::kNone);
  ASSERT_EQ(o.records.size(), 2U);
  for (const Record& r : o.records) node.apply(r);
  EXPECT_EQ(node.image().topic_config("t1"), (ConfigMap{{"flush.ms", "7"}, {"retention.ms", "5"}}));
}

}  // namespace
}  // namespace odradek::metadata
