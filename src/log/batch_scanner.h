// BatchScanner: goes through a `.log` file as recovery does: every header is
// checked, from some offset on every CRC too. Reads forward in large pieces and holds no more than
// one.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "io/io.h"
#include "log/batch_view.h"

namespace odradek::log {

class BatchScanner {
 public:
  static constexpr size_t kWindow = 256 << 10;
  static constexpr size_t kPeek = 128;

  /// Batches in [position, end). `window` has kWindow bytes and is the caller's, who may have many
  /// files to scan.
  BatchScanner(io::File& file, uint64_t position, uint64_t end, Offset least, MutableBytes window)
      : file_(file), end_(end), least_(least), window_(window), position_(position) {}

  /// The next good batch. Nothing at the end, or at the first bytes that are not a good batch:
  /// `problem` then says what is wrong. An Error if the file cannot be read.
  Result<std::optional<BatchView>> next(Offset crc_from);

  /// Where the batch begins; after nothing: where the good part ends.
  uint64_t position() const { return position_; }
  const std::string& problem() const { return problem_; }
  /// The first bytes of the batch, at most kPeek.
  ByteView peek() const { return ByteView(peek_.data(), peeked_); }

 private:
  /// Up to `n` bytes at `at`, fewer at the end of the file.
  Result<ByteView> bytes_at(uint64_t at, size_t n, size_t read_ahead);
  Result<bool> crc_matches(const BatchView& batch);

  io::File& file_;
  uint64_t end_;
  Offset least_;
  MutableBytes window_;
  uint64_t position_;
  uint64_t size_ = 0;  // of the batch at position_
  uint64_t window_at_ = 0;
  size_t window_size_ = 0;
  size_t peeked_ = 0;
  std::array<uint8_t, kPeek> peek_;
  std::string problem_;
};

/// True if the beginning of a `.log` file is a message set of magic 0 or 1.
bool is_old_format(ByteView beginning, Offset base, uint64_t file_size);

}  // namespace odradek::log
