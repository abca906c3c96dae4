#include "log/cleaned_transactions.h"

#include "wire/record_batch.h"

namespace odradek::log {

void CleanedTransactions::add(std::span<const AbortedEntry> aborted) {
  ahead_.insert(aborted.begin(), aborted.end());
}

void CleanedTransactions::reach(Offset offset) {
  while (!ahead_.empty() && ahead_.begin()->first <= offset) {
    const AbortedEntry entry = *ahead_.begin();
    ahead_.erase(ahead_.begin());
    aborted_.try_emplace(entry.producer, Aborted{entry});
  }
}

bool CleanedTransactions::on_records(const BatchView& batch) {
  reach(batch.last_offset());
  if (!batch.is_transactional()) return false;
  const auto found = aborted_.find(batch.producer_id());
  if (found == aborted_.end()) {
    committed_.insert(batch.producer_id());
    return false;
  }
  found->second.seen = true;
  return true;
}

Result<CleanedTransactions::Marker> CleanedTransactions::on_control(const BatchView& batch) {
  reach(batch.last_offset());
  if (batch.count() == 0) return Marker{.empty = true};  // an earlier cleaning took the marker
  wire::Decompressor none;
  wire::RecordIterator records(batch, none);
  wire::RecordView record;
  auto more = records.next(record);
  if (!more) return std::unexpected(more.error());
  auto type = wire::control_type(record);
  if (!type) return std::unexpected(type.error());
  if (*type == wire::ControlType::kCommit) {
    return Marker{.empty = committed_.erase(batch.producer_id()) == 0};
  }
  if (*type != wire::ControlType::kAbort) return Marker{};
  const auto found = aborted_.find(batch.producer_id());
  if (found == aborted_.end()) return Marker{.empty = true};
  const Aborted aborted = found->second;
  aborted_.erase(found);
  if (!aborted.seen) return Marker{.empty = true};
  return Marker{.empty = false, .entry = aborted.entry};
}

}  // namespace odradek::log
