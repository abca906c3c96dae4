#!/usr/bin/env python3
"""Apache Kafka's directory to Odradek and back again, twice: after clean stops and after kill -9 of either.

    both_ways.py [--port N] [--keep]

1. Apache formats two log directories and fills them: all codecs, a compacted topic, deleted records, a deleted topic,
   transactions (committed, aborted, one left open), idempotent producers, settings, committed group offsets.
2. The directories go from hand to hand. After each hand-over everything is asked again (state.py) and must be as it was,
   and what must go on goes on: producers with their sequences, the open transaction, the group.
3. From one stopped directory both brokers do the same work, and the files that they leave are compared byte by byte (files.py).
4. kafka-dump-log checks what each of them left; the logs of both must not tell of recovery after a clean stop.

The last line is `N passed, N failed`.
"""
import argparse
import copy
import os
import random
import re
import shutil
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '..', 'tools'), os.path.join(HERE, '..', 'compat', 'tools_compare')]

import broker as brokers
import dump
import files
import raw
import state
from confluent_kafka import Producer

CODECS = ('none', 'gzip', 'snappy', 'lz4', 'zstd')
SMALL = {'segment.bytes': 1048576, 'index.interval.bytes': 2000}
T0 = int(time.time() * 1000) - 5 * 3600_000     # timestamps of what both must write alike; old ones would expire producers
SHOWN = 20

PROPERTIES = {
    'offsets.topic.num.partitions': '3',
    'transaction.state.log.num.partitions': '3',
    'log.cleaner.backoff.ms': '200',
    'log.retention.hours': '-1',
    'transaction.max.timeout.ms': '900000',
    'auto.create.topics.enable': 'false',
    # Snapshots of the metadata, and the removal of the oldest, in a run this short.
    'metadata.log.max.record.bytes.between.snapshots': '3000',
    'metadata.max.retention.bytes': '40000',
    # Apache waits for the end of its former session after kill -9.
    'broker.session.timeout.ms': '2000',
    'broker.heartbeat.interval.ms': '500',
}

# What each broker says when it opens a directory without trusting it, or does not like what it finds.
DISTRUST = {
    'apache': re.compile(r'Recovering unflushed|Recovering \d+ logs|stray|Rebuilding|[Cc]orrupt|Could not find|Found invalid|'
                         r'Deleting (index|orphan)|truncat| ERROR '),
    'odradek': re.compile(r'stray|cut off|written anew|taken from the batches|of no use|lies behind the cut|does not go on|'
                          r'checking the segment|starts over|in the way|bytes checked|MiB checked|\b(ERROR|WARN)\b'),
}
# Lines of those that mean nothing bad.
HARMLESS = {
    # It opens that one like this each time; and it says that it stopped loading groups when it is stopped while it does.
    'apache': re.compile(r'Exceptionally slow|for __cluster_metadata-0\.|Stopped loading records from __consumer_offsets'),
    'odradek': re.compile(r'(?!)'),
}


class Idempotent:
    """A producer with an id, an epoch and a sequence per partition, which it does not forget."""

    def __init__(self, client, topic, partition, sequence=0, identity=None):
        self.identity = identity or client.init_producer()
        self.topic, self.partition, self.sequence, self.last = topic, partition, sequence, None

    def batch(self, sequence):
        records = [(T0 + sequence % 1000, b'k', b'%d' % (sequence + n)) for n in range(5)]
        return raw.batch(records, (*self.identity, sequence))

    def next(self, client):
        self.last = client.append(self.topic, self.partition, self.batch(self.sequence))
        self.sequence = (self.sequence + 5) % (1 << 31)

    def goes_on(self, client):
        """What is wrong with how it can go on."""
        found, before = [], (self.sequence - 5) % (1 << 31)
        again = client.append(self.topic, self.partition, self.batch(before))
        if again != self.last:
            found.append(f'{self.topic}: the last batch again: {again}, it was at {self.last}')
        gap = client.produce(self.topic, self.partition, self.batch((self.sequence + 7) % (1 << 31)))
        if gap[0] != raw.OUT_OF_ORDER_SEQUENCE_NUMBER:
            found.append(f'{self.topic}: a gap in the sequence: {gap}')
        expected = self.last + 5
        self.next(client)
        if self.last != expected:
            found.append(f'{self.topic}: the next batch is at {self.last}, not {expected}')
        return found


