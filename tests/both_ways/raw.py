"""The requests of the both-ways suite on a raw socket: exact bytes in, exact bytes out.

`Client` asks one broker. Every call names the version it uses; the versions are old enough for plain encoding where the
newer ones tell nothing more. `batch` builds a record batch with any producer id, epoch, sequence and timestamps.
"""
import os
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'tools'))

import probe

NONE, NOT_LEADER, COORDINATOR_LOADING, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR = 0, 6, 14, 15, 16
UNKNOWN_TOPIC, CONCURRENT_TRANSACTIONS = 3, 51
OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH = 45, 47
RETRIABLE = (UNKNOWN_TOPIC, NOT_LEADER, COORDINATOR_LOADING, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR,
             CONCURRENT_TRANSACTIONS)
LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL, LATEST_TIERED = -1, -2, -3, -4, -5
TOPIC, BROKER = 2, 4                    # kinds of configuration resources
TRANSACTIONAL = 0x10
PATIENCE_S = 40


def varint(value):
    """A signed varint, as in records."""
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value & ~0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def batch(records, producer=(-1, -1, -1), attributes=0):
    """`records` are (timestamp, key, value); `producer` is (id, epoch, first sequence)."""
    first, body = records[0][0], b''
    for delta, (timestamp, key, value) in enumerate(records):
        record = b'\0' + varint(timestamp - first) + varint(delta)
        for part in (key, value):
            record += varint(-1) if part is None else varint(len(part)) + part
        record += varint(0)
        body += varint(len(record)) + record
    producer_id, epoch, sequence = producer
    tail = struct.pack('>hiqqqhii', attributes, len(records) - 1, first, max(r[0] for r in records), producer_id, epoch,
                       sequence, len(records)) + body
    return struct.pack('>qiibI', 0, 9 + len(tail), -1, 2, probe.crc32c(tail)) + tail


def split_batches(data):
    """The whole batches in what a fetch returned: [(base offset, next offset, bytes)]."""
    found, at = [], 0
    while at + 61 <= len(data):
        base, length = struct.unpack_from('>qi', data, at)
        if at + 12 + length > len(data):
            break
        last = struct.unpack_from('>i', data, at + 23)[0]
        found.append((base, base + last + 1, data[at:at + 12 + length]))
        at += 12 + length
    return found


def as_from_producer(stored):
    """A batch as it came from its producer: base offset and leader epoch, which the checksum leaves out, are the broker's."""
    return struct.pack('>q', 0) + stored[8:12] + struct.pack('>i', -1) + stored[16:]


class Cursor(probe._Cursor):
    def bytes(self):
        size = self.take('i')
        self.at += max(size, 0)
        return self.data[self.at - size:self.at] if size > 0 else b''

    def nullable_array(self, item):
        return [item() for _ in range(max(self.take('i'), 0))]

    def uvarint(self):
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def compact_string(self):
        size = self.uvarint() - 1
        if size < 0:
            return None
        self.at += size
        return self.data[self.at - size:self.at].decode()

    def compact_array(self, item):
        return [item() for _ in range(self.uvarint() - 1)]

    def tags(self):
        for _ in range(self.uvarint()):
            self.uvarint()
            size = self.uvarint()
            self.at += size


def compact_string(text):
    return bytes([len(text.encode()) + 1]) + text.encode()


def array(items):
    items = list(items)
    return struct.pack('>i', len(items)) + b''.join(items)


def compact_array(items):
    items = list(items)
    return bytes([len(items) + 1]) + b''.join(items)


class Failed(RuntimeError):
    def __init__(self, what, code):
        super().__init__(f'{what}: error {code}')
        self.code = code


def patiently(what, call):
    """Calls until the error code that `call` returns first is none that passes by itself."""
    end = time.time() + PATIENCE_S
    while True:
        code, *rest = call()
        if code == NONE:
            return rest[0] if len(rest) == 1 else rest
        if code not in RETRIABLE or time.time() > end:
            raise Failed(what, code)
        time.sleep(0.1)


