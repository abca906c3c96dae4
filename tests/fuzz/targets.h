// What the fuzzers do with an input. Each target must survive anything, and checks (ODRADEK_CHECK)
// what must hold of an input that was accepted.
#pragma once

#include "base/bytes.h"

namespace odradek::fuzz {

/// Bytes 0-1 choose a message of all (requests, responses, records, headers), byte 2 the version,
/// the rest is its body. What decodes must encode, and decode again to the same.
void message(ByteView input);

/// A stored metadata record: its prefix chooses type and version.
void framed_record(ByteView input);

/// A buffer of record batches, every record of every batch, decompressed or not.
void batches(ByteView input);

/// Byte 0 chooses the rules and whether length, base offset and CRC are put right first; the rest
/// is a producer's batch. What passes must be readable record by record.
void validator(ByteView input);

/// Byte 0 chooses the codec, the rest is a stream.
void decompression(ByteView input);

/// The files of a partition's folder. Byte 0: bit 0 a clean stop, bit 1 contiguous; then files: a
/// byte that chooses the name, the base offset in a byte, the size in two, the bytes. What opens
/// must be readable from start to end, take an append, and open again to the same.
void log_recovery(ByteView input);

}  // namespace odradek::fuzz
