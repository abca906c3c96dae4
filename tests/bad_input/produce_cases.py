"""What producers may send wrongly: batches, each for a partition of its own, as steps of Produce requests."""
import struct
import zlib

from batches import (CONTROL, DELETE_HORIZON, GZIP, LOG_APPEND_TIME, LZ4, NONE, SNAPPY, TRANSACTIONAL, ZSTD, batch, compress,
                     legacy, raw_snappy, record, records, varint, zstd_zeros)

HOUR = 3_600_000
INT32_MAX = 0x7fffffff
CODECS = {'gzip': GZIP, 'snappy': SNAPPY, 'lz4': LZ4, 'zstd': ZSTD}

# Topics by name with their settings.
TOPICS = {
    'plain': {},
    'compact': {'cleanup.policy': 'compact'},
    'both': {'cleanup.policy': 'compact,delete'},
    'append': {'message.timestamp.type': 'LogAppendTime'},
    'append-zstd': {'message.timestamp.type': 'LogAppendTime', 'compression.type': 'zstd'},
    'limited': {'message.timestamp.before.max.ms': str(HOUR), 'message.timestamp.after.max.ms': str(2 * HOUR)},
    'exact': {'message.timestamp.before.max.ms': '0', 'message.timestamp.after.max.ms': '0'},
    'small': {'max.message.bytes': '1000'},
    'small-none': {'max.message.bytes': '1000', 'compression.type': 'uncompressed'},
    'small-gzip': {'max.message.bytes': '1000', 'compression.type': 'gzip'},
    'zero': {'max.message.bytes': '0'},
    'large': {'max.message.bytes': '4000000', 'segment.bytes': '1048576'},
    'to-none': {'compression.type': 'uncompressed'},
    'to-gzip': {'compression.type': 'gzip', 'compression.gzip.level': '9'},
    'to-snappy': {'compression.type': 'snappy'},
    'to-lz4': {'compression.type': 'lz4', 'compression.lz4.level': '17'},
    'to-zstd': {'compression.type': 'zstd', 'compression.zstd.level': '-5'},
    'compact-gzip': {'cleanup.policy': 'compact', 'compression.type': 'gzip'},
}


class Step:
    """One Produce request with one partition."""

    def __init__(self, data, version=9, acks=-1, client='bad-input', transactional_id=None):
        self.data, self.version, self.acks, self.client, self.transactional_id = data, version, acks, client, transactional_id


class Case:
    def __init__(self, name, topic, steps):
        self.name, self.topic = name, topic
        self.steps = [s if isinstance(s, Step) else Step(s) for s in (steps if isinstance(steps, list) else [steps])]


def frame_cases(now):
    good = batch(now=now)
    yield 'good', good
    for version in (3, 5, 7, 8, 9, 10, 11, 12):
        yield f'good-version-{version}', Step(good, version=version)
    yield 'null-records', Step(None)
    yield 'no-records', b''
    for size in (1, 7, 11, 12, 16, 17, 20, 40, 60, 61, len(good) - 1):
        yield f'cut-at-{size}', good[:size]
    yield 'a-byte-behind', good + b'\0'
    yield 'zeros-behind', good + bytes(100)
    yield 'two-batches', good + batch(now=now)
    yield 'a-batch-and-half', good + good[:30]
    yield 'a-batch-and-old-one', good + legacy(1, timestamp=now)
    for length in (-2147483648, -1, 0, 1, 13, 14, 48, 49, len(good) - 13, len(good) - 11, len(good), INT32_MAX):
        yield f'length-{length}', batch(now=now, length=length)
    for magic in (-128, -1, 0, 1, 3, 127):
        yield f'magic-{magic}', batch(now=now, magic=magic)
    for magic in (0, 1):
        yield f'old-format-{magic}', legacy(magic, timestamp=now)
        yield f'old-format-{magic}-version-3', Step(legacy(magic, timestamp=now), version=3)
        yield f'old-format-{magic}-wrong-crc', legacy(magic, timestamp=now, wrong_crc=True)
    yield 'crc-0', batch(now=now, crc=0)
    yield 'crc-off-by-one-bit', good[:20] + bytes([good[20] ^ 1]) + good[21:]
    for at in (21, 23, 27, 35, 43, 51, 53, 57, 61, len(good) - 1):
        yield f'flip-at-{at}', good[:at] + bytes([good[at] ^ 4]) + good[at + 1:]
    for acks in (-2, 0, 1, 2, 32767):
        yield f'acks-{acks}', Step(good, acks=acks)
        yield f'acks-{acks}-bad-crc', Step(batch(now=now, crc=1), acks=acks)
    yield 'noise', bytes(range(256))
    yield 'ones', b'\xff' * 200
    yield 'zeros', bytes(200)


