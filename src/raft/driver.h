// Driver: runs the raft step over the log in `__cluster_metadata-0`: keeps quorum-state, appends,
// syncs, reads committed batches back to its listener, makes and removes snapshots.
//
// A resource of one loop. At start:
//   auto driver = Driver::open(options, listener);   // reads the disk; blocks
//   driver->start();                                 // elects, replays, then on_leader
// Nothing is committed, and so answered, before it is synced; one sync covers all appends that wait
// for it. The driver is a CommitLog (machines/machine.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/logger.h"
#include "base/result.h"
#include "base/uuid.h"
#include "io/io.h"
#include "log/log.h"
#include "raft/batch.h"
#include "raft/snapshot.h"
#include "raft/step.h"

namespace odradek::raft {

inline constexpr std::string_view kMetadataTopic = "__cluster_metadata";

struct DriverOptions {
  io::Io* io = nullptr;
  io::Loop* loop = nullptr;
  std::string directory;  // metadata.log.dir, formatted; its lock is the caller's
  std::string cluster_id;
  BrokerId node;
  Uuid directory_id;
  /// Our controller listeners as others reach them.
  std::vector<VoterEndpoint> listeners;
  /// controller.quorum.voters; used when neither log nor snapshot holds voters.
  std::vector<Voter> static_voters;
  int32_t segment_bytes = 1 << 30;            // metadata.log.segment.bytes
  Millis segment_ms{7 * 24 * 3600 * 1000};    // metadata.log.segment.ms
  uint64_t snapshot_bytes = 20 << 20;         // metadata.log.max.record.bytes.between.snapshots
  Millis snapshot_interval{3600 * 1000};      // metadata.log.max.snapshot.interval.ms; 0: never
  int64_t retention_bytes = 100 << 20;        // metadata.max.retention.bytes; −1: no limit
  Millis retention_ms{7 * 24 * 3600 * 1000};  // metadata.max.retention.ms; −1: no limit
  Logger logger;
};

/// Who is told. Called on the driver's loop. An Error stops the driver (on_failed).
class Listener {
 public:
  virtual ~Listener() = default;
  /// A snapshot is coming and replaces everything so far; its batches follow through `on_batch`
  /// with offsets that count from 0, then `end_snapshot`.
  virtual void begin_snapshot() = 0;
  virtual Result<void> end_snapshot(SnapshotId id, WallMs last_timestamp) = 0;
  /// A committed batch, in order, each once. Control batches come too (without values): their
  /// offsets count.
  virtual Result<void> on_batch(const Batch& batch) = 0;
  /// This node leads and may append; everything before its epoch has come through on_batch.
  virtual void on_leader(LeaderEpoch epoch) = 0;
  /// Everything below `end` is committed and has come through on_batch.
  virtual void on_committed(Offset end) = 0;
  /// A snapshot is due: answer with `Driver::write_snapshot`, if the image allows. Asked again
  /// after every commit until one is being written.
  virtual void on_snapshot_due() = 0;
  /// The metadata log cannot go on (its disk failed, a record cannot be read): the process must
  /// stop.
  virtual void on_failed(const Error& error) = 0;
};

class Driver {
 public:
  /// Reads voters, quorum-state, snapshots and log. `listener` must live as long as the driver.
  static Result<std::unique_ptr<Driver>> open(DriverOptions options, Listener& listener);
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  /// Begins: blocks for the first election, the sync of its batch and the replay of the log. On
  /// success `on_leader` has been called.
  Result<void> start();

  // ---- CommitLog
  Result<void> can_append() const;
  Offset end() const;
  Offset committed() const;
  /// Appends framed records (Record::to_value) as one batch.
  Result<Offset> append_values(std::span<const std::string> values);
  template <class Record>
  Result<Offset> append(std::span<const Record> records) {
    std::vector<std::string> values;
    values.reserve(records.size());
    for (const Record& r : records) values.push_back(r.to_value());
    return append_values(values);
  }
  /// Bytes that a record takes in a batch at most: its value, and what frames it there.
  template <class Record>
  size_t size_of(const Record& record) const {
    return record.value_size_max() + kRecordOverheadMax;
  }
  size_t batch_bytes_max() const { return kBatchBytesMax; }

  /// Reads everything appended once more, for a machine that starts anew after a failed append: the
  /// batches of the newest snapshot (their offsets count from 0), then those of the log behind it,
  /// committed or not: nothing of an only voter's log is ever taken back.
  Result<void> read_all(const BatchSink& snapshot, const BatchSink& log) const;

  // ---- snapshots
  /// Makes calls produce framed records.
  using Produce = std::function<void(const std::function<void(ByteView value)>& sink)>;
  /// Writes a snapshot of everything up to and including `last` (the last offset of a batch, of
  /// `epoch`) on a file thread, then removes what it makes superfluous. `produce` runs on that
  /// thread. Ignored while one is being written, or if there is one of that offset already.
  void write_snapshot(Offset last, LeaderEpoch epoch, WallMs last_timestamp, Produce produce);
  const std::vector<SnapshotId>& snapshots() const { return snapshots_; }

  // ---- what DescribeQuorum tells
  const Step& step() const { return *step_; }
  Offset log_start() const;
  const DriverOptions& options() const { return options_; }

  /// Stops leading; syncs and closes the log. Only the destructor may follow.
  Result<void> close();

 private:
  static constexpr size_t kBatchBytesMax = 8 << 20;
  static constexpr size_t kRecordOverheadMax = 5 + 1 + 10 + 5 + 1 + 5 + 1;  // varints of a record

  Driver(DriverOptions options, Listener& listener);
  Result<void> load();
  Result<void> load_voters();
  Result<void> run_step();
  Result<void> append_leader_batch(const LeaderBatch& batch);
  Result<void> append_bytes(const ByteBuffer& batch, Offset end);
  Result<void> deliver(Offset up_to);
  void start_sync();
  void on_synced(const log::SyncTicket& ticket, const Result<io::Synced>& result);
  void failed(const Error& error);
  void arm_snapshot_timer();
  void snapshot_written(SnapshotId id, Result<void> result);
  Result<void> clean_up();
  bool snapshot_due() const;

  DriverOptions options_;
  Listener& listener_;
  std::string folder_;
  std::unique_ptr<log::Log> log_;
  std::unique_ptr<io::SyncQueue> sync_queue_;
  std::optional<Step> step_;
  std::vector<SnapshotId> snapshots_;
  VoterSet voters_;
  bool voters_in_log_ = false;

  Offset delivered_{0};  // next offset to hand to the listener
  bool leader_told_ = false;
  bool syncing_ = false;
  bool failed_ = false;
  bool closed_ = false;

  uint64_t bytes_since_snapshot_ = 0;
  bool writing_snapshot_ = false;
  bool due_by_time_ = false;
  io::TimerId snapshot_timer_ = io::TimerId::kNone;
  /// Callbacks that outlive the driver look here first.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace odradek::raft
