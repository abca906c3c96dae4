#include "base/uuid.h"

namespace odradek {

namespace {
constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

int digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '-') return 62;
  if (c == '_') return 63;
  return -1;
}
}  // namespace

std::string Uuid::to_string() const {
  std::string out;
  out.reserve(22);
  auto value = (static_cast<unsigned __int128>(high) << 64) | low;
  for (int i = 0; i < 21; i++)
    out.push_back(kAlphabet[static_cast<int>(value >> (122 - 6 * i)) & 63]);
  out.push_back(kAlphabet[static_cast<int>(value << 4) & 63]);
  return out;
}

std::string Uuid::to_hex() const {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (uint64_t half : {high, low})
    for (int shift = 60; shift >= 0; shift -= 4) out.push_back(kHex[(half >> shift) & 15]);
  return out;
}

std::optional<Uuid> Uuid::parse(std::string_view text) {
  while (text.size() > 22 && text.back() == '=') text.remove_suffix(1);
  if (text.size() != 22) return std::nullopt;
  unsigned __int128 value = 0;
  for (size_t i = 0; i < 22; i++) {
    int d = digit(text[i]);
    if (d < 0) return std::nullopt;
    if (i == 21) {
      value = (value << 2) | static_cast<unsigned>(d >> 4);
    } else {
      value = (value << 6) | static_cast<unsigned>(d);
    }
  }
  return Uuid{static_cast<uint64_t>(value >> 64), static_cast<uint64_t>(value)};
}

}  // namespace odradek
