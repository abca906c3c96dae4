#include "replica/startup.h"

#include <memory>
#include <string>
#include <utility>

#include "base/check.h"

namespace odradek::replica {
namespace {

using log::CheckpointKind;
using log::FolderKind;

/// What is known of a log before it is opened, beside its LogOptions.
struct Found {
  size_t dir;
  Offset high_watermark;
  Offset first_dirty;
  int loop;
};

struct State {
  explicit State(Loading l) : loading(std::move(l)) {}
  Loading loading;
  std::vector<log::LogOptions> options;
  std::vector<Found> found;
  std::move_only_function<void(Result<void>)> done;
};

Offset line_of(const log::OffsetCheckpoint& lines, const log::TopicPartition& partition) {
  const auto at = lines.find(partition);
  return at == lines.end() ? Offset(0) : at->second;
}

/// Topic of a partition folder if this node has that replica, else null.
const metadata::Topic* topic_of(const Loading& l, const std::string& folder,
                                const log::TopicPartition& partition) {
  Result<std::string> text = log::read_small_file(l.io.disk(), folder + "/partition.metadata");
  const metadata::Topic* topic = nullptr;
  if (text && !log::is_blank(*text)) {
    Result<Uuid> id = log::parse_partition_metadata(*text);
    if (id) topic = l.image.topic(*id);
    if (topic != nullptr && topic->name != partition.topic) topic = nullptr;
  } else {
    topic = l.image.topic(partition.topic);  // the file was lost with the power: it is made again
  }
  if (topic == nullptr) return nullptr;
  const metadata::Partition* p = topic->partition(partition.index.value);
  return p != nullptr && p->is_replica(l.shards[0]->settings().node_id) ? topic : nullptr;
}

Result<log::OffsetCheckpoint> checkpoint(const Loading& l, size_t dir, CheckpointKind kind) {
  Result<log::OffsetCheckpoint> lines = l.dirs.dir(dir).read_checkpoint(kind);
  if (!lines && lines.error().kind == Errc::kNotFound) return log::OffsetCheckpoint{};
  return lines;
}

/// Adds the logs of one directory to `state`.
Result<void> scan(State& state, size_t dir) {
  Loading& l = state.loading;
  Result<log::OffsetCheckpoint> recovery = checkpoint(l, dir, CheckpointKind::kRecoveryPoint);
  if (!recovery) return std::unexpected(recovery.error());
  Result<log::OffsetCheckpoint> starts = checkpoint(l, dir, CheckpointKind::kLogStart);
  if (!starts) return std::unexpected(starts.error());
  Result<log::OffsetCheckpoint> marks = checkpoint(l, dir, CheckpointKind::kHighWatermark);
  if (!marks) return std::unexpected(marks.error());
  Result<log::OffsetCheckpoint> cleaned = checkpoint(l, dir, CheckpointKind::kCleaner);
  if (!cleaned) {
    if (cleaned.error().kind == Errc::kIo) return std::unexpected(cleaned.error());
    // Nothing depends on it but work: what was cleaned is cleaned again.
    l.logger.warn("{}; compacted logs are cleaned from their start", cleaned.error().message);
    cleaned = log::OffsetCheckpoint{};
  }
  Result<std::vector<log::PartitionFolder>> folders = l.dirs.dir(dir).list();
  if (!folders) return std::unexpected(folders.error());
  log::OffsetCheckpoint kept[4];  // lines of replicas that are here
  const int loops = static_cast<int>(l.shards.size());
  for (const log::PartitionFolder& folder : *folders) {
    const std::string path = l.dirs.dir(dir).path() + "/" + folder.name;
    if (folder.kind == FolderKind::kDelete) {
      l.io.background([&disk = l.io.disk(), path] { (void)disk.remove_tree(path); }, l.loop, [] {});
      continue;
    }
    if (folder.kind != FolderKind::kPartition) continue;
    if (folder.partition.topic == "__cluster_metadata") continue;
    const metadata::Topic* topic = topic_of(l, path, folder.partition);
    if (topic == nullptr) {
      l.logger.warn("{}: not a replica of this node; set aside as stray", path);
      Result<std::string> r = l.dirs.dir(dir).set_aside(path, folder.partition,
                                                        l.loop.random().uuid(), FolderKind::kStray);
      if (!r) return std::unexpected(r.error());
      continue;
    }
    const Offset start = line_of(*starts, folder.partition);
    const Offset point = line_of(*recovery, folder.partition);
    const Offset mark = line_of(*marks, folder.partition);
    kept[static_cast<int>(CheckpointKind::kRecoveryPoint)][folder.partition] = point;
    kept[static_cast<int>(CheckpointKind::kLogStart)][folder.partition] = start;
    kept[static_cast<int>(CheckpointKind::kHighWatermark)][folder.partition] = mark;
    const Offset dirty = line_of(*cleaned, folder.partition);
    if (cleaned->contains(folder.partition)) {
      kept[static_cast<int>(CheckpointKind::kCleaner)][folder.partition] = dirty;
    }
    state.options.push_back({.disk = &l.io.disk(),
                             .folder = path,
                             .partition = folder.partition,
                             .topic_id = topic->id,
                             .config = l.resolve(l.image, topic->name).log,
                             .start = start,
                             .recovery_point = point,
                             .clean = l.dirs.clean(dir),
                             .now = l.loop.clock().wall(),
                             .random = l.loop.random().next(),
                             .logger = l.logger.named("log")});
    state.found.push_back({dir, mark, dirty, owner_loop(topic->id, folder.partition.index, loops)});
    l.dirs.count(dir, 1);
  }
  for (int kind = 0; kind < 4; kind++) {
    l.dirs.load_checkpoint(dir, static_cast<CheckpointKind>(kind), std::move(kept[kind]));
  }
  return {};
}

void loaded(State& state, log::LoadedLogs logs) {
  ODRADEK_CHECK(logs.size() == state.found.size());
  Loading& l = state.loading;
  std::vector<std::vector<LoadedLog>> by_loop(l.shards.size());
  Result<void> result;
  for (size_t i = 0; i < logs.size(); i++) {
    const Found& found = state.found[i];
    if (logs[i]) {
      (*logs[i])->set_first_dirty(found.first_dirty);
      by_loop[static_cast<size_t>(found.loop)].push_back(
          {std::move(*logs[i]), found.dir, found.high_watermark});
    } else if (logs[i].error().kind == Errc::kUnsupported) {
      result = std::unexpected(logs[i].error());
    } else {
      l.dirs.fail(found.dir, logs[i].error());
    }
  }
  for (size_t i = 0; i < by_loop.size(); i++) {
    // std::function and friends copy; a shared list can be moved out of on the other loop.
    auto list = std::make_shared<std::vector<LoadedLog>>(std::move(by_loop[i]));
    l.shards[i]->loop().post([shard = l.shards[i], list] { shard->adopt(std::move(*list)); });
  }
  state.done(result);
}

}  // namespace

void load_partitions(Loading loading, std::move_only_function<void(log::LoadProgress)> progress,
                     std::move_only_function<void(Result<void>)> done) {
  auto state = std::make_shared<State>(std::move(loading));
  state->done = std::move(done);
  Loading& l = state->loading;
  for (size_t dir = 0; dir < l.dirs.size(); dir++) {
    if (l.dirs.offline(dir)) continue;
    Result<void> r = scan(*state, dir);
    if (r) continue;
    if (r.error().kind == Errc::kInvalid) return state->done(std::move(r));
    l.dirs.fail(dir, r.error());
  }
  log::load_logs(l.io, l.loop, std::move(state->options), l.parallel, std::move(progress),
                 [state](log::LoadedLogs logs) { loaded(*state, std::move(logs)); });
}

}  // namespace odradek::replica
