#include "io/io.h"

#include <array>

namespace odradek::io {

Uuid Random::uuid() {
  for (;;) {
    Uuid u{next(), next()};
    u.high = (u.high & ~uint64_t{0xF000}) | 0x4000;
    u.low = (u.low & ~(uint64_t{3} << 62)) | (uint64_t{2} << 62);
    // A text that begins with '-' would be taken for an option by command line tools (as at
    // Apache).
    if (u.to_string().front() != '-') return u;
  }
}

void Io::write_all(std::span<FileWrite> writes) {
  for (FileWrite& each : writes) each.result = each.file->write(each.position, each.bytes);
}

// Sanitizers shall see every frame's life and death.
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
void* allocate_frame(std::size_t size) { return ::operator new(size); }
void free_frame(void* frame, std::size_t) noexcept { ::operator delete(frame); }
#else
namespace {
constexpr std::size_t kClassBytes = 256;
constexpr std::size_t kClasses = 16;
constexpr int kKeptPerClass = 64;

struct FrameCache {
  struct Node {
    Node* next;
  };
  std::array<Node*, kClasses> free{};
  std::array<int, kClasses> count{};
  ~FrameCache() {
    for (Node* n : free)
      while (n != nullptr) ::operator delete(std::exchange(n, n->next));
  }
};
thread_local FrameCache frame_cache;
}  // namespace

void* allocate_frame(std::size_t size) {
  std::size_t c = (size - 1) / kClassBytes;
  if (c >= kClasses) return ::operator new(size);
  if (auto* n = frame_cache.free[c]) {
    frame_cache.free[c] = n->next;
    frame_cache.count[c]--;
    return n;
  }
  return ::operator new((c + 1) * kClassBytes);
}

void free_frame(void* frame, std::size_t size) noexcept {
  std::size_t c = (size - 1) / kClassBytes;
  if (c >= kClasses || frame_cache.count[c] >= kKeptPerClass) {
    ::operator delete(frame);
    return;
  }
  auto* n = static_cast<FrameCache::Node*>(frame);
  n->next = frame_cache.free[c];
  frame_cache.free[c] = n;
  frame_cache.count[c]++;
}
#endif

}  // namespace odradek::io
