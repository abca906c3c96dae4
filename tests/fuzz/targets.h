// What the fuzzers do with an input. Each target must survive anything, and checks (ODRADEK_CHECK)
// what must hold of an input that was accepted.
#pragma once

#include "base/bytes.h"

namespace odradek::fuzz {

/// A request as it comes behind its size: header, then the body of that API and version.
void request(ByteView input);

/// Bytes 0-1 choose a message of all (requests, responses, records, headers), byte 2 the version,
/// the rest is its body. What decodes must encode, and decode again to the same.
void message(ByteView input);

/// A stored metadata record: its prefix chooses type and version.
void framed_record(ByteView input);

/// Records of `__consumer_offsets`: a byte of flags (bit 0 no value, bit 1 of a transaction, bit 2
/// its end), the sizes of key and value in two bytes each, the bytes. A group coordinator that has
/// loaded them must serve its groups, and what it writes then must be readable.
void group_records(ByteView input);

/// A buffer of record batches, every record of every batch, decompressed or not.
void batches(ByteView input);

/// Byte 0 chooses the rules and whether length, base offset and CRC are put right first; the rest
/// is a producer's batch. What passes must be readable record by record.
void validator(ByteView input);

/// A stream of that codec. What it gives must come back when it is compressed again, and the input
/// itself, compressed, too.
void gzip(ByteView input);
void snappy(ByteView input);  // raw blocks and the stream of snappy-java
void lz4(ByteView input);
void zstd(ByteView input);

/// The files of a partition's folder. Byte 0: bit 0 a clean stop, bit 1 contiguous; then files: a
/// byte that chooses the name, the base offset in a byte, the size in two, the bytes. What opens
/// must be readable from start to end, take an append, and open again to the same.
void log_recovery(ByteView input);

/// The index files of a sound log of three segments. Byte 0: bit 0 a clean stop; then files as
/// above. With a clean stop or without, every offset must be found, and what is read must be what
/// was written.
void index_files(ByteView input);

/// Byte 0 chooses the kind of a small file: offset checkpoint, leader-epoch-checkpoint,
/// partition.metadata, meta.properties, quorum-state, clean marker, producer snapshot (bit 7: put
/// its checksum right first). What is accepted must come back from what we would write.
void checkpoint_files(ByteView input);

/// A snapshot of the metadata log, or bootstrap.checkpoint; byte 0, bit 0: put lengths and
/// checksums right first. Its records go into an image.
void metadata_snapshot(ByteView input);

/// Byte 0 chooses: a properties file, a whole server.properties, an override, or (number of a
/// setting, value) of a broker, topic, group or client-metrics setting.
void config(ByteView input);

}  // namespace odradek::fuzz
