"""Requests to every partition of a topic with thousands of them, on a raw socket."""
import struct
import time

import probe

POLL_S = 0.01
PRODUCE_CHUNK = 500
FETCH_CHUNK = 250
LATEST = -1


def list_offsets(connection, topic, count):
    """Error codes by partition."""
    body = struct.pack('>ii', -1, 1) + probe.string(topic) + struct.pack('>i', count)
    body += b''.join(struct.pack('>iq', p, LATEST) for p in range(count))
    cursor = probe._Cursor(connection.call(probe.LIST_OFFSETS, 1, body))

    def partition():
        number, error = cursor.take('i'), cursor.take('h')
        cursor.take('q'), cursor.take('q')
        return number, error

    topics = cursor.array(lambda: (cursor.string(), dict(cursor.array(partition))))
    return dict(topics)[topic]


def produce_to_all(connection, topic, count, value):
    """One record to each partition, acks=all, so many partitions a request; the error codes."""
    batch, errors = probe.one_record_batch(value), set()
    for first in range(0, count, PRODUCE_CHUNK):
        many = range(first, min(count, first + PRODUCE_CHUNK))
        body = probe.string(None) + struct.pack('>hii', -1, 60000, 1) + probe.string(topic)
        body += struct.pack('>i', len(many)) + b''.join(struct.pack('>ii', p, len(batch)) + batch for p in many)
        cursor = probe._Cursor(connection.call(probe.PRODUCE, 3, body))

        def partition():
            cursor.take('i')
            error = cursor.take('h')
            cursor.take('q'), cursor.take('q')
            return error

        for _, found in cursor.array(lambda: (cursor.string(), cursor.array(partition))):
            errors.update(found)
    return errors


def fetch_from_all(connection, topic, count):
    """The record batches of every partition from offset 0 on: bytes by partition; some partitions a request."""
    found = {}
    for first in range(0, count, FETCH_CHUNK):
        many = range(first, min(count, first + FETCH_CHUNK))
        body = struct.pack('>iiiib', -1, 0, 1, 1 << 30, 0) + struct.pack('>i', 1) + probe.string(topic)
        body += struct.pack('>i', len(many)) + b''.join(struct.pack('>iqi', p, 0, 1 << 20) for p in many)
        cursor = probe._Cursor(connection.call(probe.FETCH, 4, body))
        cursor.take('i')

        def partition():
            number, error = cursor.take('i'), cursor.take('h')
            cursor.take('q'), cursor.take('q')
            cursor.array(lambda: (cursor.take('q'), cursor.take('q')))
            size = max(cursor.take('i'), 0)
            cursor.at += size
            found[number] = size if error == 0 else -error

        cursor.array(lambda: (cursor.string(), cursor.array(partition)))
    return found


def until_serving(broker, topic, count, since, limit_s):
    """Seconds from `since` until every partition is served."""
    connection = None
    while time.time() - since < limit_s:
        try:
            if connection is None:
                connection = probe.Connection(broker.host, broker.port, limit_s)
            errors = list_offsets(connection, topic, count)
            if len(errors) == count and not any(errors.values()):
                return time.time() - since
        except (OSError, struct.error, KeyError):
            connection = None
            if not broker.alive():
                raise RuntimeError(f'the broker has ended:\n{broker.log_tail()}') from None
        time.sleep(POLL_S)
    raise TimeoutError(f'{topic}: not every partition is served after {limit_s} s:\n{broker.log_tail()}')


def create_topic(broker, topic, count, configs=()):
    """Seconds until CreateTopics was answered."""
    connection = probe.Connection(broker.host, broker.port, 120)
    body = struct.pack('>i', 1) + probe.string(topic) + struct.pack('>ihi', count, 1, 0)
    body += struct.pack('>i', len(configs)) + b''.join(probe.string(k) + probe.string(v) for k, v in configs)
    began = time.time()
    cursor = probe._Cursor(connection.call(probe.CREATE_TOPICS, 2, body + struct.pack('>ib', 110000, 0)))
    took = time.time() - began
    cursor.take('i'), cursor.take('i'), cursor.string()
    if error := cursor.take('h'):
        raise RuntimeError(f'CreateTopics: error {error}')
    return took
