#include "machines/txn/record.h"

#include <fmt/format.h>

#include "base/arena.h"
#include "base/check.h"
#include "machines/txn/state.h"
#include "wire/framed_record.h"
#include "wire/gen/transaction_log.h"
#include "wire/json.h"
#include "wire/writer.h"

namespace odradek::machines::txn {

namespace {

std::string take(wire::Writer& w) {
  ODRADEK_CHECK(!w.error());
  return std::string(as_text(w.view()));
}

std::string key_of(const std::string& id) {
  wire::TransactionLogKey key;
  key.transactional_id = id;
  wire::Writer w;
  wire::encode_record_key(w, key);
  return take(w);
}

}  // namespace

Record Record::of(const std::string& id, const Transaction& t, int16_t version) {
  Arena arena;
  wire::TransactionLogValue value;
  value.producer_id = t.producer.value;
  value.producer_epoch = t.epoch.value;
  value.transaction_timeout_ms = t.timeout_ms;
  value.transaction_status = static_cast<int8_t>(t.status);
  value.transaction_last_update_timestamp_ms = t.updated_ms;
  value.transaction_start_timestamp_ms = t.started_ms;
  if (t.status != Status::kEmpty) {
    auto& topics = value.transaction_partitions.emplace();
    for (const TopicPartition& p : t.partitions) {
      if (topics.empty() || topics.back().topic != p.topic) topics.add(arena).topic = p.topic;
      topics.back().partition_ids.add(arena) = p.index;
    }
  } else {
    value.transaction_partitions.reset();
  }
  const int16_t format = version >= 1 ? 1 : 0;
  if (format >= 1) {
    value.previous_producer_id = t.previous.value;
    value.next_producer_id = t.next.value;
    value.client_transaction_version = t.version;
  }
  wire::Writer w;
  wire::encode_record_value(w, value, format);
  return {Stored{key_of(id), take(w)}};
}

Record Record::tombstone(const std::string& id) { return {Stored{key_of(id), std::nullopt}}; }

Record Record::loaded(ByteView key, const std::optional<ByteView>& value, ProducerId) {
  Stored s{std::string(as_text(key)), std::nullopt};
  if (value) s.value = std::string(as_text(*value));
  return {std::move(s)};
}

std::string Record::to_line() const {
  if (const auto* last = std::get_if<LastEpoch>(&body))
    return fmt::format("soft {} had epoch {}", last->id, last->epoch.value);
  if (const auto* v = std::get_if<Version>(&body))
    return fmt::format("soft transaction.version {}", v->version);
  const Stored& s = stored();
  return wire::stored_record_line(wire::Domain::kTransaction, as_bytes(s.key),
                                  s.value ? std::optional(as_bytes(*s.value)) : std::nullopt);
}

}  // namespace odradek::machines::txn
