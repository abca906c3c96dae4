// Reads the test vectors (vectors/*.jsonl.gz): one JSON object per line, gzip.
#pragma once

#include <zlib.h>

#include <boost/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace odradek::golden {

/// All objects of a file; throws when it cannot be read.
inline std::vector<boost::json::object> load_vectors(const std::string& name) {
  const std::string path = std::string(GOLDEN_VECTORS) + "/" + name;
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) throw std::runtime_error("cannot open " + path);
  std::string text;
  std::vector<char> block(1 << 16);
  int n = 0;
  while ((n = gzread(file, block.data(), static_cast<unsigned>(block.size()))) > 0)
    text.append(block.data(), static_cast<size_t>(n));
  gzclose(file);
  if (n < 0) throw std::runtime_error("cannot read " + path);
  std::vector<boost::json::object> out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    if (end > at) out.push_back(boost::json::parse({text.data() + at, end - at}).as_object());
    at = end + 1;
  }
  return out;
}

inline ByteBuffer from_hex(std::string_view hex) {
  const auto digit = [](char c) {
    return static_cast<uint8_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
  };
  ByteBuffer out(hex.size() / 2);
  for (size_t i = 0; i < out.size(); i++)
    out[i] = static_cast<uint8_t>(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
  return out;
}

inline std::string_view text(const boost::json::object& v, const char* key) {
  return std::string_view(v.at(key).as_string());
}
inline int64_t number(const boost::json::object& v, const char* key) {
  return v.at(key).as_int64();
}

}  // namespace odradek::golden
