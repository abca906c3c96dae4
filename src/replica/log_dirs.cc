#include "replica/log_dirs.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"

namespace odradek::replica {

using log::CheckpointKind;

namespace {
constexpr Millis kRetry{5'000};
}

LogDirs::LogDirs(io::Io& io, io::Loop& home, std::vector<Entry> entries, uint64_t ahead_bytes,
                 OnFatal on_fatal, Logger logger)
    : io_(io),
      disk_(io.disk()),
      home_(home),
      on_fatal_(std::move(on_fatal)),
      logger_(std::move(logger)) {
  for (Entry& entry : entries) {
    auto slot = std::make_unique<Slot>();
    if (entry.dir) {
      entry.path = entry.dir->path();
      online_++;
    }
    slot->offline = !entry.dir;
    if (entry.dir && ahead_bytes > 0) {
      slot->ahead = std::make_shared<log::WriteAheadFile>(disk_, entry.path, ahead_bytes);
    }
    slot->sync = io.make_sync_queue(entry.path, slot->ahead);
    slot->entry = std::move(entry);
    slots_.push_back(std::move(slot));
  }
}

LogDirs::~LogDirs() { home_.timers().cancel(retry_); }

void LogDirs::begin_ahead() {
  for (size_t i = 0; i < slots_.size(); i++) {
    if (offline(i)) continue;
    sync_queue(i).submit({.files = {}, .appended = {}, .order = io::AheadOrder::kBegin}, home_,
                         [this, i](const Result<io::Synced>& result) {
                           if (!result) fail(i, result.error());
                         });
  }
}

std::optional<size_t> LogDirs::find(std::string_view path) const {
  for (size_t i = 0; i < slots_.size(); i++) {
    if (this->path(i) == path) return i;
  }
  return std::nullopt;
}

std::optional<size_t> LogDirs::find(const Uuid& id) const {
  for (size_t i = 0; i < slots_.size(); i++) {
    if (this->id(i) == id) return i;
  }
  return std::nullopt;
}

void LogDirs::set_cordoned(const std::vector<std::string>& paths) {
  const bool all = paths.size() == 1 && paths.front() == "*";
  for (size_t i = 0; i < slots_.size(); i++) {
    slots_[i]->cordoned.store(all || std::ranges::count(paths, path(i)) > 0);
  }
}

std::optional<size_t> LogDirs::place(const Uuid& asked) {
  std::optional<size_t> best;
  int fewest = 0;
  for (size_t i = 0; i < slots_.size(); i++) {
    if (offline(i)) continue;
    const int partitions = slots_[i]->partitions.load();
    if (id(i) == asked) {
      best = i;
      break;
    }
    if (cordoned(i)) continue;
    if (!best || partitions < fewest) {
      best = i;
      fewest = partitions;
    }
  }
  if (best) count(*best, 1);
  return best;
}

void LogDirs::subscribe(io::Loop& loop, OnOffline on_offline) {
  subscribers_.push_back({&loop, std::make_shared<OnOffline>(std::move(on_offline))});
}

void LogDirs::fail(size_t index, const Error& error) {
  Slot& slot = *slots_[index];
  if (slot.offline.exchange(true)) return;
  logger_.error("log directory {} has failed and goes offline: {}", path(index), error.message);
  const bool last = online_.fetch_sub(1) == 1;
  for (Subscriber& s : subscribers_) {
    s.loop->post([on_offline = s.on_offline, index] { (*on_offline)(index); });
  }
  if (!last && !slot.entry.metadata) return;
  on_fatal_(Error{error.kind, fmt::format("log directory {}, which {}, has failed: {}", path(index),
                                          last ? "was the last one" : "holds the metadata log",
                                          error.message)});
}

// ---- room

uint64_t LogDirs::reserve_of(const io::Disk::Space& space) const {
  return std::min(reserve_, space.total / 20);
}

bool LogDirs::look_for_room(size_t index, uint64_t bytes) {
  // So much of what is left goes by before the next look: other processes write, too.
  constexpr int64_t kUnseenMax = 64 << 20;
  Slot& slot = *slots_[index];
  const Result<io::Disk::Space> space = this->space(index);
  if (!space) return true;  // the append will find out
  const auto left = static_cast<int64_t>(space->free) - static_cast<int64_t>(bytes) -
                    static_cast<int64_t>(reserve_of(*space));
  // Once full, a little more is wanted: small appends would come and go with every batch.
  const bool full = left < (slot.full.load() ? static_cast<int64_t>(reserve_of(*space)) / 8 : 0);
  slot.room.store(full ? 0 : std::min(left / 2, kUnseenMax), std::memory_order_relaxed);
  if (slot.full.exchange(full) != full) {
    if (full) {
      logger_.error("{}; appends are refused until there is room again", full_message(index));
    } else {
      logger_.info("log directory {} has room again: {} bytes are free", path(index), space->free);
    }
  }
  return !full;
}

std::string LogDirs::full_message(size_t index) const {
  const Result<io::Disk::Space> space = this->space(index);
  if (!space) return fmt::format("log directory {}: {}", path(index), space.error().message);
  return fmt::format("log directory {} is full: {} bytes are free, {} of them are kept in reserve",
                     path(index), space->free, std::min(reserve_of(*space), space->free));
}

// ---- checkpoints

void LogDirs::load_checkpoint(size_t index, CheckpointKind kind, log::OffsetCheckpoint lines) {
  slots_[index]->files[kind].lines = std::move(lines);
}

void LogDirs::update(size_t index, CheckpointKind kind, std::vector<CheckpointChange> changes) {
  home_.post([this, index, kind, changes = std::move(changes)]() mutable {
    apply(index, kind, std::move(changes));
  });
}

void LogDirs::apply(size_t index, CheckpointKind kind, std::vector<CheckpointChange> changes) {
  File& file = slots_[index]->files[kind];
  for (CheckpointChange& change : changes) {
    if (change.offset) {
      Offset& line = file.lines[std::move(change.partition)];
      if (line == *change.offset && line != Offset(0)) continue;
      line = *change.offset;
      file.changed = true;
    } else {
      file.changed |= file.lines.erase(change.partition) > 0;
    }
  }
  write(index, kind);
}

void LogDirs::write(size_t index, CheckpointKind kind) {
  File& file = slots_[index]->files[kind];
  if (!file.changed || file.writing || offline(index)) return;
  file.changed = false;
  file.writing = true;
  file.served = std::exchange(file.waiting, {});
  auto result = std::make_shared<Result<void>>();
  io_.background([&dir = dir(index), kind, result,
                  lines = file.lines] { *result = dir.write_checkpoint(kind, lines); },
                 home_, [this, index, kind, result] { written(index, kind, *result); });
}

void LogDirs::written(size_t index, CheckpointKind kind, const Result<void>& result) {
  File& file = slots_[index]->files[kind];
  file.writing = false;
  if (!result && result.error().kind == Errc::kNoSpace && !closed_) {
    // The file that is there is old, not wrong; a full disk may have room again.
    file.changed = true;
    std::ranges::move(std::exchange(file.served, {}), std::back_inserter(file.waiting));
    if (retry_ == io::TimerId::kNone) {
      logger_.warn("{}; to be written again", result.error().message);
      retry_ = home_.timers().start(kRetry, [this] { retry_checkpoints(); });
    }
    return;
  }
  if (!result) fail(index, result.error());
  answer(file.served);
  write(index, kind);
  if (!file.writing) answer(file.waiting);
  if (closed_) finish_close();
}

void LogDirs::retry_checkpoints() {
  retry_ = io::TimerId::kNone;
  for (size_t i = 0; i < slots_.size(); i++) {
    for (const auto& [kind, file] : slots_[i]->files) write(i, kind);
  }
}

void LogDirs::when_saved(size_t index, CheckpointKind kind, io::Loop& reply_to, io::Callback done) {
  home_.post([this, index, kind, &reply_to, done = std::move(done)]() mutable {
    File& file = slots_[index]->files[kind];
    file.waiting.push_back({&reply_to, std::move(done)});
    if (!file.changed && !file.writing) answer(file.waiting);
    if (offline(index)) answer(file.waiting);
  });
}

void LogDirs::answer(std::vector<Waiter>& waiters) {
  for (Waiter& waiter : std::exchange(waiters, {})) waiter.loop->post(std::move(waiter.done));
}

void LogDirs::close(std::optional<BrokerEpoch> marker,
                    std::move_only_function<void(Result<void>)> done) {
  // What the shards have posted before comes first.
  home_.post([this, marker, done = std::move(done)]() mutable {
    marker_ = marker;
    closed_ = std::move(done);
    finish_close();
  });
}

void LogDirs::finish_close() {
  for (const auto& slot : slots_) {
    for (const auto& [kind, file] : slot->files) {
      if (file.writing) return;
    }
  }
  Result<void> result;
  for (size_t i = 0; i < slots_.size() && marker_; i++) {
    if (offline(i)) continue;
    // Before the marker: with it, nobody looks at them again.
    Result<void> r = log::remove_write_ahead(disk_, path(i));
    if (r) r = dir(i).write_clean_marker(*marker_);
    if (!r) result = r;
  }
  std::exchange(closed_, {})(result);
}

}  // namespace odradek::replica
