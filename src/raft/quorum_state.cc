#include "raft/quorum_state.h"

#include <fmt/format.h>

#include <charconv>

namespace odradek::raft {

namespace {

constexpr std::string_view kFileName = "/quorum-state";
constexpr size_t kFileMax = 1 << 20;

// The text of `key`'s value in a flat object: a number, or a string without its quotes.
std::optional<std::string_view> find_value(std::string_view text, std::string_view key) {
  const std::string quoted = fmt::format("\"{}\"", key);
  size_t at = text.find(quoted);
  if (at == std::string_view::npos) return std::nullopt;
  at = text.find_first_not_of(" \t\r\n", at + quoted.size());
  if (at == std::string_view::npos || text[at] != ':') return std::nullopt;
  at = text.find_first_not_of(" \t\r\n", at + 1);
  if (at == std::string_view::npos) return std::nullopt;
  const bool is_string = text[at] == '"';
  if (is_string) at++;
  const size_t end = text.find_first_of(is_string ? "\"" : ",} \t\r\n", at);
  if (end == std::string_view::npos) return std::nullopt;
  return text.substr(at, end - at);
}

Result<int32_t> find_int(std::string_view text, std::string_view key) {
  const auto value = find_value(text, key);
  int32_t n = 0;
  if (value) {
    const auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), n);
    if (error == std::errc{} && end == value->data() + value->size()) return n;
  }
  return fail(Errc::kCorrupt, fmt::format("quorum-state has no number {}", key));
}

}  // namespace

std::string quorum_state_text(const ElectionState& state, const VoterSet& voters) {
  if (voters.kraft_version > 0) {
    return fmt::format(R"({{"leaderId":{},"leaderEpoch":{},"votedId":{},"votedDirectoryId":"{}",)"
                       R"("data_version":1}})",
                       state.leader.value, state.epoch.value, state.voted.value,
                       state.voted_directory.to_string());
  }
  std::string list;
  for (const Voter& v : voters.voters)
    list += fmt::format("{}{{\"voterId\":{}}}", list.empty() ? "" : ",", v.id.value);
  return fmt::format(
      R"({{"clusterId":"","leaderId":{},"leaderEpoch":{},"votedId":{},"appliedOffset":0,)"
      R"("currentVoters":[{}],"data_version":0}})",
      state.leader.value, state.epoch.value, state.voted.value, list);
}

Result<ElectionState> parse_quorum_state(std::string_view text) {
  auto version = find_int(text, "data_version");
  auto leader = find_int(text, "leaderId");
  auto epoch = find_int(text, "leaderEpoch");
  auto voted = find_int(text, "votedId");
  for (const auto* r : {&version, &leader, &epoch, &voted})
    if (!*r) return std::unexpected(r->error());
  if (*version != 0 && *version != 1)
    return fail(Errc::kUnsupported, fmt::format("quorum-state has data_version {}", *version));
  if (*epoch < 0 || *leader < -1 || *voted < -1)
    return fail(Errc::kCorrupt, "quorum-state has a negative epoch or node id");
  ElectionState state{LeaderEpoch(*epoch), BrokerId(*leader), BrokerId(*voted), {}};
  if (*version == 1) {
    const auto directory = find_value(text, "votedDirectoryId");
    const auto id = directory ? Uuid::parse(*directory) : std::nullopt;
    if (!id) return fail(Errc::kCorrupt, "quorum-state has no votedDirectoryId");
    state.voted_directory = *id;
  }
  return state;
}

Result<std::optional<ElectionState>> read_quorum_state(io::Disk& disk, const std::string& folder) {
  const std::string path = folder + std::string(kFileName);
  if (!disk.exists(path)) return std::nullopt;
  auto file = disk.open(path, io::OpenMode::kRead);
  if (!file) return std::unexpected(file.error());
  auto size = (*file)->size();
  if (!size) return std::unexpected(size.error());
  if (*size > kFileMax) return fail(Errc::kCorrupt, path + " is too large");
  ByteBuffer bytes(*size);
  auto n = (*file)->read(0, bytes);
  if (!n) return std::unexpected(n.error());
  auto state = parse_quorum_state(as_text(ByteView(bytes).first(*n)));
  if (!state) return fail(state.error().kind, path + ": " + state.error().message);
  return *state;
}

Result<void> write_quorum_state(io::Disk& disk, const std::string& folder,
                                const ElectionState& state, const VoterSet& voters) {
  const std::string path = folder + std::string(kFileName);
  const std::string part = path + ".tmp";
  const std::string text = quorum_state_text(state, voters);
  auto file = disk.open(part, io::OpenMode::kCreate);
  if (!file) return std::unexpected(file.error());
  if (auto r = (*file)->truncate(0); !r) return r;
  if (auto r = (*file)->write(0, as_bytes(text)); !r) return r;
  if (auto r = (*file)->sync(); !r) return r;
  if (auto r = disk.rename(part, path); !r) return r;
  return disk.sync_directory(folder);
}

}  // namespace odradek::raft
