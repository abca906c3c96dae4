#include "replica/startup.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/check.h"
#include "log/write_ahead.h"
#include "replica/found_folders.h"

namespace odradek::replica {
namespace {

using log::CheckpointKind;
using log::FolderKind;

/// What is known of a log before it is opened, beside its LogOptions.
struct Found {
  Offset high_watermark;
  Offset first_dirty;
  int loop;
  bool future;
};

/// What a directory holds, as read on a file thread.
struct Listing {
  log::OffsetCheckpoint recovery;
  log::OffsetCheckpoint starts;
  log::OffsetCheckpoint marks;
  log::OffsetCheckpoint cleaned;
  std::optional<Error> unreadable;  // what became of cleaner-offset-checkpoint
  std::vector<log::PartitionFolder> folders;
  std::vector<std::string> metadata;  // of each folder: its partition.metadata, empty without it
  std::shared_ptr<const log::Ahead> ahead;
};

struct State {
  explicit State(Loading l) : loading(std::move(l)) {}
  Loading loading;
  std::vector<std::optional<Listing>> listings;  // by directory
  std::vector<FoundFolder> folders;
  std::vector<std::string> doomed;        // folders to be removed
  std::vector<std::vector<Found>> found;  // by directory
  std::vector<std::vector<LoadedLog>> by_loop;
  std::move_only_function<void(Result<void>)> done;
  Result<void> result;
  size_t unlisted = 0;  // directories that are being listed
  size_t left = 0;      // directories that are being loaded
};

Offset line_of(const log::OffsetCheckpoint& lines, const log::TopicPartition& partition) {
  const auto at = lines.find(partition);
  return at == lines.end() ? Offset(0) : at->second;
}

/// Topic of a partition folder if this node has that replica, else null; `text` is its
/// partition.metadata. kCorrupt: the folder does not say whose it is; it must not be taken for a
/// stray one then.
Result<const metadata::Topic*> topic_of(const Loading& l, const std::string& folder,
                                        const std::string& text,
                                        const log::TopicPartition& partition) {
  const metadata::Topic* topic = nullptr;
  if (!log::is_blank(text)) {
    Result<Uuid> id = log::parse_partition_metadata(text);
    if (!id) return fail(Errc::kCorrupt, folder + "/partition.metadata: " + id.error().message);
    topic = l.image.topic(*id);
    if (topic != nullptr && topic->name != partition.topic) topic = nullptr;
  } else {
    topic = l.image.topic(partition.topic);  // the file was lost with the power: it is made again
  }
  if (topic == nullptr) return nullptr;
  const metadata::Partition* p = topic->partition(partition.index.value);
  return p != nullptr && p->is_replica(l.shards[0]->settings().node_id) ? topic : nullptr;
}

Result<log::OffsetCheckpoint> checkpoint(const log::LogDir& dir, CheckpointKind kind) {
  Result<log::OffsetCheckpoint> lines = dir.read_checkpoint(kind);
  if (!lines && lines.error().kind == Errc::kNotFound) return log::OffsetCheckpoint{};
  return lines;
}

/// On a file thread.
Result<Listing> list(const log::LogDir& dir, bool clean) {
  Listing out;
  if (!clean) {
    Result<log::Ahead> ahead = log::Ahead::read(dir.disk(), dir.path());
    if (!ahead) return std::unexpected(ahead.error());
    if (!ahead->empty()) out.ahead = std::make_shared<log::Ahead>(std::move(*ahead));
  }
  for (auto& [kind, lines] : {std::pair<CheckpointKind, log::OffsetCheckpoint&>(
                                  CheckpointKind::kRecoveryPoint, out.recovery),
                              {CheckpointKind::kLogStart, out.starts},
                              {CheckpointKind::kHighWatermark, out.marks}}) {
    Result<log::OffsetCheckpoint> read = checkpoint(dir, kind);
    if (!read) return std::unexpected(read.error());
    lines = std::move(*read);
  }
  Result<log::OffsetCheckpoint> cleaned = checkpoint(dir, CheckpointKind::kCleaner);
  if (!cleaned && cleaned.error().kind == Errc::kIo) return std::unexpected(cleaned.error());
  if (cleaned) out.cleaned = std::move(*cleaned);
  if (!cleaned) out.unreadable = cleaned.error();
  Result<std::vector<log::PartitionFolder>> folders = dir.list();
  if (!folders) return std::unexpected(folders.error());
  out.folders = std::move(*folders);
  for (const log::PartitionFolder& folder : out.folders) {
    std::string file = dir.path() + "/" + folder.name + "/partition.metadata";
    Result<std::string> text = log::read_small_file(dir.disk(), file);
    out.metadata.push_back(text ? std::move(*text) : "");
  }
  return out;
}

log::RecoveryProgress counted(RecoveryStatus::Dir& status) {
  return [&status, told = uint64_t{0}, of = uint64_t{0}](uint64_t done, uint64_t total) mutable {
    status.bytes_begun.fetch_add(total - of, std::memory_order_relaxed);
    status.bytes_done.fetch_add(done - told, std::memory_order_relaxed);
    told = done;
    of = total;
  };
}

/// The folders of one directory that matter; what is not of this node is set aside.
Result<void> sort_out(State& state, size_t dir, const Listing& listing) {
  Loading& l = state.loading;
  for (size_t i = 0; i < listing.folders.size(); i++) {
    const log::PartitionFolder& folder = listing.folders[i];
    const std::string path = l.dirs.path(dir) + "/" + folder.name;
    if (folder.kind == FolderKind::kDelete) {
      state.doomed.push_back(path);
      continue;
    }
    if (folder.kind == FolderKind::kStray) continue;
    if (folder.partition.topic == "__cluster_metadata") continue;
    const auto topic = topic_of(l, path, listing.metadata[i], folder.partition);
    if (!topic) return std::unexpected(topic.error());
    if (*topic != nullptr) {
      const bool future = folder.kind == FolderKind::kFuture;
      state.folders.push_back({dir, path, folder.partition, *topic, future});
      continue;
    }
    l.logger.warn("{}: not a replica of this node; set aside as stray", path);
    Result<std::string> r = l.dirs.dir(dir).set_aside(path, folder.partition,
                                                      l.loop.random().uuid(), FolderKind::kStray);
    if (!r) return std::unexpected(r.error());
  }
  return {};
}

/// The logs of one directory.
std::vector<log::LogOptions> plan(State& state, size_t dir, const Listing& listing) {
  Loading& l = state.loading;
  RecoveryStatus::Dir& status = *l.status.dirs()[dir];
  std::vector<log::LogOptions> options;
  if (listing.unreadable) {
    // Nothing depends on it but work: what was cleaned is cleaned again.
    l.logger.warn("{}; compacted logs are cleaned from their start", listing.unreadable->message);
  }
  log::OffsetCheckpoint kept[4];  // lines of replicas that are here
  const int loops = static_cast<int>(l.shards.size());
  for (const FoundFolder& folder : state.folders) {
    if (folder.dir != dir) continue;
    const Offset start = line_of(listing.starts, folder.partition);
    const Offset point = line_of(listing.recovery, folder.partition);
    const Offset mark = line_of(listing.marks, folder.partition);
    kept[static_cast<int>(CheckpointKind::kRecoveryPoint)][folder.partition] = point;
    if (listing.starts.contains(folder.partition)) {
      kept[static_cast<int>(CheckpointKind::kLogStart)][folder.partition] = start;
    }
    kept[static_cast<int>(CheckpointKind::kHighWatermark)][folder.partition] = mark;
    const Offset dirty = line_of(listing.cleaned, folder.partition);
    if (listing.cleaned.contains(folder.partition)) {
      kept[static_cast<int>(CheckpointKind::kCleaner)][folder.partition] = dirty;
    }
    options.push_back({.disk = &l.io.disk(),
                       .folder = folder.path,
                       .partition = folder.partition,
                       .topic_id = folder.topic->id,
                       .config = l.resolve(l.image, folder.topic->name).log,
                       .start = start,
                       .recovery_point = point,
                       .clean = l.dirs.clean(dir),
                       .now = l.loop.clock().wall(),
                       .random = l.loop.random().next(),
                       .ahead = listing.ahead,
                       .logger = l.logger.named("log"),
                       .progress = counted(status)});
    state.found[dir].push_back(
        {mark, dirty, owner_loop(folder.topic->id, folder.partition.index, loops), folder.future});
    if (!folder.future) l.dirs.count(dir, 1);
  }
  status.logs_total.store(options.size(), std::memory_order_relaxed);
  for (int kind = 0; kind < 4; kind++) {
    l.dirs.load_checkpoint(dir, static_cast<CheckpointKind>(kind), std::move(kept[kind]));
  }
  return options;
}

/// One directory is through.
void finish(const std::shared_ptr<State>& state) {
  if (--state->left > 0) return;
  Loading& l = state->loading;
  for (size_t i = 0; i < state->by_loop.size(); i++) {
    // std::function and friends copy; a shared list can be moved out of on the other loop.
    auto logs = std::make_shared<std::vector<LoadedLog>>(std::move(state->by_loop[i]));
    l.shards[i]->loop().post([shard = l.shards[i], logs] { shard->adopt(std::move(*logs)); });
  }
  // Not now: a file system may take its time to unlink what is large, and syncs wait for it.
  const Millis delay = l.resolve(l.image, "").log.file_delete_delay;
  l.shards[0]->loop().post([shard = l.shards[0], delay, doomed = std::move(state->doomed)] {
    for (const std::string& path : doomed)
      shard->housekeeping().remove_later(path, Housekeeping::Kind::kFolder, delay);
  });
  l.status.end();
  state->done(state->result);
}

void loaded(State& state, size_t dir, log::LoadedLogs logs) {
  ODRADEK_CHECK(logs.size() == state.found[dir].size());
  for (size_t i = 0; i < logs.size(); i++) {
    const Found& found = state.found[dir][i];
    if (logs[i]) {
      (*logs[i])->set_first_dirty(found.first_dirty);
      state.by_loop[static_cast<size_t>(found.loop)].push_back(
          {std::move(*logs[i]), dir, found.high_watermark, found.future});
    } else if (logs[i].error().kind == Errc::kUnsupported) {
      state.result = std::unexpected(logs[i].error());
    } else {
      state.loading.dirs.fail(dir, logs[i].error());
    }
  }
}

void load(const std::shared_ptr<State>& state, size_t dir) {
  Loading& l = state->loading;
  RecoveryStatus::Dir& status = *l.status.dirs()[dir];
  state->left++;
  log::load_logs(
      l.io, l.loop, plan(*state, dir, *state->listings[dir]), l.parallel,
      [&status] { status.logs_done.fetch_add(1, std::memory_order_relaxed); },
      [state, dir](log::LoadedLogs logs) {
        loaded(*state, dir, std::move(logs));
        finish(state);
      });
}

/// All directories have been listed: now it is known which folder of a partition is the one.
void all_listed(const std::shared_ptr<State>& state) {
  Loading& l = state->loading;
  for (size_t dir = 0; dir < state->listings.size(); dir++) {
    if (!state->listings[dir]) continue;
    if (auto r = sort_out(*state, dir, *state->listings[dir]); !r) l.dirs.fail(dir, r.error());
  }
  std::vector<std::string> copies = choose_folders(
      l.io.disk(), l.loop, l.dirs, l.shards[0]->settings().node_id, state->folders, l.logger);
  std::ranges::move(copies, std::back_inserter(state->doomed));
  for (size_t dir = 0; dir < state->listings.size(); dir++) {
    if (state->listings[dir] && !l.dirs.offline(dir)) load(state, dir);
  }
  finish(state);
}

void listed(const std::shared_ptr<State>& state, size_t dir, Result<Listing> listing) {
  if (listing) {
    state->listings[dir] = std::move(*listing);
  } else if (listing.error().kind == Errc::kInvalid) {
    state->result = std::unexpected(listing.error());
  } else {
    state->loading.dirs.fail(dir, listing.error());
  }
  if (--state->unlisted > 0) return;
  if (!state->result) {
    state->loading.status.end();
    return state->done(state->result);
  }
  all_listed(state);
}

}  // namespace

void load_partitions(Loading loading, std::move_only_function<void(Result<void>)> done) {
  auto state = std::make_shared<State>(std::move(loading));
  state->done = std::move(done);
  Loading& l = state->loading;
  state->listings.resize(l.dirs.size());
  state->found.resize(l.dirs.size());
  state->by_loop.resize(l.shards.size());
  state->left = 1;
  for (size_t dir = 0; dir < l.dirs.size(); dir++) {
    l.status.add(l.dirs.path(dir)).clean = l.dirs.clean(dir);
    if (!l.dirs.offline(dir)) state->unlisted++;
  }
  l.status.begin();
  for (size_t dir = 0; dir < l.dirs.size(); dir++) {
    if (l.dirs.offline(dir)) continue;
    auto listing = std::make_shared<Result<Listing>>();
    l.io.background(
        [&of = l.dirs.dir(dir), clean = l.dirs.clean(dir), listing] { *listing = list(of, clean); },
        l.loop, [state, dir, listing] { listed(state, dir, std::move(*listing)); });
  }
}

}  // namespace odradek::replica
