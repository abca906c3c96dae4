#include "machines/txn/state.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/arena.h"
#include "wire/framed_record.h"
#include "wire/gen/transaction_log.h"
#include "wire/reader.h"

namespace odradek::machines::txn {

namespace {

constexpr std::array<std::string_view, 8> kNames = {
    "Empty",          "Ongoing",       "PrepareCommit", "PrepareAbort",
    "CompleteCommit", "CompleteAbort", "Dead",          "PrepareEpochFence"};

Result<Transaction> read_value(ByteView bytes) {
  Arena arena;
  wire::Reader reader(bytes, arena);
  const auto version = wire::decode_record_prefix(reader);
  if (!version) return std::unexpected(version.error());
  wire::TransactionLogValue value;
  if (auto r = value.decode(reader, *version); !r) return std::unexpected(r.error());
  if (value.transaction_status < 0 ||
      value.transaction_status > static_cast<int8_t>(Status::kCompleteAbort))
    return fail(Errc::kUnsupported,
                fmt::format("transaction status {} is not known", value.transaction_status));
  Transaction t{.producer = ProducerId(value.producer_id),
                .previous = ProducerId(value.previous_producer_id),
                .next = ProducerId(value.next_producer_id),
                .epoch = ProducerEpoch(value.producer_epoch),
                .timeout_ms = value.transaction_timeout_ms,
                .status = static_cast<Status>(value.transaction_status),
                .started_ms = value.transaction_start_timestamp_ms,
                .updated_ms = value.transaction_last_update_timestamp_ms,
                .version = value.client_transaction_version};
  if (t.status == Status::kEmpty) return t;
  if (!value.transaction_partitions)
    return fail(Errc::kCorrupt, "a transaction without its partitions");
  for (const auto& topic : *value.transaction_partitions) {
    for (const int32_t index : topic.partition_ids)
      t.partitions.insert({std::string(topic.topic), index});
  }
  return t;
}

}  // namespace

std::string_view name(Status status) { return kNames[static_cast<size_t>(status)]; }

bool is_status_name(std::string_view text) { return std::ranges::count(kNames, text) > 0; }

const Transaction* State::find(std::string_view id) const {
  const auto at = transactions_.find(id);
  return at == transactions_.end() ? nullptr : &at->second;
}

void State::replay(Offset, const Record& record) {
  if (const auto* last = std::get_if<LastEpoch>(&record.body)) {
    const auto at = transactions_.find(last->id);
    if (at != transactions_.end()) at->second.last_epoch = last->epoch;
  } else if (const auto* version = std::get_if<Version>(&record.body)) {
    version_ = version->version;
  } else if (const auto applied = apply(record.stored()); !applied) {
    unreadable_++;
    problem_ = applied.error().message;
  }
}

Result<void> State::apply(const Stored& stored) {
  Arena arena;
  wire::Reader reader(as_bytes(stored.key), arena);
  const auto type = wire::decode_record_prefix(reader);
  if (!type) return std::unexpected(type.error());
  if (*type != wire::TransactionLogKey::kRecordType)
    return fail(Errc::kUnsupported, fmt::format("record type {} is not known", *type));
  wire::TransactionLogKey key;
  if (auto r = key.decode(reader, 0); !r) return r;
  if (!stored.value) {
    set(key.transactional_id, std::nullopt);
    return {};
  }
  auto value = read_value(as_bytes(*stored.value));
  if (!value) return std::unexpected(value.error());
  set(key.transactional_id, std::move(*value));
  return {};
}

void State::set(std::string_view id, std::optional<Transaction> transaction) {
  const auto at = transactions_.find(id);
  if (at != transactions_.end() && at->second.status == Status::kOngoing) ongoing_--;
  if (!transaction) {
    if (at != transactions_.end()) transactions_.erase(at);
    return;
  }
  if (transaction->status == Status::kOngoing) ongoing_++;
  if (at == transactions_.end()) {
    transactions_.emplace(std::string(id), std::move(*transaction));
  } else {
    transaction->last_epoch = at->second.last_epoch;
    at->second = std::move(*transaction);
  }
}

}  // namespace odradek::machines::txn
