#include "replica/found_folders.h"

#include <map>
#include <utility>

namespace odradek::replica {
namespace {

using log::FolderKind;

class Choice {
 public:
  Choice(io::Disk& disk, io::Loop& loop, LogDirs& dirs, BrokerId node, const Logger& logger)
      : disk_(disk), loop_(loop), dirs_(dirs), node_(node), logger_(logger) {}

  /// The folders of one partition; those that do not stay lose their topic.
  void run(const std::vector<FoundFolder*>& all) {
    FoundFolder* current = nullptr;
    std::vector<FoundFolder*> futures;
    for (FoundFolder* folder : all) {
      if (folder->future) {
        futures.push_back(folder);
      } else {
        current = current == nullptr ? folder : better(*current, *folder);
      }
    }
    FoundFolder* future = nullptr;
    for (FoundFolder* folder : futures) {
      if (current != nullptr && folder->dir == current->dir) {
        discard(*folder);
      } else if (future == nullptr) {
        future = folder;
      } else {
        FoundFolder* kept = named(*folder) ? folder : future;
        discard(kept == folder ? *future : *folder);
        future = kept;
      }
    }
    if (current == nullptr && future != nullptr) alone(*future);
  }

  std::vector<std::string> take_doomed() { return std::move(doomed_); }

 private:
  bool named(const FoundFolder& folder) const {
    const metadata::Partition* p = folder.topic->partition(folder.partition.index.value);
    return p != nullptr && p->directory(node_) == dirs_.id(folder.dir);
  }

  FoundFolder* better(FoundFolder& one, FoundFolder& other) {
    FoundFolder& kept = named(other) && !named(one) ? other : one;
    FoundFolder& gone = &kept == &one ? other : one;
    logger_.warn("{} and {} are the same partition; {} is set aside as stray", kept.path, gone.path,
                 gone.path);
    set_aside(gone, FolderKind::kStray);
    return &kept;
  }

  void discard(FoundFolder& folder) {
    logger_.info("{}: a copy that is of no use; removed", folder.path);
    if (auto path = set_aside(folder, FolderKind::kDelete)) doomed_.push_back(std::move(*path));
  }

  void alone(FoundFolder& folder) {
    if (!named(folder) && dirs_.any_offline()) {
      logger_.warn("{}: its original is not there, but a log directory is offline; left alone",
                   folder.path);
      folder.topic = nullptr;
      return;
    }
    const std::string path = dirs_.dir(folder.dir).folder_path(folder.partition);
    logger_.info("{}: its original is gone, it takes its place", folder.path);
    Result<void> r = disk_.rename(folder.path, path);
    if (r) r = disk_.sync_directory(dirs_.path(folder.dir));
    if (!r) return failed(folder, r.error());
    folder.path = path;
    folder.future = false;
  }

  std::optional<std::string> set_aside(FoundFolder& folder, FolderKind kind) {
    Result<std::string> path =
        dirs_.dir(folder.dir).set_aside(folder.path, folder.partition, loop_.random().uuid(), kind);
    if (!path) {
      failed(folder, path.error());
      return std::nullopt;
    }
    folder.topic = nullptr;
    return std::move(*path);
  }

  void failed(FoundFolder& folder, const Error& error) {
    dirs_.fail(folder.dir, error);
    folder.topic = nullptr;
  }

  io::Disk& disk_;
  io::Loop& loop_;
  LogDirs& dirs_;
  BrokerId node_;
  const Logger& logger_;
  std::vector<std::string> doomed_;
};

}  // namespace

std::vector<std::string> choose_folders(io::Disk& disk, io::Loop& loop, LogDirs& dirs,
                                        BrokerId node, std::vector<FoundFolder>& folders,
                                        const Logger& logger) {
  std::map<log::TopicPartition, std::vector<FoundFolder*>> by_partition;
  for (FoundFolder& folder : folders) {
    if (!dirs.offline(folder.dir)) by_partition[folder.partition].push_back(&folder);
  }
  Choice choice(disk, loop, dirs, node, logger);
  for (const auto& [partition, all] : by_partition) {
    if (all.size() > 1 || all.front()->future) choice.run(all);
  }
  std::erase_if(folders, [&](const FoundFolder& folder) {
    return folder.topic == nullptr || dirs.offline(folder.dir);
  });
  return choice.take_doomed();
}

}  // namespace odradek::replica
