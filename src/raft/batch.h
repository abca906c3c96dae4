// Batch: a batch of the metadata log or of a snapshot, taken apart for its readers.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "raft/step.h"
#include "wire/record_batch.h"

namespace odradek::raft {

/// A record of a control batch; `value` is the message in version 0.
struct ControlRecord {
  wire::ControlType type;
  ByteView value;
};

/// The views are good until the callback that gets the batch returns.
struct Batch {
  Offset base;
  Offset last;
  LeaderEpoch epoch;
  WallMs appended;
  std::vector<ByteView> values;         // framed metadata records; none in a control batch
  std::vector<ControlRecord> controls;  // of a control batch
  size_t bytes = 0;                     // on disk
};
using BatchSink = std::function<Result<void>(const Batch&)>;

/// Checks the batch's checksum and takes it apart. kCorrupt: checksum, a compressed batch, a record
/// with a key, a tombstone.
Result<Batch> read_batch(const wire::BatchHeader& header);

/// What control records say about the voters; applied in the order of the log.
class VoterHistory {
 public:
  /// Takes over what the batch's control records say. kCorrupt if one does not decode.
  Result<void> apply(const Batch& batch);
  /// The voters in force; nothing if no record has named any.
  const std::optional<VoterSet>& current() const { return current_; }

 private:
  std::optional<VoterSet> current_;
  int16_t kraft_version_ = 0;
};

/// The records that write a voter set: KRaftVersion and KRaftVoters.
void add_voter_records(wire::BatchBuilder& builder, WallMs now, const VoterSet& voters);

}  // namespace odradek::raft
