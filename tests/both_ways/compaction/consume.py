#!/usr/bin/env python3
"""A real client writes to a compacted topic and reads it again and again while it is being cleaned.

    tests/both_ways/compaction/consume.py [--port 31100] [--seconds 12]

Every pass must see, per key, values that only go up; the last one must end with the newest of each key, deleted keys gone.
Afterwards Apache's DumpLogSegments reads the segments.
"""
import argparse
import os
import random
import sys
import threading
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', '..', 'tools'))
import broker  # noqa: E402
import python_clients  # noqa: E402
import run  # noqa: E402

TOPIC = 'compacted'


def create(address):
    from confluent_kafka.admin import AdminClient, NewTopic
    topic = NewTopic(TOPIC, 1, 1, config={'cleanup.policy': 'compact', 'segment.ms': '300', 'delete.retention.ms': '1000',
                                          'min.cleanable.dirty.ratio': '0.01', 'file.delete.delay.ms': '500'})
    admin = AdminClient({'bootstrap.servers': address})
    admin.create_topics([topic])[TOPIC].result(30)


def write(address, until, newest):
    """Writes until that time; `newest` becomes the last value of each key, None where it was deleted."""
    from confluent_kafka import Producer
    producer = Producer({'bootstrap.servers': address, 'enable.idempotence': True, 'linger.ms': 5, 'compression.type': 'lz4'})
    rng = random.Random(1)
    count = 0
    while time.time() < until:
        for _ in range(50):
            key = f'k{rng.randrange(300)}'
            value = None if rng.randrange(10) == 0 else str(count)
            producer.produce(TOPIC, key=key, value=value)
            newest[key] = value
            count += 1
        producer.poll(0)
        time.sleep(0.01)
    # The last segment is not cleaned: what counts lies before it.
    assert producer.flush(30) == 0
    return count


def read(address):
    """One pass over the topic: what it knows at the end, and how many records it saw."""
    from confluent_kafka import Consumer, TopicPartition
    consumer = Consumer({'bootstrap.servers': address, 'group.id': 'x', 'enable.auto.commit': False, 'check.crcs': True})
    try:
        end = consumer.get_watermark_offsets(TopicPartition(TOPIC, 0), timeout=30)[1]
        consumer.assign([TopicPartition(TOPIC, 0, 0)])
        known, highest, seen, deadline = {}, {}, 0, time.time() + 60
        while time.time() < deadline:
            at = consumer.position([TopicPartition(TOPIC, 0)])[0].offset
            if at >= end or (end == 0):
                return known, seen
            message = consumer.poll(1.0)
            if message is None:
                continue
            assert message.error() is None, message.error()
            key, value = message.key().decode(), message.value()
            seen += 1
            if value is None:
                known.pop(key, None)
                continue
            number = int(value)
            assert number > highest.get(key, -1), f'{key} went back to {number}'
            highest[key] = number
            known[key] = value.decode()
        raise AssertionError('a pass does not end')
    finally:
        consumer.close()


def metric(port, name):
    with urllib.request.urlopen(f'http://127.0.0.1:{port}/metrics', timeout=5) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(name):
                return float(line.split()[-1])
    raise AssertionError(name)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--port', type=int, default=31100)
    parser.add_argument('--seconds', type=float, default=12)
    options = parser.parse_args()
    http = options.port + 2
    settings = {'log.cleaner.backoff.ms': '100', 'odradek.http.listeners': f'127.0.0.1:{http}'}
    with broker.Broker('odradek', options.port, properties=settings) as node:
        create(node.address)
        newest, passes, trouble = {}, [], []
        until = time.time() + options.seconds

        def reader():
            try:
                while time.time() < until:
                    passes.append(read(node.address)[1])
            except AssertionError as e:
                trouble.append(e)
        thread = threading.Thread(target=reader)
        thread.start()
        count = write(node.address, until, newest)
        thread.join()
        assert not trouble, trouble
        known, seen = read(node.address)
        expected = {k: v for k, v in newest.items() if v is not None}
        assert known == expected, f'{len(known)} keys instead of {len(expected)}'
        runs = metric(http, 'odradek_cleaner_runs_total')
        assert runs > 3, runs
        assert metric(http, 'odradek_cleaner_uncleanable_partitions') == 0
        node.stop()
        complaints = run.dump(os.path.join(node.logs, f'{TOPIC}-0'))
    print(f'{count} records written, {seen} left, {len(passes)} passes meanwhile, {runs:.0f} cleanings; '
          f'DumpLogSegments: {len(complaints)} complaints')
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


if __name__ == '__main__':
    if 'ODRADEK_CLIENTS' not in os.environ:
        os.environ['ODRADEK_CLIENTS'] = '1'
        python = python_clients.python()
        os.execv(python, [python, os.path.abspath(__file__), *sys.argv[1:]])
    sys.exit(main())
