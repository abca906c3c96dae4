#!/usr/bin/env python3
"""One directory that Apache Kafka wrote, compacted by Apache Kafka and, as a copy, by Odradek: what is left must be the same.

    tests/both_ways/compaction/brokers.sh [--topics 24] [--seed 1] [--port 21800] [--keep]

Each topic gets a history by chance: keys, tombstones, codecs, idempotent producers, transactions that commit and abort. No
broker compacts before the directory is copied. Then each compacts its copy until the cleaner's checkpoint has every log up to
its last segment; both get the same new batches, and compact again (tombstones and markers whose time is over go then). After
each round every batch (offsets, producer, sequence, attributes, largest timestamp) and every record, as read_committed and
read_uncommitted consumers see it, are compared. The last line is `N passed, N failed`.
"""
import argparse
import copy
import os
import random
import shutil
import struct
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..'), os.path.join(HERE, '..', '..', 'tools')]

import broker as brokers
import raw
import state
from confluent_kafka import Producer

PROPERTIES = {
    'offsets.topic.num.partitions': '1',
    'transaction.state.log.num.partitions': '1',
    'log.cleaner.backoff.ms': '200',
    'log.retention.hours': '-1',
    'auto.create.topics.enable': 'false',
    'broker.session.timeout.ms': '2000',
    'broker.heartbeat.interval.ms': '500',
}
CODECS = (None, None, 'gzip', 'snappy', 'lz4', 'zstd')
T0 = int(time.time() * 1000) + 600_000      # later than the markers, whose times are the broker's: segments roll by timestamps
SEGMENT_MS = 10_000
PATIENCE_S = 120
HORIZON = 0x40                          # attribute: the base timestamp is a delete horizon, from the clock of the cleaning


class History:
    """What is written to one topic."""

    def __init__(self, name, seed):
        self.name, self.rng = name, random.Random(seed)
        self.keys, self.now, self.sequences = self.rng.randint(2, 15), T0, {}
        self.settings = {'cleanup.policy': 'compact', 'segment.ms': SEGMENT_MS, 'min.cleanable.dirty.ratio': '1.0',
                         'delete.retention.ms': self.rng.choice((0, 3_600_000_000)), 'segment.jitter.ms': 0,
                         'index.interval.bytes': self.rng.choice((0, 200, 4096))}

    def records(self):
        rng, out = self.rng, []
        for _ in range(rng.randint(1, 6)):
            self.now += rng.randint(0, 1500)
            value = None if rng.random() < 0.25 else b'%d ' % rng.randrange(1000) * rng.randint(0, 20)
            out.append((self.now, b'key%d' % rng.randrange(self.keys), value))
        return out

    def append(self, client, producers):
        """A plain batch or one of an idempotent producer."""
        records, producer = self.records(), self.rng.choice([None, *producers])
        if producer is None:
            return client.append(self.name, 0, raw.batch(records))
        sequence = self.sequences.get(producer, 0)
        self.sequences[producer] = sequence + len(records)
        return client.append(self.name, 0, raw.batch(records, (*producer, sequence)))

    def roll(self, client):
        """Everything before lies in segments that may be cleaned then."""
        self.now += 3 * SEGMENT_MS
        client.append(self.name, 0, raw.batch([(self.now, b'last', b'')]))

    def transaction(self, client, transactional_id):
        client.find_coordinator(transactional_id, 1)
        producer = client.init_producer(transactional_id)
        client.add_partitions(transactional_id, producer, self.name, [0])
        sequence = 0
        for _ in range(self.rng.randint(1, 3)):
            records = self.records()
            client.append(self.name, 0, raw.batch(records, (*producer, sequence), raw.TRANSACTIONAL), transactional_id)
            sequence += len(records)
        client.end_transaction(transactional_id, producer, self.rng.random() < 0.6)

    def compressed(self, broker, codec):
        producer = Producer({'bootstrap.servers': broker.address, 'compression.type': codec, 'linger.ms': 50, 'log_level': 0})
        for _ in range(6):
            for timestamp, key, value in self.records():
                producer.produce(self.name, value, key=key, partition=0, timestamp=timestamp)
        producer.flush(60)

    def fill(self, broker, client, producers):
        client.create_topic(self.name, 1, self.settings)
        for _ in range(self.rng.randint(10, 30)):
            kind = self.rng.random()
            if kind < 0.12:
                codec = self.rng.choice(CODECS)
                if codec:
                    self.compressed(broker, codec)
            elif kind < 0.35:
                self.transaction(client, f'txn-{self.name}-{self.rng.randrange(3)}')
            else:
                self.append(client, producers)
        self.settle(client)
        self.roll(client)

    def settle(self, client):
        end = time.time() + 30
        while any(p[5] >= 0 for p in client.producers(self.name, 0)):
            if time.time() > end:
                raise RuntimeError(f'{self.name}: a transaction does not end')
            time.sleep(0.05)


