#!/usr/bin/env python3
"""kill -9 under load, restart, compare.

Several producers with acks=all keep sending through all rounds, to topics in two log directories whose small segments roll
all the time: two that keep everything, one with a limit (retention.bytes), one that is trimmed by DeleteRecords, one that
is compacted. Meanwhile topics are created and deleted and settings change. Each round kills the broker at a random moment (every
fifth round once more while it starts), starts it again, lets the producers finish what they have under way, reads every
partition, and checks:

- every acknowledged record is at the offset that was answered, and offsets have no gap; but for what the limit,
  DeleteRecords (exactly as far as asked) and compaction (never the last record of a key) may have removed;
- what was acknowledged in earlier rounds is still there, unchanged;
- an idempotent producer's records are all there, once each, in the order in which they were sent;
- a batch of an idempotent producer that is sent again after the restart is answered with its first offset and not
  appended, the next sequence is accepted, and a gap in the sequence is refused;
- topics whose creation was acknowledged are there, those whose deletion was are not, and settings are the last ones.

Then comes a clean stop and start with the same checks, and with --hand-over the other broker (Apache Kafka for Odradek
and the other way round) opens the same directory and must serve the same records. The last line is `N passed, N failed`.
"""
import argparse
import concurrent.futures
import os
import random
import struct
import sys
import tempfile
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'tools'))

import broker as brokers
import probe
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

PARTITIONS = 4
SMALL = {'internal.segment.bytes': '300000', 'index.interval.bytes': '1000', 'file.delete.delay.ms': '200'}
KEEP, LIMITED, TRIMMED, COMPACTED = 'keep', 'limited', 'trimmed', 'compacted'
# name: (are its producers idempotent?, what happens to its records, settings)
TOPICS = {
    'idempotent': (True, KEEP, {'internal.segment.bytes': '500000'}),
    'plain': (False, KEEP, {}),
    'limited': (True, LIMITED, dict(SMALL, **{'retention.bytes': '1500000'})),
    'trimmed': (True, TRIMMED, SMALL),
    'compacted': (True, COMPACTED, dict(SMALL, **{'cleanup.policy': 'compact', 'min.cleanable.dirty.ratio': '0.05'})),
}
KEYS = 50                                          # of each producer, in the compacted topic
PRODUCERS_PER_TOPIC = 2
RECORDS_PER_TURN, TURN_S = 10, 0.01                # on average, of each producer
WAITING_LIMIT = 1000                               # records without an answer, of each producer
CODECS = ('none', 'lz4', 'zstd')
NOT_LEADER_OR_FOLLOWER, OUT_OF_ORDER_SEQUENCE_NUMBER = 6, 45
CHECK_LIMIT = 5                                    # breaches shown per round


class Load:
    """One producer with its own connection. Records are numbered per producer and partition."""

    def __init__(self, topic, number, address):
        self.topic, self.number, (self.idempotent, self.kind, _) = topic, number, TOPICS[topic]
        self.sent = [0] * PARTITIONS
        self.acked, self.failures, self.lock = [], [], threading.Lock()
        self.running = threading.Event()
        self.ended = False
        self.producer = Producer({
            'bootstrap.servers': address, 'acks': 'all', 'enable.idempotence': self.idempotent, 'linger.ms': 2,
            'compression.type': CODECS[number % len(CODECS)], 'batch.num.messages': 200, 'batch.size': 100000,
            # A disk that stalls for minutes must not look like loss: the client would give records up, and go on with a gap.
            'message.timeout.ms': 600000, 'retry.backoff.ms': 20, 'reconnect.backoff.ms': 10,
            'reconnect.backoff.max.ms': 100, 'log_level': 0})
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        rng = random.Random(self.number)
        while not self.ended:
            if not self.running.wait(0.1):
                continue
            if len(self.producer) < WAITING_LIMIT:
                for _ in range(rng.randrange(2 * RECORDS_PER_TURN)):
                    self._send(rng)
            self.producer.poll(0)
            time.sleep(TURN_S)

    def _send(self, rng):
        partition = rng.randrange(PARTITIONS)
        sequence = self.sent[partition]
        size = rng.choice((0, 50, 50, 200, 1000, 20000))
        value = b'%d %d %s' % (self.number, sequence, b'x' * size)

        def answered(error, message):
            with self.lock:
                if error:
                    self.failures.append(f'{self.topic}: producer {self.number}: {error}')
                else:
                    self.acked.append((partition, message.offset(), sequence))

        try:
            key = b'%d %d' % (self.number, sequence % KEYS) if self.kind == COMPACTED else None
            self.producer.produce(self.topic, value, key=key, partition=partition, on_delivery=answered)
            self.sent[partition] += 1
        except BufferError:
            self.producer.poll(0.05)

    def finish(self):
        """Waits for all answers; what comes back is [(partition, offset, sequence)] since the last call."""
        self.running.clear()
        time.sleep(0.05)
        if self.producer.flush(300):
            self.failures.append(f'{self.topic}: producer {self.number} has records without an answer')
        with self.lock:
            done, self.acked = self.acked, []
        return done


