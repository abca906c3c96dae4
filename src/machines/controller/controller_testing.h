// What the controller's tests share: a controller whose decisions are replayed at once, requests as
// structs, records and answers as lines.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "machines/controller/controller.h"
#include "metadata/features.h"
#include "metadata/image_records.h"
#include "wire/errors.h"
#include "wire/gen/broker_heartbeat.h"
#include "wire/gen/broker_registration.h"
#include "wire/gen/create_topics.h"
#include "wire/json.h"

namespace odradek::machines {

using Lines = std::vector<std::string>;

inline Uuid test_uuid(uint64_t n) { return Uuid{0xABCD, n}; }

class TestController {
 public:
  /// A node 1 with the given settings beside the defaults; `elr` of 0 leaves that feature off.
  explicit TestController(metadata::Properties overrides = {}, int16_t elr = 1)
      : controller_(settings(std::move(overrides), elr)) {
    Controller::Decision first = controller_.loaded(now());
    take(first);
  }

  /// Decides, replays what it decided, and gives back the answer.
  template <class Response, class Request>
  Response send(const Request& request, int16_t version) {
    wire::Writer writer;
    request.encode(writer, version);
    EXPECT_FALSE(writer.error()) << writer.error()->message;
    const auto api = static_cast<wire::ApiKey>(Request::kApiKey);
    EXPECT_TRUE(Controller::serves(api));
    auto decision = controller_.decide(
        Controller::Command(ControllerRequest{api, version, writer.take()}), now());
    take(decision);
    EXPECT_TRUE(decision.response) << decision.response.error().message;
    answers_.push_back(std::move(*decision.response));
    wire::Reader reader(answers_.back(), arena);
    Response response;
    const auto decoded = response.decode(reader, version);
    EXPECT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(reader.remaining(), 0U);
    return response;
  }
  void fire(const std::string& key) {
    auto decision = controller_.decide(Controller::Command(TimerFired{key}), now());
    take(decision);
  }

  /// Registers and unfences a broker with one directory (its id is test_uuid(100 + id)).
  void add_broker(int32_t id, std::string_view rack = "") {
    BrokerEpoch epoch = register_broker(id, test_uuid(static_cast<uint64_t>(id)), -1, rack);
    heartbeat(id, epoch);
    EXPECT_TRUE(image().broker(BrokerId(id))->active());
  }
  BrokerEpoch register_broker(int32_t id, const Uuid& incarnation, int64_t previous_epoch = -1,
                              std::string_view rack = "") {
    wire::BrokerRegistrationRequest request;
    request.broker_id = id;
    request.cluster_id = "cluster";
    request.incarnation_id = incarnation;
    request.listeners.add(arena) = {"PLAINTEXT", "localhost", 9092, 0};
    for (const auto& f : metadata::supported_features())
      request.features.add(arena) = {f.name, f.min, f.max};
    request.rack = rack.empty() ? std::nullopt : std::optional<std::string_view>(rack);
    request.log_dirs.add(arena, test_uuid(100 + static_cast<uint64_t>(id)));
    request.previous_broker_epoch = previous_epoch;
    const auto response = send<wire::BrokerRegistrationResponse>(request, 4);
    last_error = static_cast<wire::ErrorCode>(response.error_code);
    return BrokerEpoch(response.broker_epoch);
  }
  wire::BrokerHeartbeatResponse heartbeat(int32_t id, BrokerEpoch epoch, bool want_fence = false,
                                          bool want_shutdown = false) {
    wire::BrokerHeartbeatRequest request;
    request.broker_id = id;
    request.broker_epoch = epoch.value;
    request.current_metadata_offset = next_.value;
    request.want_fence = want_fence;
    request.want_shut_down = want_shutdown;
    return send<wire::BrokerHeartbeatResponse>(request, 2);
  }
  wire::CreateTopicsResponse create(std::string_view name, int32_t partitions = 1,
                                    int16_t replication_factor = 1) {
    wire::CreateTopicsRequest request;
    auto& topic = request.topics.add(arena);
    topic.name = name;
    topic.num_partitions = partitions;
    topic.replication_factor = replication_factor;
    return send<wire::CreateTopicsResponse>(request, 4);
  }

  const metadata::Image& image() const { return controller_.image(); }
  const metadata::Partition& partition(std::string_view topic, int32_t index = 0) const {
    return *image().partition(topic, index);
  }
  /// Records of the last decision, as lines; and since the start.
  const Lines& lines() const { return lines_; }
  const std::vector<TimerOrder>& timers() const { return timers_; }
  const std::vector<metadata::Record>& log() const { return log_; }
  Offset next() const { return next_; }
  const ControllerSettings& settings() const { return settings_; }

  Arena arena;
  wire::ErrorCode last_error = wire::ErrorCode::kNone;

 private:
  ControllerSettings settings(metadata::Properties overrides, int16_t elr) {
    metadata::Properties properties = metadata::BrokerConfig::standalone_properties();
    for (auto& [name, value] : overrides) properties[name] = value;
    auto loaded = metadata::BrokerConfig::load(std::move(properties));
    EXPECT_TRUE(loaded) << loaded.error().message;
    auto levels =
        metadata::default_levels(metadata::MetadataVersion(metadata::MetadataVersion::kLatest));
    levels[std::string(metadata::kElrVersion)] = elr;
    settings_ = {"cluster", BrokerId(1), loaded->config, metadata::bootstrap_records(levels)};
    return settings_;
  }
  Now now() { return {WallMs(1000), ++random_, next_}; }
  void take(Controller::Decision& decision) {
    lines_.clear();
    timers_ = decision.timers;
    for (metadata::Record& r : decision.records) {
      lines_.push_back(r.to_line());
      controller_.replay(next_, r);
      next_ = next_ + int64_t{1};
      log_.push_back(std::move(r));
    }
  }

  ControllerSettings settings_;
  Controller controller_;
  Offset next_{3};  // behind the first control batch
  uint64_t random_ = 0;
  Lines lines_;
  std::vector<TimerOrder> timers_;
  std::vector<metadata::Record> log_;
  std::vector<ByteBuffer> answers_;
};

/// "NOT_CONTROLLER: text" of anything with error_code and error_message.
template <class T>
std::string error_text(const T& result) {
  std::string text(wire::name(static_cast<wire::ErrorCode>(result.error_code)));
  if (result.error_message) text += ": " + std::string(*result.error_message);
  return text;
}

// Lines of records that tests expect.
inline std::string feature_line(std::string_view name, int level) {
  return fmt::format(R"(FeatureLevelRecord v0 {{"name":"{}","featureLevel":{}}})", name, level);
}
/// `value` as JSON: quoted, or null.
inline std::string config_line(int type, std::string_view resource, std::string_view name,
                               std::string_view value) {
  return fmt::format(
      R"(ConfigRecord v0 {{"resourceType":{},"resourceName":"{}","name":"{}","value":{}}})", type,
      resource, name, value);
}

inline std::vector<BrokerId> ids(std::initializer_list<int32_t> list) {
  std::vector<BrokerId> out;
  for (int32_t id : list) out.emplace_back(id);
  return out;
}

}  // namespace odradek::machines