def checkpoint(broker):
    """{topic-partition: the offset up to which it is clean}"""
    try:
        with open(os.path.join(broker.logs, 'cleaner-offset-checkpoint'), encoding='utf-8') as f:
            lines = [line.split() for line in f.read().splitlines()[2:]]
    except FileNotFoundError:
        return {}
    return {f'{topic}-{partition}': int(offset) for topic, partition, offset in (x for x in lines if len(x) == 3)}


def last_segment(broker, topic):
    return max(int(n[:20]) for n in os.listdir(os.path.join(broker.logs, f'{topic}-0')) if n.endswith('.log'))


def until_clean(broker, histories):
    end = time.time() + PATIENCE_S
    while True:
        clean = checkpoint(broker)
        left = [h.name for h in histories if clean.get(f'{h.name}-0', -1) != last_segment(broker, h.name)]
        if not left:
            return
        if time.time() > end:
            raise RuntimeError(f'{broker.kind}: not clean: {left}')
        time.sleep(0.2)


def header(batch):
    base, _, epoch, _, _, attributes, delta, first, largest, producer, producer_epoch, sequence, count = \
        struct.unpack_from('>qiibIhiqqqhii', batch)
    return (base, delta, epoch, attributes, None if attributes & HORIZON else first, largest, producer, producer_epoch, sequence,
            count)


def left_over(broker, client, histories):
    """{(topic, what): value}"""
    seen, places = {}, [(h.name, 0) for h in histories]
    for h in histories:
        seen[h.name, 'batches'] = [header(data) for _, _, data in client.read(h.name, 0)[2]]
        seen[h.name, 'aborted'] = client.read(h.name, 0, committed=True)[1]
        seen[h.name, 'offsets'] = client.read(h.name, 0)[0]
    for committed in (False, True):
        for place, records in state.consume(broker, places, committed).items():
            seen[place[:-2], f'records, committed: {committed}'] = records
    return seen


class Suite:
    def __init__(self, options):
        self.options, self.passed, self.failed = options, 0, 0
        self.work = tempfile.mkdtemp(prefix='odradek-test-compaction-')
        self.histories = [History(f't{n}', options.seed * 1000 + n) for n in range(options.topics)]
        self.producers = []

    def outcome(self, name, breaches):
        self.passed, self.failed = self.passed + (not breaches), self.failed + bool(breaches)
        print(f'{"FAIL" if breaches else "PASS"} {name}', flush=True)
        for breach in breaches:
            print(f'     {breach}', flush=True)

    def fill(self):
        broker = brokers.Broker('apache', self.options.port, os.path.join(self.work, 'apache'), PROPERTIES)
        broker.start(120)
        client = raw.Client(broker)
        self.producers = [client.init_producer() for _ in range(3)]
        for h in self.histories:
            h.fill(broker, client, self.producers)
        batches = {h.name: len(client.read(h.name, 0)[2]) for h in self.histories}
        client.close()
        broker.stop(60)
        shutil.copytree(broker.directory, os.path.join(self.work, 'odradek'))
        return batches

    def compact(self, kind, rounds):
        """What is left after each round."""
        directory = os.path.join(self.work, kind)
        broker = brokers.Broker(kind, self.options.port, directory, PROPERTIES)
        broker.start(120)
        try:
            client, out = raw.Client(broker), []
            for number in range(rounds):
                if number:
                    self.dirty_ratio(client, '1.0')     # one cleaning, over all that is new
                    self.append_more(client)
                self.dirty_ratio(client, '0.0')
                until_clean(broker, self.histories)
                out.append(left_over(broker, client, self.histories))
            client.close()
            return out
        finally:
            broker.stop(60)

    def dirty_ratio(self, client, ratio):
        for h in self.histories:
            client.alter_configs(raw.TOPIC, h.name, {'min.cleanable.dirty.ratio': ratio})

    def append_more(self, client):
        """The same for both: each goes on from copies of the histories."""
        for h in copy.deepcopy(self.histories):
            for _ in range(8):
                h.append(client, self.producers)
            h.roll(client)

    def run(self):
        written = self.fill()
        rounds = 2
        apache, ours = self.compact('apache', rounds), self.compact('odradek', rounds)
        for number in range(rounds):
            for h in self.histories:
                breaches = [f'{what}: {state.brief(value, ours[number].get((h.name, what)))}'
                            for (topic, what), value in sorted(apache[number].items())
                            if topic == h.name and value != ours[number].get((h.name, what))]
                left = len(apache[number][h.name, 'batches'])
                if not number and left >= written[h.name]:
                    breaches.append(f'{written[h.name]} batches, and {left} are left')
                self.outcome(f'round {number + 1}: {h.name}: {written[h.name]} batches were written, {left} are left', breaches)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--topics', type=int, default=24)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--port', type=int, default=21800)
    parser.add_argument('--keep', action='store_true')
    options = parser.parse_args()
    suite = Suite(options)
    try:
        suite.run()
    finally:
        if options.keep:
            print(f'kept: {suite.work}')
        else:
            shutil.rmtree(suite.work, ignore_errors=True)
    print(f'{suite.passed} passed, {suite.failed} failed')
    return 0 if suite.failed == 0 and suite.passed > 0 else 1


if __name__ == '__main__':
    sys.exit(main())