def header_cases(now):
    for offset in (-1, 1, 1 << 62, -(1 << 63)):
        yield f'base-offset-{offset}', batch(now=now, base_offset=offset)
    for epoch in (-2, 0, INT32_MAX):
        yield f'leader-epoch-{epoch}', batch(now=now, leader_epoch=epoch)
    for delta in (-2147483648, -2, -1, 1, 2, INT32_MAX):
        yield f'last-offset-delta-{delta}', batch(now=now, last_offset_delta=delta)
    for declared in (-2147483648, -1, 0, 2, 1000, INT32_MAX):
        yield f'count-{declared}', batch(now=now, declared=declared)
        yield f'count-and-delta-{declared}', batch(now=now, declared=declared, last_offset_delta=max(declared - 1, -1))
    yield 'three-declared-two', batch(count=3, now=now, declared=2, last_offset_delta=1)
    yield 'no-records-at-all', batch(b'', count=0, now=now)
    yield 'one-declared-none-there', batch(b'', count=1, now=now)
    for codec in (5, 6, 7):
        yield f'codec-{codec}', batch(now=now, attributes=codec)
    for bit in (7, 8, 15):
        yield f'unused-attribute-{bit}', batch(now=now, attributes=1 << bit)
    yield 'delete-horizon', batch(now=now, flags=DELETE_HORIZON)
    yield 'control', batch(record(0, struct.pack('>hh', 0, 1), struct.pack('>hi', 0, 0)), now=now, flags=CONTROL)
    yield 'control-of-a-transaction', batch(record(0, struct.pack('>hh', 0, 0), struct.pack('>hi', 0, 0)), now=now, producer=77,
                                            epoch=0, sequence=-1, flags=CONTROL | TRANSACTIONAL)
    yield 'control-with-transactional-id', Step(
        batch(record(0, struct.pack('>hh', 0, 0), struct.pack('>hi', 0, 0)), now=now, producer=77, epoch=0, sequence=0,
              flags=CONTROL | TRANSACTIONAL), transactional_id='t')
    yield 'transactional-without-id', batch(now=now, producer=78, epoch=0, sequence=0, flags=TRANSACTIONAL)
    yield 'log-append-time-set', batch(now=now, flags=LOG_APPEND_TIME)


def record_cases(now):
    def one(name, data, count=1):
        yield name, batch(data, count=count, now=now)
        yield f'{name}-gzip', batch(data, count=count, now=now, codec=GZIP)

    good = record(0)
    yield from one('record-size-0', varint(0))
    yield from one('record-size-minus-1', varint(-1) + good[1:])
    yield from one('record-size-short', record(0, size=len(good) - 2))
    yield from one('record-size-long', record(0, size=len(good)))
    yield from one('record-size-huge', record(0, size=INT32_MAX))
    yield from one('record-varint-too-long', b'\xff' * 6 + good)
    yield from one('record-cut', good[:-1])
    yield from one('bytes-behind', good + b'\0')
    yield from one('record-tail', record(0, tail=b'\0\0'))
    yield from one('record-attributes', record(0, attributes=0xff))
    yield from one('record-attributes-codec', record(0, attributes=1))
    for size in (-2, -1, 0, 2, 1000, INT32_MAX, -2147483648):
        yield from one(f'key-size-{size}', record(0, key_size=size))
        yield from one(f'value-size-{size}', record(0, value_size=size))
        yield from one(f'header-count-{size}', record(0, header_count=size))
    yield from one('header', record(0, headers=[(b'h', b'x'), (b'', None)]))
    yield from one('header-without-key', record(0, headers=[(None, b'x')]))
    yield from one('header-key-no-utf8', record(0, headers=[(b'\xff\xfe', b'x')]))
    yield from one('null-key-and-value', record(0, None, None))
    for deltas in ((1,), (-1,), (0, 0), (1, 0), (0, 2), (5, 6), (0, INT32_MAX), (2, 1, 0)):
        name = 'offset-deltas' + ''.join(f'_{d}' for d in deltas)
        yield from one(name, b''.join(record(i, offset_delta=d) for i, d in enumerate(deltas)), len(deltas))
    yield from one('many', records(500), 500)


