#include "replica/shard.h"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace odradek::replica {

using log::CheckpointKind;
using wire::ErrorCode;

namespace {
constexpr Millis kCreateRetry{2'000};
constexpr size_t kPreferredMax = 10'000;
// Folders that are made in one turn (about 0.2 ms each); the rest of a large topic follows in the
// next ones, so that whoever uses other topics does not wait for all of it.
constexpr int kCreatedPerTurn = 64;
}  // namespace

Shard::Shard(io::Io& io, io::Loop& loop, LogDirs& dirs, ShardSettings settings,
             ResolveSettings resolve, Logger logger)
    : io_(io),
      loop_(loop),
      dirs_(dirs),
      settings_(settings),
      resolve_(std::move(resolve)),
      logger_(std::move(logger)),
      deadlines_(loop),
      sync_group_(loop, dirs),
      housekeeping_(*this, io, logger_),
      cleaning_(*this, io, logger_.named("cleaner")),
      moves_(*this, io, logger_) {
  dirs_.subscribe(loop_, [this](size_t dir) { dir_failed(dir); });
}

Shard::~Shard() {
  loop_.timers().cancel(create_timer_);
  *alive_ = false;
}

// ---- handlers

Partition* Shard::find(const Uuid& topic_id, PartitionIndex index) {
  const auto at = topics_.find(topic_id);
  if (at == topics_.end()) return nullptr;
  const auto& partitions = at->second.partitions;
  const auto i = static_cast<size_t>(index.value);
  return index.value >= 0 && i < partitions.size() ? partitions[i].get() : nullptr;
}

std::vector<Partition*> Shard::partitions() {
  std::vector<Partition*> out;
  for (auto& [id, topic] : topics_) {
    for (auto& partition : topic.partitions) {
      if (partition) out.push_back(partition.get());
    }
  }
  std::ranges::sort(out, {},
                    [](Partition* p) { return std::tie(p->topic().name, p->name().index); });
  return out;
}

void Shard::sync_soon(Partition& partition) {
  sync_group_.mark(partition);
  schedule_turn_end();
}

void Shard::woken(FetchWait& wait) {
  woken_.push_back(wait);
  schedule_turn_end();
}

void Shard::schedule_turn_end() {
  if (std::exchange(turn_end_scheduled_, true)) return;
  loop_.at_turn_end([this] { turn_end(); });
}

void Shard::turn_end() {
  turn_end_scheduled_ = false;
  sync_group_.submit();  // first: the device works while we answer
  while (!woken_.empty()) {
    FetchWait& wait = *woken_.front();
    woken_.remove(wait);
    wait.finish();
  }
}

// ---- metadata

void Shard::adopt(std::vector<LoadedLog> logs) {
  for (LoadedLog& loaded : logs) {
    std::string name = loaded.log->partition().to_string();
    auto& place = loaded.future ? futures_ : adopted_;
    place.insert_or_assign(std::move(name), std::move(loaded));
  }
}

void Shard::apply(const metadata::Publication& publication) {
  if (closing_) return;
  creations_left_ = kCreatedPerTurn;
  const metadata::Delta& delta = *publication.delta;
  // Deletions first: a topic may have come back under the same name.
  for (const auto& [id, change] : delta.topics) {
    if (change.after) continue;
    auto node = topics_.extract(id);
    if (node.empty()) continue;
    for (auto& partition : node.mapped().partitions) {
      if (partition) remove(std::move(partition));
    }
  }
  for (const auto& [id, change] : delta.topics) {
    if (change.after) apply_topic(publication, change);
  }
  tell_unplaced();
  apply_configs(publication);
  if (!delta.topics.empty() || !delta.configs.empty()) cleaning_.poke();
}

void Shard::apply_topic(const metadata::Publication& publication,
                        const metadata::TopicChange& change) {
  const metadata::Image& image = *publication.image;
  const metadata::Topic& after = *change.after;
  for (size_t i = 0; i < after.partitions.size(); i++) {
    const metadata::Partition* state = after.partitions[i].get();
    if (state == nullptr) continue;
    const auto index = static_cast<int32_t>(i);
    if (change.before && change.before->partition(index) == state) continue;
    if (owner_loop(after.id, PartitionIndex(index), settings_.loops) != loop_.index()) {
      if (!preferred_.empty()) preferred_.erase({after.name, PartitionIndex(index)});
      continue;
    }
    Topic& topic = topics_[after.id];
    if (!topic.info) {
      topic.info =
          std::make_shared<TopicInfo>(TopicInfo{after.name, after.id, resolve_(image, after.name)});
    }
    // What a snapshot brings may have been here before.
    const bool is_new = !publication.delta->from_snapshot &&
                        (!change.before || change.before->partition(index) == nullptr);
    apply_partition(topic, index, *state, is_new);
  }
}

void Shard::apply_partition(Topic& topic, int32_t index, const metadata::Partition& state,
                            bool is_new) {
  const auto i = static_cast<size_t>(index);
  if (topic.partitions.size() <= i) topic.partitions.resize(i + 1);
  std::unique_ptr<Partition>& slot = topic.partitions[i];
  // If it waits to be created, it does so with this state.
  for (Uncreateds* waiting : {&create_soon_, &create_later_}) {
    if (waiting->empty()) continue;
    if (const auto node = waiting->extract({topic.info->id, index})) is_new |= node.mapped().is_new;
  }
  if (!state.is_replica(settings_.node_id)) {
    if (slot) remove(std::move(slot));
    return;
  }
  if (!slot) slot = take_adopted(topic, index);
  if (!slot && creations_left_ == 0) return create_soon(topic.info->id, index, state, is_new);
  if (!slot) slot = create(topic, index, state, is_new);
  if (!slot) return;  // no directory is left, or its directory has failed or is full
  slot->set_state({.leader = state.leader,
                   .leader_epoch = state.leader_epoch,
                   .partition_epoch = state.partition_epoch,
                   .isr_size = static_cast<int32_t>(state.isr.size()),
                   .replica_count = static_cast<int32_t>(state.replicas.size())},
                  state.leader == settings_.node_id);
  slot->known_dir_ = state.directory(settings_.node_id);
  tell_directory(*slot);
  for (const auto& [name, watcher] : watchers_) {
    if (topic.info->name != name) continue;
    slot->watcher_ = watcher;
    watcher->changed(*slot);
  }
}

void Shard::tell_unplaced() {
  if (const int unplaced = std::exchange(unplaced_, 0); unplaced > 0) {
    logger_.error("{} replicas are not served: their log directory is offline", unplaced);
  }
}

void Shard::assign(Partition& partition, const Uuid& directory,
                   std::move_only_function<void(bool)> done) {
  partition.told_dir_ = directory;
  if (!assign_) return loop_.post([done = std::move(done)]() mutable { done(true); });
  assign_(partition.topic().id, partition.index(), directory, std::move(done));
}

void Shard::tell_directory(Partition& partition) {
  // With one directory the controller knows by itself; a move tells when it takes effect.
  if (!assign_ || dirs_.size() == 1 || partition.offline() || partition.moving()) return;
  const Uuid& here = dirs_.id(partition.dir());
  const Uuid& told = partition.told_dir_.is_zero() ? partition.known_dir_ : partition.told_dir_;
  if (told == here) return;  // known, or under way
  assign(partition, here, [](bool) {});
}

void Shard::prefer(const log::TopicPartition& name, size_t dir) {
  if (preferred_.size() >= kPreferredMax && !preferred_.contains(name)) return;
  preferred_.insert_or_assign(name, dir);
}

void Shard::unlist(Partition& partition) {
  sync_group_.forget(partition);
  housekeeping_.forget(partition);
}

std::unique_ptr<Partition> Shard::take_adopted(const Topic& topic, int32_t index) {
  const log::TopicPartition name{topic.info->name, PartitionIndex(index)};
  const auto at = adopted_.find(name.to_string());
  if (at == adopted_.end() || at->second.log->topic_id() != topic.info->id) return nullptr;
  LoadedLog loaded = std::move(at->second);
  adopted_.erase(at);
  loaded.log->set_config(topic.info->settings.log);
  auto partition = std::make_unique<Partition>(*this, topic.info, loaded.dir, std::move(loaded.log),
                                               loaded.high_watermark);
  if (auto future = futures_.extract(name.to_string()); !future.empty()) {
    LoadedLog& copy = future.mapped();
    moves_.resume(*partition, copy.dir, std::move(copy.log));
  }
  // What recovery found may never have reached the device: readers wait for that.
  if (partition->settings().synced() && partition->log().unsynced()) sync_soon(*partition);
  return partition;
}

/// The directory of a new replica, counted there. A replica that was here before may lie in a
/// directory that is offline: it is not begun anew elsewhere.
std::optional<size_t> Shard::place(const log::TopicPartition& name, const Uuid& assigned,
                                   bool is_new) {
  if (auto node = preferred_.extract(name); !node.empty() && !dirs_.offline(node.mapped())) {
    return dirs_.place(dirs_.id(node.mapped()));
  }
  const std::optional<size_t> known = dirs_.find(assigned);
  const bool there = known && !dirs_.offline(*known);
  if (!is_new && !there && dirs_.any_offline()) {
    unplaced_++;
    return std::nullopt;
  }
  std::optional<size_t> dir = dirs_.place(assigned);
  if (!dir) logger_.error("{}: no log directory can take it", name.to_string());
  return dir;
}

std::unique_ptr<Partition> Shard::create(const Topic& topic, int32_t index,
                                         const metadata::Partition& state, bool is_new) {
  const log::TopicPartition name{topic.info->name, PartitionIndex(index)};
  std::optional<size_t> dir = place(name, state.directory(settings_.node_id), is_new);
  if (!dir) return nullptr;
  creations_left_--;
  Result<std::unique_ptr<log::Log>> log =
      log::Log::open({.disk = &io_.disk(),
                      .folder = dirs_.dir(*dir).folder_path(name),
                      .partition = name,
                      .topic_id = topic.info->id,
                      .config = topic.info->settings.log,
                      .clean = true,
                      .now = loop_.clock().wall(),
                      .random = loop_.random().next(),
                      .logger = logger_.named("log")});
  if (!log) {
    dirs_.count(*dir, -1);
    if (log.error().kind == Errc::kNoSpace) {
      logger_.error("{}: {}", name.to_string(), log.error().message);
      create_later(topic.info->id, index, state, is_new);
    } else {
      fail_dir(*dir, log.error());
    }
    return nullptr;
  }
  return std::make_unique<Partition>(*this, topic.info, *dir, std::move(*log), Offset(0));
}

void Shard::create_later(const Uuid& topic, int32_t index, const metadata::Partition& state,
                         bool is_new) {
  create_later_.insert_or_assign({topic, index}, Uncreated{state, is_new});
  if (create_timer_ != io::TimerId::kNone) return;
  create_timer_ = loop_.timers().start(kCreateRetry, [this] {
    create_timer_ = io::TimerId::kNone;
    create_soon_.merge(create_later_);
    create_waiting();
  });
}

void Shard::create_soon(const Uuid& topic, int32_t index, const metadata::Partition& state,
                        bool is_new) {
  create_soon_.insert_or_assign({topic, index}, Uncreated{state, is_new});
  post_creations();
}

void Shard::post_creations() {
  if (std::exchange(create_posted_, true)) return;
  loop_.post([this, alive = alive_] {
    if (!*alive) return;
    create_posted_ = false;
    create_waiting();
  });
}

void Shard::create_waiting() {
  creations_left_ = kCreatedPerTurn;
  while (!create_soon_.empty() && creations_left_ > 0 && !closing_) {
    auto node = create_soon_.extract(create_soon_.begin());
    const auto& [topic_id, index] = node.key();
    const auto topic = topics_.find(topic_id);
    if (topic == topics_.end()) continue;
    apply_partition(topic->second, index, node.mapped().state, node.mapped().is_new);
  }
  if (!create_soon_.empty() && !closing_) post_creations();
  tell_unplaced();
}

void Shard::remove(std::unique_ptr<Partition> partition) {
  if (partition->watcher_ != nullptr) partition->watcher_->gone(*partition);
  partition->fail_waiters(ErrorCode::kUnknownTopicOrPartition);
  moves_.forget(*partition);
  sync_group_.forget(*partition);
  housekeeping_.forget(*partition);
  cleaning_.forget(*partition);
  const size_t dir = partition->dir();
  const log::TopicPartition name = partition->name();
  const Millis delay = partition->settings().log.file_delete_delay;
  const std::string folder = partition->log().folder();
  const bool offline = partition->offline();
  partition.reset();  // closes the files
  dirs_.count(dir, -1);
  if (offline) return;
  for (const CheckpointKind kind : {CheckpointKind::kRecoveryPoint, CheckpointKind::kLogStart,
                                    CheckpointKind::kHighWatermark, CheckpointKind::kCleaner}) {
    report(dir, kind, {{name, std::nullopt}});
  }
  // Not synced: after a power loss the folder may be back, and is set aside as stray at the start.
  std::string doomed = dirs_.path(dir) + "/" +
                       log::doomed_name(name, loop_.random().uuid(), log::FolderKind::kDelete);
  Result<void> renamed = io_.disk().rename(folder, doomed);
  if (!renamed) return disk_failed(dir, renamed.error());
  housekeeping_.remove_later(std::move(doomed), Housekeeping::Kind::kFolder, delay);
}

void Shard::apply_configs(const metadata::Publication& publication) {
  for (const metadata::ConfigResource& resource : publication.delta->configs) {
    if (resource.type != metadata::ResourceType::kTopic) continue;
    const metadata::Topic* topic = publication.image->topic(resource.name);
    if (topic == nullptr) continue;
    const auto at = topics_.find(topic->id);
    if (at != topics_.end()) resolve(*publication.image, at->second);
  }
}

void Shard::resolve_all(const metadata::Image& image) {
  for (auto& [id, topic] : topics_) resolve(image, topic);
  cleaning_.poke();
}

void Shard::resolve(const metadata::Image& image, Topic& topic) {
  TopicSettings settings = resolve_(image, topic.info->name);
  if (settings == topic.info->settings) return;
  topic.info =
      std::make_shared<TopicInfo>(TopicInfo{topic.info->name, topic.info->id, std::move(settings)});
  for (auto& partition : topic.partitions) {
    if (partition) partition->set_topic(topic.info);
  }
}

// ---- trouble and stop

void Shard::disk_failed(size_t dir, const Error& error) {
  // A disk that is full is not broken: it heals.
  if (error.kind == Errc::kNoSpace) {
    logger_.error("{}: {}", dirs_.path(dir), error.message);
  } else {
    dirs_.fail(dir, error);
  }
}

void Shard::dir_failed(size_t dir) {
  int count = 0;
  moves_.dir_failed(dir);
  for (Partition* partition : partitions()) {
    if (partition->dir() != dir) continue;
    housekeeping_.forget(*partition);
    cleaning_.forget(*partition);
    partition->set_offline();
    if (partition->watcher_ != nullptr) partition->watcher_->changed(*partition);
    count++;
  }
  logger_.error("{}: offline, with {} partitions of loop {}", dirs_.path(dir), count,
                loop_.index());
}

void Shard::when_durable(io::Callback callback) {
  sync_group_.when_idle([this, callback = std::move(callback)]() mutable {
    housekeeping_.report_now(CheckpointKind::kRecoveryPoint);
    callback();
  });
}

void Shard::close(std::move_only_function<void(Result<void>)> done) {
  ODRADEK_CHECK(!closing_);
  closing_ = true;
  for (Partition* partition : partitions()) {
    partition->fail_waiters(ErrorCode::kNotLeaderOrFollower);
    if (partition->watcher_ != nullptr) partition->watcher_->gone(*partition);
    partition->watcher_ = nullptr;
  }
  housekeeping_.stop();
  auto idle = [this, done = std::move(done)]() mutable {
    sync_group_.when_idle(
        [this, done = std::move(done)]() mutable { close_logs(std::move(done)); });
  };
  cleaning_.stop([this, idle = std::move(idle)]() mutable { moves_.close(std::move(idle)); });
}

/// What is under way while the logs close.
struct Shard::Closing {
  struct Log {
    Partition* partition;
    log::SyncTicket ticket;
  };
  std::vector<Log> logs;
  size_t left = 0;  // directories that are not synced yet
  Result<void> first_error;
  std::move_only_function<void(Result<void>)> done;
};

/// All logs of a directory share one sync.
void Shard::close_logs(std::move_only_function<void(Result<void>)> done) {
  auto closing = std::make_shared<Closing>();
  closing->done = std::move(done);
  std::vector<io::SyncJob> jobs(dirs_.size());
  for (Partition* partition : partitions()) {
    if (partition->offline()) continue;
    Result<log::SyncTicket> ticket = partition->mutable_log().finish();
    if (!ticket) {
      if (closing->first_error) closing->first_error = std::unexpected(ticket.error());
      continue;
    }
    ODRADEK_CHECK(!ticket->appended);  // a log that is finished leaves nothing to be copied
    log::add_to(jobs[partition->dir()], *ticket);
    closing->logs.push_back({partition, std::move(*ticket)});
  }
  closing->left = dirs_.size();
  for (size_t dir = 0; dir < dirs_.size(); dir++) {
    drop_twins(jobs[dir].files);
    dirs_.sync_queue(dir).submit(std::move(jobs[dir]), loop_,
                                 [this, closing, dir](const Result<io::Synced>& result) {
                                   if (!result) dirs_.fail(dir, result.error());
                                   if (!result && closing->first_error) {
                                     closing->first_error = std::unexpected(result.error());
                                   }
                                   if (--closing->left == 0) closed(*closing);
                                 });
  }
}

void Shard::closed(Closing& closing) {
  for (Closing::Log& log : closing.logs) {
    const bool synced = !dirs_.offline(log.partition->dir());
    if (synced) log.partition->mutable_log().synced(log.ticket);
  }
  housekeeping_.report_all();
  for (Partition* partition : partitions()) sync_group_.forget(*partition);
  topics_.clear();
  closing.done(closing.first_error);
}

}  // namespace odradek::replica
