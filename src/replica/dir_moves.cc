#include "replica/dir_moves.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"
#include "log/batch_view.h"
#include "log/log_dir.h"
#include "replica/housekeeping.h"
#include "replica/partition.h"
#include "replica/shard.h"

namespace odradek::replica {
namespace {

using log::CheckpointKind;

constexpr int kParallel = 2;  // moves under way on one loop; the others wait
constexpr int64_t kPieceMax = 1 << 20;
constexpr int64_t kPieceMin = 16 << 10;
constexpr uint64_t kTail = 64 << 10;      // what is left is copied on the loop
constexpr uint64_t kTailMax = 256 << 10;  // unless it has grown to this
constexpr uint64_t kSyncEvery = 16 << 20;
constexpr Millis kRetry{1'000};

/// Appends the whole batches of a piece that begins at `from` in the original.
Result<void> append_piece(log::Log& future, ByteView bytes, Offset from, WallMs now) {
  auto first = log::first_batch(bytes);
  if (!first) return fail(Errc::kCorrupt, "what was read is not a batch");
  // The first piece, or the front of the original has been removed meanwhile.
  if (from > future.end() || (future.size() == 0 && first->base_offset() != future.end())) {
    if (auto r = future.truncate_fully_and_start_at(first->base_offset()); !r) return r;
  }
  const auto segment_bytes = static_cast<size_t>(future.config().segment_bytes);
  size_t at = 0;
  size_t run = 0;
  while (true) {
    const auto batch = log::first_batch(bytes.subspan(at));
    if (batch && !batch->crc_matches()) {
      return fail(Errc::kCorrupt, fmt::format("the batch at offset {} does not match its checksum",
                                              batch->base_offset().value));
    }
    if (at > run && (!batch || at - run + batch->size() > segment_bytes)) {
      auto appended = future.append_as_follower(bytes.subspan(run, at - run), now);
      if (!appended) return std::unexpected(appended.error());
      if (appended->error != wire::ErrorCode::kNone) {
        return fail(Errc::kInvalid, "a batch is larger than segment.bytes allows now");
      }
      run = at;
    }
    if (!batch) return {};
    at += batch->size();
  }
}

}  // namespace

struct DirMoves::Move {
  Partition* partition;  // null: cancelled
  log::TopicPartition name;
  size_t to;
  std::unique_ptr<log::Log> future;  // not touched by the loop while `busy`
  Folder folder = Folder::kRemove;   // once cancelled
  Phase phase = Phase::kCopying;
  bool busy = false;             // on a file thread
  bool running = false;          // counted
  std::optional<size_t> then{};  // asked for when it was too late to turn back
  // the future replica when it was last looked at
  uint64_t size = 0;
  Offset end{0};
  uint64_t unsynced = 0;
  io::TimerId timer = io::TimerId::kNone;

