#!/usr/bin/env python3
"""Several log directories: moves between them, directories that fail, a disk that is full.

    dirs.py [--long] [--port N] [CASE...]

Each case runs a broker of its own with three directories. `full` mounts a small tmpfs and is skipped, with a line that
says so, where that is not allowed. `tools` runs Apache's own kafka-log-dirs and kafka-reassign-partitions. With --long
the moves carry more data and are interrupted more often. The last line is `N passed, N failed`.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'tools'))

import broker as brokers
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

RATE = 'replica.alter.log.dirs.io.max.bytes.per.second'


class Skipped(Exception):
    pass


def until(what, holds, timeout_s=30.0):
    end = time.time() + timeout_s
    while not holds():
        if time.time() > end:
            raise AssertionError(f'not within {timeout_s} s: {what}')
        time.sleep(0.05)


def equal(what, got, wanted):
    if got != wanted:
        raise AssertionError(f'{what}: {got!r}, not {wanted!r}')


class Node:
    """A broker with directories d0 (which holds the metadata log), d1 and d2."""

    def __init__(self, port, dirs=None, **properties):
        self.home = tempfile.mkdtemp(prefix='odradek-dirs-')
        self.dirs = dirs or [os.path.join(self.home, f'd{i}') for i in range(3)]
        settings = {'log.dirs': ','.join(self.dirs), 'metadata.log.dir': self.dirs[0],
                    'replica.high.watermark.checkpoint.interval.ms': '300', 'log.segment.delete.delay.ms': '200', 'odradek.loops': '2'}
        settings.update({k.replace('__', '.'): str(v) for k, v in properties.items()})
        self.broker = brokers.Broker('odradek', port, self.home, settings)
        self.broker.logs = self.dirs[0]    # what tells whether it is formatted
        self.address = self.broker.address

    def __enter__(self):
        self.broker.start()
        return self

    def __exit__(self, kind, *_):
        if kind is not None and kind is not Skipped:
            print(self.broker.log_tail(6000))
        self.broker.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    def restart(self, kill=False):
        if kill:
            self.broker.kill()
        else:
            equal('exit code', self.broker.stop(), 0)
        self.broker.start()

    def cli(self, *args, fails=False):
        done = subprocess.run([brokers.odradek(), *args, '--bootstrap-server', self.address], capture_output=True,
                              text=True, timeout=60)
        if (done.returncode != 0) != fails:
            raise AssertionError(f'{args}: {done.stdout}{done.stderr}')
        return done.stdout + done.stderr

    def described(self):
        return json.loads(self.cli('log-dirs', '--json'))

    def create(self, topic, partitions=1, configs=()):
        self.cli('topic', 'create', topic, '--partitions', str(partitions),
                 *(x for c in configs for x in ('--config', c)))

    def where(self, topic, partition=0, future=False):
        """The directory of a replica, as a number; None if it is in none."""
        for number, d in enumerate(self.described()):
            for r in d['replicas']:
                if (r['topic'], r['partition'], r['future']) == (topic, partition, future):
                    return number
        return None

    def move(self, topic, to, partition=0):
        self.cli('log-dirs', 'move', f'{topic}-{partition}', '--to', self.dirs[to])

    def moved(self, topic, to, partition=0, timeout_s=60):
        until(f'{topic}-{partition} in directory {to}', lambda: self.where(topic, partition) == to and
              self.where(topic, partition, future=True) is None, timeout_s)

    def log(self):
        with open(self.broker.log_file, encoding='utf-8', errors='replace') as f:
            return f.read()


class Load:
    """An idempotent producer of numbered records to one partition, acks=all."""

    def __init__(self, node, topic, size=2000, pause_s=0.002):
        self.topic, self.size, self.pause_s = topic, size, pause_s
        self.sent, self.acked, self.errors, self.ended, self.paused = 0, [], [], False, False
        self.producer = Producer({'bootstrap.servers': node.address, 'acks': 'all', 'enable.idempotence': True,
                                  'linger.ms': 1, 'message.timeout.ms': 60000, 'retry.backoff.ms': 20,
                                  'reconnect.backoff.ms': 10, 'reconnect.backoff.max.ms': 100, 'log_level': 0})
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.ended:
            if len(self.producer) < 500 and not self.paused:
                number = self.sent
                self.sent += 1
                self.producer.produce(self.topic, b'%d ' % number + b'x' * self.size, partition=0,
                                      on_delivery=lambda e, m, n=number: self._answered(n, e, m))
            self.producer.poll(0)
            time.sleep(self.pause_s)

    def _answered(self, number, error, message):
        if error:
            self.errors.append(str(error))
        else:
            self.acked.append((message.offset(), number))

    def pause(self):
        """Nothing is under way any more: a clean stop remembers only the last batch of a producer, as at Apache."""
        self.paused = True
        until('all records answered', lambda: len(self.producer) == 0)

    def end(self):
        self.ended = True
        self.thread.join()
        equal('records without an answer', self.producer.flush(60), 0)
        equal('errors', self.errors, [])


def read_all(node, topic, partition=0):
    """(offset, number) of every record."""
    consumer = Consumer({'bootstrap.servers': node.address, 'group.id': 'none', 'enable.auto.commit': False,
                         'log_level': 0})
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=20)
        consumer.assign([TopicPartition(topic, partition, low)])
        out = []
        end = time.time() + 30
        while (not out or out[-1][0] + 1 < high) and low < high:
            for message in consumer.consume(1000, timeout=0.2):
                if message.error():
                    raise AssertionError(str(message.error()))
                out.append((message.offset(), int(message.value().split(b' ', 1)[0])))
            if time.time() > end:
                raise AssertionError(f'only {len(out)} of {high - low} records came')
        return out
    finally:
        consumer.close()


def send(node, topic, count=1, size=100, timeout_s=5.0):
    """Produces and waits; the first error, or None."""
    producer = Producer({'bootstrap.servers': node.address, 'acks': 'all', 'log_level': 0, 'retries': 0,
                         'message.timeout.ms': int(timeout_s * 1000)})
    errors = []
    for number in range(count):
        producer.produce(topic, b'%d ' % number + b'x' * size, partition=0,
                         on_delivery=lambda e, m: errors.append(e) if e else None)
        producer.poll(0)
    producer.flush(timeout_s + 5)
    return errors[0] if errors else None


# ---- the cases

def moves(port, long):
    """A replica goes round the directories under load, with kill -9 and a stop in between: nothing is lost."""
    with Node(port) as node:
        node.create('moving', configs=['segment.bytes=4000000'])
        equal('preload', send(node, 'moving', 8000 if not long else 60000, 2000, 60), None)
        start = read_all(node, 'moving')[-1][0] + 1
        load = Load(node, 'moving')
        for turn in range(3 if not long else 12):
            here = node.where('moving')
            to = (here + 1) % 3
            node.cli('config', 'set', f'{RATE}=4000000', '--broker-default')
            node.move('moving', to)
            time.sleep(0.5)
            equal('the future replica', node.where('moving', future=True), to)
            if turn % 2:
                load.pause()
            node.restart(kill=turn % 2 == 0)
            load.paused = False
            equal('where the replica is after a restart', node.where('moving'), here)
            equal('the future replica after a restart', node.where('moving', future=True), to)
            node.cli('config', 'delete', RATE, '--broker-default')
            node.moved('moving', to)
        load.end()
        found = read_all(node, 'moving')[start:]
        equal('acknowledged records that are gone', sorted(set(load.acked) - set(found)), [])
        equal('the order of what was sent', [n for _, n in found], list(range(load.sent)))
        node.restart()
        equal('records after a clean stop', read_all(node, 'moving')[start:], found)
        time.sleep(1)                      # log.segment.delete.delay.ms: what the moves left is removed
        for number, path in enumerate(node.dirs):
            equal(f'folders of {path}', [f for f in os.listdir(path) if f.startswith('moving')],
                  ['moving-0'] if number == node.where('moving') else [])


def requests(port, _long):
    """What AlterReplicaLogDirs refuses, and wishes for topics that do not exist yet; cordoned directories."""
    with Node(port) as node:
        node.cli('topic', 'create', 'here')
        said = node.cli('log-dirs', 'move', 'here-0', '--to', '/nowhere', fails=True)
        equal('LOG_DIR_NOT_FOUND', 'LOG_DIR_NOT_FOUND' in said, True)
        said = node.cli('log-dirs', 'move', 'later-0', '--to', node.dirs[2], fails=True)
        equal('REPLICA_NOT_AVAILABLE', 'REPLICA_NOT_AVAILABLE' in said, True)
        node.create('later')
        equal('the wish', node.where('later'), 2)
        node.cli('config', 'set', f'cordoned.log.dirs={node.dirs[0]},{node.dirs[2]}', '--broker', '1')
        until('cordoned', lambda: [d['cordoned'] for d in node.described()] == [True, False, True])
        said = node.cli('log-dirs', 'move', 'here-0', '--to', node.dirs[2], fails=True)
        equal('INVALID_REPLICA_ASSIGNMENT', 'INVALID_REPLICA_ASSIGNMENT' in said or node.where('here') == 2, True)
        node.create('many', 6)
        equal('all in the one that is not cordoned', {node.where('many', p) for p in range(6)}, {1})
        node.cli('config', 'set', 'cordoned.log.dirs=*', '--broker', '1')
        until('all cordoned', lambda: all(d['cordoned'] for d in node.described()))
        said = node.cli('topic', 'create', 'none', fails=True)
        equal('no place', 'INVALID_REPLICATION_FACTOR' in said, True)
        node.cli('config', 'delete', 'cordoned.log.dirs', '--broker', '1')
        until('none cordoned', lambda: not any(d['cordoned'] for d in node.described()))
        node.create('again')


def failure(port, _long):
    """A directory that goes away at run time, is missing at the next start, and comes back."""
    with Node(port) as node:
        for number in range(3):
            node.cli('log-dirs', 'move', f't{number}-0', '--to', node.dirs[number], fails=True)
            node.create(f't{number}')
            equal('directory', node.where(f't{number}'), number)
            equal('produce', send(node, f't{number}', 100), None)
        os.rename(node.dirs[2], node.dirs[2] + '.away')
        send(node, 't2', 1, timeout_s=2)    # the checkpoint of its high watermark cannot be written
        until('offline', lambda: f'log directory {node.dirs[2]} has failed' in node.log())
        equal('KAFKA_STORAGE_ERROR', 'KAFKA_STORAGE_ERROR' in node.described()[2]['error'], True)
        equal('produce to it is refused', send(node, 't2', 1, timeout_s=2) is not None, True)
        for number in (0, 1):
            equal(f'produce to t{number}', send(node, f't{number}', 100), None)
        equal('lines about it', node.log().count(f'log directory {node.dirs[2]} has failed'), 1)

        node.broker.kill()
        node.broker.start()
        equal('offline at the start', node.described()[2]['error'] is not None, True)
        for number in (0, 1):
            equal(f'records of t{number}', len(read_all(node, f't{number}')), 200)
        node.create('new')
        equal('a new topic lies in another directory', node.where('new') in (0, 1), True)
        equal('t2 is not begun anew', node.where('t2'), None)

        node.broker.stop()
        os.rename(node.dirs[2] + '.away', node.dirs[2])
        node.broker.start()
        equal('online again', node.described()[2]['error'], None)
        until('t2 has a leader', lambda: send(node, 't2', 1, timeout_s=2) is None)
        equal('records of t2', len(read_all(node, 't2')) >= 101, True)


def metadata(port, _long):
    """The directory of the metadata log goes away: the process ends, with one line that says why."""
    with Node(port) as node:
        node.create('t')
        os.rename(node.dirs[0], node.dirs[0] + '.away')
        send(node, 't', 1, timeout_s=2)
        until('its end', lambda: not node.broker.alive(), 20)
        equal('exit code', node.broker.process.returncode != 0, True)
        said = [line for line in node.log().splitlines() if 'which holds the metadata log, has failed' in line]
        equal('lines that say why', len(said) > 0, True)


def full(port, long):
    """A full disk refuses appends, with a reserve left, and heals by itself."""
    small = tempfile.mkdtemp(prefix='odradek-small-')
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=40m', 'tmpfs', small], capture_output=True).returncode:
        os.rmdir(small)
        raise Skipped('mount is not allowed here')
    home = tempfile.mkdtemp(prefix='odradek-dirs-')
    try:
        dirs = [os.path.join(home, 'd0'), os.path.join(small, 'd1'), os.path.join(home, 'd2')]
        os.mkdir(dirs[1])
        with Node(port, dirs, log__retention__check__interval__ms=500) as node:
            for turn in range(1 if not long else 5):
                topic = f'full{turn}'
                said = f'log directory {dirs[1]} is full'
                before = node.log().count(said)
                node.cli('log-dirs', 'move', f'{topic}-0', '--to', dirs[1], fails=True)
                node.create(topic, configs=['segment.bytes=4000000', 'file.delete.delay.ms=100'])
                equal('directory', node.where(topic), 1)
                error = send(node, topic, 6000, 10000, 20)
                equal('an error', error is not None and error.code() in (
                    KafkaError.KAFKA_STORAGE_ERROR, KafkaError._MSG_TIMED_OUT), True)
                free = node.described()[1]['usable_bytes']
                equal(f'the reserve ({free} bytes are free)', free > 1 << 20, True)
                equal('online', node.described()[1]['error'], None)
                equal('lines about it', node.log().count(said) - before, 1)
                node.create(f'other{turn}')
                acked = read_all(node, topic)
                node.restart(kill=True)
                equal('records after kill -9 on a full disk', read_all(node, topic), acked)
                error = send(node, topic, 300, 10000, 3)
                equal('still refused', error is not None, True)
                # Room by retention, without a restart.
                node.cli('config', 'set', 'retention.bytes=8000000', '--topic', topic)
                until('room', lambda: node.described()[1]['usable_bytes'] > 16 << 20)
                equal('produce', send(node, topic, 10, 1000, 10), None)
                equal('it says so', 'has room again' in node.log(), True)
                node.cli('topic', 'delete', topic)
                until('the topic is gone', lambda: node.described()[1]['usable_bytes'] > 32 << 20, 90)
    finally:
        subprocess.run(['umount', small], check=False)
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(small, ignore_errors=True)


def tools(port, _long):
    """Apache's kafka-log-dirs and kafka-reassign-partitions."""
    with Node(port) as node:
        node.create('t', 2)
        equal('produce', send(node, 't', 2000, 1000), None)
        options = ('-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC')

        def tool(main, *args):
            done = subprocess.run(brokers.java(main, '--bootstrap-server', node.address, *args, heap='96m',
                                               options=options), capture_output=True, text=True, timeout=120)
            equal(f'{main} {done.stdout} {done.stderr}', done.returncode, 0)
            return done.stdout

        out = tool('org.apache.kafka.tools.LogDirsCommand', '--describe', '--topic-list', 't')
        told = json.loads(out[out.index('{'):out.rindex('}') + 1])['brokers'][0]['logDirs']
        equal('directories', sorted(d['logDir'] for d in told), sorted(node.dirs))
        equal('errors', [d['error'] for d in told], [None] * 3)
        sizes = {p['partition']: p['size'] for d in told for p in d['partitions']}
        equal('sizes', (sorted(sizes), sizes['t-0'] > 2_000_000), (['t-0', 't-1'], True))

        to = (node.where('t') + 1) % 3
        plan = os.path.join(node.home, 'plan.json')
        with open(plan, 'w', encoding='utf-8') as f:
            json.dump({'version': 1, 'partitions': [
                {'topic': 't', 'partition': 0, 'replicas': [1], 'log_dirs': [node.dirs[to]]}]}, f)
        command = 'org.apache.kafka.tools.reassign.ReassignPartitionsCommand'
        tool(command, '--reassignment-json-file', plan, '--execute', '--replica-alter-log-dirs-throttle', '100000000')
        node.moved('t', to)
        out = tool(command, '--reassignment-json-file', plan, '--verify')
        equal('verify', 'completed successfully' in out, True)


CASES = (moves, requests, failure, metadata, full, tools)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--long', action='store_true')
    parser.add_argument('--port', type=int, default=21600)
    parser.add_argument('case', nargs='*', choices=[[], *(c.__name__ for c in CASES)])
    args = parser.parse_args()
    passed = failed = 0
    for number, case in enumerate(CASES):
        if args.case and case.__name__ not in args.case:
            continue
        started = time.time()
        try:
            case(args.port + 2 * number, args.long)
            passed += 1
            print(f'ok   {case.__name__} ({time.time() - started:.1f} s)', flush=True)
        except Skipped as why:
            print(f'skip {case.__name__}: {why}', flush=True)
        except Exception:
            failed += 1
            traceback.print_exc()
            print(f'FAIL {case.__name__} ({time.time() - started:.1f} s)', flush=True)
    print(f'{passed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
