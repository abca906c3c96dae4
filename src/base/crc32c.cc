#include "base/crc32c.h"

#include <isa-l/crc.h>

namespace odradek {

uint32_t crc32c(ByteView data, uint32_t crc) {
  uint32_t state = ~crc;
  const uint8_t* p = data.data();
  size_t left = data.size();
#ifdef __SSE4_2__
  // The instruction wins on short input, ISA-L's folding from about 256 bytes on.
  if (left < 256) {
    uint64_t wide = state;
    for (; left >= 8; p += 8, left -= 8) {
      uint64_t v;
      std::memcpy(&v, p, 8);
      wide = __builtin_ia32_crc32di(wide, v);
    }
    state = static_cast<uint32_t>(wide);
    for (; left > 0; p++, left--) state = __builtin_ia32_crc32qi(state, *p);
    return ~state;
  }
#endif
  while (left > 0) {
    int step = left > (1 << 30) ? (1 << 30) : static_cast<int>(left);
    // ISA-L's signature lacks const; it only reads.
    state = crc32_iscsi(const_cast<unsigned char*>(p), step, state);
    p += step;
    left -= static_cast<size_t>(step);
  }
  return ~state;
}

}  // namespace odradek
