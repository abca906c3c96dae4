// `odradek server`: runs a node until SIGTERM or SIGINT.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>

#include "app/cli.h"
#include "app/log_sink.h"
#include "app/properties_file.h"
#include "io/linux/linux_io.h"
#include "node/node.h"

namespace odradek::app {

namespace {

using enum metadata::BrokerKey;

struct ServerOptions {
  std::string config;
  std::vector<std::string> overrides;
};

Level level_of(const std::string& name) {
  if (name == "DEBUG") return Level::kDebug;
  if (name == "WARN") return Level::kWarn;
  if (name == "ERROR") return Level::kError;
  return Level::kInfo;
}

/// Half of the cores, by default: the other half is for the kernel's work on sockets and pages,
/// syncs and cleaning; and each loop more makes more requests go to two (docs/design.md, Loops).
int loop_count(const metadata::BrokerConfig& config) {
  const int asked = config.int32(kOdradekLoops);
  if (asked > 0) return asked;
  return static_cast<int>(std::max(1U, (std::thread::hardware_concurrency() + 1) / 2));
}

/// What a user sees when the node serves: where, with which durability, what to try.
void print_banner(const node::Node& node, const metadata::BrokerConfig& config, bool quick) {
  std::string where;
  std::string first;
  for (const auto& spec : node.listeners()) {
    if (spec.kind != server::ListenerKind::kBroker) continue;
    const auto at = fmt::format("{}:{}", spec.advertised.host, spec.advertised.port);
    if (first.empty()) first = at;
    where += fmt::format("{}{}://{}", where.empty() ? "" : ", ", spec.name, at);
  }
  const bool synced = config.int64(kLogFlushIntervalMessages) == 1;
  fmt::print("Odradek {} serves Kafka on {}\n", ODRADEK_VERSION, where);
  fmt::print("  node {}, cluster {}, data in {}\n", config.node_id().value, node.cluster_id(),
             fmt::join(config.log_dirs(), ", "));
  fmt::print("  durability: {}\n",
             synced ? "acks=all answers after the sync to disk (log.flush.interval.messages=1)"
                    : "acks=all answers from the page cache (log.flush.interval.messages is above "
                      "1)");
  for (const auto& http : node.http_endpoints())
    fmt::print("  metrics: http://{}:{}/metrics\n", http.host, http.port);
  if (quick) {
    const std::string at = first == "localhost:9092" || first == "127.0.0.1:9092"
                               ? ""
                               : " --bootstrap-server " + first;
    fmt::print("\nTry, in another terminal:\n");
    fmt::print("  odradek topic create greetings{}\n", at);
    fmt::print("  echo hello | odradek produce greetings{}\n", at);
    fmt::print("  odradek consume greetings --from beginning --exit{}\n", at);
    fmt::print("Stop with Ctrl-C.\n");
  }
  std::fflush(stdout);
}

/// For what all directories recover at a time.
int file_threads(const metadata::BrokerConfig& config) {
  constexpr int64_t kMost = 64;
  const int64_t wanted = int64_t{config.int32(metadata::BrokerKey::kNumRecoveryThreadsPerDataDir)} *
                         static_cast<int64_t>(config.log_dirs().size());
  return static_cast<int>(std::clamp<int64_t>(wanted, 2, kMost));
}

/// One run of a node on the real system.
class Run {
 public:
  Run(Cli& cli, metadata::BrokerConfigPtr config, bool quick)
      : cli_(cli),
        config_(std::move(config)),
        quick_(quick),
        sink_(make_stderr_sink(false)),
        logger_(sink_.get(), "node", level_of(config_->text(kOdradekLogLevel))),
        io_({.loops = loop_count(*config_),
             .max_open_files = static_cast<size_t>(config_->int32(kOdradekLogMaxOpenFiles)),
             .file_threads = file_threads(*config_),
             .io_uring = config_->boolean(kOdradekIoUringEnable),
             .send_buffer = config_->int32(kSocketSendBufferBytes),
             .receive_buffer = config_->int32(kSocketReceiveBufferBytes)}),
        node_(io_,
              {.config = config_, .logger = logger_, .format_if_new = quick, .on_fatal = die}) {}

  void run(const std::vector<std::string>& warnings) {
    for (const auto& line : warnings) logger_.warn("{}", line);
    say_without_io_uring();
    io_.on_signal([this](int) { on_signal(); });
    io_.loop(0).post([this] { node_.start([this](Result<void> r) { started(std::move(r)); }); });
    io_.run();
  }

 private:
  /// Nothing is less safe without it; but who measures shall know.
  void say_without_io_uring() {
    if (!config_->boolean(kOdradekIoUringEnable)) return;
    if (auto there = io::io_uring_available(); !there) {
      logger_.info("{}; a thread does small syncs instead, which takes more CPU",
                   there.error().message);
    }
  }
  void started(Result<void> r) {
    if (!r) {
      report(cli_, r.error().message);
      io_.stop();
      return;
    }
    serving_ = true;
    print_banner(node_, *config_, quick_);
    if (signalled_) stop();
  }

  void on_signal() {
    if (signalled_) {  // the second one: do not wait, leave no marker
      fmt::print(stderr, "odradek: stopped at once; the next start recovers\n");
      _exit(1);
    }
    signalled_ = true;
    if (serving_) stop();
  }

  void stop() {
    logger_.info("stopping");
    const Millis limit = config_->millis(kOdradekShutdownTimeoutMs);
    io_.loop(0).timers().start(limit, [] {
      fmt::print(stderr, "odradek: stopping took too long; the next start recovers\n");
      _exit(1);
    });
    node_.stop([this] {
      logger_.info("stopped cleanly");
      io_.stop();
    });
  }

  [[noreturn]] static void die(const Error& error) {
    fmt::print(stderr, "odradek: {}\n", error.message);
    _exit(1);
  }

  Cli& cli_;
  metadata::BrokerConfigPtr config_;
  bool quick_;
  std::unique_ptr<LogSink> sink_;
  Logger logger_;
  io::LinuxIo io_;
  node::Node node_;
  bool serving_ = false;
  bool signalled_ = false;
};

void serve(Cli& cli, const ServerOptions& options) {
  auto properties = load_properties(options.config, options.overrides);
  if (!properties) return report(cli, properties.error().message);
  auto loaded = metadata::BrokerConfig::load(std::move(*properties));
  if (!loaded) return report(cli, loaded.error().message);
  auto run = std::make_unique<Run>(cli, loaded->config, options.config.empty());
  run->run(loaded->warnings);
}

}  // namespace

void add_server(CLI::App& program, Cli& cli) {
  auto* command = program.add_subcommand(
      "server", "Serve Kafka: localhost:9092 from ./odradek-data, or as --config says");
  auto options = std::make_shared<ServerOptions>();
  command->add_option("-c,--config", options->config, "server.properties, as Apache Kafka's");
  command->add_option("-o,--override", options->overrides, "name=value, repeatable");
  command->callback([&cli, options] { serve(cli, *options); });
}

}  // namespace odradek::app
