#include "replica/log_dirs.h"

#include <utility>

#include "base/check.h"

namespace odradek::replica {

using log::CheckpointKind;

LogDirs::LogDirs(io::Io& io, io::Loop& home, std::vector<Entry> entries, OnFatal on_fatal,
                 Logger logger)
    : io_(io),
      home_(home),
      on_fatal_(std::move(on_fatal)),
      logger_(std::move(logger)),
      online_(static_cast<int>(entries.size())) {
  for (Entry& entry : entries) {
    auto slot = std::make_unique<Slot>();
    slot->sync = io.make_sync_queue(entry.dir->path());
    slot->entry = std::move(entry);
    slots_.push_back(std::move(slot));
  }
}

LogDirs::~LogDirs() = default;

std::optional<size_t> LogDirs::place(const Uuid& assigned) {
  std::optional<size_t> best;
  int fewest = 0;
  for (size_t i = 0; i < slots_.size(); i++) {
    if (offline(i)) continue;
    const int partitions = slots_[i]->partitions.load();
    if (id(i) == assigned) {
      best = i;
      break;
    }
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
  logger_.error("log directory {} has failed and goes offline: {}", slot.entry.dir->path(),
                error.message);
  const bool last = online_.fetch_sub(1) == 1;
  for (Subscriber& s : subscribers_) {
    s.loop->post([on_offline = s.on_offline, index] { (*on_offline)(index); });
  }
  if (last || slot.entry.metadata) on_fatal_(error);
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
  auto result = std::make_shared<Result<void>>();
  io_.background([&dir = dir(index), kind, result,
                  lines = file.lines] { *result = dir.write_checkpoint(kind, lines); },
                 home_, [this, index, kind, result] { written(index, kind, *result); });
}

void LogDirs::written(size_t index, CheckpointKind kind, const Result<void>& result) {
  slots_[index]->files[kind].writing = false;
  if (!result) fail(index, result.error());
  write(index, kind);
  if (closed_) finish_close();
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
    Result<void> r = dir(i).write_clean_marker(*marker_);
    if (!r) result = r;
  }
  std::exchange(closed_, {})(result);
}

}  // namespace odradek::replica
