// What every generated message (wire/gen/*.h) needs to be declared.
#pragma once

#include <cstdint>
#include <span>

#include "base/bytes.h"

namespace odradek::wire {

class Reader;
class Writer;
struct MessageInfo;  // json.h

/// Record batches of an answer, sent without passing through the encoder's buffer. The pieces must
/// live until the answer's Chain is gone; what a piece holds alive (its source) the Chain holds
/// too. Decoding gives one piece of memory that is a view of the frame.
struct RecordsRef {
  std::span<const Piece> pieces;

  /// Total number of bytes.
  uint64_t size() const {
    uint64_t n = 0;
    for (const Piece& p : pieces) n += p.size();
    return n;
  }
  bool empty() const { return size() == 0; }
};

}  // namespace odradek::wire
