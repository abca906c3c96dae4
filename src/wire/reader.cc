#include "wire/reader.h"

#include <fmt/format.h>

#include <new>

namespace odradek::wire {

uint64_t Reader::long_uvarint(int bytes_max) {
  uint64_t value = 0;
  for (int i = 0; i < bytes_max; i++) {
    if (at_ == end_) {
      report(Problem::kShort, 1);
      return 0;
    }
    const uint8_t byte = *at_++;
    value |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if (byte < 0x80) return value;
  }
  report(Problem::kVarint, static_cast<uint64_t>(bytes_max));
  return 0;
}

void Reader::report(Problem problem, uint64_t value) {
  if (ok()) {
    problem_ = problem;
    value_ = value;
    problem_at_ = position();
    problem_left_ = remaining();
  }
  at_ = end_;
}

RecordsRef Reader::ref(ByteView bytes) {
  if (bytes.empty()) return {};
  // Never destroyed: a piece of memory has no source, so its destructor has nothing to do.
  auto* piece = new (arena_->allocate(sizeof(Piece), alignof(Piece))) Piece{bytes, nullptr, 0, 0};
  return {{piece, 1}};
}

Result<void> Reader::error(std::string_view name, int16_t version) const {
  const auto because = [&]() -> std::string {
    const auto number = static_cast<int64_t>(value_);
    switch (problem_) {
      case Problem::kNone:
        return "nothing";
      case Problem::kShort:
        return fmt::format("{} more bytes are needed, {} are left", value_, problem_left_);
      case Problem::kVarint:
        return fmt::format("a varint is longer than {} bytes", value_);
      case Problem::kNull:
        return fmt::format("{} is null where the version does not allow it",
                           field_ ? field_ : "a field");
      case Problem::kLength:
        return fmt::format("a length is {}", number);
      case Problem::kStringLength:
        return fmt::format("a string has {} bytes, more than {}", value_, kStringMax);
      case Problem::kCount:
        return fmt::format("an array of {} cannot fit in the {} bytes left", number, problem_left_);
      case Problem::kArrayMemory:
        return fmt::format("its arrays (one of {}) need too much memory for its size", number);
      case Problem::kTagSize:
        return fmt::format("tagged field {} does not fill its declared size", value_);
      case Problem::kTrailing:
        return fmt::format("{} bytes follow it", value_);
    }
    return "unknown";
  }();
  return fail(Errc::kCorrupt,
              fmt::format("{} version {}, byte {}: {}", name, version, problem_at_, because));
}

Result<void> Reader::unsupported_version(std::string_view name, int16_t version) {
  return fail(Errc::kUnsupported, fmt::format("{} has no version {}", name, version));
}

}  // namespace odradek::wire
