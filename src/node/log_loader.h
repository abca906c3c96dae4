// LogLoader: reads the records of a partition from its log start to its end, a piece at a time, for
// a coordinator that begins to lead it.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/logger.h"
#include "base/result.h"
#include "replica/partition.h"
#include "wire/compression.h"
#include "wire/record_batch.h"

namespace odradek::node {

/// Where the records go. Views are good during the call.
class RecordSink {
 public:
  virtual ~RecordSink() = default;
  /// `producer`: of the transaction that it belongs to, −1 without.
  virtual void record(Offset offset, ByteView key, std::optional<ByteView> value,
                      ProducerId producer) = 0;
  /// The end of that producer's transaction.
  virtual void marker(Offset offset, ProducerId producer, bool committed) = 0;
};

class LogLoader {
 public:
  /// Bytes of one step.
  static constexpr uint32_t kStep = 256 << 10;

  LogLoader(replica::Partition& partition, wire::Decompressor& decompressor, RecordSink& sink,
            Logger logger)
      : partition_(partition),
        decompressor_(decompressor),
        sink_(sink),
        logger_(logger),
        next_(partition.log_start()) {}

  /// Reads on. True once the end of the log is reached. What cannot be read of a batch is left out,
  /// with a line; an Error is the disk's.
  Result<bool> step();
  uint64_t bytes() const { return bytes_; }
  uint64_t records() const { return records_; }

 private:
  void read_batch(const wire::BatchHeader& batch);
  void read_markers(const wire::BatchHeader& batch);

  replica::Partition& partition_;
  wire::Decompressor& decompressor_;
  RecordSink& sink_;
  Logger logger_;
  Offset next_;
  uint64_t bytes_ = 0;
  uint64_t records_ = 0;
};

}  // namespace odradek::node
