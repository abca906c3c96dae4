// CRC-32C (Castagnoli) as in record batches, producer snapshots and nowhere else.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace odradek {

/// CRC of `data`, continuing from `crc` (0 to begin). Initial and final complement are inside.
uint32_t crc32c(ByteView data, uint32_t crc = 0);

}  // namespace odradek
