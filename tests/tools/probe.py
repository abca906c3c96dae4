"""A few Kafka requests on a raw socket, with no client library: is a broker ready, and how soon was it?

`Connection.call` sends one request and returns the body of its answer. `until` polls a broker until it gives the
answer asked for and reports when each stage was first seen.
"""
import socket
import struct
import time

PRODUCE, FETCH, LIST_OFFSETS, METADATA, API_VERSIONS, CREATE_TOPICS = 0, 1, 2, 3, 18, 19
TOPIC_ALREADY_EXISTS = 36
POLL_S = 0.002


def _crc_table():
    table = []
    for i in range(256):
        c = i
        for _ in range(8):
            c = (c >> 1) ^ 0x82F63B78 if c & 1 else c >> 1
        table.append(c)
    return table


_CRC = _crc_table()


def crc32c(data):
    c = 0xFFFFFFFF
    for byte in data:
        c = _CRC[(c ^ byte) & 255] ^ (c >> 8)
    return c ^ 0xFFFFFFFF


def string(text):
    if text is None:
        return struct.pack('>h', -1)
    raw = text.encode()
    return struct.pack('>h', len(raw)) + raw


def read_exactly(connection, size):
    """`size` bytes of a socket; ConnectionError if it is closed before."""
    data = b''
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionError('closed')
        data += piece
    return data


class Connection:
    """One connection, one request at a time."""

    def __init__(self, host, port, timeout_s=5.0):
        self.socket = socket.create_connection((host, port), timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlation = 0

    def call(self, api, version, body):
        self.correlation += 1
        message = struct.pack('>hhi', api, version, self.correlation) + string('probe') + body
        self.socket.sendall(struct.pack('>i', len(message)) + message)
        size = struct.unpack('>i', read_exactly(self.socket, 4))[0]
        answer = read_exactly(self.socket, size)
        if struct.unpack('>i', answer[:4])[0] != self.correlation:
            raise ConnectionError('answer to another request')
        return answer[4:]

    def close(self):
        self.socket.close()


def one_record_batch(value):
    """A record batch of one record: no key, no headers, value shorter than 50 bytes."""
    record = b'\0\0\0\x01' + bytes([len(value) * 2]) + value + b'\0'
    record = bytes([len(record) * 2]) + record
    now = int(time.time() * 1000)
    tail = struct.pack('>hiqqqhii', 0, 0, now, now, -1, -1, -1, 1) + record
    return struct.pack('>qiibI', 0, 9 + len(tail), -1, 2, crc32c(tail)) + tail


class _Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from('>' + form, self.data, self.at)
        self.at += struct.calcsize('>' + form)
        return values[0]

    def string(self):
        size = self.take('h')
        if size < 0:
            return None
        self.at += size
        return self.data[self.at - size:self.at].decode()

    def array(self, item):
        return [item() for _ in range(self.take('i'))]


def metadata(connection, topics):
    """(brokers, leaders): ids of the brokers listed, and {topic: {partition: leader}} of the topics without error."""
    body = struct.pack('>i', len(topics)) + b''.join(string(t) for t in topics)
    cursor = _Cursor(connection.call(METADATA, 1, body))

    def broker():
        node = cursor.take('i')
        cursor.string(), cursor.take('i'), cursor.string()
        return node

    def partition():
        cursor.take('h')
        number, leader = cursor.take('i'), cursor.take('i')
        cursor.array(lambda: cursor.take('i')), cursor.array(lambda: cursor.take('i'))
        return number, leader

    def topic():
        error, name = cursor.take('h'), cursor.string()
        cursor.take('b')
        return error, name, dict(cursor.array(partition))

    brokers = cursor.array(broker)
    cursor.take('i')
    return brokers, {name: parts for error, name, parts in cursor.array(topic) if error == 0}


def create_topic(connection, name, partitions=1):
    """The error code of CreateTopics for one topic."""
    body = struct.pack('>i', 1) + string(name) + struct.pack('>ihii', partitions, 1, 0, 0) + struct.pack('>ib', 5000, 0)
    cursor = _Cursor(connection.call(CREATE_TOPICS, 2, body))
    cursor.take('i'), cursor.take('i'), cursor.string()
    return cursor.take('h')


def produce(connection, topic, partition=0, acks=-1, value=b'x'):
    """(error code, base offset) of one record sent to one partition."""
    return produce_batch(connection, topic, partition, one_record_batch(value), acks)


def produce_batch(connection, topic, partition, batch, acks=-1):
    """(error code, base offset) of a batch sent to one partition."""
    body = string(None) + struct.pack('>hii', acks, 5000, 1) + string(topic)
    body += struct.pack('>iii', 1, partition, len(batch)) + batch
    cursor = _Cursor(connection.call(PRODUCE, 3, body))
    cursor.take('i'), cursor.string(), cursor.take('i'), cursor.take('i')
    return cursor.take('h'), cursor.take('q')


def until_open(host, port, timeout_s=10.0):
    """Waits until a server listens."""
    end = time.time() + timeout_s
    while True:
        try:
            socket.create_connection((host, port), timeout_s).close()
            return
        except ConnectionRefusedError:
            if time.time() > end:
                raise
            time.sleep(POLL_S)


def until(host, port, stage, timeout_s=60.0, since=None, topic='probe', alive=lambda: True):
    """Polls until `stage` ('metadata' or 'produce') is answered. Returns {stage: seconds since `since`}.

    `produce` creates `topic` with one partition and sends one record with acks=all. Raises TimeoutError, or
    RuntimeError when `alive()` turns false.
    """
    since = since or time.time()
    end, seen, connection, created = time.time() + timeout_s, {}, None, False
    while stage not in seen:
        if time.time() > end:
            raise TimeoutError(f'no {stage} from {host}:{port} in {timeout_s} s; seen: {seen}')
        if not alive():
            raise RuntimeError(f'the broker ended before it answered {stage}')
        try:
            if connection is None:
                connection = Connection(host, port)
                seen.setdefault('tcp', time.time() - since)
            if 'metadata' not in seen:
                if not metadata(connection, [])[0]:
                    time.sleep(POLL_S)
                    continue
                seen['metadata'] = time.time() - since
            if stage == 'produce':
                created = created or create_topic(connection, topic) in (0, TOPIC_ALREADY_EXISTS)
                if created and metadata(connection, [topic])[1].get(topic, {}).get(0, -1) >= 0 \
                        and produce(connection, topic)[0] == 0:
                    seen['produce'] = time.time() - since
                    continue
                time.sleep(POLL_S)
        except (OSError, struct.error):
            if connection:
                connection.close()
            connection = None
            time.sleep(POLL_S)
    connection.close()
    return seen
