#include "node/node.h"

#include <fmt/format.h>

#include <map>
#include <utility>

#include "http/prometheus.h"
#include "node/group_survey.h"
#include "raft/format.h"
#include "replica/startup.h"
#include "server/dispatch.h"

namespace odradek::node {
namespace {

constexpr Millis kRecoveryLine{2000};

using enum metadata::BrokerKey;

raft::DriverOptions driver_options(io::Io& io, const metadata::BrokerConfig& c,
                                   const OpenedDirectories& dirs, const Logger& logger) {
  raft::DriverOptions o;
  o.io = &io;
  o.loop = &io.loop(0);
  o.directory = dirs.metadata_path;
  o.cluster_id = dirs.cluster_id;
  o.node = c.node_id();
  o.directory_id = dirs.metadata_id;
  o.segment_bytes = c.int32(kMetadataLogSegmentBytes);
  o.segment_ms = c.millis(kMetadataLogSegmentMs);
  o.snapshot_bytes = static_cast<uint64_t>(c.int64(kMetadataLogMaxRecordBytesBetweenSnapshots));
  o.snapshot_interval = c.millis(kMetadataLogMaxSnapshotIntervalMs);
  o.retention_bytes = c.int64(kMetadataMaxRetentionBytes);
  o.retention_ms = c.millis(kMetadataMaxRetentionMs);
  o.logger = logger.named("raft");
  for (const auto& v : c.quorum_voters()) {
    raft::Voter voter;
    voter.id = v.id;
    voter.endpoints.push_back({c.controller_listeners().front().name, v.host, v.port});
    o.static_voters.push_back(std::move(voter));
  }
  return o;
}

/// `host:count,host:count`.
std::map<std::string, int64_t> parse_overrides(std::string_view text) {
  std::map<std::string, int64_t> out;
  while (!text.empty()) {
    const std::string item(text.substr(0, text.find(',')));
    text.remove_prefix(std::min(text.size(), item.size() + 1));
    const size_t colon = item.rfind(':');
    if (colon != std::string::npos) out[item.substr(0, colon)] = std::atoll(&item[colon + 1]);
  }
  return out;
}

server::Limits limits_of(const metadata::BrokerConfig& c, int loops) {
  server::Limits l;
  l.frame_bytes_max = c.int32(kSocketRequestMaxBytes);
  l.connections_max = c.int32(kMaxConnections);
  l.connections_per_ip_max = c.int32(kMaxConnectionsPerIp);
  l.per_ip_overrides = parse_overrides(c.text(kMaxConnectionsPerIpOverrides));
  l.idle_max = c.millis(kConnectionsMaxIdleMs);
  if (c.int64(kQueuedMaxRequestBytes) > 0)
    l.loop_queued_bytes_max = c.int64(kQueuedMaxRequestBytes) / loops;
  l.connection_requests_max = c.int32(kOdradekConnectionMaxWaitingRequests);
  l.connection_unsent_bytes_max = c.int64(kOdradekConnectionMaxUnsentBytes);
  l.connection_queued_bytes_max = c.int64(kOdradekConnectionMaxQueuedBytes);
  l.send_max = c.millis(kOdradekConnectionSendTimeoutMs);
  return l;
}

/// Broker listeners with their advertised endpoints, then controller listeners.
std::vector<server::ListenerSpec> listener_specs(const metadata::BrokerConfig& c) {
  std::vector<server::ListenerSpec> specs;
  const auto add = [&](const std::vector<metadata::Endpoint>& listeners,
                       const std::vector<metadata::Endpoint>& advertised,
                       server::ListenerKind kind) {
    for (size_t i = 0; i < listeners.size(); i++) {
      const auto& a = i < advertised.size() ? advertised[i] : listeners[i];
      specs.push_back(
          {listeners[i].name, kind, {listeners[i].host, listeners[i].port}, {a.host, a.port}});
    }
  };
  add(c.listeners(), c.advertised_listeners(), server::ListenerKind::kBroker);
  add(c.controller_listeners(), c.advertised_controller_listeners(),
      server::ListenerKind::kController);
  return specs;
}

}  // namespace

Node::Node(io::Io& io, NodeOptions options)
    : io_(io), loop_(io.loop(0)), options_(std::move(options)), logger_(options_.logger) {}

Node::~Node() {
  loop_.timers().cancel(recovery_timer_);
  if (http_) http_->close();
}

void Node::fatal(const Error& error) {
  logger_.error("stopping without a clean marker: {}", error.message);
  if (options_.on_fatal) options_.on_fatal(error);
}

void Node::start(std::move_only_function<void(Result<void>)> done) {
  io::spawn(run_start(std::move(done)));
}

io::Task<void> Node::run_start(std::move_only_function<void(Result<void>)> done) {
  Result<void> r = co_await start_all();
  if (r) state_.store(NodeState::kServing, std::memory_order_release);
  done(std::move(r));
}

io::Task<Result<void>> Node::start_all() {
  const metadata::BrokerConfig& config = *options_.config;
  if (auto r = probe_ports(); !r) co_return r;
  if (auto r = start_http(); !r) co_return r;
  auto opened = open_directories(io_, loop_, config, options_.format_if_new, logger_.named("node"));
  if (!opened) co_return std::unexpected(opened.error());
  directories_ = std::move(*opened);
  if (auto r = start_metadata(); !r) co_return r;
  make_loops();
  make_broker();
  if (auto r = co_await lifecycle_->register_controller(); !r) co_return r;
  if (auto r = co_await lifecycle_->register_broker(); !r) co_return r;
  if (auto r = co_await load_partitions(); !r) co_return r;
  follow_metadata();
  co_await found_is_durable();
  log_dirs_->begin_ahead();
  if (auto r = co_await lifecycle_->become_unfenced(); !r) co_return r;
  co_return server_->listen(specs_);
}

/// Finds out that every port can be had before anything on disk is touched, and which one it is
/// where 0 was asked for. Until the node serves, clients are refused and try again.
Result<void> Node::probe_ports() {
  specs_ = listener_specs(*options_.config);
  std::vector<std::unique_ptr<io::Listener>> held;
  for (auto& spec : specs_) {
    auto listener = loop_.net().listen(spec.bind, false, [](std::unique_ptr<io::Socket>) {});
    if (!listener)
      return fail(listener.error().kind,
                  fmt::format("listener {}://{}:{}: {}", spec.name, spec.bind.host, spec.bind.port,
                              listener.error().message));
    spec.bind.port = (*listener)->local().port;
    if (spec.advertised.port == 0) spec.advertised.port = spec.bind.port;
    held.push_back(std::move(*listener));
  }
  return {};
}

Result<void> Node::start_http() {
  std::vector<http::View> views;
  views.push_back({"/metrics", "text/plain; version=0.0.4", "numbers for Prometheus",
                   [this] { return metrics_page(); }});
  views.push_back(http::health_view([this]() -> std::string {
    switch (state()) {
      case NodeState::kStarting:
        return recovery_.running() ? recovery_.summary() : "starting";
      case NodeState::kServing:
        return "ready";
      default:
        return "stopping";
    }
  }));
  http_ = std::make_unique<http::HttpServer>(loop_, logger_.named("http"), std::move(views));
  for (const std::string& text : options_.config->list(kOdradekHttpListeners)) {
    auto at = http::parse_listener(text);
    if (!at) return fail(at.error().kind, "odradek.http.listeners: " + at.error().message);
    if (auto r = http_->listen(*at); !r)
      return fail(r.error().kind, fmt::format("odradek.http.listeners: {}", r.error().message));
  }
  return {};
}

std::string Node::metrics_text() const {
  std::vector<const MetricSet*> sets;
  for (const auto& part : parts_) sets.push_back(&part->metrics);
  MetricSet recovery;
  for (const auto& dir : recovery_.dirs()) {
    const std::string label = fmt::format("dir=\"{}\"", dir->path);
    recovery.gauge("odradek_recovery_remaining_logs", label, "Logs to be opened at start.")
        .set(dir->logs_total - dir->logs_done);
    recovery.counter("odradek_recovery_checked_bytes_total", label, "Bytes checked at start.")
        .add(dir->bytes_done);
  }
  sets.push_back(&recovery);
  MetricSet ahead;
  for (size_t i = 0; log_dirs_ && i < log_dirs_->size(); i++) {
    const log::WriteAheadCounts* counts = log_dirs_->ahead_counts(i);
    if (counts == nullptr) continue;
    const std::string label = fmt::format("dir=\"{}\"", log_dirs_->path(i));
    ahead.counter("odradek_write_ahead_syncs_total", label, "Syncs of the write-ahead files.")
        .add(counts->rounds);
    ahead.counter("odradek_write_ahead_bytes_total", label, "Bytes copied to them.")
        .add(counts->bytes);
    ahead.counter("odradek_write_ahead_laps_total", label, "How often one began anew.")
        .add(counts->laps);
  }
  sets.push_back(&ahead);
  return http::prometheus_text(sets);
}

io::Task<http::Page> Node::metrics_page() {
  if (state() != NodeState::kServing) co_return http::Page{200, metrics_text()};
  surveys_++;
  const auto limit = static_cast<size_t>(options_.config->int32(kOdradekGroupMetricsMax));
  const GroupSurvey survey =
      co_await survey_groups(parts_, limit, [this] { return state() != NodeState::kServing; });
  surveys_--;
  co_return http::Page{200, metrics_text() + prometheus_text(survey, loop_.clock().wall())};
}

Result<void> Node::start_metadata() {
  const metadata::BrokerConfig& config = *options_.config;
  auto options = driver_options(io_, config, directories_, logger_);
  for (const auto& spec : specs_) {
    if (spec.kind == server::ListenerKind::kController)
      options.listeners.push_back({spec.name, spec.advertised.host, spec.advertised.port});
  }
  machines::ControllerSettings settings;
  settings.cluster_id = directories_.cluster_id;
  settings.node = config.node_id();
  settings.config = options_.config;
  auto bootstrap = raft::read_bootstrap(io_.disk(), directories_.metadata_path);
  if (!bootstrap) return std::unexpected(bootstrap.error());
  for (const std::string& value : bootstrap->value_or(std::vector<std::string>{})) {
    auto record = metadata::Record::from_value(as_bytes(value));
    if (!record) return std::unexpected(record.error());
    settings.bootstrap.push_back(std::move(*record));
  }
  controller_ = std::make_unique<ControllerHost>(
      io_, std::move(options), std::move(settings), [this](const Error& e) { fatal(e); },
      logger_.named("controller"));
  if (auto r = controller_->open(); !r) return r;
  return controller_->start();
}

void Node::make_loops() {
  log_dirs_ = std::make_unique<replica::LogDirs>(
      io_, loop_, std::move(directories_.entries),
      static_cast<uint64_t>(options_.config->int64(kOdradekWriteAheadBytes)),
      [this](const Error& e) { fatal(e); }, logger_.named("replica"));
  cleaner_ = std::make_unique<replica::Cleaner>(loop_, cleaner_settings(*options_.config));
  log_dirs_->set_reserve(static_cast<uint64_t>(options_.config->int64(kOdradekLogDirReserveBytes)));
  log_dirs_->set_cordoned(options_.config->list(kCordonedLogDirs));
  std::vector<replica::Shard*> shards;
  std::vector<server::Services*> services;
  std::vector<server::GroupCoordinators*> groups;
  std::vector<server::TxnCoordinators*> transactions;
  for (int i = 0; i < io_.loop_count(); i++) {
    parts_.push_back(std::make_unique<LoopParts>(io_, i, options_.config, *log_dirs_, *controller_,
                                                 directories_.cluster_id, logger_));
    parts_.back()->services.kraft_version = controller_->kraft_version();
    replica::Cleaning& cleaning = parts_.back()->shard.cleaning();
    cleaning.add_metrics(parts_.back()->metrics);
    cleaner_->add(i, cleaning);
    parts_.back()->cleaner = cleaner_.get();
    shards.push_back(&parts_.back()->shard);
    groups.push_back(&parts_.back()->groups);
    transactions.push_back(&parts_.back()->transactions);
    services.push_back(&parts_.back()->services);
  }
  for (auto& part : parts_) {
    part->services.shards = shards;
    part->services.groups = groups;
    part->services.transactions = transactions;
  }
  server_ = std::make_unique<server::Server>(io_, limits_of(*options_.config, io_.loop_count()),
                                             services);
}

/// What speaks to the controller for this broker.
void Node::make_broker() {
  const metadata::BrokerConfig& config = *options_.config;
  LoopParts& home = *parts_[0];
  lifecycle_ = std::make_unique<Lifecycle>(
      loop_, home.to_controller, registration(),
      Lifecycle::Intervals{config.millis(kBrokerHeartbeatIntervalMs),
                           config.millis(kLogDirFailureTimeoutMs)},
      [this] { return controller_->publisher().current()->provenance.offset; },
      [this](const Error& e) { fatal(e); }, logger_.named("lifecycle"));
  for (size_t i = 0; i < log_dirs_->size(); i++) {
    if (log_dirs_->offline(i)) lifecycle_->directory_failed(log_dirs_->id(i));
  }
  log_dirs_->subscribe(loop_, [this](size_t i) { lifecycle_->directory_failed(log_dirs_->id(i)); });
  home.on_cordoned = [this] {
    std::vector<Uuid> cordoned;
    for (size_t i = 0; i < log_dirs_->size(); i++) {
      if (log_dirs_->cordoned(i)) cordoned.push_back(log_dirs_->id(i));
    }
    lifecycle_->set_cordoned(std::move(cordoned));
  };
  home.on_cordoned();
  assignments_ = std::make_unique<Assignments>(
      loop_, home.to_controller, config.node_id(), [this] { return lifecycle_->epoch(); },
      logger_.named("assignments"));
  for (auto& part : parts_) {
    part->shard.on_assign([this, &loop = part->loop](const Uuid& topic, PartitionIndex index,
                                                     const Uuid& directory,
                                                     std::move_only_function<void(bool)> done) {
      assignments_->assign(topic, index, directory,
                           [&loop, done = std::move(done)](bool ok) mutable {
                             loop.post([done = std::move(done), ok]() mutable { done(ok); });
                           });
    });
  }
}

Registration Node::registration() const {
  const metadata::BrokerConfig& config = *options_.config;
  Registration r;
  r.node = config.node_id();
  r.cluster_id = directories_.cluster_id;
  r.incarnation = loop_.random().uuid();
  r.rack = config.rack();
  r.previous_epoch = directories_.previous_epoch;
  for (size_t i = 0; i < log_dirs_->size(); i++) {
    if (!log_dirs_->offline(i)) r.directories.push_back(log_dirs_->id(i));
  }
  for (const auto& spec : specs_) {
    metadata::Endpoint e;
    e.name = spec.name;
    e.host = spec.advertised.host;
    e.port = spec.advertised.port;
    if (spec.kind != server::ListenerKind::kBroker) {
      r.controller_endpoints.push_back(std::move(e));
      continue;
    }
    const bool first = spec.name == config.inter_broker_listener();
    r.endpoints.insert(first ? r.endpoints.begin() : r.endpoints.end(), std::move(e));
  }
  return r;
}

io::Task<Result<void>> Node::load_partitions() {
  std::vector<replica::Shard*> shards;
  for (auto& part : parts_) shards.push_back(&part->shard);
  const metadata::ImagePtr image = controller_->publisher().current();
  io::Completion<Result<void>> done;
  replica::load_partitions({.io = io_,
                            .loop = loop_,
                            .dirs = *log_dirs_,
                            .image = *image,
                            .shards = std::move(shards),
                            .resolve = parts_[0]->resolve,
                            .parallel = options_.config->int32(kNumRecoveryThreadsPerDataDir),
                            .status = recovery_,
                            .logger = logger_.named("log")},
                           [&done](Result<void> r) { done.complete(std::move(r)); });
  tell_recovery({});
  Result<void> result = co_await done;
  loop_.timers().cancel(recovery_timer_);
  co_return result;
}

/// A line for each directory at work, every two seconds until recovery is over.
void Node::tell_recovery(std::vector<uint64_t> bytes_before) {
  std::vector<uint64_t> bytes;
  for (size_t i = 0; i < recovery_.dirs().size(); i++) {
    const replica::RecoveryStatus::Dir& dir = *recovery_.dirs()[i];
    bytes.push_back(dir.bytes_done.load(std::memory_order_relaxed));
    if (bytes_before.empty() || dir.logs_done == dir.logs_total) continue;
    logger_.info("{} {}, {} MiB/s", dir.clean ? "opening" : "recovering",
                 replica::RecoveryStatus::line(dir),
                 (bytes[i] - bytes_before[i]) * 1000 / kRecoveryLine.value >> 20);
  }
  recovery_timer_ = loop_.timers().start(kRecoveryLine, [this, bytes = std::move(bytes)]() mutable {
    tell_recovery(std::move(bytes));
  });
}

/// Every loop gets the image as it is, then each change of it.
void Node::follow_metadata() {
  metadata::Publisher& publisher = controller_->publisher();
  const auto first = first_publication(publisher.current());
  for (auto& part : parts_) {
    LoopParts* p = part.get();
    const auto post = [p](std::move_only_function<void()> f) { p->loop.post(std::move(f)); };
    post([p, first] { p->follow(first); });
    publisher.subscribe(post, [p](const metadata::Publication& next) { p->follow(next); });
  }
}

/// What recovery found may be in the page cache only. Readers must not see it before it is durable,
/// and clients not a high watermark below the one they know: so nobody is served before.
io::Task<void> Node::found_is_durable() {
  io::Completion<bool> durable;
  size_t left = parts_.size();
  for (auto& part : parts_) {
    part->loop.post([this, p = part.get(), &durable, &left] {
      p->shard.when_durable([this, &durable, &left] {
        loop_.post([&durable, &left] {
          if (--left == 0) durable.complete(true);
        });
      });
    });
  }
  co_await durable;
}

/// False if something could not be closed: there must be no clean marker then.
io::Task<bool> Node::close_logs() {
  io::Completion<bool> closed;
  size_t left = parts_.size();
  bool clean = true;
  for (auto& part : parts_) {
    part->loop.post([this, p = part.get(), &closed, &left, &clean] {
      p->shard.close([this, &closed, &left, &clean](Result<void> r) {
        loop_.post([this, &closed, &left, &clean, r] {
          if (!r) logger_.error("closing logs: {}", r.error().message);
          clean = clean && r;
          if (--left == 0) closed.complete(clean);
        });
      });
    });
  }
  co_return co_await closed;
}

void Node::stop(std::move_only_function<void()> done) { io::spawn(run_stop(std::move(done))); }

io::Task<void> Node::run_stop(std::move_only_function<void()> done) {
  state_.store(NodeState::kStopping, std::memory_order_release);
  co_await lifecycle_->stop();
  assignments_->stop();
  server_->stop_accepting(server::ListenerKind::kBroker);
  server_->stop_accepting(server::ListenerKind::kController);
  io::Completion<bool> closed;
  server_->close([&closed] { closed.complete(true); });
  co_await closed;
  bool clean = co_await close_logs();
  if (auto r = controller_->close(); !r) {
    clean = false;
    logger_.error("closing the metadata log: {}", r.error().message);
  }
  io::Completion<Result<void>> checkpoints;
  log_dirs_->close(clean ? std::optional(lifecycle_->epoch()) : std::nullopt,
                   [&checkpoints](Result<void> r) { checkpoints.complete(std::move(r)); });
  if (auto r = co_await checkpoints; !r) logger_.error("closing: {}", r.error().message);
  while (surveys_ > 0) co_await loop_.hop();
  http_->close();
  state_.store(NodeState::kStopped, std::memory_order_release);
  done();
}

}  // namespace odradek::node
