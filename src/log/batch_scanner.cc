#include "log/batch_scanner.h"

#include <algorithm>

#include "base/crc32c.h"

namespace odradek::log {

Result<ByteView> BatchScanner::bytes_at(uint64_t at, size_t n, size_t read_ahead) {
  uint64_t left = end_ - at;
  n = static_cast<size_t>(std::min<uint64_t>(n, left));
  if (at < window_at_ || at + n > window_at_ + window_size_) {
    size_t want = static_cast<size_t>(std::min<uint64_t>(std::max(n, read_ahead), left));
    auto got = file_.read(at, window_.first(want));
    if (!got) return std::unexpected(got.error());
    window_at_ = at;
    window_size_ = *got;
  }
  size_t from = static_cast<size_t>(at - window_at_);
  return ByteView(window_).subspan(from, std::min(n, window_size_ - from));
}

Result<bool> BatchScanner::crc_matches(const BatchView& batch) {
  uint32_t crc = 0;
  for (uint64_t at = position_ + wire::kCrcFrom; at < position_ + size_;) {
    uint64_t left = position_ + size_ - at;
    size_t n = static_cast<size_t>(std::min<uint64_t>(left, kWindow));
    // What the window still holds comes first.
    if (at >= window_at_ && at < window_at_ + window_size_) {
      n = static_cast<size_t>(std::min<uint64_t>(n, window_at_ + window_size_ - at));
    }
    auto piece = bytes_at(at, n, kWindow);
    if (!piece) return std::unexpected(piece.error());
    if (piece->empty()) return false;
    crc = crc32c(*piece, crc);
    at += piece->size();
  }
  return crc == batch.crc();
}

Result<std::optional<BatchView>> BatchScanner::next(Offset crc_from) {
  position_ += size_;
  size_t read_ahead = size_ >= 4096 ? kPeek : 65536;  // of interest are headers only
  size_ = 0;
  if (position_ >= end_) return std::nullopt;
  if (crc_from <= least_) read_ahead = kWindow;
  auto head = bytes_at(position_, kPeek, read_ahead);
  if (!head) return std::unexpected(head.error());
  peeked_ = head->size();
  std::copy(head->begin(), head->end(), peek_.begin());
  auto stop = [&](const char* why) {
    problem_ = why;
    return std::nullopt;
  };
  if (peeked_ < kBatchHeaderSize) return stop("a piece of a batch header");
  BatchView batch(peek_.data());
  if (!plausible(batch)) return stop("not a record batch");
  if (batch.size() > end_ - position_) return stop("a piece of a batch");
  if (batch.base_offset() < least_) return stop("offsets go back");
  size_ = batch.size();
  if (batch.last_offset() >= crc_from) {
    auto good = crc_matches(batch);
    if (!good) return std::unexpected(good.error());
    if (!*good) {
      size_ = 0;
      return stop("the CRC is wrong");
    }
  }
  peeked_ = static_cast<size_t>(std::min<uint64_t>(peeked_, size_));
  least_ = batch.next_offset();
  return batch;
}

// Magic stands at the same place in all formats, but zeros and torn batches must not be taken for
// magic 0: the fields around it have to make sense as well.
bool is_old_format(ByteView beginning, Offset base, uint64_t file_size) {
  if (beginning.size() < 34) return false;
  const uint8_t* p = beginning.data();
  uint8_t magic = p[16];
  if (magic > 1) return false;
  int64_t offset = load_be<int64_t>(p);
  int64_t length = load_be<int32_t>(p + 8);
  if (offset < base.value || offset - base.value > INT32_MAX) return false;
  if (length < (magic == 0 ? 14 : 22) || static_cast<uint64_t>(length) + 12 > file_size) {
    return false;
  }
  if ((p[17] & 0xF0) != 0 || (p[17] & 0x07) > 3) return false;
  int32_t key_length = load_be<int32_t>(p + (magic == 0 ? 18 : 26));
  return key_length >= -1 && key_length <= length;
}

}  // namespace odradek::log
