#!/usr/bin/env python3
"""Makes the corpora of the fuzzers from the golden vectors (tests/golden/vectors) and the files of an Apache node
(tests/interop): tests/fuzz/corpus/TARGET/NAME. What lies there is replaced; a finding's input is kept if its name begins
with `found-`.

    python3 tests/fuzz/make_corpus.py
"""
import gzip
import json
import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / 'src' / 'wire' / 'gen'), str(ROOT / 'tests' / 'tools')]
import probe
import schema

CORPUS = ROOT / 'tests' / 'fuzz' / 'corpus'
VECTORS = ROOT / 'tests' / 'golden' / 'vectors'
APACHE = ROOT / 'tests' / 'interop' / 'apache-metadata'
BATCH_MAX = 5000          # larger batches teach a fuzzer nothing and slow it down
HEADER = 61


def vectors(name):
    with gzip.open(VECTORS / name, 'rt', encoding='utf-8') as f:
        return [json.loads(line) for line in f]


def add(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def varint(n):
    n, out = (n << 1) ^ (n >> 63), b''
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def batch(values, base=0, attributes=0, producer=-1, epoch=-1, sequence=-1, key=None, timestamp=1000):
    """A batch of uncompressed records."""
    records = b''
    for i, value in enumerate(values):
        record = b'\0' + varint(i) + varint(i)
        for field in (key, value):
            record += varint(-1) if field is None else varint(len(field)) + field
        record += varint(0)
        records += varint(len(record)) + record
    count = len(values)
    tail = struct.pack('>hiqqqhii', attributes, count - 1, timestamp, timestamp + count - 1, producer, epoch, sequence, count) + records
    return struct.pack('>qiibI', base, 9 + len(tail), 0, 2, probe.crc32c(tail)) + tail


def newest(list_of_vectors, case='full'):
    """Of each message the vector of its newest version."""
    best = {}
    for v in list_of_vectors:
        if v['case'] == case and v['version'] >= best.get(v['name'], v)['version']:
            best[v['name']] = v
    return list(best.values())


def messages():
    files = schema.load(ROOT / 'src' / 'wire' / 'schemas')
    every = sorted((m for f in files for m in f.messages), key=lambda m: m.name)
    number = {m.name: (i, min(m.versions)) for i, m in enumerate(every)}
    flexible = {m.name: m.flexible for m in every}
    all_messages = vectors('messages.jsonl.gz')
    for v in newest([v for v in all_messages if v['type'] == 'request']):
        head = struct.pack('>hhi', v['key'], v['version'], 7) + probe.string('c')
        if v['version'] in flexible[v['name']]:
            head += b'\0'
        add('request', f'{v["name"]}-{v["version"]}', head + bytes.fromhex(v['hex']))
    for v in newest([v for v in all_messages if v['type'] != 'request']) + newest(vectors('records.jsonl.gz')):
        index, low = number[v['name']]
        add('message', f'{v["name"]}-{v["version"]}', struct.pack('>HB', index, v['version'] - low) + bytes.fromhex(v['hex']))
    for v in newest([v for v in vectors('records.jsonl.gz') if v.get('domain') == 'metadata' and 'framed' in v]):
        add('framed_record', v['name'], bytes.fromhex(v['framed']))


def group_record(key, value, flags=0):
    return struct.pack('>BHH', flags | (value is None), len(key), len(value or b'')) + key + (value or b'')


def subscription(*topics):
    return struct.pack('>hi', 0, len(topics)) + b''.join(probe.string(t) for t in topics) + b'\xff\xff\xff\xff'


def group_records():
    """Every record of a group once, and the histories of some groups."""
    of_groups = [v for v in vectors('records.jsonl.gz') if v.get('domain') == 'group' and v['case'] == 'full']
    keys = {v['key']: bytes.fromhex(v['framed']) for v in of_groups if v['type'].endswith('key')}
    for v in of_groups:
        if v['type'].endswith('value'):
            key, value = keys[v['key']], bytes.fromhex(v['framed'])
            add('group_records', f'{v["name"]}-{v["version"]}', group_record(key, value) + group_record(key, None))

    def offset(group, topic, partition, at, flags=0):
        key = struct.pack('>h', 1) + probe.string(group) + probe.string(topic) + struct.pack('>i', partition)
        return group_record(key, struct.pack('>hqi', 3, at, -1) + probe.string('note') + struct.pack('>q', 10 ** 12), flags)

    def group(name, generation, members):
        value = struct.pack('>h', 3) + probe.string('consumer') + struct.pack('>i', generation)
        value += probe.string('range') + probe.string(members[0][0]) if members else b'\xff\xff' * 2
        value += struct.pack('>qi', 10 ** 12, len(members))
        for member, instance in members:
            value += probe.string(member) + (probe.string(instance) if instance else b'\xff\xff')
            value += probe.string('client') + probe.string('/host') + struct.pack('>ii', 60000, 10000)
            for data in (subscription('t', 'u'), b'assigned'):
                value += struct.pack('>i', len(data)) + data
        return group_record(struct.pack('>h', 2) + probe.string(name), value)
    add('group_records', 'members', group('g', 3, [('a', None), ('b', 'one')]) + offset('g', 't', 0, 5) + offset('g', 'v', 1, 6))
    add('group_records', 'empty', group('g', 4, []) + offset('g', 't', 0, 5))
    add('group_records', 'twice-the-instance', group('g', 1, [('a', 'one'), ('b', 'one')]) + group('h', 2147483647, [('c', 'two')]))
    add('group_records', 'transactions', offset('g', 't', 0, 5, 2) + offset('g', 't', 0, 7) + offset('h', 't', 1, 9, 2)
        + group_record(b'', b'', 12) + offset('g', 't', 0, 8, 2) + group_record(b'', b'', 4))


def raw_snappy(data):
    """A snappy block of literals alone."""
    out, n = b'', len(data)
    while True:
        out += bytes([n & 127 | (128 if n > 127 else 0)])
        n >>= 7
        if not n:
            break
    for at in range(0, len(data), 60):
        piece = data[at:at + 60]
        out += bytes([(len(piece) - 1) << 2]) + piece
    return out


def batches():
    for v in vectors('batches.jsonl.gz'):
        data = bytes.fromhex(v['hex'])
        if len(data) > BATCH_MAX:
            continue
        add('batches', v['name'], data)
        for rules in (1, 15):
            add('validator', f'{v["name"]}-{rules}', bytes([rules]) + data)
        codec = ['', 'gzip', 'snappy', 'lz4', 'zstd'][data[22] & 7]
        if codec and len(data) > HEADER:
            add(codec, v['name'], data[HEADER:])
    add('snappy', 'raw', raw_snappy(b'a raw block without the header of snappy-java ' * 3))


def folder(files):
    """The form of the targets for a partition's folder: kind, base, size, bytes."""
    return b''.join(bytes([kind, base]) + struct.pack('>H', len(data)) + data for kind, base, data in files)


def logs():
    log, index, time_index, at, since = b'', b'', b'', 0, 0
    for n in range(12):
        b = batch([b'value'] * 2, base=2 * n, producer=4, epoch=0, sequence=2 * n, timestamp=1000 + n)
        if since > 100:
            index += struct.pack('>ii', 2 * n + 1, at)
            time_index += struct.pack('>qi', 1001 + n, 2 * n + 1)
            since = 0
        log, at, since = log + b, at + len(b), since + len(b)
    marker = batch([struct.pack('>hi', 0, 3)], base=24, attributes=0x30, producer=4, epoch=0, key=struct.pack('>hh', 0, 0))
    snapshot = struct.pack('>iqhiqiqiq', 1, 4, 0, 23, 23, 1, 1011, -1, -1)
    snapshot = struct.pack('>hI', 1, probe.crc32c(snapshot)) + snapshot
    aborted = struct.pack('>hqqqq', 0, 4, 20, 24, 20)
    epochs = b'0\n1\n0 0\n'
    whole = [(0, 0, log + marker), (1, 0, index), (2, 0, time_index), (3, 0, aborted), (4, 25, snapshot), (10, 0, epochs)]
    for flags in range(4):
        add('log_recovery', f'whole-{flags}', bytes([flags]) + folder(whole))
    add('log_recovery', 'two-segments', bytes([2]) + folder([(0, 0, log), (0, 24, marker), (1, 0, index)]))
    add('log_recovery', 'swap', bytes([0]) + folder([(0, 0, log), (5, 0, log[:200]), (6, 0, b'')]))
    add('log_recovery', 'zeros-behind', bytes([1]) + folder([(0, 0, log + bytes(100))]))
    for flags in (0, 1):
        add('index_files', f'none-{flags}', bytes([flags]))
        files = {v['kind']: bytes.fromhex(v['hex']) for v in vectors('files.jsonl.gz')}
        kinds = [files['offset-index'], files['time-index'], files['txn-index']]
        for segment in range(3):
            add('index_files', f'golden-{flags}-{segment}',
                bytes([flags]) + folder([(kind, segment, data) for kind, data in enumerate(kinds)]))
        small = struct.pack('>iiii', 3, 219, 6, 400), struct.pack('>qiqi', 1003, 3, 1006, 6), aborted
        add('index_files', f'small-{flags}', bytes([flags]) + folder([(kind, 0, data) for kind, data in enumerate(small)]))


def small_files():
    kinds = {'leader-epoch-checkpoint': 1, 'partition.metadata': 2, 'meta.properties': 3, '.kafka_cleanshutdown': 5}
    for v in vectors('files.jsonl.gz'):
        data, name = bytes.fromhex(v['hex']), v['file'].replace(' ', '-').strip('.')
        if v['kind'] == 'batches':
            for repair in (0, 1):
                add('metadata_snapshot', f'{name}-{repair}', bytes([repair]) + data)
        elif v['kind'] == 'producer-snapshot':
            for kind in (6, 0x80 | 6):
                add('checkpoint_files', f'{name}-{kind}', bytes([kind]) + data)
        elif v['kind'] == 'text':
            kind = kinds.get(v['file'], 4 if v['file'].startswith('quorum-state') else 0)
            add('checkpoint_files', name, bytes([kind]) + data)
    for path in sorted(APACHE.glob('*.checkpoint'))[:3]:
        for repair in (0, 1):
            add('metadata_snapshot', f'{path.name}-{repair}', bytes([repair]) + path.read_bytes())
    for v in newest([v for v in vectors('records.jsonl.gz') if v.get('domain') == 'metadata' and 'framed' in v]):
        header = batch([bytes.fromhex('000000')], attributes=0x20, key=struct.pack('>hh', 0, 3))
        footer = batch([bytes.fromhex('0000')], base=2, attributes=0x20, key=struct.pack('>hh', 0, 4))
        add('metadata_snapshot', v['name'], b'\1' + header + batch([bytes.fromhex(v['framed'])], base=1) + footer)


def settings():
    combined = '''process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://localhost:9092,CONTROLLER://:9093
advertised.listeners=PLAINTEXT://localhost:9092
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=/a,/b
log.retention.hours=-1
'''
    properties = '# comment\n! another\nkey = value\nlong=one\\\n  two\nescape\\:d\\u0041 : \\t\\n\nalone\n'
    add('config', 'properties', b'\0' + properties.encode())
    add('config', 'server-properties', b'\1' + combined.encode())
    add('config', 'server-properties-voters',
        b'\1' + combined.replace('bootstrap.servers=', 'voters=1@').replace('localhost:9092\n', 'h:1\nbroker.rack=r\n').encode())
    add('config', 'override', b'\2log.retention.ms=100')
    values = ['', '0', '-1', '9223372036854775807', 'true', '0.5', 'a,b', 'delete,compact', 'zstd', '*', '0:1,1:2', 'SSL']
    for kind, names in ((3, range(0, 300, 24)), (4, range(0, 40, 3)), (5, range(0, 20, 4)), (6, range(3))):
        for i, name in enumerate(names):
            add('config', f'value-{kind}-{name}', struct.pack('>BH', kind, name) + values[i % len(values)].encode())


def main():
    for target in CORPUS.iterdir() if CORPUS.exists() else []:
        for path in target.iterdir():
            if not path.name.startswith('found-'):
                path.unlink()
    messages()
    group_records()
    batches()
    logs()
    small_files()
    settings()
    for target in sorted(CORPUS.iterdir()):
        files = list(target.iterdir())
        print(f'{target.name}: {len(files)} files, {sum(f.stat().st_size for f in files)} bytes')


if __name__ == '__main__':
    main()
