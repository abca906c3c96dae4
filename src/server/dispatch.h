// The table of what this broker serves: one line per API. It alone decides what ApiVersions
// advertises, which versions reach a handler, on which kind of listener, and in which order.
//
// Adding an API: its schema, one file in handlers/, one line in dispatch.cc (CONTRIBUTING.md).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "base/check.h"
#include "io/task.h"
#include "server/request.h"
#include "wire/api_keys.h"

namespace odradek::server {

/// How a request stands to its neighbours on one connection. Answers always leave in the order of
/// the requests.
enum class Order : uint8_t {
  kBarrier,   // starts when everything before it is answered; what follows waits for its answer
  kReleases,  // what follows may start once it calls release_order (Produce: everything appended)
  kOverlaps,  // what follows may start as soon as its handler first waits (Fetch, OffsetCommit)
};

using Handler = io::Task<void> (*)(Request& request);

struct ApiEntry {
  wire::ApiKey key;
  int16_t advertised_min;  // what ApiVersions says; differs from `min` for Produce only
  int16_t min;             // versions below it, down to advertised_min, are answered with
                           // UNSUPPORTED_VERSION by handle_unsupported_produce
  int16_t max;
  bool broker;      // served on broker listeners
  bool controller;  // served on controller listeners
  Order order;
  Handler handle;

  bool serves(ListenerKind kind) const {
    return kind == ListenerKind::kBroker ? broker : controller;
  }
};

/// Entries by key. The entries must outlive it.
class DispatchTable {
 public:
  explicit DispatchTable(std::span<const ApiEntry> entries) : entries_(entries) {
    for (const ApiEntry& e : entries) {
      const auto key = static_cast<size_t>(e.key);
      ODRADEK_CHECK(key < by_key_.size() && by_key_[key] == nullptr);
      by_key_[key] = &e;
    }
  }
  /// Null when the key is unknown or not served at all.
  const ApiEntry* find(int16_t key) const {
    if (key < 0 || key >= static_cast<int16_t>(by_key_.size())) return nullptr;
    return by_key_[static_cast<size_t>(key)];
  }
  /// In the order of their keys.
  std::span<const ApiEntry> entries() const { return entries_; }

 private:
  std::span<const ApiEntry> entries_;
  std::array<const ApiEntry*, 128> by_key_{};
};

/// What the broker serves.
const DispatchTable& dispatch_table();

/// The table as the markdown that docs/compatibility.md holds.
std::string api_table_markdown();

}  // namespace odradek::server