class Suite:
    def __init__(self, options):
        self.options, self.passed, self.failed = options, 0, 0
        self.work = tempfile.mkdtemp(prefix='odradek-test-both-ways-')
        self.directory = os.path.join(self.work, 'data')
        logs = [os.path.join(self.directory, 'logs'), os.path.join(self.directory, 'more')]
        properties = dict(PROPERTIES, **{'log.dirs': ','.join(logs)})
        self.broker = brokers.Broker('apache', options.port, self.directory, properties)
        self.client, self.stage, self.seen, self.producers = None, '', None, []
        self.kept = {}              # stage: copy of the directories

    # ---- bookkeeping

    def outcome(self, name, breaches):
        self.passed, self.failed = self.passed + (not breaches), self.failed + bool(breaches)
        print(f'{"FAIL" if breaches else "PASS"} {self.stage}: {name}', flush=True)
        for breach in breaches[:SHOWN]:
            print(f'     {breach}')
        if len(breaches) > SHOWN:
            print(f'     and {len(breaches) - SHOWN} more', flush=True)

    def start(self, kind, stage):
        self.stage = stage
        self.broker.kind = kind
        self.broker.log_file = os.path.join(self.work, f'{stage.replace(" ", "-")}.log')
        self.broker.start(120)
        self.client = raw.Client(self.broker)
        self.wait_for_leaders()

    def wait_for_leaders(self):
        end = time.time() + 30
        while True:
            topics = self.client.metadata()
            if all(leader == 1 for parts in topics.values() for leader, _ in parts.values()):
                return
            if time.time() > end:
                raise RuntimeError(f'not all partitions are led: {topics}')
            time.sleep(0.1)

    def stop(self):
        self.client.close()
        code = self.broker.stop()
        self.outcome('stops cleanly', [] if code in (0, 143) else [f'exit code {code}'])
        self.keep()

    def kill(self):
        self.client.close()
        self.broker.kill()
        self.keep()

    def keep(self):
        self.kept[self.stage] = os.path.join(self.work, 'kept-' + self.stage.replace(' ', '-'))
        shutil.copytree(self.directory, self.kept[self.stage])

    def remember(self):
        """What there is now, for the comparison after the hand-over."""
        self.seen = state.look(self.client, self.broker)

    def compare(self):
        now = state.look(self.client, self.broker)
        self.outcome(f'everything is where it was ({len(now)} answers)', state.differences(self.seen, now))

    def go_on(self):
        self.outcome('idempotent producers go on', [b for p in self.producers for b in p.goes_on(self.client)])

    def check_log(self):
        with open(self.broker.log_file, encoding='utf-8', errors='replace') as f:
            bad = [line.strip() for line in f
                   if DISTRUST[self.broker.kind].search(line) and not HARMLESS[self.broker.kind].search(line)]
        self.outcome('no recovery, nothing stray, no complaint in the log', bad)

    # ---- what Apache makes

    def fill(self):
        client, rng = self.client, random.Random(7)
        client.alter_configs(raw.BROKER, '', {'message.max.bytes': '2000000'})
        client.alter_configs(raw.BROKER, '1', {'log.cleaner.io.buffer.size': '600000'})
        for codec in CODECS:
            client.create_topic(f'codec-{codec}', 1, dict(SMALL, **{'compression.type': 'producer'}))
        self.produce_with_codecs(rng)
        client.create_topic('append-time', 1, {'message.timestamp.type': 'LogAppendTime', 'retention.ms': '123456789012'})
        for n in range(3):
            client.append('append-time', 0, raw.batch([(T0 + n, None, b'a%d' % n)]))
        self.fill_compacted(rng)
        self.fill_and_delete(rng)
        self.fill_idempotent()
        self.fill_transactions()
        self.make_twins()
        client.commit_offsets('group-a', 'codec-none', {0: 11})
        client.create_topic('doomed', 2)
        client.append('doomed', 0, raw.batch([(T0, b'k', b'v')]))
        client.delete_topic('doomed')
        self.wait_for_cleaner()

    def produce_with_codecs(self, rng):
        for codec in CODECS:
            producer = Producer({'bootstrap.servers': self.broker.address, 'compression.type': codec, 'acks': 'all',
                                 'enable.idempotence': codec in ('gzip', 'zstd'), 'linger.ms': 20, 'log_level': 0})
            for n in range(300):
                value = rng.randbytes(rng.choice((10, 100, 5000))) + b'abc' * rng.randrange(3000)
                producer.produce(f'codec-{codec}', value, key=b'%d' % n, partition=0, headers={'n': b'%d' % n},
                                 timestamp=T0 + 10 * n - rng.randrange(1000))
                producer.poll(0)
            producer.flush(60)

    def fill_compacted(self, rng):
        self.client.create_topic('compacted', 1, {'cleanup.policy': 'compact', 'segment.ms': '10000', 'delete.retention.ms': '0',
                                                  'min.cleanable.dirty.ratio': '0.01', 'index.interval.bytes': '100'})
        producer = self.client.init_producer()
        for n in range(60):
            records = [(T0 + 1000 * n, b'key%d' % rng.randrange(12), None if rng.randrange(5) == 0 else b'v%d' % n)
                       for _ in range(4)]
            self.client.append('compacted', 0, raw.batch(records, (*producer, 4 * n)))

    def fill_and_delete(self, rng):
        self.client.create_topic('trimmed', 1, SMALL)
        for n in range(150):
            self.client.append('trimmed', 0, raw.batch([(T0 + n, b'%d' % n, rng.randbytes(20000)), (T0 + n, None, b'')]))
        self.client.delete_records('trimmed', 0, 121)

    def fill_idempotent(self):
        self.client.create_topic('idempotent', 3, SMALL)
        self.producers = [Idempotent(self.client, 'idempotent', 0), Idempotent(self.client, 'idempotent', 1),
                          Idempotent(self.client, 'idempotent', 2, sequence=(1 << 31) - 13)]      # is about to wrap
        for producer in self.producers:
            for _ in range(7):
                producer.next(self.client)

    def transaction(self, name, commit, records=3, partitions=(0, 1)):
        """One transaction on topic `transactions`; commit None leaves it open. Returns its producer."""
        client = self.client
        client.find_coordinator(name, 1)
        producer = client.init_producer(name)
        client.add_partitions(name, producer, 'transactions', partitions)
        for partition in partitions:
            data = raw.batch([(T0 + n, b'key', f'{name} {n}'.encode()) for n in range(records)], (*producer, 0), raw.TRANSACTIONAL)
            client.append('transactions', partition, data, name)
        if commit is not None:
            client.end_transaction(name, producer, commit)
        return producer

    def fill_transactions(self):
        self.client.create_topic('transactions', 2, dict(SMALL, **{'segment.ms': '3600000'}))
        for n in range(12):
            self.transaction(f'past-{n % 4}', commit=n % 3 != 0)
            self.client.append('transactions', 0, raw.batch([(T0 + 4_000_000 * (n // 4), None, b'plain')]))
        producer = self.client.init_producer('past-0')
        self.client.find_coordinator('group-a', 0)
        self.client.commit_offsets_in_transaction('past-0', producer, 'group-a', 'codec-lz4', {0: 5})
        self.client.end_transaction('past-0', producer, True)
        self.settle()
        self.open = self.transaction('open', commit=None)

    def settle(self, left_open=0):
        """Waits until the markers of all ended transactions are in the log."""
        end = time.time() + 30
        while time.time() < end:
            open_ones = [p for partition in (0, 1) for p in self.client.producers('transactions', partition) if p[5] >= 0]
            if len(open_ones) == left_open:
                return
            time.sleep(0.1)
        raise RuntimeError(f'transactions that do not end: {open_ones}')

    def make_twins(self):
        client = self.client
        client.create_topic('twin', 2, dict(SMALL, **{'segment.jitter.ms': '0'}))
        client.create_topic('twin-index', 1, {'index.interval.bytes': '0', 'segment.index.bytes': '240', 'segment.jitter.ms': '0'})
        client.create_topic('twin-time', 1, {'segment.ms': '5000', 'index.interval.bytes': '150', 'segment.jitter.ms': '0'})
        client.create_topic('twin-untouched', 1)
        self.twin_producer = client.init_producer()
        for n in range(6):
            client.append('twin', 0, raw.batch([(T0 + n, b'k', b'v' * 500)], (*self.twin_producer, n)))
            client.append('twin-time', 0, raw.batch([(T0 + 100 * n, b'k', b'v' * 50)]))

    def wait_for_cleaner(self):
        """Until the compacted topic is clean, then no more of it: its batches are to be compared."""
        end, last, same = time.time() + 120, None, 0
        while same < 8 and time.time() < end:
            self.client.append('compacted', 0, raw.batch([(T0 + 60_000, b'last', b'x')])) if last is None else None
            now = self.client.read('compacted', 0)[2]
            same = same + 1 if now == last and len(now) < 60 else 0
            last = now
            time.sleep(0.25)
        self.outcome(f'Apache has compacted ({len(last)} batches are left)', [] if same >= 8 else ['60 batches are left'])
        self.client.alter_configs(raw.TOPIC, 'compacted', {'min.cleanable.dirty.ratio': '1.0', 'segment.ms': None})

    # ---- the same work on both

    def twin_work(self):
        """Everything is given: ids, sequences, timestamps, sizes. Goes on from make_twins."""
        client, rng = self.client, random.Random(11)
        for n in range(6, 130):
            records = [(T0 + 7 * n - rng.randrange(50), b'%d' % n, rng.randbytes(rng.choice((50, 900, 9000)))) for _ in range(3)]
            client.append('twin', 0, raw.batch(records, (*self.twin_producer, 6 + 3 * (n - 6))))
            client.append('twin-index', 0, raw.batch([(T0 + n // 3, None, b'x' * (n % 50))]))
            client.append('twin-time', 0, raw.batch([(T0 + 700 + 300 * n - rng.randrange(400), b'k', b'v' * 40)]))
        for n, (_, _, stored) in enumerate(self.client.read('codec-zstd', 0)[2][:10]):
            plain = raw.as_from_producer(stored)
            client.append('twin', 1, without_producer(plain))
        other = (self.twin_producer[0] + 100_000, 3)
        for n in range(3):
            client.append('twin', 1, raw.batch([(T0 + n, None, b'first seen here')], (*other, n)))
        client.delete_records('twin', 0, 40)
        client.delete_records('twin-time', 0, 60)
        client.delete_records('twin-index', 0, 3)

    def twins(self):
        """From the same directory, Apache on a copy does what Odradek does."""
        theirs = copy.deepcopy(self.producers)
        self.go_on()
        self.twin_work()
        self.remember()
        seen, mine, producers = self.seen, self.stop_and_list(), self.producers
        aside, at = self.directory + '.ours', self.directory
        os.rename(at, aside)
        shutil.copytree(self.kept['1 Apache fills'], at)
        self.start('apache', '3 Apache does the same')
        self.producers = theirs
        self.go_on()
        self.twin_work()
        self.compare()
        self.outcome('the files are the same to the byte', files.differences(self.stop_and_list(), mine))
        shutil.rmtree(at)
        os.rename(aside, at)
        self.producers, self.seen = producers, seen

    def stop_and_list(self):
        self.stop()
        return files.read(self.broker_logs())

    def broker_logs(self):
        return self.broker.properties['log.dirs'].split(',')

    # ---- the run

    def run(self):
        self.start('apache', '1 Apache fills')
        self.fill()
        self.remember()
        self.stop()

        self.start('odradek', '2 Odradek')
        self.check_log()
        self.compare()
        self.twins()                                   # stops Odradek; its directory is in place again

        self.start('apache', '4 Apache again')
        self.check_log()
        self.compare()
        self.go_on()
        self.transaction('late', commit=False)
        self.settle(left_open=2)
        self.remember()
        self.kill()

        self.start('odradek', '5 Odradek after kill -9 of Apache')
        self.compare()
        self.go_on()
        self.change_everything()
        self.remember()
        self.kill()

        self.start('apache', '6 Apache after kill -9 of Odradek')
        self.compare()
        self.go_on()
        self.end_what_is_open()
        self.remember()
        self.stop()

        self.start('odradek', '7 Odradek at last')
        self.check_log()
        self.compare()
        self.go_on()
        self.stop()
        self.stage = '8 kafka-dump-log'
        for name, breaches in dump.check({s: d for s, d in self.kept.items()}):
            self.outcome(name, breaches)

    def change_everything(self):
        """What Apache must find again after kill -9 of Odradek."""
        client = self.client
        client.append('twin-untouched', 0, raw.batch([(T0, None, b'x')]))
        client.create_topic('made-by-odradek', 3, {'retention.bytes': '123456789', 'compression.type': 'zstd'})
        for partition in range(3):
            client.append('made-by-odradek', partition, raw.batch([(T0 + n, b'k', b'v' * 300) for n in range(20)]))
        client.delete_topic('codec-snappy')
        client.delete_records('trimmed', 0, 181)
        client.alter_configs(raw.TOPIC, 'codec-none', {'index.interval.bytes': None, 'max.message.bytes': '1500000'})
        client.alter_configs(raw.BROKER, '', {'message.max.bytes': None, 'log.roll.ms': '86400000'})

    def end_what_is_open(self):
        self.client.end_transaction('open', self.open, True)
        self.settle()
        committed = [v for _, _, _, v in state.consume(self.broker, [('transactions', 0)], True)['transactions-0']]
        found = [] if b'open 2' in committed else ['the transaction that was open all the time is not there']
        offsets = self.client.committed_offsets('group-a')
        if offsets.get(('codec-none', 0), (0,))[0] != 11 or offsets.get(('codec-lz4', 0), (0,))[0] != 5:
            found.append(f'committed offsets: {offsets}')
        self.outcome('the open transaction commits, the group finds its offsets', found)


def without_producer(batch):
    """The same records from nobody: a new checksum."""
    import struct

    import probe
    data = bytearray(batch)
    struct.pack_into('>qhi', data, 43, -1, -1, -1)
    struct.pack_into('>I', data, 17, probe.crc32c(data[21:]))
    return bytes(data)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--port', type=int, default=21700)
    parser.add_argument('--keep', action='store_true', help='keep the directories')
    options = parser.parse_args()
    suite = Suite(options)
    try:
        suite.run()
    except Exception as problem:        # whatever ends a run early is a failure of the run
        traceback.print_exc()
        suite.outcome('run', [f'{type(problem).__name__}: {problem}'])
    finally:
        suite.broker.kill()
    if suite.failed or options.keep:
        print(f'the directories and logs are in {suite.work}')
    else:
        shutil.rmtree(suite.work, ignore_errors=True)
    print(f'{suite.passed} passed, {suite.failed} failed')
    return 1 if suite.failed else 0


if __name__ == '__main__':
    sys.exit(main())
