// TxnHistory: what clients with transactions did and what came of it, in the form of
// tests/consistency: one JSON line for the beginning and one for the end of each operation. The
// checker there knows the rules; nothing is judged here.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/history.h"
#include "sim/sim_io.h"

namespace odradek::sim {

/// One step of an operation: a record that is sent, or a poll.
struct TxnStep {
  /// To where a record is sent; none: a poll.
  std::optional<History::Partition> to{};
  std::string value{};
  bool acked = false;
  int64_t offset = -1;  // −1: it is not known
  bool polled = false;
  std::map<History::Partition, std::vector<std::pair<int64_t, std::string>>> read{};
};

class TxnHistory {
 public:
  enum class End {
    kOk,    // it took effect
    kFail,  // it certainly did not
    kInfo,  // it is not known
  };
  struct Counts {
    uint64_t operations = 0;
    uint64_t committed = 0;  // transactions
    uint64_t aborted = 0;
    uint64_t unknown = 0;  // that ended so
    uint64_t written = 0;  // values that were acknowledged
    uint64_t read = 0;
  };

  explicit TxnHistory(const Simulation& sim) : sim_(sim) {}

  /// `f`: txn, send or poll.
  void begins(const std::string& process, std::string_view f, const std::vector<TxnStep>& steps);
  void ends(const std::string& process, std::string_view f, const std::vector<TxnStep>& steps,
            End how, std::string_view error = {});
  /// What the process reads from now on: `assign`, from where it likes; `subscribe`, from where its
  /// group stands.
  void reads(const std::string& process, std::string_view f,
             const std::vector<History::Partition>& partitions);

  const Counts& counts() const { return counts_; }
  const std::string& lines() const { return lines_; }

 private:
  void line(const std::string& process, std::string_view type, std::string_view f,
            std::string_view value, std::string_view error = {});

  const Simulation& sim_;
  std::string lines_;
  Counts counts_;
};

}  // namespace odradek::sim