class RawProducer:
    """One idempotent producer on the raw protocol, which can send a batch a second time."""

    INIT_PRODUCER_ID = 22

    def __init__(self, broker, topic):
        self.broker, self.topic, self.sequence, self.last = broker, topic, 0, None
        while True:
            connection = self._connect()
            answer = connection.call(self.INIT_PRODUCER_ID, 1, probe.string(None) + struct.pack('>i', 60000))
            error, self.producer_id, self.epoch = struct.unpack('>hqh', answer[4:16])
            if error == 0:
                break
            time.sleep(0.05)
        self.next()

    def _connect(self):
        return probe.Connection(self.broker.host, self.broker.port, 20)

    def _batch(self, sequence):
        batch = bytearray(probe.one_record_batch(b'%d' % sequence))
        struct.pack_into('>qhi', batch, 43, self.producer_id, self.epoch, sequence)
        struct.pack_into('>I', batch, 17, probe.crc32c(batch[21:]))
        return bytes(batch)

    def send(self, sequence):
        """(error code, base offset) of one record with this sequence."""
        connection, batch = self._connect(), self._batch(sequence)
        try:
            return probe.produce_batch(connection, self.topic, 0, batch)
        finally:
            connection.close()

    def next(self):
        end = time.time() + 20
        while True:
            self.last = self.send(self.sequence)
            if self.last[0] != NOT_LEADER_OR_FOLLOWER or time.time() > end:
                break
            time.sleep(0.05)
        self.sequence += 1
        return self.last

    def check_after_restart(self):
        found = []
        again = self.send(self.sequence - 1)
        if again != self.last:
            found.append(f'the last batch sent again: answered {again}, first answer {self.last}')
        gap = self.send(self.sequence + 5)
        if gap[0] != OUT_OF_ORDER_SEQUENCE_NUMBER:
            found.append(f'a gap in the sequence: answered {gap}')
        expected = (0, self.last[1] + 1)
        if self.next() != expected:
            found.append(f'the next batch: answered {self.last}, want {expected}')
        return found


