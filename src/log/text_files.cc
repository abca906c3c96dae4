// The text files of a log directory: checkpoints, partition.metadata, meta.properties.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "log/directory_file.h"
#include "log/log_dir.h"

namespace odradek::log {

namespace {

constexpr uint64_t kSmallFileMax = uint64_t{256} << 20;
constexpr size_t kUsualFileMax = 512;

template <class T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

/// The lines of a text, without a last empty one.
std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return lines;
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (true) {
    size_t from = line.find_first_not_of(" \t");
    if (from == std::string_view::npos) return words;
    size_t to = line.find_first_of(" \t", from);
    words.push_back(line.substr(from, to == std::string_view::npos ? to : to - from));
    if (to == std::string_view::npos) return words;
    line.remove_prefix(to);
  }
}

/// Version 0, count, entries of `words` words each. An empty text has no entries.
Result<std::vector<std::vector<std::string_view>>> parse_checkpoint(std::string_view text,
                                                                    size_t words) {
  std::vector<std::vector<std::string_view>> entries;
  if (text.empty()) return entries;
  auto lines = lines_of(text);
  auto bad = [](size_t line, std::string_view content) {
    return fail(Errc::kCorrupt, fmt::format("malformed line {}: \"{}\"", line, content));
  };
  if (parse_number<int32_t>(lines[0]) != 0) {
    return fail(Errc::kCorrupt, fmt::format("unknown version \"{}\"", lines[0]));
  }
  if (lines.size() < 2) return fail(Errc::kCorrupt, "the count is missing");
  auto count = parse_number<int32_t>(lines[1]);
  if (!count || *count < 0) return bad(2, lines[1]);
  for (size_t n = 2; n < lines.size(); n++) {
    auto entry = words_of(lines[n]);
    if (entry.size() != words) return bad(n + 1, lines[n]);
    entries.push_back(std::move(entry));
  }
  if (entries.size() != static_cast<size_t>(*count)) {
    return fail(Errc::kCorrupt, fmt::format("{} entries instead of {}", entries.size(), *count));
  }
  return entries;
}

}  // namespace

// ---- files

Result<std::string> read_small_file(io::Disk& disk, const std::string& path) {
  auto file = disk.open(path, io::OpenMode::kRead);
  if (!file) return std::unexpected(file.error());
  // Most fit; a file's size is asked for only if not.
  std::string text(kUsualFileMax, '\0');
  auto head = (*file)->read(0, MutableBytes(reinterpret_cast<uint8_t*>(text.data()), text.size()));
  if (!head) return std::unexpected(head.error());
  if (*head < text.size()) {
    text.resize(*head);
    return text;
  }
  auto size = (*file)->size();
  if (!size) return std::unexpected(size.error());
  if (*size > kSmallFileMax) return fail(Errc::kLimit, path + ": larger than any file of its kind");
  text.resize(*size);
  auto n = (*file)->read(0, MutableBytes(reinterpret_cast<uint8_t*>(text.data()), text.size()));
  if (!n) return std::unexpected(n.error());
  text.resize(*n);
  return text;
}

Result<void> write_text_file(io::Disk& disk, const std::string& path, std::string_view text,
                             bool durable) {
  std::string temporary = path + ".tmp";
  auto file = disk.open(temporary, io::OpenMode::kCreate);
  if (!file) return std::unexpected(file.error());
  // One that a crash has left may be longer. A file that is new is not cut: ext4 would write it to
  // the device at once when a file that was cut to nothing is closed.
  auto left = (*file)->size();
  if (!left) return std::unexpected(left.error());
  if (*left > text.size()) {
    if (auto r = (*file)->truncate(0); !r) return r;
  }
  if (auto r = (*file)->write(0, as_bytes(text)); !r) return r;
  if (durable) {
    if (auto r = (*file)->sync(); !r) return r;
  }
  file->reset();
  if (auto r = disk.rename(temporary, path); !r) return r;
  return durable ? disk.sync_directory(parent_folder(path)) : Result<void>{};
}

bool is_blank(std::string_view text) { return text.find_first_not_of('\0') == text.npos; }

Result<void> make_durable_directory(io::Disk& disk, const std::string& path) {
  if (disk.exists(path)) return {};
  const std::string parent = parent_folder(path);
  if (auto r = make_durable_directory(disk, parent); !r) return r;
  if (auto r = disk.make_directory(path); !r) return r;
  return disk.sync_directory(parent);
}

// ---- checkpoints

std::string_view file_name(CheckpointKind kind) {
  switch (kind) {
    case CheckpointKind::kRecoveryPoint:
      return "recovery-point-offset-checkpoint";
    case CheckpointKind::kLogStart:
      return "log-start-offset-checkpoint";
    case CheckpointKind::kHighWatermark:
      return "replication-offset-checkpoint";
    case CheckpointKind::kCleaner:
      return "cleaner-offset-checkpoint";
  }
  ODRADEK_CHECK(false);
  return {};
}

