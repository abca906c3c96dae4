"""Bytes on a connection that are no request, or not the one that they say: each is sent on a connection of its own."""
import gzip
import json
import struct

from codec import REQUESTS, ROOT, Encoder, Poison, default, frame, header, uvarint

INT32_MAX = 0x7fffffff
LIMIT = 104_857_600          # socket.request.max.bytes
# What only nodes of a cluster send to each other: whether a node lets a stranger in is another suite's business.
BETWEEN_NODES = {'Vote', 'BeginQuorumEpoch', 'EndQuorumEpoch', 'FetchSnapshot', 'Envelope', 'BrokerRegistration', 'BrokerHeartbeat',
                 'UnregisterBroker', 'AlterPartition', 'AllocateProducerIds', 'ControllerRegistration', 'AssignReplicasToDirs',
                 'AddRaftVoter', 'RemoveRaftVoter', 'UpdateRaftVoter'}
REMOVED = {4, 5, 6, 7}


def vectors(name):
    with gzip.open(ROOT / 'tests' / 'golden' / 'vectors' / name, 'rt', encoding='utf-8') as f:
        return [json.loads(line) for line in f]


def frames():
    good = header(18, 0, 1)
    for size in (0, 1, -1, -2, -2147483648, INT32_MAX, LIMIT + 1, 0x48545450, 0x16030100):
        yield f'size-{size}-alone', struct.pack('>i', size)
        yield f'size-{size}-and-bytes', struct.pack('>i', size) + good + bytes(20)
    for size in range(1, len(good)):
        yield f'header-cut-at-{size}', frame(good[:size])
    yield 'size-short', struct.pack('>i', len(good) - 1) + good
    yield 'client-id-minus-2', frame(struct.pack('>hhih', 18, 0, 1, -2))
    yield 'client-id-longer-than-frame', frame(struct.pack('>hhih', 18, 0, 1, 32767) + b'x')
    yield 'client-id-no-utf8', frame(struct.pack('>hhih', 18, 0, 1, 2) + b'\xff\xfe')
    yield 'client-id-null', frame(struct.pack('>hhih', 18, 0, 1, -1))
    yield 'header-tags-huge', frame(header(18, 3, 1)[:-1] + b'\xff\xff\xff\xff\x07')
    yield 'header-tags-unending', frame(header(18, 3, 1)[:-1] + b'\xff' * 6)
    yield 'header-tag-longer-than-frame', frame(header(18, 3, 1)[:-1] + b'\1\0' + uvarint(1000) + b'\2a\2b\0')
    yield 'header-tag-unknown', frame(header(18, 3, 1)[:-1] + b'\1\x63\1x' + b'\2a\2b\0')
    yield 'bytes-behind', frame(good + bytes(5))
    yield 'http', b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'
    yield 'tls', bytes.fromhex('16030100b8010000b40303') + bytes(180)
    yield 'noise', bytes((i * 167 + i * i) & 255 for i in range(1000))


def keys():
    for key in (-32768, -1, *sorted(REMOVED), 93, 200, 255, 256, 32767):
        for version in (0, 1, 3):
            yield f'key-{key}-version-{version}', frame(struct.pack('>hhih', key, version, 1, -1) + bytes(20))
    for key, message in sorted(REQUESTS.items()):
        name = message.name.removesuffix('Request')
        if name in BETWEEN_NODES or not message.versions:
            continue
        for version in sorted({-32768, -1, min(message.versions) - 1, max(message.versions) + 1, 100, 32767}):
            if version in message.versions or (version == max(message.versions) + 1 and message.unstable_latest):
                continue
            yield f'{name}-version-{version}', frame(struct.pack('>hhih', key, version, 1, -1) + bytes(20))


def poisoned(message, version, struct_of, path, poison):
    """The message with default members, one element in arrays on the way, and `poison` at the path."""
    value = {}
    for f in struct_of.fields:
        if version not in f.versions or f.tag is not None and f.name != path[0]:
            continue
        if f.name == path[0]:
            if len(path) == 1:
                value[f.name] = poison
            else:
                inner = poisoned(message, version, f.struct, path[1:], poison)
                value[f.name] = [inner] if f.is_array else inner
        else:
            value[f.name] = default(f)
    return value


def paths(struct_of, version, wanted):
    for f in struct_of.fields:
        if version not in f.versions:
            continue
        if wanted(f):
            yield (f.name,), f
        if f.struct:
            for rest, inner in paths(f.struct, version, wanted):
                yield (f.name, *rest), inner


def arrays():
    """Every array, string and field of bytes, with lengths that cannot be."""
    def sized(f):
        return f.is_array or f.type in ('string', 'bytes', 'records')

    for key, message in sorted(REQUESTS.items()):
        name = message.name.removesuffix('Request')
        if name in BETWEEN_NODES or not message.versions:
            continue
        top = max(message.versions) - message.unstable_latest
        for version in sorted({min(message.versions), top}):
            encoder = Encoder(version, version in message.flexible)
            for path, f in paths(message.root, version, sized):
                string = not f.is_array and f.type == 'string' and version not in message.flexible
                lengths = (32767, -2) if string else (INT32_MAX, 0x10000000, 70000, -2)
                if version not in f.nullable:
                    lengths += (-1,)
                for length in lengths:
                    value = poisoned(message, version, message.root, path, Poison(length, bytes(9)))
                    yield f'{name}-{version}-{".".join(path)}-{length}', frame(
                        header(key, version, 1) + encoder.struct(message.root, value))


def prefixes(full):
    """(name, frames): every request of the golden vectors, cut at every byte of its body. Not `full`: of every API the first
    and the last version."""
    for v in vectors('messages.jsonl.gz'):
        name = v['name'].removesuffix('Request')
        if v['type'] != 'request' or name in BETWEEN_NODES or v['case'] == 'null':
            continue
        versions = REQUESTS[v['key']].versions
        if not full and (v['version'] not in (min(versions), max(versions)) or v['case'] != 'full'):
            continue
        if REQUESTS[v['key']].unstable_latest and v['version'] == max(versions):
            continue
        head, body = header(v['key'], v['version'], 1), bytes.fromhex(v['hex'])
        if body:
            yield f'{name}-{v["version"]}-{v["case"]}', [frame(head + body[:n]) for n in range(len(body))]


def groups(full):
    """(name, [frame]) of everything."""
    for group, source in (('frames', frames()), ('keys', keys()), ('arrays', arrays())):
        for name, data in source:
            yield f'{group}/{name}', [data]
    for name, data in prefixes(full):
        yield f'prefixes/{name}', data
