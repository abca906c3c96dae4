// Damage: a node's log directory, one byte of it flipped or one file of it cut, and a start.
//
// `make_directory` runs a node on a simulated machine until its directory holds every kind of file,
// small; `try_start` puts such a directory, damaged, under a new node and tells what became of it:
// it serves what was acknowledged, or less of it, or refuses to start with a line; nothing else is
// right.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace odradek::damage {

using Files = std::map<std::string, ByteBuffer>;  // by path

/// A directory, and what a consumer finds in it.
struct Directory {
  Files files;
  /// Values of the records of each partition by offset.
  std::map<std::string, std::map<int64_t, std::string>> records;
};

/// After a clean stop, or after kill -9 of a node that had started on such a directory and written
/// more.
Directory make_directory(bool clean);

enum class Outcome {
  kWhole,        // serves everything
  kLess,         // serves a part, nothing of it wrong
  kShown,        // a consumer is given a batch with a checksum that is wrong: it can tell
  kUnprotected,  // wrong, by a byte that no checksum covers (Damage::unprotected)
  kRefused,      // does not start, or ends, with a line that says why
  kWrong,        // anything else
};
inline constexpr int kOutcomes = 6;
const char* name(Outcome outcome);

struct Damage {
  std::string path;
  size_t at = 0;
  /// 0: the file is cut there; else the bits that are flipped.
  uint8_t flip = 0;
  /// A checksum or another file tells of every wrong bit here.
  bool unprotected = false;
};

struct Trial {
  Outcome outcome = Outcome::kWrong;
  std::string what;                // the line of a refusal, or what is wrong
  std::vector<std::string> log{};  // the node's last lines
};

Trial try_start(const Directory& directory, const Damage& damage);

/// Indexes and producer snapshots: everything in them follows from the log.
bool is_derived(const std::string& path);
/// Whether no checksum covers the byte: base offsets and leader epochs of batches, text files.
bool is_unprotected(const Directory& directory, const std::string& path, size_t at);

}  // namespace odradek::damage
