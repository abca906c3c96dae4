// BatchWalker: goes through the batches of a `.log` file by their headers, without reading what
// lies between.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/ids.h"
#include "base/result.h"
#include "io/io.h"
#include "log/batch_view.h"

namespace odradek::log {

class BatchWalker {
 public:
  /// Batches in [position, end) of `file`, which must stay alive. None may begin below `least`.
  BatchWalker(io::File& file, uint64_t position, uint64_t end, Offset least)
      : file_(file), position_(position), end_(end), least_(least) {}

  /// The next batch, nothing at the end, kCorrupt if what is there is not a batch that fits. The
  /// view is good until the next call.
  Result<std::optional<BatchView>> next();
  /// Where the batch that `next` returned begins; after nothing or an error: where it stopped.
  uint64_t position() const { return position_; }
  /// The beginning of the current batch, at most `kPeek` bytes: enough for the record of a control
  /// batch.
  ByteView peek() const;

  static constexpr size_t kPeek = 128;

 private:
  Result<void> fill();

  io::File& file_;
  uint64_t position_;
  uint64_t end_;
  Offset least_;
  uint64_t current_size_ = 0;  // of the batch at position_, once returned
  uint64_t buffer_at_ = 0;
  size_t buffered_ = 0;
  std::array<uint8_t, 4096> buffer_;
};

}  // namespace odradek::log
