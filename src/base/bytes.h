// Views of bytes, big-endian access, and Chain: the bytes of an answer as memory and file ranges.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace odradek {

/// Bytes that somebody else owns.
using ByteView = std::span<const uint8_t>;
using MutableBytes = std::span<uint8_t>;
using ByteBuffer = std::vector<uint8_t>;

inline std::string_view as_text(ByteView b) {
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}
inline ByteView as_bytes(std::string_view s) {
  return {reinterpret_cast<const uint8_t*>(s.data()), s.size()};
}

/// Reads an unsigned or signed integer of T's width, big-endian, from unaligned memory.
template <class T>
T load_be(const uint8_t* p) {
  using U = std::make_unsigned_t<T>;
  U v;
  std::memcpy(&v, p, sizeof v);
  if constexpr (sizeof(U) == 2) v = static_cast<U>(__builtin_bswap16(v));
  if constexpr (sizeof(U) == 4) v = __builtin_bswap32(v);
  if constexpr (sizeof(U) == 8) v = __builtin_bswap64(v);
  return static_cast<T>(v);
}

/// Writes an integer of T's width, big-endian, to unaligned memory.
template <class T>
void store_be(uint8_t* p, T value) {
  using U = std::make_unsigned_t<T>;
  U v = static_cast<U>(value);
  if constexpr (sizeof(U) == 2) v = static_cast<U>(__builtin_bswap16(v));
  if constexpr (sizeof(U) == 4) v = __builtin_bswap32(v);
  if constexpr (sizeof(U) == 8) v = __builtin_bswap64(v);
  std::memcpy(p, &v, sizeof v);
}

/// Something whose bytes can be sent without passing through our memory: `io` derives its file from
/// this.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
};

/// A run of bytes of an answer: memory (`source` null) or `length` bytes of a source from
/// `position`.
struct Piece {
  ByteView memory;
  std::shared_ptr<ByteSource> source;
  uint64_t position = 0;
  uint64_t length = 0;

  uint64_t size() const { return source ? length : memory.size(); }
};

/// The bytes of one or more frames, in order. Owns its buffers and holds its sources until
/// destroyed.
class Chain {
 public:
  Chain() = default;
  Chain(Chain&&) = default;
  Chain& operator=(Chain&&) = default;

  /// Appends a buffer and takes it over.
  void add(ByteBuffer&& buffer) {
    if (buffer.empty()) return;
    owned_.push_back(std::make_unique<ByteBuffer>(std::move(buffer)));
    add_view(*owned_.back());
  }
  /// Appends memory that must live as long as this chain.
  void add_view(ByteView memory) {
    if (memory.empty()) return;
    size_ += memory.size();
    pieces_.push_back(Piece{memory, nullptr, 0, 0});
  }
  /// Appends any piece.
  void add(Piece piece) {
    if (piece.size() == 0) return;
    size_ += piece.size();
    pieces_.push_back(std::move(piece));
  }
  /// Keeps something alive as long as this chain.
  void keep(std::shared_ptr<const void> owner) { kept_.push_back(std::move(owner)); }
  /// Moves everything of `other` behind what is here.
  void append(Chain&& other) {
    for (auto& p : other.pieces_) pieces_.push_back(std::move(p));
    for (auto& b : other.owned_) owned_.push_back(std::move(b));
    for (auto& k : other.kept_) kept_.push_back(std::move(k));
    size_ += other.size_;
    other.clear();
  }
  void clear() {
    pieces_.clear();
    owned_.clear();
    kept_.clear();
    size_ = 0;
  }

  const std::vector<Piece>& pieces() const { return pieces_; }
  /// Total number of bytes.
  uint64_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

 private:
  std::vector<Piece> pieces_;
  std::vector<std::unique_ptr<ByteBuffer>> owned_;
  std::vector<std::shared_ptr<const void>> kept_;
  uint64_t size_ = 0;
};

}  // namespace odradek
