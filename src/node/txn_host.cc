#include "node/txn_host.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "metadata/features.h"
#include "server/markers.h"
#include "server/producer_ids.h"

namespace odradek::node {

namespace {

using machines::txn::Cause;
using machines::txn::Finish;
using machines::txn::MarkersWritten;
using machines::txn::NeedsProducerId;
using machines::txn::Response;
using machines::txn::SetVersion;
using machines::txn::TimeOut;
using server::MarkerTarget;
using wire::ErrorCode;

constexpr Millis kRetryAfter{100};
constexpr Millis kRetryAfterMost{2'000};

machines::txn::Settings settings_of(const metadata::BrokerConfig& c, int16_t version) {
  using enum metadata::BrokerKey;
  return {.version = version,
          .timeout_check = c.millis(kTransactionAbortTimedOutTransactionCleanupIntervalMs),
          .expiration = c.millis(kTransactionalIdExpirationMs),
          .expiration_check = c.millis(kTransactionRemoveExpiredTransactionCleanupIntervalMs)};
}

/// What can be done about a marker that a partition has not taken.
enum class Outcome { kDone, kRetry, kGiveUp };
Outcome outcome_of(ErrorCode error, bool exists) {
  using enum ErrorCode;
  if (error == kNone || !exists) return Outcome::kDone;
  // Another coordinator has the id, or the producer has moved on: its state says so too.
  if (error == kInvalidProducerEpoch || error == kTransactionCoordinatorFenced)
    return Outcome::kGiveUp;
  return Outcome::kRetry;
}

}  // namespace

TxnHost::TxnHost(replica::Shard& shard, server::Services& services, Logger logger)
    : shard_(shard), services_(services), logger_(logger) {
  shard_.watch(std::string(server::kTransactionTopic), *this);
}

TxnHost::~TxnHost() {
  for (auto& [index, hosted] : hosted_) hosted->coordinator->close();
}

// ---- what the coordinators ask for

// `hosted` may be used as long as `current` holds: it is this loading's.
io::Task<void> TxnHost::finish(Hosted* hosted, std::shared_ptr<bool> current, Finish f) {
  std::vector<MarkerTarget> left;
  for (auto& p : f.partitions) left.push_back({std::move(p.topic), p.index});
  const replica::EndMarker marker{
      .producer = f.who.producer,
      .epoch = f.who.epoch,
      .committed = f.commit,
      .coordinator_epoch = hosted->partition->state().leader_epoch.value,
      .version = f.version};
  server::Services& services = services_;
  Millis retry = kRetryAfter;
  bool told = false;
  while (!left.empty()) {
    co_await server::write_markers(services, marker, left);
    if (!*current) co_return;
    std::vector<MarkerTarget> again;
    for (MarkerTarget& t : left) {
      const bool exists = services.image->partition(t.topic, t.index) != nullptr;
      const Outcome outcome = outcome_of(t.error, exists);
      if (outcome == Outcome::kGiveUp) {
        logger_.warn(
            "transactional id {}: {}-{} refuses the marker of producer {} epoch {}: {}; its "
            "transaction is not ended before the coordinator is loaded again",
            f.who.id, t.topic, t.index, f.who.producer.value, f.who.epoch.value,
            wire::name(t.error));
        co_return;
      }
      if (outcome == Outcome::kRetry) again.push_back(std::move(t));
    }
    left = std::move(again);
    if (left.empty()) break;
    if (retry == kRetryAfterMost && !std::exchange(told, true)) tell_waiting(f, left);
    co_await services.loop.sleep(retry);
    if (!*current) co_return;
    retry = Millis(std::min(retry.value * 2, kRetryAfterMost.value));
  }
  while (*current) {
    io::Completion<bool> done;
    hosted->coordinator->submit(MarkersWritten{f.who},
                                [&done](auto result) { done.complete(result.has_value()); });
    if (co_await done || !*current) co_return;
    co_await services.loop.sleep(kRetryAfter);
  }
}

io::Task<void> TxnHost::time_out(Hosted* hosted, std::shared_ptr<bool> current,
                                 NeedsProducerId message) {
  const std::optional<int64_t> fresh = co_await server::next_producer_id(services_);
  if (!fresh || !*current) co_return;  // the next sweep asks again
  hosted->coordinator->submit(TimeOut{message.who, ProducerId(*fresh)}, [](auto) {});
}

// ---- hosting

void TxnHost::changed(replica::Partition& partition) {
  const bool leads = partition.is_leader() && !partition.offline();
  const bool hosts = hosted_.contains(partition.index().value);
  if (leads && !hosts) begin(partition);
  if (!leads && hosts) gone(partition);
}

void TxnHost::committed(replica::Partition& partition) {
  const auto at = hosted_.find(partition.index().value);
  if (at != hosted_.end()) at->second->coordinator->committed();
}

void TxnHost::gone(replica::Partition& partition) {
  auto node = hosted_.extract(partition.index().value);
  if (node.empty()) return;
  node.mapped()->coordinator->close();
  // It may be in the midst of an answer.
  shard_.loop().post([hosted = std::move(node.mapped())] {});
}

void TxnHost::begin(replica::Partition& partition) {
  auto owned = std::make_unique<Hosted>();
  Hosted* hosted = owned.get();
  hosted->index = partition.index().value;
  hosted->partition = &partition;
  hosted->coordinator = std::make_unique<Coordinator<Machine>>(
      shard_, partition, wire::Codec::kNone,
      Coordinator<Machine>::Hooks{
          .make =
              [this, hosted] {
                hosted->current = std::make_shared<bool>(true);
                return std::make_unique<Machine>(settings_of(*services_.config, version_));
              },
          .on_message = [this, hosted](machines::txn::Message m) { take(*hosted, std::move(m)); },
          .on_loaded =
              [this, hosted] {
                // It may have changed while it was loading, when nothing could be said to it.
                hosted->coordinator->submit(SetVersion{version_}, [](auto) {});
              },
          .on_lost = [hosted] { *hosted->current = false; }},
      logger_);
  hosted_[hosted->index] = std::move(owned);
  hosted->coordinator->start();
}

void TxnHost::submit(int32_t partition, machines::txn::Command command, Done done) {
  const auto at = hosted_.find(partition);
  if (at == hosted_.end()) return done(std::unexpected(ErrorCode::kNotCoordinator));
  at->second->coordinator->submit(command, std::move(done));
}

void TxnHost::follow(const metadata::Image& image) {
  const int16_t version = image.feature(metadata::kTransactionVersion);
  if (std::exchange(version_, version) == version) return;
  for (auto& [index, hosted] : hosted_)
    hosted->coordinator->submit(SetVersion{version}, [](auto) {});
}

void TxnHost::take(Hosted& hosted, machines::txn::Message message) {
  if (auto* f = std::get_if<Finish>(&message)) {
    tell(*f);
    io::spawn(finish(&hosted, hosted.current, std::move(*f)));
  } else {
    io::spawn(time_out(&hosted, hosted.current, std::move(std::get<NeedsProducerId>(message))));
  }
}

void TxnHost::tell_waiting(const Finish& f, const std::vector<MarkerTarget>& left) const {
  logger_.warn(
      "transactional id {}: {} partitions have not taken the marker of producer {} yet, {}-{} "
      "because of {}; they are asked again every {} ms, and the id's next transaction waits",
      f.who.id, left.size(), f.who.producer.value, left.front().topic, left.front().index,
      wire::name(left.front().error), kRetryAfterMost.value);
}

void TxnHost::tell(const Finish& f) const {
  const std::string who = fmt::format("transactional id {}: the transaction of producer {}",
                                      f.who.id, f.who.producer.value);
  if (f.cause == Cause::kTimedOut) {
    logger_.warn(
        "{} was open for more than its timeout of {} ms and is aborted; its producer is "
        "fenced by epoch {}",
        who, f.timeout_ms, f.who.epoch.value);
  } else if (f.cause == Cause::kFenced) {
    logger_.info(
        "{} is aborted: a newer producer of this id has come (InitProducerId); the old one "
        "is fenced by epoch {}",
        who, f.who.epoch.value);
  } else if (f.cause == Cause::kLoaded) {
    logger_.info("{} was decided before the coordinator was loaded: it is {} now", who,
                 f.commit ? "committed" : "aborted");
  }
}

}  // namespace odradek::node
