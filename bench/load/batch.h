// The record batch that the load generator sends again and again.
#pragma once

#include "codec.h"
#include "measure.h"

namespace load {

constexpr size_t kBatchHeader = 61;
constexpr size_t kLengthAt = 8, kCrcAt = 17, kCrcFrom = 21, kLastDeltaAt = 23, kProducerAt = 43,
                 kEpochAt = 51, kSequenceAt = 53;

struct Batch {
  std::string bytes;
  int records = 0;
};

// As many records as fit into o.batch_bytes before compression, but at least one.
Batch build_batch(const Options& o);

// Where the value of the first record of an uncompressed batch lies. A stamped batch carries there
// the time, in nanoseconds, at which it was to be sent.
size_t first_value_at(const Byte* batch, size_t size);

// The CRC of a batch that was changed.
void seal_batch(Byte* batch, size_t size);

}  // namespace load