class Churn:
    """Somebody who creates, trims and deletes topics and changes settings all the time, and remembers what was answered."""

    SETTING = 'max.message.bytes'

    def __init__(self, address, seed):
        self.admin = AdminClient({'bootstrap.servers': address, 'socket.timeout.ms': 5000, 'log_level': 0})
        self.consumer = Consumer({'bootstrap.servers': address, 'group.id': 'not-joined', 'log_level': 0})
        self.rng, self.number = random.Random(seed), 0
        self.there, self.gone, self.done = set(), set(), 0
        self.asked = {p: 0 for p in range(PARTITIONS)}          # DeleteRecords of `trimmed`: the largest offset asked for
        self.answered = {p: 0 for p in range(PARTITIONS)}       # and acknowledged
        self.setting = {'asked': set(), 'answered': None}
        self.running, self.idle, self.ended = threading.Event(), threading.Event(), False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.ended:
            if not self.running.is_set():
                self.idle.set()
                self.running.wait(0.05)
                continue
            self.idle.clear()
            try:
                self.rng.choice((self._create, self._delete, self._trim, self._trim, self._configure))()
                self.done += 1
            except (KafkaException, TimeoutError, concurrent.futures.TimeoutError):
                pass            # the broker is gone: nothing was promised
            time.sleep(0.01)

    def pause(self):
        self.running.clear()
        self.idle.wait(60)

    def _create(self):
        name = f'churn-{self.number}'
        self.number += 1
        self.admin.create_topics([NewTopic(name, 2, 1)])[name].result(10)
        self.there.add(name)

    def _delete(self):
        if not self.there:
            return
        name = self.rng.choice(sorted(self.there))
        self.there.discard(name)         # whatever the answer, nobody relies on it any more
        self.admin.delete_topics([name])[name].result(10)
        self.gone.add(name)

    def _trim(self):
        place = TopicPartition('trimmed', self.rng.randrange(PARTITIONS))
        low, high = self.consumer.get_watermark_offsets(place, 5)
        place.offset = self.rng.randint(low, (low + high) // 2)
        self.asked[place.partition] = max(self.asked[place.partition], place.offset)
        self.admin.delete_records([place])[place].result(10)
        self.answered[place.partition] = max(self.answered[place.partition], place.offset)

    def _configure(self):
        value = str(1000000 + self.rng.randrange(100000))
        self.setting['asked'].add(value)
        resource = ConfigResource(ConfigResource.Type.TOPIC, 'plain', incremental_configs=[
            ConfigEntry(self.SETTING, value, incremental_operation=AlterConfigOpType.SET)])
        self.admin.incremental_alter_configs([resource])[resource].result(10)
        self.setting = {'asked': {value}, 'answered': value}

    def check(self):
        names = set(self.admin.list_topics(timeout=30).topics)
        found = [f'topic {name} was created and is gone' for name in self.there - names]
        found += [f'topic {name} was deleted and is there' for name in self.gone & names]
        resource = ConfigResource(ConfigResource.Type.TOPIC, 'plain')
        value = self.admin.describe_configs([resource])[resource].result(30)[self.SETTING].value
        if self.setting['answered'] and value not in self.setting['asked'] | {self.setting['answered']}:
            found.append(f'{self.SETTING} is {value}, acknowledged was {self.setting["answered"]}')
        return found


class Truth:
    """What was acknowledged, and the comparison with what is there."""

    def __init__(self, churn):
        self.acked = {(t, p): {} for t in TOPICS for p in range(PARTITIONS)}      # offset: (producer, sequence)
        self.conflicts, self.churn = [], churn

    def add(self, load, answers):
        for partition, offset, sequence in answers:
            known = self.acked[(load.topic, partition)]
            if offset in known:
                self.conflicts.append(f'{load.topic}-{partition}: offset {offset} was answered twice')
            known[offset] = (load.number, sequence)

    def compare(self, place, start, log, loads):
        """Breaches in one partition. `log` is [(offset, producer, sequence)] from the log start offset on."""
        kind, found = TOPICS[place[0]][1], []
        there = {offset: (producer, sequence) for offset, producer, sequence in log}
        if len(there) != len(log) or any(a[0] >= b[0] for a, b in zip(log, log[1:])):
            found.append(f'{place}: offsets are not ascending')
        found += self._front(place, kind, start)
        if kind != COMPACTED and log and log[-1][0] - start + 1 != len(log):
            found.append(f'{place}: {len(log)} records from {start} to {log[-1][0]}')
        needed = self.acked[place]
        if kind == COMPACTED:           # others may be there, but no other ones
            wrong = {o: r for o, r in there.items() if needed.get(o, r) != r}
            found += [f'{place}: acknowledged {needed[o]} at {o}; there is {r}' for o, r in wrong.items()]
            needed = self._last_of_keys(needed, there)
        for offset, record in needed.items():
            if offset >= start and there.get(offset) != record:
                found.append(f'{place}: acknowledged {record} at {offset}; there is {there.get(offset)}')
        if TOPICS[place[0]][0]:
            found += self._order(place, kind, log, loads)
        return found

    def _front(self, place, kind, start):
        if kind == TRIMMED:
            low, high = self.churn.answered[place[1]], self.churn.asked[place[1]]
        else:
            low, high = 0, (1 << 62 if kind == LIMITED else 0)
        return [] if low <= start <= high else [f'{place}: it begins at {start}, not between {low} and {high}']

    @staticmethod
    def _last_of_keys(acked, there):
        """The acknowledged records that nothing in the log replaces: the last of each key."""
        last = {}
        for records in (acked, there):
            for offset, (producer, sequence) in records.items():
                key = (producer, sequence % KEYS)
                last[key] = max(last.get(key, (-1, None)), (offset, sequence))
        return {o: (k[0], s) for k, (o, s) in last.items() if o in acked}

    @staticmethod
    def _order(place, kind, log, loads):
        found = []
        for load in loads:
            if load.topic == place[0]:
                seen, sent = [s for _, producer, s in log if producer == load.number], load.sent[place[1]]
                whole = range(seen[0] if seen else sent, sent) if kind in (LIMITED, TRIMMED) else range(sent)
                right = seen == sorted(set(seen)) if kind == COMPACTED else seen == list(whole)
                if not right:
                    found.append(f'{place}: producer {load.number} sent {sent} records; there are {len(seen)}, '
                                 f'{sum(a >= b for a, b in zip(seen, seen[1:]))} out of order')
        return found


def offsets(consumer, place):
    """(log start offset, high watermark); asked again while the broker has not taken office yet."""
    deadline = time.time() + 30
    while True:
        try:
            return consumer.get_watermark_offsets(place, 10)
        except KafkaException:
            if time.time() > deadline:
                raise
            time.sleep(0.05)


def read_all(address):
    """{(topic, partition): (log start offset, [(offset, producer, sequence)])} of everything there is."""
    consumer = Consumer({'bootstrap.servers': address, 'group.id': 'not-joined', 'enable.auto.commit': False,
                         'auto.offset.reset': 'earliest', 'check.crcs': True, 'enable.partition.eof': True, 'log_level': 0})
    logs, left = {}, set()
    for topic in TOPICS:
        for partition in range(PARTITIONS):
            start, end = offsets(consumer, TopicPartition(topic, partition))
            logs[(topic, partition)] = (start, [])
            if end > start:
                left.add((topic, partition))
    consumer.assign([TopicPartition(t, p, logs[(t, p)][0]) for t, p in left])
    deadline = time.time() + 120
    while left and time.time() < deadline:
        for message in consumer.consume(5000, 1.0):
            place = (message.topic(), message.partition())
            if message.error():
                if message.error().code() != KafkaError._PARTITION_EOF:
                    raise RuntimeError(f'fetch: {message.error()}')
                left.discard(place)
                continue
            producer, sequence, _ = message.value().split(b' ', 2)
            logs[place][1].append((message.offset(), int(producer), int(sequence)))
    consumer.close()
    if left:
        raise RuntimeError(f'the end of {sorted(left)} could not be read')
    # Retention goes on while this reads: where the first record was is where the log began.
    return {place: (log[0][0] if log and TOPICS[place[0]][1] == LIMITED else start, log) for place, (start, log) in logs.items()}


class Run:
    def __init__(self, options):
        self.options, self.rng = options, random.Random(options.seed)
        # Small segments make rolls, and recovery from more than one segment, common.
        directory = tempfile.mkdtemp(prefix=f'odradek-test-{options.broker}-')
        logs = [os.path.join(directory, name) for name in ('logs', 'more')]
        properties = ['log.segment.bytes=1048576', 'log.dirs=' + ','.join(logs), 'log.retention.check.interval.ms=300',
                      'log.cleaner.backoff.ms=300', 'metadata.log.max.record.bytes.between.snapshots=20000']
        if options.broker == 'apache':     # it waits for the end of its former session before it serves
            properties += ['broker.session.timeout.ms=2000', 'broker.heartbeat.interval.ms=500']
        self.broker = brokers.Broker(options.broker, options.port, directory, properties)
        self.broker.own_directory = True
        self.broker.start()
        admin = AdminClient({'bootstrap.servers': self.broker.address})
        wanted = [NewTopic(t, PARTITIONS, 1, config=settings) for t, (_, _, settings) in TOPICS.items()]
        for future in admin.create_topics([*wanted, NewTopic('raw', PARTITIONS, 1)]).values():
            future.result(30)
        self.loads = [Load(topic, i * PRODUCERS_PER_TOPIC + n, self.broker.address)
                      for i, topic in enumerate(TOPICS) for n in range(PRODUCERS_PER_TOPIC)]
        self.churn = Churn(self.broker.address, options.seed)
        self.raw, self.truth = RawProducer(self.broker, 'raw'), Truth(self.churn)
        self.passed, self.failed = 0, 0

    def outcome(self, name, breaches, note=''):
        for load in self.loads:
            breaches = load.failures + breaches     # first: what follows may follow from them
            load.failures = []
        breaches += self.truth.conflicts
        self.truth.conflicts = []
        self.passed, self.failed = self.passed + (not breaches), self.failed + bool(breaches)
        print(f'{"FAIL" if breaches else "PASS"} {name} {note}', flush=True)
        for breach in breaches[:CHECK_LIMIT]:
            print(f'     {breach}')
        if len(breaches) > CHECK_LIMIT:
            print(f'     and {len(breaches) - CHECK_LIMIT} more')

    def check(self):
        """Collects the answers, reads all, compares."""
        self.churn.pause()
        for load in self.loads:
            self.truth.add(load, load.finish())
        logs, breaches = read_all(self.broker.address), []
        for place, (start, log) in logs.items():
            breaches += self.truth.compare(place, start, log, self.loads)
        return breaches + self.churn.check() + self.raw.check_after_restart()

    def total(self):
        return sum(len(known) for known in self.truth.acked.values())

    def round(self, number):
        for worker in (*self.loads, self.churn):
            worker.running.set()
        time.sleep(self.rng.uniform(0.2, self.options.seconds))
        self.broker.kill()
        if number % 5 == 4:
            self.broker.spawn()
            time.sleep(self.rng.uniform(0, 0.05 if self.broker.kind == 'odradek' else 3))
            self.broker.kill()
        self.broker.start()
        ready = time.time() - self.broker.started_at
        time.sleep(self.rng.uniform(0, 0.5))
        before = self.total()
        breaches = self.check()
        self.outcome(f'round {number + 1}', breaches,
                     f'({self.total() - before} records acknowledged, {self.total()} in all, ready in {ready:.2f} s)')

    def clean_restart(self):
        code = self.broker.stop()
        self.broker.start()
        self.outcome('clean stop and start', ([] if code in (0, 143) else [f'exit code {code}']) + self.check())

    def hand_over(self):
        code = self.broker.stop()
        other = 'apache' if self.options.broker == 'odradek' else 'odradek'
        self.broker.kind = other
        self.broker.start()
        self.outcome(f'the same directory under {other}', ([] if code in (0, 143) else [f'exit code {code}']) + self.check())

    def all(self):
        try:
            for number in range(self.options.rounds):
                self.round(number)
            self.clean_restart()
            if self.options.hand_over:
                self.hand_over()
        except Exception as problem:  # whatever ends a run early is a failure of the run
            traceback.print_exc()
            self.outcome('run', [f'{type(problem).__name__}: {problem}'])
        finally:
            for worker in (*self.loads, self.churn):
                worker.ended = True
            self.broker.kill()
        if self.failed:
            print(f'seed {self.options.seed}; the data and the log are in {self.broker.directory}')
        else:
            self.broker.remove()
        print(f'{self.passed} passed, {self.failed} failed', flush=True)
        # Producers that wait for a broker would hold up a normal end.
        os._exit(1 if self.failed else 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--broker', choices=brokers.KINDS, default='odradek')
    parser.add_argument('--port', type=int, default=21100)
    parser.add_argument('--rounds', type=int, default=30)
    parser.add_argument('--seconds', type=float, default=2.0, help='longest time of load before a kill')
    parser.add_argument('--seed', type=int, default=None)
    parser.add_argument('--hand-over', action='store_true', help='at the end the other broker opens the directory')
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.randrange(1 << 30)
    Run(options).all()


if __name__ == '__main__':
    main()
