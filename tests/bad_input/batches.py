"""Record batches, right and wrong, built by hand: every field of the header can be set to anything."""
import gzip
import os
import struct
import sys
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'tools'))
import probe

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
LOG_APPEND_TIME, TRANSACTIONAL, CONTROL, DELETE_HORIZON = 8, 16, 32, 64


def varint(n):
    """A zigzag varint; bytes are taken as they are."""
    if isinstance(n, bytes):
        return n
    n = ((n << 1) ^ (n >> 63)) & 0xffffffffffffffff
    out = b''
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def record(i, key=b'k', value=b'v', timestamp_delta=0, offset_delta=None, headers=(), attributes=0, size=None, tail=b'',
           key_size=None, value_size=None, header_count=None):
    body = struct.pack('>B', attributes) + varint(timestamp_delta) + varint(i if offset_delta is None else offset_delta)
    for field, given in ((key, key_size), (value, value_size)):
        body += varint(given if given is not None else -1 if field is None else len(field)) + (field or b'')
    body += varint(len(headers) if header_count is None else header_count)
    for name, content in headers:
        body += varint(-1 if name is None else len(name)) + (name or b'')
        body += varint(-1 if content is None else len(content)) + (content or b'')
    body += tail
    return varint(len(body) if size is None else size) + body


def records(count, **kw):
    return b''.join(record(i, **kw) for i in range(count))


def lz4_block(data):
    """A block that is stored as it is."""
    return struct.pack('<I', len(data) | 0x80000000) + data


def compress(codec, data):
    if codec == GZIP:
        return gzip.compress(data, 6, mtime=0)
    if codec == SNAPPY:
        chunks = b''.join(struct.pack('>i', len(c)) + c for c in
                          (raw_snappy(data[at:at + 32768]) for at in range(0, max(len(data), 1), 32768)))
        return b'\x82SNAPPY\0' + struct.pack('>ii', 1, 1) + chunks
    if codec == LZ4:
        blocks = b''.join(lz4_block(data[at:at + 65536]) for at in range(0, len(data), 65536))
        return bytes.fromhex('04224d18604082') + blocks + bytes(4)
    if codec == ZSTD:
        out, limit = bytes.fromhex('28b52ffd0058'), 131072
        pieces = [data[at:at + limit] for at in range(0, max(len(data), 1), limit)]
        for i, piece in enumerate(pieces):
            out += struct.pack('<I', len(piece) << 3 | (i == len(pieces) - 1))[:3] + piece
        return out
    return data


def raw_snappy(data):
    """A snappy block of literals alone."""
    out, n = b'', len(data)
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    out += bytes([n])
    for at in range(0, len(data), 60):
        out += bytes([(len(data[at:at + 60]) - 1) << 2]) + data[at:at + 60]
    return out


def zstd_zeros(size):
    """`size` zeros (a multiple of 128 KiB) as blocks of one repeated byte: four bytes for each 128 KiB."""
    block = struct.pack('<I', 131072 << 3 | 2)[:3] + b'\0'
    n = size // 131072
    last = struct.pack('<I', 131072 << 3 | 3)[:3] + b'\0'
    return block * (n - 1) + last


def batch(data=None, count=1, codec=NONE, base_offset=0, length=None, leader_epoch=-1, magic=2, crc=None, attributes=None,
          last_offset_delta=None, base_timestamp=None, max_timestamp=None, producer=-1, epoch=-1, sequence=-1,
          declared=None, now=0, compressed=None, tail=b'', flags=0):
    """`data`: the records before compression (default `count` records); `compressed` replaces what the codec makes."""
    data = records(count) if data is None else data
    body = compress(codec, data) if compressed is None else compressed
    base_timestamp = now if base_timestamp is None else base_timestamp
    rest = struct.pack('>HiqqqhiI', (codec | flags) if attributes is None else attributes,
                       count - 1 if last_offset_delta is None else last_offset_delta, base_timestamp,
                       base_timestamp if max_timestamp is None else max_timestamp, producer, epoch, sequence,
                       (count if declared is None else declared) & 0xffffffff) + body
    size = 9 + len(rest) if length is None else length
    return struct.pack('>qiibI', base_offset, size, leader_epoch, magic, probe.crc32c(rest) if crc is None else crc) + rest + tail


def legacy(magic, key=b'k', value=b'v', timestamp=0, wrong_crc=False):
    """A message of the old formats 0 and 1."""
    body = struct.pack('>bB', magic, 0) + (struct.pack('>q', timestamp) if magic == 1 else b'')
    for field in (key, value):
        body += struct.pack('>i', -1 if field is None else len(field)) + (field or b'')
    message = struct.pack('>I', zlib.crc32(body) ^ wrong_crc) + body
    return struct.pack('>qi', 0, len(message)) + message
