#include "log/batch_walker.h"

#include <fmt/format.h>

#include <algorithm>

namespace odradek::log {

Result<void> BatchWalker::fill() {
  // Batches larger than the buffer: reading what lies behind the header would be for nothing.
  size_t want = current_size_ >= buffer_.size() ? kPeek : buffer_.size();
  want = static_cast<size_t>(std::min<uint64_t>(want, end_ - position_));
  auto n = file_.read(position_, MutableBytes(buffer_.data(), want));
  if (!n) return std::unexpected(n.error());
  buffer_at_ = position_;
  buffered_ = *n;
  return {};
}

Result<std::optional<BatchView>> BatchWalker::next() {
  position_ += current_size_;
  if (position_ >= end_) {
    current_size_ = 0;
    return std::nullopt;
  }
  auto corrupt = [&](std::string_view what) {
    current_size_ = 0;
    return fail(Errc::kCorrupt, fmt::format("{} at byte {}: {}", file_.path(), position_, what));
  };
  uint64_t left = end_ - position_;
  if (left < kBatchHeaderSize) return corrupt("a piece of a batch header");
  uint64_t needed = std::min<uint64_t>(left, kPeek);
  if (buffered_ == 0 || position_ + needed > buffer_at_ + buffered_) {
    if (auto r = fill(); !r) return std::unexpected(r.error());
    if (buffered_ < kBatchHeaderSize) return corrupt("the file is shorter than it was");
  }
  BatchView batch(buffer_.data() + (position_ - buffer_at_));
  if (!plausible(batch)) return corrupt("not a record batch");
  if (batch.size() > left) return corrupt("the batch is longer than the file");
  if (batch.base_offset() < least_) return corrupt("offsets go back");
  current_size_ = batch.size();
  least_ = batch.last_offset() + int64_t{1};
  return batch;
}

ByteView BatchWalker::peek() const {
  size_t from = static_cast<size_t>(position_ - buffer_at_);
  uint64_t n = std::min<uint64_t>({current_size_, kPeek, buffered_ - from});
  return ByteView(buffer_.data() + from, static_cast<size_t>(n));
}

}  // namespace odradek::log
