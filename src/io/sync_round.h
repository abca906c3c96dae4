// SyncRound: what the jobs of one round of a sync queue want together, and in which order it is
// done. The queues of `linux` and of `sim` differ in how files are synced and when; this is what
// they share.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "io/io.h"

namespace odradek::io {

class SyncRound {
 public:
  /// `ahead`: the directory's write-ahead files, or null.
  explicit SyncRound(WriteAhead* ahead) : ahead_(ahead) {}

  /// Takes what the job wants out of it, but for the bytes: it lives until the round is over.
  void add(SyncJob& job);
  /// After the last job: carries out orders and decides which way the appended bytes go.
  void begin();
  /// Files to be synced by themselves; some may stand there twice.
  const std::vector<std::shared_ptr<File>>& files() const { return files_; }
  /// The one write that does all of it, if it is one: whoever carries it out calls `wrote` then, in
  /// place of all that follows.
  std::optional<AheadWrite> direct();
  Result<Synced> wrote(const Result<void>& result);
  /// After those have been synced: the files come first, since what a lap holds of a segment counts
  /// until one that follows it is there. The result is that of the round.
  Result<Synced> finish(const Result<void>& synced);

 private:
  Result<uint64_t> write_ahead();
  Result<Synced> settle(Result<uint64_t> lap);

  WriteAhead* const ahead_;
  std::vector<std::shared_ptr<File>> files_;
  std::vector<Appended> appended_;
  bool refused_ = false;
  bool begin_ = false;
  bool next_lap_ = false;
  bool forget_ = false;
  bool copy_ = false;  // the appended bytes go into the write-ahead file
  Result<void> begun_;
};

}  // namespace odradek::io
