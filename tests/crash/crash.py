#!/usr/bin/env python3
"""kill -9 under load, restart, compare.

Several producers with acks=all keep sending through all rounds. Each round kills the broker at a random moment (every
fifth round once more while it starts), starts it again, lets the producers finish what they have under way, reads every
partition, and checks:

- every acknowledged record is at the offset that was answered, and offsets have no gap;
- what was acknowledged in earlier rounds is still there, unchanged;
- an idempotent producer's records are all there, once each, in the order in which they were sent;
- a batch of an idempotent producer that is sent again after the restart is answered with its first offset and not
  appended, the next sequence is accepted, and a gap in the sequence is refused.

Then comes a clean stop and start with the same checks, and with --hand-over the other broker (Apache Kafka for Odradek
and the other way round) opens the same directory and must serve the same records. The last line is `N passed, N failed`.
"""
import argparse
import os
import random
import struct
import sys
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'tools'))

import broker as brokers
import probe
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

PARTITIONS = 4
TOPICS = {'idempotent': True, 'plain': False}     # name: are its producers idempotent?
PRODUCERS_PER_TOPIC = 3
RECORDS_PER_TURN, TURN_S = 10, 0.01                # on average, of each producer
WAITING_LIMIT = 1000                               # records without an answer, of each producer
CODECS = ('none', 'lz4', 'zstd')
NOT_LEADER_OR_FOLLOWER, OUT_OF_ORDER_SEQUENCE_NUMBER = 6, 45
CHECK_LIMIT = 5                                    # breaches shown per round


class Load:
    """One producer with its own connection. Records are numbered per producer and partition."""

    def __init__(self, topic, number, address):
        self.topic, self.number, self.idempotent = topic, number, TOPICS[topic]
        self.sent = [0] * PARTITIONS
        self.acked, self.failures, self.lock = [], [], threading.Lock()
        self.running = threading.Event()
        self.ended = False
        self.producer = Producer({
            'bootstrap.servers': address, 'acks': 'all', 'enable.idempotence': self.idempotent, 'linger.ms': 2,
            'compression.type': CODECS[number % len(CODECS)], 'batch.num.messages': 200,
            'message.timeout.ms': 120000, 'retry.backoff.ms': 20, 'reconnect.backoff.ms': 10,
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
            self.producer.produce(self.topic, value, partition=partition, on_delivery=answered)
            self.sent[partition] += 1
        except BufferError:
            self.producer.poll(0.05)

    def finish(self):
        """Waits for all answers; what comes back is [(partition, offset, sequence)] since the last call."""
        self.running.clear()
        time.sleep(0.05)
        if self.producer.flush(100):
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


class Truth:
    """What was acknowledged, and the comparison with what is there."""

    def __init__(self):
        self.acked = {(t, p): {} for t in TOPICS for p in range(PARTITIONS)}      # offset: (producer, sequence)
        self.conflicts = []

    def add(self, load, answers):
        for partition, offset, sequence in answers:
            known = self.acked[(load.topic, partition)]
            if offset in known:
                self.conflicts.append(f'{load.topic}-{partition}: offset {offset} was answered twice')
            known[offset] = (load.number, sequence)

    def compare(self, place, log, loads):
        """Breaches in one partition. `log` is [(offset, producer, sequence)] from offset 0 on."""
        found = []
        for position, (offset, _, _) in enumerate(log):
            if offset != position:
                found.append(f'{place}: offset {offset} where {position} should be')
                break
        for offset, record in self.acked[place].items():
            there = log[offset][1:] if offset < len(log) else None
            if there != record:
                found.append(f'{place}: acknowledged {record} at {offset}; there is {there}')
        if TOPICS[place[0]]:
            for load in loads:
                if load.topic == place[0]:
                    seen = [s for _, producer, s in log if producer == load.number]
                    if seen != list(range(load.sent[place[1]])):
                        found.append(f'{place}: producer {load.number} sent {load.sent[place[1]]} records; '
                                     f'there are {len(seen)}, {sum(a >= b for a, b in zip(seen, seen[1:]))} out of order')
        return found


def end_offset(consumer, place):
    """The high watermark; asked again while the broker has not taken office yet."""
    deadline = time.time() + 30
    while True:
        try:
            return consumer.get_watermark_offsets(place, 10)[1]
        except KafkaException:
            if time.time() > deadline:
                raise
            time.sleep(0.05)


def read_all(address):
    """{(topic, partition): [(offset, producer, sequence)]} of everything there is."""
    consumer = Consumer({'bootstrap.servers': address, 'group.id': 'not-joined', 'enable.auto.commit': False,
                         'auto.offset.reset': 'error', 'check.crcs': True, 'log_level': 0})
    logs, ends = {}, {}
    for topic in TOPICS:
        for partition in range(PARTITIONS):
            place = TopicPartition(topic, partition, 0)
            ends[(topic, partition)] = end_offset(consumer, place)
            logs[(topic, partition)] = []
    consumer.assign([TopicPartition(t, p, 0) for (t, p), end in ends.items() if end])
    left, deadline = sum(ends.values()), time.time() + 120
    while left > 0 and time.time() < deadline:
        for message in consumer.consume(5000, 1.0):
            if message.error():
                raise RuntimeError(f'fetch: {message.error()}')
            producer, sequence, _ = message.value().split(b' ', 2)
            logs[(message.topic(), message.partition())].append((message.offset(), int(producer), int(sequence)))
            left -= 1
    consumer.close()
    if left:
        raise RuntimeError(f'{left} records below the high watermark could not be read')
    return logs


class Run:
    def __init__(self, options):
        self.options, self.rng = options, random.Random(options.seed)
        # Small segments make rolls, and recovery from more than one segment, common.
        properties = ['log.segment.bytes=1048576']
        if options.broker == 'apache':     # it waits for the end of its former session before it serves
            properties += ['broker.session.timeout.ms=2000', 'broker.heartbeat.interval.ms=500']
        self.broker = brokers.Broker(options.broker, options.port, properties=properties)
        self.broker.start()
        admin = AdminClient({'bootstrap.servers': self.broker.address})
        for future in admin.create_topics([NewTopic(t, PARTITIONS, 1) for t in (*TOPICS, 'raw')]).values():
            future.result(30)
        self.loads = [Load(topic, i * PRODUCERS_PER_TOPIC + n, self.broker.address)
                      for i, topic in enumerate(TOPICS) for n in range(PRODUCERS_PER_TOPIC)]
        self.raw, self.truth = RawProducer(self.broker, 'raw'), Truth()
        self.passed, self.failed = 0, 0

    def outcome(self, name, breaches, note=''):
        for load in self.loads:
            breaches += load.failures
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
        for load in self.loads:
            self.truth.add(load, load.finish())
        logs, breaches = read_all(self.broker.address), []
        for place, log in logs.items():
            breaches += self.truth.compare(place, log, self.loads)
        return breaches + self.raw.check_after_restart()

    def total(self):
        return sum(len(known) for known in self.truth.acked.values())

    def round(self, number):
        for load in self.loads:
            load.running.set()
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
            for load in self.loads:
                load.ended = True
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
