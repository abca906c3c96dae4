// FrameBuffer: memory that bytes are read into and that requests keep alive while they use it.
//
// A read fills a buffer with one or more frames; each Request holds a reference, so nothing is
// copied between the socket and the log. Buffers are counted without atomics and belong to one
// loop; free ones are kept by size class up to a bound.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/bytes.h"

namespace odradek::server {

class FramePool;

struct FrameBuffer {
  FramePool* pool;
  FrameBuffer* next_free;
  uint32_t references;
  int32_t size_class;  // −1: larger than any class
  size_t capacity;

  uint8_t* data() { return reinterpret_cast<uint8_t*>(this + 1); }
};

/// A counted reference to a buffer, or none.
class FrameRef {
 public:
  FrameRef() = default;
  explicit FrameRef(FrameBuffer* buffer) : buffer_(buffer) {
    if (buffer_) buffer_->references++;
  }
  FrameRef(const FrameRef& other) : FrameRef(other.buffer_) {}
  FrameRef(FrameRef&& other) noexcept : buffer_(std::exchange(other.buffer_, nullptr)) {}
  FrameRef& operator=(FrameRef other) noexcept {
    std::swap(buffer_, other.buffer_);
    return *this;
  }
  ~FrameRef() { reset(); }

  void reset();
  explicit operator bool() const { return buffer_ != nullptr; }
  bool is_shared() const { return buffer_->references > 1; }
  uint8_t* data() const { return buffer_->data(); }
  size_t capacity() const { return buffer_ ? buffer_->capacity : 0; }

 private:
  FrameBuffer* buffer_ = nullptr;
};

/// The buffers of one loop. Outlives every reference.
class FramePool {
 public:
  static constexpr size_t kSmallest = 4096;
  static constexpr int kClasses = 10;  // 4 KiB … 2 MiB
  static constexpr size_t kFreeBytesMax = 8U << 20;

  FramePool() = default;
  FramePool(const FramePool&) = delete;
  FramePool& operator=(const FramePool&) = delete;
  ~FramePool();

  /// A buffer of at least `size` bytes.
  FrameRef take(size_t size);
  /// Bytes in buffers that nobody uses.
  size_t free_bytes() const { return free_bytes_; }

 private:
  friend class FrameRef;
  void give_back(FrameBuffer* buffer);

  std::array<FrameBuffer*, kClasses> free_{};
  size_t free_bytes_ = 0;
};

inline void FrameRef::reset() {
  if (FrameBuffer* b = std::exchange(buffer_, nullptr); b && --b->references == 0)
    b->pool->give_back(b);
}

}  // namespace odradek::server
