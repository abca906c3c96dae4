#include "raft/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "log/log_dir.h"
#include "raft/driver.h"
#include "raft/snapshot.h"

namespace odradek::raft {

namespace {

constexpr std::string_view kMetaProperties = "/meta.properties";
constexpr std::string_view kBootstrap = "/bootstrap.checkpoint";

// What has been decided before anything is written.
struct Plan {
  std::vector<std::pair<std::string, Uuid>> directories;  // to format, with their ids
};

Result<void> check_formatted(io::Disk& disk, const std::string& directory,
                             const FormatOptions& options, std::set<Uuid>& used) {
  auto text = log::read_small_file(disk, directory + std::string(kMetaProperties));
  if (!text) return std::unexpected(text.error());
  auto meta = log::parse_meta_properties(*text);
  if (!meta) return fail(meta.error().kind, directory + ": " + meta.error().message);
  if (meta->cluster_id != options.cluster_id)
    return fail(Errc::kInvalid,
                fmt::format("{} belongs to cluster {}, not {}", directory,
                            meta->cluster_id.value_or("(none)"), options.cluster_id));
  if (meta->node_id != options.node)
    return fail(Errc::kInvalid,
                fmt::format("{} belongs to node {}, not {}", directory,
                            meta->node_id.value_or(kNoBroker).value, options.node.value));
  if (!options.ignore_formatted)
    return fail(Errc::kExists, fmt::format("{} is formatted already", directory));
  if (meta->directory_id) used.insert(*meta->directory_id);
  return {};
}

Result<Plan> make_plan(io::Disk& disk, io::Random& random, const FormatOptions& options) {
  Plan plan;
  std::set<Uuid> used;
  std::vector<std::string> fresh;
  for (const std::string& directory : options.directories) {
    if (disk.exists(directory + std::string(kMetaProperties))) {
      if (auto r = check_formatted(disk, directory, options, used); !r)
        return std::unexpected(r.error());
    } else {
      fresh.push_back(directory);
    }
  }
  for (const std::string& directory : fresh) {
    const bool given = directory == options.metadata_directory && options.metadata_directory_id;
    Uuid id = given ? *options.metadata_directory_id : random.uuid();
    while (!given && used.contains(id)) id = random.uuid();
    if (!used.insert(id).second)
      return fail(Errc::kInvalid, fmt::format("directory id {} is in use already", id.to_string()));
    plan.directories.emplace_back(directory, id);
  }
  return plan;
}

Result<void> write_bootstrap(io::Disk& disk, const std::string& directory, WallMs now,
                             const std::vector<std::string>& records) {
  auto writer = SnapshotWriter::create(disk, directory + std::string(kBootstrap), LeaderEpoch(0),
                                       WallMs(0), VoterSet{}, now);
  if (!writer) return std::unexpected(writer.error());
  for (const std::string& record : records)
    if (auto r = (*writer)->add(as_bytes(record)); !r) return r;
  return (*writer)->finish();
}

Result<void> write_first_voters(io::Disk& disk, const std::string& directory, const Uuid& id,
                                WallMs now, const FormatOptions& options) {
  VoterSet set{.kraft_version = 1, .voters = *options.voters};
  for (Voter& voter : set.voters)
    if (voter.id == options.node && voter.directory.is_zero()) voter.directory = id;
  const std::string folder = fmt::format("{}/{}-0", directory, kMetadataTopic);
  if (auto r = disk.make_directory(folder); !r) return r;
  auto writer = SnapshotWriter::create(disk, fmt::format("{}/{}", folder, SnapshotId{}.file_name()),
                                       LeaderEpoch(0), now, set, now);
  if (!writer) return std::unexpected(writer.error());
  return (*writer)->finish();
}

}  // namespace

Result<void> format(io::Disk& disk, io::Random& random, WallMs now, const FormatOptions& options) {
  const auto& all = options.directories;
  if (std::find(all.begin(), all.end(), options.metadata_directory) == all.end())
    return fail(Errc::kInvalid, fmt::format("metadata directory {} is not among the directories",
                                            options.metadata_directory));
  auto plan = make_plan(disk, random, options);
  if (!plan) return std::unexpected(plan.error());
  for (const auto& [directory, id] : plan->directories) {
    if (auto r = log::make_durable_directory(disk, directory); !r) return r;
    if (auto r = write_bootstrap(disk, directory, now, options.bootstrap); !r) return r;
    if (directory == options.metadata_directory && options.voters)
      if (auto r = write_first_voters(disk, directory, id, now, options); !r) return r;
    // Last: a directory with this file is complete.
    const log::MetaProperties meta{1, options.cluster_id, options.node, id};
    if (auto r = log::write_text_file(disk, directory + std::string(kMetaProperties),
                                      log::to_text(meta));
        !r)
      return r;
  }
  return {};
}

std::string new_cluster_id(io::Random& random) { return random.uuid().to_string(); }

Result<std::optional<std::vector<std::string>>> read_bootstrap(io::Disk& disk,
                                                               const std::string& directory) {
  const std::string path = directory + std::string(kBootstrap);
  if (!disk.exists(path)) return std::nullopt;
  std::vector<std::string> records;
  auto content = read_snapshot(disk, path, [&](const Batch& batch) -> Result<void> {
    for (ByteView value : batch.values) records.emplace_back(as_text(value));
    return {};
  });
  if (!content) return std::unexpected(content.error());
  return records;
}

}  // namespace odradek::raft