Result<OffsetCheckpoint> parse_offset_checkpoint(std::string_view text) {
  auto entries = parse_checkpoint(text, 3);
  if (!entries) return std::unexpected(entries.error());
  OffsetCheckpoint checkpoint;
  for (const auto& e : *entries) {
    auto index = parse_number<int32_t>(e[1]);
    auto offset = parse_number<int64_t>(e[2]);
    if (!index || *index < 0 || !offset) {
      return fail(Errc::kCorrupt, fmt::format("malformed entry \"{} {} {}\"", e[0], e[1], e[2]));
    }
    checkpoint[TopicPartition{std::string(e[0]), PartitionIndex(*index)}] = Offset(*offset);
  }
  return checkpoint;
}

std::string to_text(const OffsetCheckpoint& checkpoint) {
  std::string text = fmt::format("0\n{}\n", checkpoint.size());
  for (const auto& [partition, offset] : checkpoint) {
    text += fmt::format("{} {} {}\n", partition.topic, partition.index.value, offset.value);
  }
  return text;
}

Result<std::vector<EpochEntry>> parse_epoch_checkpoint(std::string_view text) {
  auto entries = parse_checkpoint(text, 2);
  if (!entries) return std::unexpected(entries.error());
  std::vector<EpochEntry> epochs;
  for (const auto& e : *entries) {
    auto epoch = parse_number<int32_t>(e[0]);
    auto start = parse_number<int64_t>(e[1]);
    if (!epoch || !start || *epoch < 0 || *start < 0) {
      return fail(Errc::kCorrupt, fmt::format("malformed entry \"{} {}\"", e[0], e[1]));
    }
    epochs.push_back(EpochEntry{LeaderEpoch(*epoch), Offset(*start)});
  }
  return epochs;
}

std::string epoch_checkpoint_text(const std::vector<EpochEntry>& epochs) {
  std::string text = fmt::format("0\n{}\n", epochs.size());
  for (const EpochEntry& e : epochs) {
    text += fmt::format("{} {}\n", e.epoch.value, e.start.value);
  }
  return text;
}

// ---- partition.metadata

namespace {

/// What stands behind the first ':' and its white space; nothing without both.
std::string_view value_of_line(std::string_view line) {
  size_t colon = line.find(':');
  if (colon == std::string_view::npos) return {};
  std::string_view rest = line.substr(colon + 1);
  size_t from = rest.find_first_not_of(" \t\f\v");
  return from == std::string_view::npos || from == 0 ? std::string_view{} : rest.substr(from);
}

}  // namespace

// As Apache reads it: the first two lines by their order, whatever the words before the colon, and
// any version from 0 on.
Result<Uuid> parse_partition_metadata(std::string_view text) {
  auto lines = lines_of(text);
  std::string_view version = lines.empty() ? std::string_view{} : value_of_line(lines[0]);
  std::string_view topic_id = lines.size() < 2 ? std::string_view{} : value_of_line(lines[1]);
  auto number = parse_number<int32_t>(version);
  if (!number || topic_id.empty()) return fail(Errc::kCorrupt, "malformed partition metadata");
  if (*number < 0) {
    return fail(Errc::kUnsupported, fmt::format("unknown version in \"{}\"", lines[0]));
  }
  auto id = Uuid::parse(topic_id);
  if (!id || id->is_zero()) {
    return fail(Errc::kCorrupt, fmt::format("not a topic id: \"{}\"", lines[1]));
  }
  return *id;
}

std::string partition_metadata_text(const Uuid& topic_id) {
  return fmt::format("version: 0\ntopic_id: {}", topic_id.to_string());
}

// ---- meta.properties

