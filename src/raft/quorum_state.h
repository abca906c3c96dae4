// The file `quorum-state`: what a voter must not forget, as one line of JSON.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "io/io.h"
#include "raft/step.h"

namespace odradek::raft {

/// Version 1 for kraft.version 1 and up, else 0, which lists the voters.
std::string quorum_state_text(const ElectionState& state, const VoterSet& voters);
/// Reads versions 0 and 1; kCorrupt otherwise.
Result<ElectionState> parse_quorum_state(std::string_view text);

/// Nothing if there is no such file.
Result<std::optional<ElectionState>> read_quorum_state(io::Disk& disk, const std::string& folder);
/// Written beside, synced, renamed, and the folder synced: durable when it returns.
Result<void> write_quorum_state(io::Disk& disk, const std::string& folder,
                                const ElectionState& state, const VoterSet& voters);

}  // namespace odradek::raft
