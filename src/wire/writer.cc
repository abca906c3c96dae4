#include "wire/writer.h"

#include <fmt/format.h>

#include <algorithm>

namespace odradek::wire {

namespace {
constexpr size_t kFirstSize = 256;
}  // namespace

void Writer::enlarge(size_t n) {
  buffer_.resize(std::max({kFirstSize, buffer_.size() * 2, used_ + n}));
}

void Writer::long_uvarint(uint64_t v) {
  uint8_t out[10];
  size_t n = 0;
  for (; v >= 0x80; v >>= 7) out[n++] = static_cast<uint8_t>(v | 0x80);
  out[n++] = static_cast<uint8_t>(v);
  raw({out, n});
}

void Writer::end_tagged(size_t begin) {
  const size_t n = used_ - begin;
  if (n < 0x80) {
    buffer_[begin - 1] = static_cast<uint8_t>(n);
    return;
  }
  // The size takes more than the one byte kept for it: move the field up.
  size_t more = 0;
  for (size_t rest = n >> 7; rest != 0; rest >>= 7) more++;
  grow(more);
  std::memmove(buffer_.data() + begin + more, buffer_.data() + begin, n);
  uint8_t* p = buffer_.data() + begin - 1;
  size_t rest = n;
  for (; rest >= 0x80; rest >>= 7) *p++ = static_cast<uint8_t>(rest | 0x80);
  *p = static_cast<uint8_t>(rest);
}

void Writer::splice(const RecordsRef& records) {
  for (const Piece& piece : records.pieces) {
    if (!piece.source && piece.memory.size() <= kCopyMax) {
      raw(piece.memory);
      continue;
    }
    spliced_ += piece.size();
    splices_.push_back({used_, piece});
  }
}

ByteBuffer Writer::take() {
  buffer_.resize(used_);
  ByteBuffer out;
  if (splices_.empty()) {
    out = std::move(buffer_);
  } else {
    out.reserve(size());
    size_t from = 0;
    for (const Splice& s : splices_) {
      ODRADEK_CHECK(!s.piece.source);
      out.insert(out.end(), buffer_.begin() + from, buffer_.begin() + s.at);
      out.insert(out.end(), s.piece.memory.begin(), s.piece.memory.end());
      from = s.at;
    }
    out.insert(out.end(), buffer_.begin() + from, buffer_.end());
  }
  clear();
  return out;
}

Chain Writer::take_chain() {
  buffer_.resize(used_);
  Chain chain;
  if (splices_.empty()) {
    chain.add(std::move(buffer_));
  } else {
    auto bytes = std::make_shared<ByteBuffer>(std::move(buffer_));
    const ByteView all(*bytes);
    size_t from = 0;
    for (Splice& s : splices_) {
      chain.add_view(all.subspan(from, s.at - from));
      chain.add(std::move(s.piece));
      from = s.at;
    }
    chain.add_view(all.subspan(from));
    chain.keep(std::move(bytes));
  }
  clear();
  return chain;
}

void Writer::clear() {
  used_ = 0;
  spliced_ = 0;
  splices_.clear();
  error_.reset();
  buffer_.resize(buffer_.capacity());
}

void Writer::unsupported(std::string_view message, std::string_view field, int16_t version) {
  fail_with(Errc::kUnsupported,
            fmt::format("{} version {} cannot carry {}", message, version, field));
}

void Writer::null_unsupported(std::string_view message, std::string_view field, int16_t version) {
  fail_with(Errc::kUnsupported,
            fmt::format("{} version {} cannot carry a null {}", message, version, field));
}

void Writer::unsupported_version(std::string_view message, int16_t version) {
  fail_with(Errc::kUnsupported, fmt::format("{} has no version {}", message, version));
}

}  // namespace odradek::wire