namespace {

/// Takes one logical line (continuations joined) off the front of `text`.
std::string next_logical_line(std::string_view& text) {
  std::string line;
  while (!text.empty()) {
    size_t end = text.find_first_of("\r\n");
    std::string_view part = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    size_t from = part.find_first_not_of(" \t\f");
    part.remove_prefix(from == std::string_view::npos ? part.size() : from);
    bool comment = line.empty() && !part.empty() && (part[0] == '#' || part[0] == '!');
    if (comment) return {};
    size_t slashes = part.size() - std::min(part.size(), part.find_last_not_of('\\') + 1);
    if (slashes % 2 == 0) return line + std::string(part);
    line += part.substr(0, part.size() - 1);
  }
  return line;
}

/// Resolves escapes; stops at the first of `stop` that is not escaped.
std::string unescape(std::string_view& text, std::string_view stop) {
  std::string out;
  while (!text.empty() && stop.find(text[0]) == std::string_view::npos) {
    char c = text[0];
    text.remove_prefix(1);
    if (c != '\\' || text.empty()) {
      out += c;
      continue;
    }
    c = text[0];
    text.remove_prefix(1);
    if (c == 'u' && text.size() >= 4) {
      unsigned code = 0;
      auto [end, error] = std::from_chars(text.data(), text.data() + 4, code, 16);
      if (error == std::errc() && end == text.data() + 4 && code < 128)
        out += static_cast<char>(code);
      text.remove_prefix(4);
      continue;
    }
    out += c == 't' ? '\t' : c == 'n' ? '\n' : c == 'r' ? '\r' : c == 'f' ? '\f' : c;
  }
  return out;
}

std::map<std::string, std::string> parse_properties(std::string_view text) {
  std::map<std::string, std::string> properties;
  while (!text.empty()) {
    std::string line = next_logical_line(text);
    if (line.empty()) continue;
    std::string_view rest = line;
    std::string key = unescape(rest, "=: \t\f");
    auto skip = [&](std::string_view characters) {
      size_t from = rest.find_first_not_of(characters);
      rest.remove_prefix(from == std::string_view::npos ? rest.size() : from);
    };
    skip(" \t\f");
    if (!rest.empty() && (rest[0] == '=' || rest[0] == ':')) rest.remove_prefix(1);
    skip(" \t\f");
    properties[key] = unescape(rest, "");
  }
  return properties;
}

std::string escape(std::string_view value) {
  constexpr std::string_view kPlain = "\\=:#!\t\n\r\f";
  constexpr std::string_view kEscaped = "\\=:#!tnrf";
  std::string out;
  for (char c : value) {
    const size_t at = kPlain.find(c);
    const bool first_space = c == ' ' && out.empty();
    if (at != std::string_view::npos || first_space) out += '\\';
    out += at == std::string_view::npos ? c : kEscaped[at];
  }
  return out;
}

}  // namespace

Result<MetaProperties> parse_meta_properties(std::string_view text) {
  auto properties = parse_properties(text);
  auto find = [&](const char* key) -> std::optional<std::string> {
    auto found = properties.find(key);
    if (found == properties.end()) return std::nullopt;
    return found->second;
  };
  MetaProperties meta;
  auto version = find("version");
  if (!version) return fail(Errc::kCorrupt, "\"version\" is missing");
  auto number = parse_number<int32_t>(*version);
  if (!number || *number < 0) return fail(Errc::kCorrupt, "not a version: \"" + *version + "\"");
  if (*number > 1) return fail(Errc::kUnsupported, "unknown version " + *version);
  meta.version = *number;
  meta.cluster_id = find("cluster.id");
  const char* node_key = meta.version == 0 ? "broker.id" : "node.id";
  if (auto node = find(node_key)) {
    auto id = parse_number<int32_t>(*node);
    if (!id || *id < 0) return fail(Errc::kCorrupt, fmt::format("{} \"{}\"", node_key, *node));
    meta.node_id = BrokerId(*id);
  }
  if (auto directory = find("directory.id")) {
    auto id = Uuid::parse(*directory);
    if (!id) return fail(Errc::kCorrupt, "directory.id \"" + *directory + "\" is not a uuid");
    if (id->high == 0 && id->low < 100) {
      return fail(Errc::kCorrupt, "directory.id \"" + *directory + "\" is reserved");
    }
    meta.directory_id = *id;
  }
  if (meta.version == 1 && (!meta.cluster_id || !meta.node_id)) {
    return fail(Errc::kCorrupt,
                meta.cluster_id ? "\"node.id\" is missing" : "\"cluster.id\" is missing");
  }
  return meta;
}

std::string to_text(const MetaProperties& meta) {
  std::string text;
  if (meta.node_id) {
    text +=
        fmt::format("{}={}\n", meta.version == 0 ? "broker.id" : "node.id", meta.node_id->value);
  }
  if (meta.directory_id) {
    text += fmt::format("directory.id={}\n", escape(meta.directory_id->to_string()));
  }
  text += fmt::format("version={}\n", meta.version);
  if (meta.cluster_id) text += fmt::format("cluster.id={}\n", escape(*meta.cluster_id));
  return text;
}

Result<void> check_same_node(const std::vector<std::pair<std::string, MetaProperties>>& dirs) {
  for (size_t a = 0; a < dirs.size(); a++) {
    for (size_t b = a + 1; b < dirs.size(); b++) {
      const auto& [path_a, x] = dirs[a];
      const auto& [path_b, y] = dirs[b];
      auto differ = [&](std::string_view what) {
        return fail(Errc::kInvalid, fmt::format("{} and {} {}", path_a, path_b, what));
      };
      if (x.directory_id && x.directory_id == y.directory_id)
        return differ("have one directory.id");
      if (x.cluster_id && y.cluster_id && x.cluster_id != y.cluster_id) {
        return differ("belong to different clusters");
      }
      if (x.node_id && y.node_id && x.node_id != y.node_id) {
        return differ("belong to different nodes");
      }
    }
  }
  return {};
}

}  // namespace odradek::log
