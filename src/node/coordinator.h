// Coordinator: hosts the machine of one partition that this node leads: loads it from the log, some
// at a time, lets it work, and loads it anew when an append has failed.
//
// A resource of the partition's loop. `close` before the partition goes.
#pragma once

#include <algorithm>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/logger.h"
#include "io/io.h"
#include "machines/runtime.h"
#include "node/log_loader.h"
#include "node/loop_host.h"
#include "node/partition_log.h"
#include "replica/partition.h"
#include "replica/shard.h"
#include "wire/errors.h"

namespace odradek::node {

template <machines::Machine M>
class Coordinator final : private RecordSink {
 public:
  using Record = typename M::Record;
  using Command = typename M::Command;
  using Response = typename M::Response;
  using Message = machines::MessageOf<M>;
  /// The codes are those that clients of coordinators understand.
  using Done = std::move_only_function<void(std::expected<Response, wire::ErrorCode>)>;

  struct Hooks {
    std::function<std::unique_ptr<M>()> make;
    std::function<void(Message)> on_message;
    /// Loaded, maybe again.
    std::function<void()> on_loaded;
    /// What the machine knew beyond the log is gone.
    std::function<void()> on_lost;
  };

  Coordinator(replica::Shard& shard, replica::Partition& partition, wire::Codec codec, Hooks hooks,
              Logger logger)
      : shard_(shard),
        partition_(partition),
        hooks_(std::move(hooks)),
        logger_(logger),
        host_(shard.loop()),
        log_(partition, shard.loop().clock(), codec),
        runtime_(log_, host_, hooks_.make, [this](const Error& e) { failed(e); }) {
    runtime_.on_message([this](Message m) { hooks_.on_message(std::move(m)); });
  }
  ~Coordinator() override { *alive_ = false; }
  Coordinator(const Coordinator&) = delete;
  Coordinator& operator=(const Coordinator&) = delete;

  const M& machine() const { return runtime_.machine(); }
  std::optional<Millis> timer_left(const std::string& key) const {
    return runtime_.timer_left(key);
  }
  bool active() const { return runtime_.state() == machines::RuntimeState::kActive; }

  /// Begins to load; an empty log is loaded at once.
  void start() {
    runtime_.start_loading();
    loader_.emplace(partition_, shard_.decompressor(), static_cast<RecordSink&>(*this), logger_);
    load_began_ = told_ = shard_.loop().clock().now();
    unreadable_ = 0;
    if (partition_.log_start() == partition_.log_end()) return load();
    shard_.loop().post([this, alive = alive_] {
      if (*alive) load();
    });
  }
  /// The high watermark has moved.
  void committed() {
    if (log_.appending()) return;  // the runtime asks when the append is done
    if (runtime_.state() == machines::RuntimeState::kLoading && !loader_) return maybe_loaded();
    if (active()) runtime_.committed(partition_.high_watermark());
  }
  /// Whoever waits is told NOT_COORDINATOR.
  void close() {
    *alive_ = false;
    loader_.reset();
    runtime_.close();
    hooks_.on_lost();
  }

  void submit(const Command& command, Done done) {
    using enum wire::ErrorCode;
    using machines::RuntimeState;
    if (runtime_.state() == RuntimeState::kLoading || runtime_.state() == RuntimeState::kFailed)
      return done(std::unexpected(kCoordinatorLoadInProgress));
    runtime_.submit(command, [done = std::move(done)](Result<Response> outcome) mutable {
      if (outcome) return done(std::move(*outcome));
      done(std::unexpected(code(outcome.error().kind)));
    });
  }

 private:
  static constexpr Millis kTellAfter{2'000};
  static constexpr Millis kReloadAfter{100};
  static constexpr Millis kReloadAfterMost{30'000};

  static wire::ErrorCode code(Errc kind) {
    using enum wire::ErrorCode;
    if (kind == Errc::kLimit) return kCoordinatorNotAvailable;  // too many wait, too few in sync
    if (kind == Errc::kInvalid) return kUnknownServerError;     // larger than a batch may be
    return kNotCoordinator;
  }

  void record(Offset offset, ByteView key, std::optional<ByteView> value,
              ProducerId producer) override {
    runtime_.load(offset, Record::loaded(key, value, producer));
    const uint64_t unreadable = runtime_.machine().unreadable();
    if (unreadable == unreadable_) return;
    unreadable_ = unreadable;
    if (unreadable > kUnreadableLines) return;
    logger_.warn("{}: the record at offset {} is left out: {}{}", partition_.name().to_string(),
                 offset.value, runtime_.machine().problem(),
                 unreadable == kUnreadableLines ? " (more of them are not told)" : "");
  }
  void marker(Offset offset, ProducerId producer, bool committed) override {
    if constexpr (requires { Record::marker(producer, committed); })
      runtime_.load(offset, Record::marker(producer, committed));
  }

  void load() {
    if (!loader_) return;
    const Result<bool> done = loader_->step();
    if (!done) {
      logger_.error("{}: the coordinator cannot load it: {}", partition_.name().to_string(),
                    done.error().message);
      return runtime_.fail(done.error());
    }
    tell(*done);
    if (!*done) {
      shard_.loop().post([this, alive = alive_] {
        if (*alive) load();
      });
      return;
    }
    loader_.reset();
    maybe_loaded();
  }
  /// Nobody may act on what is not committed.
  void maybe_loaded() {
    if (partition_.high_watermark() < partition_.log_end()) return;
    reload_after_ = kReloadAfter;
    runtime_.loaded();
    hooks_.on_loaded();
  }
  void tell(bool done) {
    const MonoNs now = shard_.loop().clock().precise();
    if (now < told_ + kTellAfter && !(done && now >= load_began_ + kTellAfter)) return;
    told_ = now;
    logger_.info("{}: {} {} records, {} MiB", partition_.name().to_string(),
                 done ? "loaded" : "loading, so far", loader_->records(), loader_->bytes() >> 20);
  }
  /// The machine has seen records that are in no log; another one reads what there is.
  void failed(const Error& error) {
    logger_.error("{}: the coordinator begins anew: {}", partition_.name().to_string(),
                  error.message);
    loader_.reset();
    shard_.loop().timers().start(reload_after_, [this, alive = alive_] {
      if (*alive) start();
    });
    reload_after_ = Millis(std::min(reload_after_.value * 2, kReloadAfterMost.value));
    hooks_.on_lost();
  }

  static constexpr uint64_t kUnreadableLines = 10;

  replica::Shard& shard_;
  replica::Partition& partition_;
  Hooks hooks_;
  Logger logger_;
  LoopHost host_;
  PartitionLog<Record> log_;
  machines::Runtime<M, PartitionLog<Record>> runtime_;
  std::optional<LogLoader> loader_;
  MonoNs load_began_{0};
  MonoNs told_{0};
  uint64_t unreadable_ = 0;
  Millis reload_after_ = kReloadAfter;
  /// False once this is closed or gone: what is posted may come later.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace odradek::node
