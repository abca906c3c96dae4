#include "server/frame_buffer.h"

#include <bit>
#include <cstdlib>
#include <new>

#include "base/check.h"

namespace odradek::server {

namespace {

void release(FrameBuffer* buffer) { ::operator delete(buffer); }

}  // namespace

FramePool::~FramePool() {
  for (FrameBuffer* b : free_)
    while (b) release(std::exchange(b, b->next_free));
}

FrameRef FramePool::take(size_t size) {
  int size_class = size <= kSmallest ? 0 : static_cast<int>(std::bit_width((size - 1) / kSmallest));
  size_t capacity = kSmallest << size_class;
  if (size_class >= kClasses) {
    size_class = -1;
    capacity = size;
  } else if (FrameBuffer*& first = free_[static_cast<size_t>(size_class)]; first) {
    FrameBuffer* buffer = std::exchange(first, first->next_free);
    free_bytes_ -= buffer->capacity;
    return FrameRef(buffer);
  }
  void* memory = ::operator new(sizeof(FrameBuffer) + capacity);
  return FrameRef(new (memory) FrameBuffer{this, nullptr, 0, size_class, capacity});
}

void FramePool::give_back(FrameBuffer* buffer) {
  ODRADEK_CHECK(buffer->references == 0);
  if (buffer->size_class < 0 || free_bytes_ + buffer->capacity > kFreeBytesMax)
    return release(buffer);
  FrameBuffer*& first = free_[static_cast<size_t>(buffer->size_class)];
  buffer->next_free = std::exchange(first, buffer);
  free_bytes_ += buffer->capacity;
}

}  // namespace odradek::server
