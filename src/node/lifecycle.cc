#include "node/lifecycle.h"

#include <algorithm>
#include <utility>

#include "metadata/features.h"
#include "wire/errors.h"
#include "wire/gen/broker_heartbeat.h"
#include "wire/gen/broker_registration.h"
#include "wire/gen/controller_registration.h"
#include "wire/reader.h"
#include "wire/writer.h"

namespace odradek::node {
namespace {

constexpr int16_t kRegistrationVersion = 4;
constexpr int16_t kHeartbeatVersion = 2;
constexpr Millis kStartingInterval{10};
constexpr int kRegistrationTries = 600;  // with kRetry: initial.broker.registration.timeout.ms
constexpr Millis kRetry{100};

// What the registrations of a broker and of a controller have in common.
template <class Request>
void describe_node(Arena& arena, const std::vector<metadata::Endpoint>& endpoints,
                   Request& request) {
  for (const auto& e : endpoints) {
    auto& listener = request.listeners.add(arena);
    listener.name = e.name;
    listener.host = e.host;
    listener.port = e.port;
    listener.security_protocol = static_cast<int16_t>(e.protocol);
  }
  for (const auto& f : metadata::supported_features()) {
    auto& feature = request.features.add(arena);
    feature.name = f.name;
    feature.min_supported_version = f.min;
    feature.max_supported_version = f.max;
  }
}

}  // namespace

Lifecycle::Lifecycle(io::Loop& loop, wire::ToController& controller, Registration registration,
                     Intervals intervals, std::function<Offset()> metadata_offset,
                     std::function<void(const Error&)> on_untold, Logger logger)
    : loop_(loop),
      controller_(controller),
      registration_(std::move(registration)),
      intervals_(intervals),
      metadata_offset_(std::move(metadata_offset)),
      on_untold_(std::move(on_untold)),
      logger_(logger) {
  std::sort(registration_.directories.begin(), registration_.directories.end());
}

Lifecycle::~Lifecycle() {
  loop_.timers().cancel(timer_);
  loop_.timers().cancel(failure_timer_);
}

io::Task<void> Lifecycle::stop() {
  stopped_ = true;
  loop_.timers().cancel(std::exchange(timer_, io::TimerId::kNone));
  loop_.timers().cancel(std::exchange(failure_timer_, io::TimerId::kNone));
  while (beating_) co_await loop_.sleep(Millis(1));
}

void Lifecycle::directory_failed(const Uuid& id) {
  if (stopped_ || id.is_zero()) return;
  failed_directories_.push_back(id);
  if (failure_timer_ == io::TimerId::kNone) {
    failure_timer_ = loop_.timers().start(intervals_.failure_told_by, [this] {
      failure_timer_ = io::TimerId::kNone;
      on_untold_(Error{Errc::kIo, "the controller could not be told of a failed log directory"});
    });
  }
  beat_soon();
}

void Lifecycle::set_cordoned(std::vector<Uuid> ids) {
  std::sort(ids.begin(), ids.end());
  if (ids == cordoned_) return;
  cordoned_ = std::move(ids);
  beat_soon();
}

void Lifecycle::beat_soon() {
  if (!unfenced_ || stopped_) return;  // the next heartbeat comes by itself
  again_ = true;
  if (beating_) return;
  loop_.timers().cancel(timer_);
  timer_ = loop_.timers().start(Millis(0), [this] { io::spawn(beat()); });
}

io::Task<Result<ByteBuffer>> Lifecycle::ask(wire::ApiKey api, int16_t version, ByteBuffer body) {
  io::Completion<Result<ByteBuffer>> done;
  controller_.send(api, version, std::move(body),
                   [&done](Result<ByteBuffer> r) { done.complete(std::move(r)); });
  co_return co_await done;
}

io::Task<Result<void>> Lifecycle::register_controller() {
  Arena arena;
  wire::ControllerRegistrationRequest request;
  request.controller_id = registration_.node.value;
  request.incarnation_id = registration_.incarnation;
  describe_node(arena, registration_.controller_endpoints, request);
  wire::Writer writer;
  request.encode(writer, 0);
  const ByteBuffer body = writer.take();
  auto answer = co_await ask(wire::ApiKey::kControllerRegistration, 0, body);
  for (int i = 0; !answer; i++) {  // the controller may not be active yet
    if (i == kRegistrationTries) co_return std::unexpected(answer.error());
    co_await loop_.sleep(kRetry);
    answer = co_await ask(wire::ApiKey::kControllerRegistration, 0, body);
  }
  wire::Reader reader(*answer, arena);
  wire::ControllerRegistrationResponse response;
  if (auto r = response.decode(reader, 0); !r) co_return r;
  const auto code = static_cast<wire::ErrorCode>(response.error_code);
  // A metadata.version from before 3.7 knows no registrations of controllers.
  if (code != wire::ErrorCode::kNone && code != wire::ErrorCode::kUnsupportedVersion)
    co_return fail(Errc::kInvalid,
                   "the registration of this controller: " + std::string(wire::name(code)));
  co_return Result<void>{};
}

io::Task<Result<void>> Lifecycle::register_broker() {
  Arena arena;
  wire::BrokerRegistrationRequest request;
  request.broker_id = registration_.node.value;
  request.cluster_id = registration_.cluster_id;
  request.incarnation_id = registration_.incarnation;
  describe_node(arena, registration_.endpoints, request);
  request.rack = registration_.rack;
  for (const Uuid& id : registration_.directories) request.log_dirs.add(arena, id);
  request.previous_broker_epoch = registration_.previous_epoch.value;
  wire::Writer writer;
  request.encode(writer, kRegistrationVersion);
  const ByteBuffer body = writer.take();

  for (int i = 0;; i++) {
    auto answer = co_await ask(wire::ApiKey::kBrokerRegistration, kRegistrationVersion, body);
    std::string why;
    bool retriable = true;
    if (answer) {
      wire::Reader reader(*answer, arena);
      wire::BrokerRegistrationResponse response;
      if (auto r = response.decode(reader, kRegistrationVersion); !r) co_return r;
      if (response.error_code == 0) {
        epoch_ = BrokerEpoch(response.broker_epoch);
        co_return Result<void>{};
      }
      const auto code = static_cast<wire::ErrorCode>(response.error_code);
      why = wire::name(code);
      retriable = wire::retriable(code) || code == wire::ErrorCode::kDuplicateBrokerRegistration;
    } else {
      why = answer.error().message;
    }
    if (!retriable || i == kRegistrationTries)
      co_return fail(Errc::kInvalid, "the controller refuses this broker: " + why);
    co_await loop_.sleep(kRetry);
  }
}

io::Task<Result<Lifecycle::Answer>> Lifecycle::heartbeat(bool want_fence) {
  Arena arena;
  wire::BrokerHeartbeatRequest request;
  request.broker_id = registration_.node.value;
  request.broker_epoch = epoch_.value;
  request.current_metadata_offset = metadata_offset_().value;
  request.want_fence = want_fence;
  for (const Uuid& id : failed_directories_) request.offline_log_dirs.add(arena, id);
  const size_t failures = failed_directories_.size();
  // Not before, as at Apache; and not at all while nothing has been cordoned.
  if (caught_up_ && (cordon_told_ || !cordoned_.empty())) {
    cordon_told_ = true;
    request.cordoned_log_dirs.emplace();
    for (const Uuid& id : cordoned_) request.cordoned_log_dirs->add(arena, id);
  }
  wire::Writer writer;
  request.encode(writer, kHeartbeatVersion);
  auto answer = co_await ask(wire::ApiKey::kBrokerHeartbeat, kHeartbeatVersion, writer.take());
  if (!answer) co_return std::unexpected(answer.error());
  wire::Reader reader(*answer, arena);
  wire::BrokerHeartbeatResponse response;
  if (auto r = response.decode(reader, kHeartbeatVersion); !r) co_return std::unexpected(r.error());
  if (response.error_code == 0) {
    caught_up_ |= response.is_caught_up;
    failures_told_ = std::max(failures_told_, failures);
    if (failures_told_ == failed_directories_.size())
      loop_.timers().cancel(std::exchange(failure_timer_, io::TimerId::kNone));
  }
  co_return Answer{response.error_code, response.is_caught_up, response.is_fenced};
}

io::Task<Result<void>> Lifecycle::become_unfenced() {
  for (;;) {
    auto answer = co_await heartbeat(false);
    if (!answer) co_return std::unexpected(answer.error());
    if (answer->error != 0)
      co_return fail(
          Errc::kInvalid,
          "heartbeat: " + std::string(wire::name(static_cast<wire::ErrorCode>(answer->error))));
    if (!answer->fenced) break;
    co_await loop_.sleep(kStartingInterval);
  }
  unfenced_ = true;
  again_ = !cordoned_.empty();  // not told yet
  arm();
  co_return Result<void>{};
}

void Lifecycle::arm() {
  if (stopped_) return;
  const Millis delay = again_ ? Millis(0) : intervals_.heartbeat;
  timer_ = loop_.timers().start(delay, [this] { io::spawn(beat()); });
}

io::Task<void> Lifecycle::beat() {
  beating_ = true;
  again_ = false;
  auto answer = co_await heartbeat(false);
  beating_ = false;
  if (stopped_) co_return;
  if (!answer) {
    logger_.warn("heartbeat: {}", answer.error().message);
  } else if (answer->error != 0) {
    logger_.warn("heartbeat: {}", wire::name(static_cast<wire::ErrorCode>(answer->error)));
  }
  arm();
}

}  // namespace odradek::node