  void look() {
    size = future->size();
    end = future->end();
  }
};

struct DirMoves::Copied {
  Result<void> read{};
  Result<void> written{};
  uint64_t bytes = 0;
};

DirMoves::DirMoves(Shard& shard, io::Io& io, Logger logger)
    : shard_(shard), io_(io), loop_(shard.loop()), logger_(std::move(logger)) {}

DirMoves::~DirMoves() {
  for (const auto& [partition, move] : moves_) loop_.timers().cancel(move->timer);
}

void DirMoves::set_rate(int64_t bytes_per_second) {
  rate_ = std::max<int64_t>(bytes_per_second, 0);
}

std::optional<DirMoves::Progress> DirMoves::find(const Partition& partition) const {
  const auto at = moves_.find(&partition);
  if (at == moves_.end()) return std::nullopt;
  return Progress{at->second->to, at->second->size, at->second->end};
}

// ---- begin and end

Result<void> DirMoves::begin(Partition& partition, size_t to) {
  if (const auto at = moves_.find(&partition); at != moves_.end()) {
    Move& move = *at->second;
    if (move.to == to) return {};
    if (move.phase == Phase::kRenamed) {
      move.then = to;
      return {};
    }
    cancel(partition, Folder::kRemove);
  }
  if (partition.dir() == to) return {};
  LogDirs& dirs = shard_.dirs();
  const std::string folder =
      dirs.path(to) + "/" +
      log::doomed_name(partition.name(), loop_.random().uuid(), log::FolderKind::kFuture);
  auto future = log::Log::open({.disk = &io_.disk(),
                                .folder = folder,
                                .partition = partition.name(),
                                .topic_id = partition.topic().id,
                                .config = partition.settings().log,
                                .clean = true,
                                .now = loop_.clock().wall(),
                                .random = loop_.random().next(),
                                .logger = logger_.named("log")});
  if (!future) {
    shard_.disk_failed(to, future.error());
    return std::unexpected(future.error());
  }
  logger_.info("{}: moving from {} to {}", partition.name().to_string(), dirs.path(partition.dir()),
               dirs.path(to));
  enter(partition, std::make_shared<Move>(&partition, partition.name(), to, std::move(*future)));
  return {};
}

void DirMoves::resume(Partition& partition, size_t to, std::unique_ptr<log::Log> future) {
  // Nor may stay in the copy what the original has lost.
  const Offset end = shard_.dirs().clean(to) ? partition.log_end() : Offset(0);
  Result<void> cut;
  if (future->start() > end) {
    cut = future->truncate_fully_and_start_at(end);
  } else if (auto r = future->truncate_to(end); !r) {
    cut = std::unexpected(r.error());
  }
  if (!cut) return shard_.disk_failed(to, cut.error());
  logger_.info("{}: going on to move to {}, from offset {}", partition.name().to_string(),
               shard_.dirs().path(to), future->end().value);
  enter(partition, std::make_shared<Move>(&partition, partition.name(), to, std::move(future)));
}

void DirMoves::enter(Partition& partition, MovePtr move) {
  move->look();
  partition.moving_ = true;
  shard_.dirs().count(move->to, 1);
  moves_.emplace(&partition, move);
  // The original stays as it is: what one part of the copy has must not miss in another.
  shard_.cleaning().pause(partition, [this, move] {
    if (move->partition == nullptr) return;
    waiting_.push_back(move);
    pump();
  });
}

void DirMoves::pump() {
  while (!closing_ && running_ < kParallel && !waiting_.empty()) {
    const MovePtr move = std::move(waiting_.front());
    waiting_.pop_front();
    if (move->partition == nullptr) continue;
    move->running = true;
    running_++;
    step_later(move, Millis(0));
  }
}

void DirMoves::forget(Partition& partition) { cancel(partition, Folder::kRemove); }

void DirMoves::cancel(Partition& partition, Folder folder) {
  const auto at = moves_.find(&partition);
  if (at == moves_.end()) return;
  const MovePtr move = at->second;
  move->folder = folder;
  leave(move);
  if (!move->busy) drop(move);
}

/// The partition is not moving any more, whatever becomes of the future replica.
void DirMoves::leave(const MovePtr& move) {
  Partition& partition = *std::exchange(move->partition, nullptr);
  moves_.erase(&partition);
  loop_.timers().cancel(std::exchange(move->timer, io::TimerId::kNone));
  shard_.dirs().count(move->to, -1);
  if (std::exchange(move->running, false)) running_--;
  partition.moving_ = false;
  shard_.cleaning().resume(partition);
  partition.release();
  // The controller may have been told where it was going to live.
  if (!partition.offline()) shard_.tell_directory(partition);
  if (!waiting_.empty()) loop_.post([this] { pump(); });
}

/// The future replica of a cancelled move goes.
void DirMoves::drop(const MovePtr& move) {
  const std::string folder = move->future->folder();
  move->future.reset();
  if (move->folder == Folder::kKeep || shard_.dirs().offline(move->to)) return;
  std::string doomed =
      shard_.dirs().path(move->to) + "/" +
      log::doomed_name(move->name, loop_.random().uuid(), log::FolderKind::kDelete);
  if (auto r = io_.disk().rename(folder, doomed); !r)
    return shard_.disk_failed(move->to, r.error());
  shard_.housekeeping().remove_later(std::move(doomed), Housekeeping::Kind::kFolder, Millis(0));
}

void DirMoves::dir_failed(size_t dir) {
  std::vector<Partition*> gone;
  for (const auto& [key, move] : moves_) {
    if (move->to == dir || move->partition->dir() == dir) gone.push_back(move->partition);
  }
  for (Partition* partition : gone) {
    Move& move = *moves_.at(partition);
    if (move.phase == Phase::kRenamed && move.to == dir) undo_rename(move);
    // The copy stays: with the directory back, the next start goes on with it.
    cancel(*partition, Folder::kKeep);
  }
}

void DirMoves::source_failed(const MovePtr& move, const Error& error) {
  const size_t dir = move->partition->dir();
  // A batch that is damaged is not copied, and the rest still served.
  if (error.kind == Errc::kCorrupt) return give_up(move, error.message);
  give_up(move, error.message);
  shard_.disk_failed(dir, error);
}

void DirMoves::target_failed(const MovePtr& move, const Error& error) {
  move->partition->release();
  move->phase = Phase::kCopying;
  if (error.kind == Errc::kNoSpace) return step_later(move, kRetry);
  const size_t dir = move->to;
  give_up(move, error.message);
  if (error.kind != Errc::kInvalid && error.kind != Errc::kCorrupt) shard_.disk_failed(dir, error);
}

void DirMoves::give_up(const MovePtr& move, std::string_view why) {
  logger_.error("{}: the move to {} has failed: {}", move->name.to_string(),
                shard_.dirs().path(move->to), why);
  cancel(*move->partition, Folder::kRemove);
}

void DirMoves::close(io::Callback done) {
  closing_ = true;
  closed_ = std::move(done);
  const auto moves = moves_;
  for (const auto& [partition, move] : moves) {
    if (!move->busy) close_future(move);
  }
  if (busy_ == 0 && closed_) std::exchange(closed_, {})();
}

void DirMoves::close_future(const MovePtr& move) {
  move->folder = Folder::kKeep;
  if (auto r = move->future->close()) {
    for (const auto& [kind, offset] :
         {std::pair(CheckpointKind::kRecoveryPoint, move->future->end()),
          std::pair(CheckpointKind::kLogStart, move->future->start())}) {
      shard_.report(move->to, kind, {{move->name, offset}});
    }
  } else {
    shard_.disk_failed(move->to, r.error());
  }
  leave(move);
  move->future.reset();
}

// ---- copying

void DirMoves::background(const MovePtr& move, io::Callback work, io::Callback done) {
  move->busy = true;
  busy_++;
  io_.background(std::move(work), loop_, [this, move, done = std::move(done)]() mutable {
    move->busy = false;
    busy_--;
    if (move->partition == nullptr) {
      drop(move);
    } else {
      move->look();
      // The names are half changed then: that comes to its end.
      if (closing_ && move->phase != Phase::kRenamed) {
        close_future(move);
      } else {
        done();
      }
    }
    if (closing_ && busy_ == 0 && closed_) std::exchange(closed_, {})();
  });
}

void DirMoves::step_later(const MovePtr& move, Millis delay) {
  loop_.timers().cancel(move->timer);
  move->timer = loop_.timers().start(delay, [this, move] {
    move->timer = io::TimerId::kNone;
    step(move);
  });
}

void DirMoves::step(const MovePtr& move) {
  if (move->partition == nullptr || closing_) return;
  Partition& partition = *move->partition;
  const MonoNs now = loop_.clock().now();
  if (rate_ == 0) return step_later(move, kRetry);
  if (now < next_piece_) return step_later(move, Millis((next_piece_ - now) / 1'000'000 + 1));
  const Offset from = std::max(move->end, partition.log_start());
  const auto piece = static_cast<uint32_t>(std::clamp(rate_ / 4, kPieceMin, kPieceMax));
  auto read = partition.mutable_log().read(
      from, {.max_bytes = piece, .upper_bound = partition.log_end(), .at_least_one = true});
  if (!read) return source_failed(move, read.error());
  // Above the end: what was truncated at the end of the original goes from the copy, too.
  if (read->error != wire::ErrorCode::kNone) {
    if (auto r = move->future->truncate_to(partition.log_end()); !r)
      return target_failed(move, r.error());
    move->look();
    return step_later(move, Millis(0));
  }
  if (!shard_.dirs().has_room(move->to, read->piece.size())) return step_later(move, kRetry);
  if (read->piece.size() <= kTail) return make_even(move);
  copy_piece(move, std::move(*read));
}

void DirMoves::copy_piece(const MovePtr& move, log::ReadResult from) {
  auto result = std::make_shared<Copied>();
  result->bytes = from.piece.size();
  const bool sync = move->unsynced + result->bytes >= kSyncEvery;
  move->unsynced = sync ? 0 : move->unsynced + result->bytes;
  move->future->set_config(move->partition->settings().log);
  background(
      move,
      [&disk = io_.disk(), move = move.get(), result, piece = std::move(from.piece),
       start = std::max(move->end, move->partition->log_start()), sync,
       now = loop_.clock().wall()] {
        Result<ByteBuffer> bytes = log::read_piece(piece);
        if (!bytes) {
          result->read = std::unexpected(bytes.error());
          return;
        }
        log::Log& future = *move->future;
        result->written = append_piece(future, *bytes, start, now);
        if (result->written && sync) result->written = future.sync();
        for (const std::string& path : future.take_doomed()) (void)disk.remove(path);
      },
      [this, move, result] { copied(move, *result); });
}

void DirMoves::copied(const MovePtr& move, const Copied& result) {
  if (!result.read) return source_failed(move, result.read.error());
  if (!result.written) return target_failed(move, result.written.error());
  if (rate_ < INT64_MAX) {
    // In nanoseconds; the pieces of a second are at most four.
    const auto took = static_cast<int64_t>(static_cast<double>(result.bytes) * 1e9 /
                                           static_cast<double>(std::max<int64_t>(rate_, 1)));
    next_piece_ = MonoNs(std::max(next_piece_.value, loop_.clock().now().value) + took);
  }
  step(move);
}

// ---- the end of the copying

/// Copies what is left, on the loop; false if there is more than that.
Result<bool> DirMoves::catch_up(Move& move, uint64_t bytes_max) {
  Partition& partition = *move.partition;
  log::Log& original = partition.mutable_log();
  log::Log& future = *move.future;
  future.set_config(partition.settings().log);
  for (uint64_t copied = 0; future.end() < original.end();) {
    if (copied >= bytes_max) return false;
    const Offset from = std::max(future.end(), original.start());
    auto read = original.read(
        from, {.max_bytes = kTail, .upper_bound = original.end(), .at_least_one = true});
    if (!read) return std::unexpected(read.error());
    if (read->piece.size() == 0) {
      if (from < original.end())
        return fail(Errc::kCorrupt, "the original has no batch at its end");
      // It is empty: all of it has been removed.
      if (auto r = future.truncate_fully_and_start_at(original.end()); !r)
        return std::unexpected(r.error());
      break;
    }
    auto bytes = log::read_piece(read->piece);
    if (!bytes) return std::unexpected(bytes.error());
    copied += bytes->size();
    auto appended = append_piece(future, *bytes, from, loop_.clock().wall());
    if (!appended) return std::unexpected(appended.error());
  }
  return true;
}

void DirMoves::make_even(const MovePtr& move) {
  Partition& partition = *move->partition;
  partition.hold();
  auto even = catch_up(*move, kTailMax);
  move->look();
  if (!even) return target_failed(move, even.error());
  if (!*even) {
    partition.release();
    return step_later(move, Millis(0));
  }
  // From here on the copy has all that may be acknowledged while the high watermark is held.
  move->phase = Phase::kSyncing;
  shard_.report(move->to, CheckpointKind::kLogStart, {{move->name, partition.log_start()}});
  auto result = std::make_shared<Result<void>>();
  background(
      move, [move = move.get(), result] { *result = move->future->sync(); },
      [this, move, result] { synced(move, *result); });
}

void DirMoves::synced(const MovePtr& move, const Result<void>& result) {
  if (!result) return target_failed(move, result.error());
  move->unsynced = 0;
  move->phase = Phase::kAssigning;
  shard_.assign(*move->partition, shard_.dirs().id(move->to),
                [this, move](bool accepted) { assigned(move, accepted); });
}

void DirMoves::assigned(const MovePtr& move, bool accepted) {
  if (move->partition == nullptr || closing_) return;
  if (!accepted) return give_up(move, "the controller does not know the replica");
  rename_old(move);
}

void DirMoves::rename_old(const MovePtr& move) {
  Partition& partition = *move->partition;
  LogDirs& dirs = shard_.dirs();
  const std::string parent = dirs.path(partition.dir());
  std::string doomed =
      parent + "/" + log::doomed_name(move->name, loop_.random().uuid(), log::FolderKind::kDelete);
  if (auto r = io_.disk().rename(partition.log().folder(), doomed); !r)
    return source_failed(move, r.error());
  partition.mutable_log().moved_to(std::move(doomed));
  move->phase = Phase::kRenamed;
  auto result = std::make_shared<Result<void>>();
  background(
      move, [&disk = io_.disk(), parent, result] { *result = disk.sync_directory(parent); },
      [this, move, result] { swap(move, *result); });
}

void DirMoves::swap(const MovePtr& move, const Result<void>& old_synced) {
  const size_t from = move->partition->dir();
  const std::string old_folder = move->partition->log().folder();
  if (auto r = take_place(*move); !r) {
    undo_rename(*move);
    return target_failed(move, r.error());
  }
  swapped(move, from, old_folder);
  // The replica is safe where it is now.
  if (!old_synced) shard_.disk_failed(from, old_synced.error());
}

/// The future replica becomes the replica.
Result<void> DirMoves::take_place(Move& move) {
  Partition& partition = *move.partition;
  auto even = catch_up(move, UINT64_MAX);
  if (!even) return std::unexpected(even.error());
  if (auto r = move.future->take_over(partition.log()); !r) return r;
  std::string folder = shard_.dirs().dir(move.to).folder_path(move.name);
  if (auto r = io_.disk().rename(move.future->folder(), folder); !r) return r;
  move.future->moved_to(std::move(folder));
  return {};
}

void DirMoves::undo_rename(Move& move) {
  Partition& partition = *move.partition;
  std::string folder = shard_.dirs().dir(partition.dir()).folder_path(move.name);
  if (auto r = io_.disk().rename(partition.log().folder(), folder); !r)
    return shard_.fail_dir(partition.dir(), r.error());
  partition.mutable_log().moved_to(std::move(folder));
}

void DirMoves::swapped(const MovePtr& move, size_t from, const std::string& old_folder) {
  Partition& partition = *move->partition;
  const std::optional<size_t> then = move->then;
  shard_.unlist(partition);
  partition.replace_log(std::move(move->future), move->to);  // closes the old files
  logger_.info("{}: moved from {} to {}", move->name.to_string(), shard_.dirs().path(from),
               shard_.dirs().path(move->to));
  shard_.dirs().count(from, -1);
  shard_.dirs().count(move->to, 1);  // leave() takes that of the move
  for (const CheckpointKind kind : {CheckpointKind::kRecoveryPoint, CheckpointKind::kLogStart,
                                    CheckpointKind::kHighWatermark}) {
    shard_.report(from, kind, {{move->name, std::nullopt}});
    shard_.report(move->to, kind, {{move->name, shard_.housekeeping().offset_of(partition, kind)}});
  }
  shard_.report(from, CheckpointKind::kCleaner, {{move->name, std::nullopt}});
  if (const Offset dirty = partition.log().first_dirty(); dirty > Offset(0)) {
    shard_.report(move->to, CheckpointKind::kCleaner, {{move->name, dirty}});
  }
  shard_.housekeeping().remove_later(old_folder, Housekeeping::Kind::kFolder,
                                     partition.settings().log.file_delete_delay);
  leave(move);
  shard_.sync_soon(partition);
  if (then && !closing_) (void)begin(partition, *then);
}

}  // namespace odradek::replica
