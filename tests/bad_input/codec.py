"""Kafka's messages in Python, from the same schemas as the broker's: `encode` a dict, `decode` to one.

Members are named as in the schema files; those that are absent take their defaults. `Poison` in the place of an array,
string or bytes writes a length of its own, whatever follows.
"""
import struct
import sys
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'src' / 'wire' / 'gen'))
import schema

FIXED = {'bool': 'b', 'int8': 'b', 'int16': 'h', 'uint16': 'H', 'int32': 'i', 'uint32': 'I', 'int64': 'q', 'float64': 'd'}


class Poison:
    """A length that is not that of what follows."""

    def __init__(self, length, rest=b''):
        self.length, self.rest = length, rest


def uvarint(n):
    out = b''
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def load():
    """(requests, responses) by API key."""
    requests, responses = {}, {}
    for f in schema.load(ROOT / 'src' / 'wire' / 'schemas'):
        for m in f.messages:
            if m.kind in ('request', 'response'):
                (requests if m.kind == 'request' else responses)[m.api_key] = m
    return requests, responses


REQUESTS, RESPONSES = load()
NAMES = {m.name.removesuffix('Request'): key for key, m in REQUESTS.items()}


def default(field):
    if field.is_array:
        return None if field.null_by_default else []
    if field.struct:
        return None if field.null_by_default else {}
    if field.null_by_default:
        return None
    if field.type == 'string':
        return field.default if field.default not in (None, 'null') else ''
    if field.type in ('bytes', 'records'):
        return b''
    if field.type == 'uuid':
        return uuid.UUID(int=0)
    if field.type == 'bool':
        return field.default == 'true'
    return int(field.default, 0) if field.default and field.type != 'float64' else 0


class Encoder:
    def __init__(self, version, flexible):
        self.version, self.flexible = version, flexible

    def length(self, n, form):
        """A length: int16 or int32 by `form`, or in flexible versions n + 1."""
        if self.flexible:
            return uvarint((n + 1) & 0xffffffff)
        return struct.pack('>' + form, n)

    def scalar(self, kind, value):
        if kind in FIXED:
            return struct.pack('>' + FIXED[kind], value)
        if kind == 'uuid':
            return value.bytes
        form = 'h' if kind == 'string' else 'i'
        if isinstance(value, Poison):
            return self.length(value.length, form) + value.rest
        if value is None:
            return self.length(-1, form)
        raw = value.encode() if isinstance(value, str) else value
        return self.length(len(raw), form) + raw

    def field(self, f, value):
        if f.is_array:
            if isinstance(value, Poison):
                return self.length(value.length, 'i') + value.rest
            if value is None:
                return self.length(-1, 'i')
            return self.length(len(value), 'i') + b''.join(self.element(f, v) for v in value)
        if f.struct and f.nullable:
            return b'\xff' if value is None else b'\1' + self.struct(f.struct, value)
        return self.element(f, value)

    def element(self, f, value):
        return self.struct(f.struct, value) if f.struct else self.scalar(f.type, value)

    def struct(self, s, value):
        out, tags = b'', []
        known = {f.name for f in s.fields}
        for name in value:
            assert name in known, f'{s.name} has no {name}'
        for f in s.fields:
            if self.version not in f.versions:
                continue
            given = value.get(f.name, default(f))
            if f.tag is None:
                out += self.field(f, given)
            elif f.name in value:
                tags.append((f.tag, self.field(f, given)))
        if self.flexible:
            out += uvarint(len(tags))
            for tag, data in sorted(tags):
                out += uvarint(tag) + uvarint(len(data)) + data
        return out


class Decoder:
    def __init__(self, data, version, flexible):
        self.data, self.at, self.version, self.flexible = data, 0, version, flexible

    def take(self, n):
        if n < 0 or self.at + n > len(self.data):
            raise ValueError('the answer is too short')
        self.at += n
        return self.data[self.at - n:self.at]

    def uvarint(self):
        out = shift = 0
        while True:
            byte = self.take(1)[0]
            out |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return out

    def length(self, form):
        if self.flexible:
            return self.uvarint() - 1
        return struct.unpack('>' + form, self.take(struct.calcsize(form)))[0]

    def element(self, f):
        if f.struct:
            return self.struct(f.struct)
        if f.type in FIXED:
            value = struct.unpack('>' + FIXED[f.type], self.take(struct.calcsize(FIXED[f.type])))[0]
            return bool(value) if f.type == 'bool' else value
        if f.type == 'uuid':
            return uuid.UUID(bytes=self.take(16))
        n = self.length('h' if f.type == 'string' else 'i')
        raw = None if n < 0 else self.take(n)
        return raw.decode() if raw is not None and f.type == 'string' else raw

    def field(self, f):
        if f.is_array:
            n = self.length('i')
            return None if n < 0 else [self.element(f) for _ in range(n)]
        # Null is −1, or 0 where the field is tagged.
        if f.struct and f.nullable and self.take(1) in (b'\xff', b'\0'):
            return None
        return self.element(f)

    def struct(self, s):
        out, tagged = {}, {f.tag: f for f in s.fields if f.tag is not None and self.version in f.versions}
        for f in s.fields:
            if self.version in f.versions and f.tag is None:
                out[f.name] = self.field(f)
        if self.flexible:
            for _ in range(self.uvarint()):
                tag, size = self.uvarint(), self.uvarint()
                end = self.at + size
                if tag in tagged:
                    out[tagged[tag].name] = self.field(tagged[tag])
                self.at = end
        return out


def body(api, version, value):
    message = REQUESTS[NAMES[api]]
    return Encoder(version, version in message.flexible).struct(message.root, value)


def header(key, version, correlation, client='bad-input'):
    """A request's header, as that API and version have it."""
    out = struct.pack('>hhi', key, version, correlation)
    out += struct.pack('>h', -1) if client is None else struct.pack('>h', len(client)) + client.encode()
    return out + b'\0' if key in REQUESTS and version in REQUESTS[key].flexible else out


def frame(payload):
    return struct.pack('>i', len(payload)) + payload


def request(api, version, value, correlation=1, client='bad-input'):
    """A whole frame."""
    return frame(header(NAMES[api], version, correlation, client) + body(api, version, value))


def response(api, version, payload):
    """The body of an answer's payload (correlation id first)."""
    key = NAMES[api]
    message = RESPONSES[key]
    flexible = version in message.flexible
    # ApiVersions keeps the old header whatever its version.
    skip = 4 if key == 18 or not flexible else 5
    d = Decoder(payload[skip:], version, flexible)
    out = d.struct(message.root)
    if d.at != len(d.data):
        raise ValueError(f'{len(d.data) - d.at} bytes behind the answer of {api} version {version}')
    return out
