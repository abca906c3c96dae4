#include "log/log_dir.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "log/file_names.h"

namespace odradek::log {

namespace {

constexpr std::string_view kDelete = "-delete";
constexpr std::string_view kFuture = "-future";
constexpr std::string_view kStray = "-stray";
constexpr size_t kNameMax = 255;
/// Apache's cache of indexes of remote segments; not a partition.
constexpr std::string_view kRemoteIndexCache = "remote-log-index-cache";
constexpr std::string_view kMetaFile = "/meta.properties";
constexpr std::string_view kCleanFile = "/.kafka_cleanshutdown";

std::string_view suffix_of(FolderKind kind) {
  switch (kind) {
    case FolderKind::kPartition:
      return "";
    case FolderKind::kDelete:
      return kDelete;
    case FolderKind::kFuture:
      return kFuture;
    case FolderKind::kStray:
      return kStray;
  }
  return "";
}

}  // namespace

// ---- folder names

Result<PartitionFolder> parse_folder_name(std::string_view name) {
  auto bad = [&] {
    return fail(Errc::kInvalid,
                fmt::format("folder \"{}\" is not named topic-partition, nor that with an id and "
                            "-delete, -future or -stray",
                            name));
  };
  PartitionFolder folder{.name = std::string(name)};
  std::string_view plain = name;
  for (FolderKind kind : {FolderKind::kDelete, FolderKind::kFuture, FolderKind::kStray}) {
    if (!name.ends_with(suffix_of(kind))) continue;
    folder.kind = kind;
    size_t dot = name.rfind('.');
    size_t id_end = name.size() - suffix_of(kind).size();
    if (dot == std::string_view::npos || dot + 1 >= id_end) return bad();
    plain = name.substr(0, dot);
  }
  size_t dash = plain.rfind('-');
  if (dash == std::string_view::npos || dash == 0) return bad();
  std::string_view digits = plain.substr(dash + 1);
  int32_t index = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size() || index < 0) {
    return bad();
  }
  folder.partition = TopicPartition{std::string(plain.substr(0, dash)), PartitionIndex(index)};
  return folder;
}

std::string doomed_name(const TopicPartition& partition, const Uuid& unique, FolderKind kind) {
  std::string tail =
      fmt::format("-{}.{}{}", partition.index.value, unique.to_hex(), suffix_of(kind));
  return partition.topic.substr(0, kNameMax - tail.size()) + tail;
}

// ---- the directory

LogDir::LogDir(io::Disk& disk, std::string path, std::unique_ptr<io::DirLock> lock, Logger logger)
    : disk_(disk), path_(std::move(path)), lock_(std::move(lock)), logger_(logger) {}

Result<std::unique_ptr<LogDir>> LogDir::open(io::Disk& disk, std::string path, Logger logger) {
  auto lock = disk.lock(path + "/.lock");
  if (!lock) {
    if (lock.error().kind != Errc::kExists) return std::unexpected(lock.error());
    return fail(Errc::kExists,
                fmt::format("{}: another process has locked this log directory", path));
  }
  return std::unique_ptr<LogDir>(new LogDir(disk, std::move(path), std::move(*lock), logger));
}

std::string LogDir::folder_path(const TopicPartition& partition) const {
  return path_ + "/" + partition.to_string();
}

Result<std::optional<MetaProperties>> LogDir::read_meta() const {
  std::string file = path_ + std::string(kMetaFile);
  auto text = read_small_file(disk_, file);
  if (!text) {
    if (text.error().kind == Errc::kNotFound) return std::nullopt;
    return std::unexpected(text.error());
  }
  auto meta = parse_meta_properties(*text);
  if (!meta) return fail(meta.error().kind, file + ": " + meta.error().message);
  return *meta;
}

Result<void> LogDir::write_meta(const MetaProperties& meta) const {
  return write_text_file(disk_, path_ + std::string(kMetaFile), to_text(meta));
}

Result<OffsetCheckpoint> LogDir::read_checkpoint(CheckpointKind kind) const {
  std::string file = path_ + "/" + std::string(file_name(kind));
  auto text = read_small_file(disk_, file);
  if (!text) {
    if (text.error().kind == Errc::kNotFound) return OffsetCheckpoint{};
    return std::unexpected(text.error());
  }
  auto checkpoint = parse_offset_checkpoint(*text);
  if (!checkpoint) return fail(checkpoint.error().kind, file + ": " + checkpoint.error().message);
  return checkpoint;
}

Result<void> LogDir::write_checkpoint(CheckpointKind kind,
                                      const OffsetCheckpoint& checkpoint) const {
  return write_text_file(disk_, path_ + "/" + std::string(file_name(kind)), to_text(checkpoint));
}

Result<LogDir::CleanMarker> LogDir::take_clean_marker() const {
  std::string file = path_ + std::string(kCleanFile);
  auto text = read_small_file(disk_, file);
  if (!text) {
    if (text.error().kind == Errc::kNotFound) return CleanMarker{};
    return std::unexpected(text.error());
  }
  CleanMarker marker{.clean = true};
  constexpr std::string_view kKey = "\"brokerEpoch\":";
  if (size_t at = text->find(kKey); at != std::string::npos) {
    at = text->find_first_not_of(' ', at + kKey.size());
    if (at != std::string::npos) {
      int64_t epoch = -1;
      std::from_chars(text->data() + at, text->data() + text->size(), epoch);
      marker.broker_epoch = BrokerEpoch(epoch);
    }
  }
  // From here on a crash must count as one.
  if (auto r = disk_.remove(file); !r) return std::unexpected(r.error());
  if (auto r = disk_.sync_directory(path_); !r) return std::unexpected(r.error());
  return marker;
}

Result<void> LogDir::write_clean_marker(BrokerEpoch epoch) const {
  return write_text_file(disk_, path_ + std::string(kCleanFile),
                         fmt::format("{{\"version\":0,\"brokerEpoch\":{}}}", epoch.value));
}

Result<std::vector<PartitionFolder>> LogDir::list() const {
  auto entries = disk_.list(path_);
  if (!entries) return std::unexpected(entries.error());
  std::vector<PartitionFolder> folders;
  for (const io::DirEntry& e : *entries) {
    if (!e.is_directory || e.name == kRemoteIndexCache) continue;
    auto folder = parse_folder_name(e.name);
    if (!folder) return fail(Errc::kInvalid, path_ + ": " + folder.error().message);
    folders.push_back(std::move(*folder));
  }
  std::sort(folders.begin(), folders.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return folders;
}

Result<std::string> LogDir::set_aside(const std::string& folder_path,
                                      const TopicPartition& partition, const Uuid& unique,
                                      FolderKind kind) const {
  std::string to = path_ + "/" + doomed_name(partition, unique, kind);
  if (auto r = disk_.rename(folder_path, to); !r) return std::unexpected(r.error());
  if (auto r = disk_.sync_directory(path_); !r) return std::unexpected(r.error());
  logger_.info("{} is now {}", folder_path, to);
  return to;
}

}  // namespace odradek::log