class Client:
    def __init__(self, broker):
        self.connection = probe.Connection(broker.host, broker.port, 30)

    def close(self):
        self.connection.close()

    def call(self, api, version, body):
        return Cursor(self.connection.call(api, version, body))

    def call_flexible(self, api, version, body):
        cursor = self.call(api, version, b'\0' + body)      # behind the client id: no tags
        cursor.tags()
        return cursor

    # ---- topics and settings

    def metadata(self):
        """{topic: {partition: (leader, leader epoch)}} of all topics (v8)."""
        c = self.call(3, 8, struct.pack('>ibbb', -1, 0, 0, 0))
        c.take('i')
        c.array(lambda: (c.take('i'), c.string(), c.take('i'), c.string()))
        c.string(), c.take('i')

        def partition():
            c.take('h')
            number, leader, epoch = c.take('i'), c.take('i'), c.take('i')
            for _ in range(3):
                c.array(lambda: c.take('i'))
            return number, (leader, epoch)

        def topic():
            c.take('h')
            name = c.string()
            c.take('b')
            partitions = dict(c.array(partition))
            c.take('i')
            return name, partitions
        return dict(c.array(topic))

    def create_topic(self, name, partitions=1, settings=None):
        configs = array(probe.string(k) + probe.string(str(v)) for k, v in (settings or {}).items())
        body = struct.pack('>i', 1) + probe.string(name) + struct.pack('>ihi', partitions, 1, 0) + configs
        c = self.call(19, 4, body + struct.pack('>ib', 30000, 0))
        c.take('i'), c.take('i'), c.string()
        code = c.take('h')
        if code:
            raise Failed(f'CreateTopics {name}: {c.string()}', code)

    def delete_topic(self, name):
        c = self.call(20, 3, array([probe.string(name)]) + struct.pack('>i', 30000))
        c.take('i'), c.take('i'), c.string()
        code = c.take('h')
        if code:
            raise Failed(f'DeleteTopics {name}', code)

    def alter_configs(self, kind, name, settings):
        configs = array(probe.string(k) + (b'\1' if v is None else b'\0') + probe.string(v) for k, v in settings.items())
        body = struct.pack('>i', 1) + struct.pack('>b', kind) + probe.string(name) + configs + b'\0'
        c = self.call(44, 0, body)
        c.take('i'), c.take('i')
        code = c.take('h')
        if code:
            raise Failed(f'IncrementalAlterConfigs {name}: {c.string()}', code)

    def configs(self, kind, name):
        """{setting: (value, source)} of everything that is not a default (v3)."""
        body = struct.pack('>i', 1) + struct.pack('>b', kind) + probe.string(name) + struct.pack('>ibb', -1, 0, 0)
        c = self.call(32, 3, body)
        c.take('i'), c.take('i')
        code = c.take('h')
        if code:
            raise Failed(f'DescribeConfigs {name}', code)
        c.string(), c.take('b'), c.string()

        def setting():
            key, value = c.string(), c.string()
            c.take('b')
            source = c.take('b')
            c.take('b')
            c.array(lambda: (c.string(), c.string(), c.take('b')))
            c.take('b'), c.string()
            return key, (value, source)
        return {k: v for k, v in c.array(setting) if v[1] in (1, 2, 3)}      # topic, this broker, all brokers

    def delete_records(self, topic, partition, offset):
        body = struct.pack('>i', 1) + probe.string(topic) + struct.pack('>iiqi', 1, partition, offset, 30000)
        c = self.call(21, 1, body)
        c.take('i'), c.take('i'), c.string(), c.take('i'), c.take('i')
        low, code = c.take('q'), c.take('h')
        if code or low != offset:
            raise Failed(f'DeleteRecords {topic}-{partition}: {low}', code)

    # ---- records

    def produce(self, topic, partition, data, transactional_id=None):
        """(error code, base offset) (v7, acks=all)."""
        body = probe.string(transactional_id) + struct.pack('>hii', -1, 30000, 1) + probe.string(topic)
        c = self.call(0, 7, body + struct.pack('>iii', 1, partition, len(data)) + data)
        c.take('i'), c.string(), c.take('i'), c.take('i')
        return c.take('h'), c.take('q')

    def append(self, topic, partition, data, transactional_id=None):
        """The base offset."""
        return patiently(f'Produce {topic}-{partition}', lambda: self.produce(topic, partition, data, transactional_id))

    def fetch(self, topic, partition, offset, committed=False, size=1 << 20):
        """(error, high watermark, last stable offset, log start offset, aborted transactions, bytes) (v11)."""
        body = struct.pack('>iiiibii', -1, 0, 1, 1 << 24, int(committed), 0, -1) + struct.pack('>i', 1) + probe.string(topic)
        body += struct.pack('>iiiqqi', 1, partition, -1, offset, -1, size) + struct.pack('>i', 0) + probe.string('')
        c = self.call(1, 11, body)
        c.take('i'), c.take('h'), c.take('i'), c.take('i'), c.string(), c.take('i'), c.take('i')
        code, mark, stable, start = c.take('h'), c.take('q'), c.take('q'), c.take('q')
        aborted = c.nullable_array(lambda: (c.take('q'), c.take('q')))
        c.take('i')
        return code, mark, stable, start, aborted, c.bytes()

    def read(self, topic, partition, committed=False):
        """All batches from the log start offset to the end: (offsets, aborted transactions, batches)."""
        mark, stable, start, _, _ = patiently(f'Fetch {topic}-{partition}',
                                              lambda: self.fetch(topic, partition, self.start(topic, partition), committed))
        at, aborted, batches = start, set(), []
        end = stable if committed else mark
        while at < end:
            _, _, _, gone, data = patiently(f'Fetch {topic}-{partition} at {at}',
                                            lambda: self.fetch(topic, partition, at, committed))
            whole = split_batches(data)
            if not whole:
                break       # compaction may have removed the last records below the bound
            aborted.update(gone)
            batches += whole
            at = whole[-1][1]
        return (start, stable, mark), sorted(aborted), batches

    def start(self, topic, partition):
        return self.offset_for(topic, partition, EARLIEST)[1]

    def offset_for(self, topic, partition, timestamp, committed=False):
        """(timestamp, offset, leader epoch) (v9)."""
        body = struct.pack('>ib', -1, int(committed)) + compact_array([
            compact_string(topic) + compact_array([struct.pack('>iiq', partition, -1, timestamp) + b'\0']) + b'\0']) + b'\0'

        def ask():
            c = self.call_flexible(2, 9, body)
            c.take('i'), c.uvarint(), c.compact_string(), c.uvarint(), c.take('i')
            return c.take('h'), (c.take('q'), c.take('q'), c.take('i'))
        return patiently(f'ListOffsets {topic}-{partition} {timestamp}', ask)

    def epoch_end(self, topic, partition, epoch):
        """(epoch, end offset) (OffsetForLeaderEpoch v3)."""
        body = struct.pack('>ii', -2, 1) + probe.string(topic) + struct.pack('>iiii', 1, partition, -1, epoch)
        c = self.call(23, 3, body)
        c.take('i'), c.take('i'), c.string(), c.take('i')
        c.take('h'), c.take('i')
        return c.take('i'), c.take('q')

    def producers(self, topic, partition):
        """[(id, epoch, last sequence, last timestamp, coordinator epoch, start of the transaction)]."""
        body = compact_array([compact_string(topic) + compact_array([struct.pack('>i', partition)]) + b'\0']) + b'\0'
        c = self.call_flexible(61, 0, body)
        c.take('i'), c.uvarint(), c.compact_string(), c.uvarint(), c.take('i')
        code = c.take('h')
        if code:
            raise Failed(f'DescribeProducers {topic}-{partition}', code)
        c.compact_string()

        def producer():
            fields = (c.take('q'), c.take('i'), c.take('i'), c.take('q'), c.take('i'), c.take('q'))
            c.tags()
            return fields
        return sorted(c.compact_array(producer))

    # ---- transactions and groups, at Apache's

    def init_producer(self, transactional_id=None):
        def ask():
            c = self.call(22, 1, probe.string(transactional_id) + struct.pack('>i', 800000))
            c.take('i')
            return c.take('h'), (c.take('q'), c.take('h'))
        return patiently('InitProducerId', ask)

    def find_coordinator(self, key, kind):
        def ask():
            c = self.call(10, 1, probe.string(key) + bytes([kind]))
            c.take('i')
            return c.take('h'), None
        patiently(f'FindCoordinator {key}', ask)

    def add_partitions(self, transactional_id, producer, topic, partitions):
        body = probe.string(transactional_id) + struct.pack('>qh', *producer) + struct.pack('>i', 1) + probe.string(topic)
        body += array(struct.pack('>i', p) for p in partitions)

        def ask():
            c = self.call(24, 1, body)
            c.take('i'), c.take('i'), c.string(), c.take('i'), c.take('i')
            return c.take('h'), None
        patiently('AddPartitionsToTxn', ask)

    def end_transaction(self, transactional_id, producer, commit):
        def ask():
            c = self.call(26, 1, probe.string(transactional_id) + struct.pack('>qhb', *producer, int(commit)))
            c.take('i')
            return c.take('h'), None
        patiently('EndTxn', ask)

    def commit_offsets(self, group, topic, offsets):
        partitions = array(struct.pack('>iqi', p, o, -1) + probe.string(f'at {o}') for p, o in offsets.items())
        body = probe.string(group) + struct.pack('>i', -1) + probe.string('') + probe.string(None)
        body += struct.pack('>i', 1) + probe.string(topic) + partitions

        def ask():
            c = self.call(8, 7, body)
            c.take('i'), c.take('i'), c.string(), c.take('i'), c.take('i')
            return c.take('h'), None
        patiently('OffsetCommit', ask)

    def commit_offsets_in_transaction(self, transactional_id, producer, group, topic, offsets):
        body = probe.string(transactional_id) + struct.pack('>qh', *producer) + probe.string(group)

        def add():
            c = self.call(25, 1, body)
            c.take('i')
            return c.take('h'), None
        patiently('AddOffsetsToTxn', add)
        partitions = array(struct.pack('>iqi', p, o, -1) + probe.string(None) for p, o in offsets.items())
        body = probe.string(transactional_id) + probe.string(group) + struct.pack('>qh', *producer)
        body += struct.pack('>i', 1) + probe.string(topic) + partitions

        def ask():
            c = self.call(28, 2, body)
            c.take('i'), c.take('i'), c.string(), c.take('i'), c.take('i')
            return c.take('h'), None
        patiently('TxnOffsetCommit', ask)

    def committed_offsets(self, group):
        """{(topic, partition): (offset, metadata)} (OffsetFetch v5)."""
        def ask():
            c = self.call(9, 5, probe.string(group) + struct.pack('>i', -1))
            c.take('i')

            def partition():
                number, offset = c.take('i'), c.take('q')
                c.take('i')
                note = c.string()
                c.take('h')
                return number, (offset, note)

            topics = c.array(lambda: (c.string(), c.array(partition)))
            return c.take('h'), {(t, n): v for t, parts in topics for n, v in parts}
        return patiently('OffsetFetch', ask)
