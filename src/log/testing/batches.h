// Batches and logs for tests.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "log/log.h"
#include "sim/memory_disk.h"
#include "wire/record_batch.h"

namespace odradek::log::testing {

struct BatchSpec {
  int records = 1;
  int64_t timestamp = 1000;  // of the first record; the others follow by one
  size_t value_size = 10;
  int64_t producer = -1;
  int16_t producer_epoch = 0;
  int32_t sequence = 0;
  bool transactional = false;
  int64_t base_offset = 0;
  int32_t leader_epoch = -1;
  wire::Codec codec = wire::Codec::kNone;
  char fill = 'v';
};

inline ByteBuffer make_batch(const BatchSpec& spec) {
  wire::BatchOptions options{.base_offset = Offset(spec.base_offset),
                             .leader_epoch = LeaderEpoch(spec.leader_epoch),
                             .codec = spec.codec,
                             .transactional = spec.transactional};
  if (spec.producer >= 0) {
    options.producer_id = ProducerId(spec.producer);
    options.producer_epoch = ProducerEpoch(spec.producer_epoch);
    options.base_sequence = spec.sequence;
  }
  wire::BatchBuilder builder(options);
  for (int n = 0; n < spec.records; n++) {
    std::string value(spec.value_size, spec.fill);
    builder.add(WallMs(spec.timestamp + n), std::nullopt, as_bytes(value));
  }
  auto built = builder.build();
  EXPECT_TRUE(built.has_value());
  return std::move(*built);
}

inline LogOptions options_for(io::Disk& disk, LogConfig config = {}) {
  LogOptions options;
  options.disk = &disk;
  options.folder = "/data/t-0";
  options.partition = TopicPartition{"t", PartitionIndex(0)};
  options.config = config;
  options.now = WallMs(1000);
  return options;
}

inline std::unique_ptr<Log> open_or_die(LogOptions options) {
  auto log = Log::open(std::move(options));
  if (!log) {
    ADD_FAILURE() << log.error().message;
    std::abort();
  }
  return std::move(*log);
}

/// Appends as leader of `epoch`; the result of a successful disk.
inline AppendResult append(Log& log, ByteBuffer batch, int32_t epoch = 0,
                           AppendOrigin origin = AppendOrigin::kClient, int64_t now = 1000,
                           WriteWhen when = WriteWhen::kNow) {
  auto r =
      log.append_as_leader(MutableBytes(batch), LeaderEpoch(epoch), origin, WallMs(now), {}, when);
  if (!r) {
    ADD_FAILURE() << r.error().message;
    return {};
  }
  return *r;
}

/// All records from `from` to the end: offset and the value's text. Fails the test if a batch is
/// torn or its CRC wrong.
inline std::vector<std::pair<int64_t, std::string>> read_all(Log& log, Offset from,
                                                             uint32_t max_bytes = 1 << 20) {
  std::vector<std::pair<int64_t, std::string>> records;
  wire::Decompressor decompressor;
  while (from < log.end()) {
    auto r =
        log.read(from, {.max_bytes = max_bytes, .upper_bound = log.end(), .at_least_one = true});
    if (!r) {
      ADD_FAILURE() << r.error().message;
      return records;
    }
    if (r->piece.size() == 0) break;
    auto bytes = read_piece(r->piece);
    if (!bytes) {
      ADD_FAILURE() << bytes.error().message;
      return records;
    }
    wire::BatchIterator batches{ByteView(*bytes)};
    bool any = false;
    while (true) {
      auto batch = batches.next();
      if (!batch || !*batch) break;  // the last one may be cut
      any = true;
      EXPECT_TRUE((*batch)->crc_matches());
      wire::RecordIterator iterator(**batch, decompressor);
      wire::RecordView record;
      while (true) {
        auto more = iterator.next(record);
        if (!more || !*more) break;
        if (record.offset >= from && !(*batch)->is_control()) {
          records.emplace_back(record.offset.value, std::string(as_text(*record.value)));
        }
      }
      from = (*batch)->next_offset();
    }
    if (!any) {
      ADD_FAILURE() << "a read without a whole batch";
      break;
    }
  }
  return records;
}

}  // namespace odradek::log::testing
