#include "node/log_loader.h"

#include <algorithm>

#include "log/log.h"
#include "wire/errors.h"

namespace odradek::node {

Result<bool> LogLoader::step() {
  next_ = std::max(next_, partition_.log_start());
  const Offset end = partition_.log_end();
  if (next_ >= end) return true;
  log::Log& log = partition_.mutable_log();
  const auto read = log.read(next_, {.max_bytes = kStep, .upper_bound = end, .at_least_one = true});
  if (!read) return std::unexpected(read.error());
  if (read->error == wire::ErrorCode::kNone && read->piece.size() == 0) {
    // Compaction, or a power loss between segments, has left nothing in front of the end.
    next_ = end;
    return true;
  }
  if (read->error != wire::ErrorCode::kNone)
    return fail(Errc::kCorrupt,
                "the log cannot be read from offset " + std::to_string(next_.value));
  const auto bytes = log::read_piece(read->piece);
  if (!bytes) return std::unexpected(bytes.error());
  bytes_ += bytes->size();
  const Offset before = next_;
  wire::BatchIterator batches(*bytes);
  while (true) {
    // What follows the last whole batch is the beginning of the next one: read again.
    const auto batch = batches.next();
    if (!batch) return std::unexpected(batch.error());
    if (!*batch) break;
    if ((*batch)->is_control()) {
      read_markers(**batch);
    } else {
      read_batch(**batch);
    }
    next_ = (*batch)->next_offset();
  }
  if (next_ <= before) return fail(Errc::kCorrupt, "a batch that does not end");
  return next_ >= end;
}

void LogLoader::read_batch(const wire::BatchHeader& batch) {
  const ProducerId producer = batch.is_transactional() ? batch.producer_id() : ProducerId(-1);
  wire::RecordIterator iterator(batch, decompressor_);
  wire::RecordView record;
  while (true) {
    const auto more = iterator.next(record);
    if (!more) {
      logger_.error("{}: what follows in the batch at offset {} is left out: {}",
                    partition_.name().to_string(), batch.base_offset().value, more.error().message);
      return;
    }
    if (!*more) return;
    records_++;
    if (record.key) {
      sink_.record(record.offset, *record.key, record.value, producer);
    } else {
      logger_.error("{}: the record at offset {} has no key and is left out",
                    partition_.name().to_string(), record.offset.value);
    }
  }
}

void LogLoader::read_markers(const wire::BatchHeader& batch) {
  wire::RecordIterator iterator(batch, decompressor_);
  wire::RecordView record;
  while (true) {
    const auto more = iterator.next(record);
    if (!more || !*more) return;
    const auto type = wire::control_type(record);
    if (!type) continue;
    if (*type != wire::ControlType::kCommit && *type != wire::ControlType::kAbort) continue;
    sink_.marker(record.offset, batch.producer_id(), *type == wire::ControlType::kCommit);
  }
}

}  // namespace odradek::node