def codec_cases(now):
    data = records(3)
    for name, codec in CODECS.items():
        packed = compress(codec, data)
        yield f'{name}', batch(count=3, now=now, codec=codec)
        yield f'{name}-empty', batch(count=1, now=now, codec=codec, compressed=b'')
        yield f'{name}-garbage', batch(count=3, now=now, codec=codec, compressed=b'garbage' * 5)
        yield f'{name}-zeros', batch(count=3, now=now, codec=codec, compressed=bytes(50))
        yield f'{name}-plain', batch(count=3, now=now, codec=codec, compressed=data)
        for cut in (1, len(packed) // 2, len(packed) - 1):
            yield f'{name}-cut-{"half" if cut == len(packed) // 2 else cut if cut == 1 else "last"}', \
                batch(count=3, now=now, codec=codec, compressed=packed[:cut])
        yield f'{name}-behind', batch(count=3, now=now, codec=codec, compressed=packed + b'behind')
        for at in range(0, len(packed), max(1, len(packed) // 12)):
            flipped = packed[:at] + bytes([packed[at] ^ 0x10]) + packed[at + 1:]
            yield f'{name}-flip-{at}', batch(count=3, now=now, codec=codec, compressed=flipped)
        yield f'{name}-count-less', batch(count=3, now=now, codec=codec, declared=2, last_offset_delta=1)
        yield f'{name}-count-more', batch(count=3, now=now, codec=codec, declared=4, last_offset_delta=3)
        yield f'{name}-twice', batch(count=6, now=now, codec=codec, compressed=packed + compress(codec, records(6)[len(data):]))
        yield f'{name}-one-of-many', batch(records(2000), count=2000, now=now, codec=codec)
    yield 'zstd-version-6', Step(batch(count=3, now=now, codec=ZSTD), version=6)
    yield 'zstd-version-7', Step(batch(count=3, now=now, codec=ZSTD), version=7)
    yield 'snappy-raw', batch(count=3, now=now, codec=SNAPPY, compressed=raw_snappy(data))
    yield 'snappy-raw-wrong-length', batch(count=3, now=now, codec=SNAPPY, compressed=b'\xff\xff\xff\xff\x0f' + raw_snappy(data)[1:])
    yield 'snappy-other-version', batch(count=3, now=now, codec=SNAPPY,
                                        compressed=b'\x82SNAPPY\0' + struct.pack('>ii', 2, 2) + compress(SNAPPY, data)[16:])
    yield 'snappy-chunk-huge', batch(count=3, now=now, codec=SNAPPY,
                                     compressed=compress(SNAPPY, data)[:16] + struct.pack('>i', INT32_MAX) + data)
    yield 'snappy-chunk-negative', batch(count=3, now=now, codec=SNAPPY,
                                         compressed=compress(SNAPPY, data)[:16] + struct.pack('>i', -1) + data)
    lz4 = compress(LZ4, data)
    yield 'lz4-dependent-blocks', batch(count=3, now=now, codec=LZ4, compressed=bytes.fromhex('04224d18404073') + lz4[7:])
    yield 'lz4-wrong-header-checksum', batch(count=3, now=now, codec=LZ4, compressed=lz4[:6] + b'\0' + lz4[7:])
    yield 'lz4-no-end-mark', batch(count=3, now=now, codec=LZ4, compressed=lz4[:-4])
    yield 'lz4-block-size-huge', batch(count=3, now=now, codec=LZ4, compressed=lz4[:7] + struct.pack('<I', 0xffffffff) + lz4[11:])


def timestamp_cases(now):
    for stamp in (-1, -2, 0, now - 10 * 365 * 24 * HOUR, now + HOUR // 2, now + 2 * HOUR, -(1 << 63), (1 << 63) - 1):
        name = stamp - now if abs(stamp - now) < 20 * 365 * 24 * HOUR else stamp
        for topic in ('plain', 'limited', 'append'):
            yield topic, f'timestamp{name:+}', batch(count=2, base_timestamp=stamp)
    for topic in ('plain', 'limited', 'exact', 'append'):
        yield topic, 'one-of-three-late', batch(records(1) + record(1, timestamp_delta=-2 * HOUR) + record(2), count=3, now=now)
        yield topic, 'two-of-three-early', batch(records(1) + record(1, timestamp_delta=3 * HOUR) +
                                                 record(2, timestamp_delta=4 * HOUR), count=3, now=now)
        yield topic, 'delta-overflow', batch(record(0, timestamp_delta=(1 << 63) - 1), now=now)
        yield topic, 'negative-delta', batch(record(0) + record(1, timestamp_delta=-5), count=2, now=now)
        yield topic, 'max-timestamp-wrong', batch(count=2, now=now, max_timestamp=now + 5)
        yield topic, 'max-timestamp-far', batch(count=2, now=now, max_timestamp=now + 1000 * HOUR)
        yield topic, 'max-timestamp-minus-one', batch(count=2, now=now, max_timestamp=-1)
        yield topic, 'log-append-time-set', batch(count=2, now=now, flags=LOG_APPEND_TIME)
        yield topic, 'log-append-time-set-gzip', batch(count=2, now=now, flags=LOG_APPEND_TIME, codec=GZIP)
        yield topic, 'gzip', batch(count=2, now=now, codec=GZIP)
        yield topic, 'no-timestamps', batch(count=2, base_timestamp=-1)
    yield 'exact', 'late', batch(base_timestamp=now - HOUR)
    yield 'exact', 'early', batch(base_timestamp=now + HOUR)


def key_cases(now):
    mixed = records(1) + record(1, None) + record(2) + record(3, None)
    for topic in ('compact', 'both', 'compact-gzip'):
        yield topic, 'keys', batch(count=2, now=now)
        yield topic, 'empty-key', batch(record(0, b''), now=now)
        yield topic, 'null-key', batch(record(0, None), now=now)
        yield topic, 'null-keys-among-others', batch(mixed, count=4, now=now)
        yield topic, 'null-keys-among-others-zstd', batch(mixed, count=4, now=now, codec=ZSTD)
        yield topic, 'null-key-version-7', Step(batch(record(0, None), now=now), version=7)
        yield topic, 'null-key-acks-0', Step(batch(record(0, None), now=now), acks=0)
        yield topic, 'tombstone', batch(record(0, b'k', None), now=now)
        yield topic, 'null-key-and-late', batch(record(0, None) + record(1, timestamp_delta=10 * HOUR), count=2, now=now)
        yield topic, 'late-and-null-key', batch(record(0, timestamp_delta=10 * HOUR) + record(1, None), count=2, now=now)
        yield topic, 'many-null-keys', batch(records(150, key=None), count=150, now=now)


def size_cases(now):
    for topic in ('small', 'small-none', 'small-gzip'):
        overhead = len(batch(record(0, None, bytes(900)), now=now)) - 900
        for size in (1000, 1001, 2000):
            yield topic, f'size-{size}', batch(record(0, None, b'\7' * (size - overhead)), now=now)
        noise = zlib.decompress(zlib.compress(bytes((i * i * 31 + i // 7) & 255 for i in range(4000))))
        yield topic, 'gzip-unpacks-to-4000', batch(record(0, None, bytes(4000)), now=now, codec=GZIP)
        yield topic, 'zstd-noise', batch(record(0, None, noise[:800]), now=now, codec=ZSTD)
    yield 'small', 'oversize-and-wrong-crc', batch(record(0, None, bytes(2000)), now=now, crc=0)
    yield 'small', 'oversize-and-base-offset', batch(record(0, None, bytes(2000)), now=now, base_offset=1)
    yield 'zero', 'any', batch(now=now)
    yield 'large', 'more-than-a-segment', batch(record(0, None, bytes(1_500_000)), now=now)
    yield 'large', 'a-segment-less-one', batch(record(0, None, bytes(1_048_576 - 100)), now=now)
    yield 'plain', 'oversize', batch(record(0, None, bytes(1_048_600)), now=now, crc=0)


def sequence_cases(now):
    def b(sequence, epoch=0, producer=500, count=2, **kw):
        return batch(count=count, now=now, producer=producer, epoch=epoch, sequence=sequence, **kw)

    yield 'first-0', [b(0)]
    yield 'first-5', [b(5)]
    yield 'in-order', [b(0), b(2), b(4)]
    yield 'gap', [b(0), b(3)]
    yield 'gap-then-right', [b(0), b(3), b(2)]
    yield 'repeat', [b(0), b(0)]
    yield 'repeat-older', [b(0), b(2), b(4), b(0)]
    yield 'repeat-of-sixth-last', [b(2 * i) for i in range(7)] + [b(0), b(2), b(4)]
    yield 'overlap', [b(0), b(1)]
    yield 'repeat-longer', [b(0), b(0, count=3)]
    yield 'repeat-shorter', [b(0), b(0, count=1)]
    yield 'back', [b(10), b(12), b(5)]
    yield 'old-epoch', [b(0, epoch=3), b(2, epoch=2)]
    yield 'new-epoch-from-0', [b(0, epoch=3), b(0, epoch=4)]
    yield 'new-epoch-not-from-0', [b(0, epoch=3), b(2, epoch=4)]
    yield 'epoch-minus-1', [b(0, epoch=-1)]
    yield 'epoch-max', [b(0, epoch=32767), b(2, epoch=32767)]
    yield 'wrap', [b(INT32_MAX - 1), b(0)]
    yield 'wrap-inside', [b(INT32_MAX), b(1)]
    yield 'wrap-gap', [b(INT32_MAX - 1), b(1)]
    yield 'sequence-minus-1', [b(-1)]
    yield 'sequence-min', [b(-2147483648)]
    yield 'producer-minus-2', [b(0, producer=-2), b(5, producer=-2)]
    yield 'producer-max', [b(0, producer=(1 << 63) - 1)]
    yield 'sequence-without-producer', [batch(now=now, sequence=5), batch(now=now, sequence=9)]
    yield 'epoch-without-producer', [batch(now=now, epoch=5)]
    yield 'bad-crc-then-right', [b(0, crc=1), b(0)]
    yield 'refused-record-does-not-count', [batch(b'', count=1, now=now, producer=500, epoch=0, sequence=0), b(0)]


def recompress_cases(now):
    for topic in ('to-none', 'to-gzip', 'to-snappy', 'to-lz4', 'to-zstd', 'append-zstd'):
        for name, codec in {'none': NONE, **CODECS}.items():
            yield topic, f'from-{name}', batch(count=5, now=now, codec=codec, producer=600, epoch=1, sequence=0)
        yield topic, 'deltas', batch(record(0, timestamp_delta=3) + record(1, timestamp_delta=-4), count=2, now=now)
        yield topic, 'gap', batch(record(0) + record(1, offset_delta=2), count=2, now=now, codec=LZ4)
        yield topic, 'garbage', batch(count=3, now=now, codec=LZ4, compressed=b'garbage')
        yield topic, 'count-less', batch(count=3, now=now, codec=LZ4, declared=2, last_offset_delta=1)
        yield topic, 'delete-horizon', batch(count=2, now=now, codec=LZ4, flags=DELETE_HORIZON)
        yield topic, 'record-attributes', batch(record(0, attributes=1), now=now, codec=LZ4)
        yield topic, 'log-append-time', batch(count=2, now=now, codec=LZ4, flags=LOG_APPEND_TIME)


def bomb_cases(now):
    """Small batches that unpack to a lot: a record that says so, and bytes behind the last one."""
    for mib in (64, 160):
        for name, codec in (('gzip', GZIP), ('zstd', ZSTD)):
            size = mib << 20
            begin = b'\0' + varint(0) + varint(0) + varint(-1) + varint(size)
            # The last zero is the count of headers.
            head = varint(len(begin) + size + 1) + begin
            yield f'{name}-{mib}-mib-value', batch(now=now, codec=codec, compressed=pack_zeros(codec, head, size, 1))
    for name, codec in (('gzip', GZIP), ('zstd', ZSTD)):
        yield f'{name}-256-mib-behind', batch(now=now, codec=codec, compressed=pack_zeros(codec, records(1), 256 << 20))


def pack_zeros(codec, head, size, more=0):
    """A stream of `head`, `size` zeros (whole MiB) and `more` of them, made without having them."""
    if codec == GZIP:
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        out, zeros = packer.compress(head), bytes(1 << 20)
        for _ in range(size >> 20):
            out += packer.compress(zeros)
        return out + packer.compress(bytes(more)) + packer.flush()
    block = head + bytes(more)  # zeros are zeros, wherever they come
    return bytes.fromhex('28b52ffd0058') + struct.pack('<I', len(block) << 3)[:3] + block + zstd_zeros(size)


def cases(now):
    for group, source in (('frame', frame_cases), ('header', header_cases), ('record', record_cases), ('codec', codec_cases),
                          ('sequence', sequence_cases), ('bomb', bomb_cases)):
        for name, steps in source(now):
            yield Case(f'{group}/{name}', 'plain', steps)
    for group, source in (('timestamp', timestamp_cases), ('key', key_cases), ('size', size_cases),
                          ('recompress', recompress_cases)):
        for topic, name, steps in source(now):
            yield Case(f'{group}/{topic}/{name}', topic, steps)
