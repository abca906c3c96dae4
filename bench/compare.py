#!/usr/bin/env python3
"""Odradek beside Apache Kafka, and beside the least that a server can do, in one run on one machine and disk.

    compare.py                      every row, 3 rounds of 8 s: under 30 minutes; writes docs/performance.md (between its
                                    markers), docs/performance.csv (every value) and docs/images/
    compare.py --quick              1 round of 2 s, to try it; writes to build/bench/quick
    compare.py --rounds N           fewer rounds, or more; writes there as well
    compare.py --rows TEXT...       only the rows whose names contain one of these; writes there as well
    compare.py --steady [MINUTES]   each broker for 20 minutes: many producers, keyed records, retention deleting

First each broker runs alone: start in a fresh directory, idle, kill -9 and clean restart with some GB written. Then both
run, warmed up, and each row is measured on the one and at once on the other, round after round, the other one first in every
second round; the median of the rounds counts. Durability is the same in each row: topics set flush.messages, so that "not synced"
and "synced" (before each answer) mean the same for both. What a run wrote is deleted and the disk is quiet before the next one
begins; a run ends early once it has written 2 GB, so that the disk's speed does not decide.

The limit is bench/limit: a bare epoll server that appends the same bytes and answers, under the same load; where the
disk decides, the raw fdatasync of a file that grows by as much, measured right after.
"""
import argparse
import contextlib
import json
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass
from typing import Callable

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'tests', 'tools'))

import broker as brokers
import plots
import probe
import results
import targets
from results import ALWAYS, HEAP, KINDS, NEVER, PARTITIONS, SHOWN, Table, number, rawperf
from targets import Number, fixed, of_apache, of_limit, of_own, raw_plus

LIMIT = os.path.join(brokers.BUILD, 'bin', 'limit')
RDKAFKA_LOAD = os.path.join(brokers.BUILD, 'bin', 'rdkafka_load')
WORK = os.path.join(brokers.ROOT, 'build', 'bench')
BEGIN, END = '<!-- compare:begin -->', '<!-- compare:end -->'
STEADY_BEGIN, STEADY_END = '<!-- steady:begin -->', '<!-- steady:end -->'
GB = 10 ** 9
WRITTEN_MOST = 2 * GB           # by one run
SETTLE_S = 5                    # after a start, before the idle cost is measured
CONNECTIONS = 10_000            # that do nothing
JAVA_RECORDS = 250_000          # by the Java client, for each second of a run
PINNED_S = 4
DELETE_TOPICS = 20
READ_TOPIC = 'read'             # written once, read by the rows that do not read what is new
# Deleted topics are to be gone before the next run begins.
SETTINGS = {'log.segment.delete.delay.ms': '100'}
# Many producers with keyed records, retention that has to keep up.
STEADY = '-s 500 -B 4096 -k -a all -c 32 -R 1500'
STEADY_SETTINGS = {'log.retention.check.interval.ms': '10000', 'log.segment.delete.delay.ms': '1000'}
STEADY_CONFS = ('retention.bytes=67108864', 'segment.bytes=16777216', NEVER)
STEADY_EVERY_S = 5
STRACED = 300                   # requests whose syncs are counted


# ---- the rows

@dataclass(frozen=True)
class Load:
    name: str
    options: str                            # rawperf's
    conf: str = NEVER
    partitions: int = PARTITIONS
    limit: str = ''                         # 'bare', 'bare --sync', or 'raw' and the pause between syncs in µs
    run: Callable = None                    # bench, broker, load, topic: what rawperf prints; default: produce
    share_of_maximum: float = 0             # of the slower broker's rate in the first row: the rate of this one
    consumers: str = ''                     # rawperf's options
    count_requests: bool = False            # the unit is the request, not the record
    topic: str = ''                         # of its own for all rounds


def rate_of(bench, load):
    if not load.share_of_maximum:
        return []
    return ['-R', f'{load.share_of_maximum * min(bench.maximum.values()):.0f}']


def produce(bench, broker, load, topic):
    options = load.options.split()
    record_bytes = int(options[options.index('-s') + 1])
    got = bench.rawperf('produce', broker, topic, '--create', load.partitions, '--conf', load.conf, '-d', bench.seconds,
                        '-n', WRITTEN_MOST // (record_bytes + 10), *rate_of(bench, load), *options)
    if load.name == MAXIMUM:
        bench.maximum[broker.kind] = got['requests'] / got['seconds']
    return got


def tail(bench, broker, load, topic):
    """Consumers that wait at the end while a paced producer writes; latency is from the intended send to their hands."""
    with bench.producing(broker, topic, '--create', load.partitions, '--conf', load.conf, '--stamp', *load.options.split()):
        got = bench.rawperf('fetch', broker, topic, '--follow', '--stamp', '-d', bench.seconds, *load.consumers.split())
    return {**got, **{name: got['e2e_' + name] for name in ('p50_ms', 'p99_ms', 'p999_ms')}}


def catch_up(bench, broker, load, topic):
    """A consumer reads from files that are not in memory while a paced producer writes; latency is the producer's."""
    os.sync()
    for folder in bench.folders(broker, topic):
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), 'rb') as f:
                os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with bench.producing(broker, topic, *load.options.split()) as producer:
        got = bench.rawperf('fetch', broker, topic, '-d', 4 * bench.seconds)
    return {**got, **{name: producer[name] for name in ('p50_ms', 'p99_ms', 'p999_ms')}}


def read_again(bench, broker, load, topic):
    return bench.rawperf('fetch', broker, topic)


def librdkafka(bench, broker, load, topic):
    bench.make_topic(broker, topic, load)
    command = [RDKAFKA_LOAD, '-b', broker.address, '-t', topic, '-p', broker.pid, '-d', bench.seconds, '-n', WRITTEN_MOST // 110,
               *load.options.split()]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120 + 10 * bench.seconds)
    if done.returncode:
        raise RuntimeError(f'rdkafka_load: {done.stdout}{done.stderr}')
    return json.loads(done.stdout)


def java_producer(bench, broker, load, topic):
    """Apache's own kafka-producer-perf-test, its start and warm-up in it; whole milliseconds are all it tells of latency."""
    bench.make_topic(broker, topic, load)
    records, size = JAVA_RECORDS * bench.seconds, 100
    cpu = broker.cpu_s()
    done = subprocess.run(brokers.java('org.apache.kafka.tools.ProducerPerformance', '--topic', topic, '--num-records', str(int(records)),
                                       '--record-size', str(size), '--throughput', '-1', '--bootstrap-server', broker.address,
                                       '--producer-props', *load.options.split()),
                          capture_output=True, text=True, timeout=120 + 10 * bench.seconds)
    told = re.findall(r'(\d+) records sent, ([\d.]+) records/sec.* (\d+) ms 50th, \d+ ms 95th, (\d+) ms 99th, (\d+) ms 99.9th', done.stdout)
    if done.returncode or not told:
        raise RuntimeError(f'ProducerPerformance: {done.stdout[-1000:]}{done.stderr[-1000:]}')
    sent, rate, p50, p99, p999 = map(float, told[-1])
    return {'records': sent, 'bytes': sent * size, 'seconds': sent / rate, 'p50_ms': p50, 'p99_ms': p99, 'p999_ms': p999,
            'broker_cpu_s': broker.cpu_s() - cpu}


MAXIMUM = '100 B records, 16 KiB batches, acks=1'
IDEMPOTENT = '100 B records, 16 KiB batches, acks=all, idempotent'
ONE_BY_ONE, ONE_BY_ONE_16 = (f'one 100 B record a request, acks=1, {n}' for n in ('1 connection', '16 connections'))
LARGE = '1 KiB records, 1 MB batches, acks=all'
SYNCED = '1 KiB records, 16 KiB batches, acks=all, synced'
CACHED = 'fetch of 1 KiB records from the page cache'
BUSY = {n: f'one 100 B record to each of {n:,} partition{"s" * (n > 1)}, one request in flight, synced'
        for n in (1, 10, 100, 1000)}
PACED, PACED_SYNCED = (f'1,000 records/s, one a request, acks=all, {how}' for how in ('not synced', 'synced'))

LOADS = (
    Load(MAXIMUM, '-s 100 -a 1', limit='bare'),
    Load(IDEMPOTENT, '-s 100 -a all -I'),
    Load('100 B records, 16 KiB batches, acks=0', '-s 100 -a 0'),
    Load('100 B records, 16 KiB batches in lz4, acks=1', '-s 100 -a 1 -z lz4'),
    Load('100 B records, 16 KiB batches in zstd, acks=1', '-s 100 -a 1 -z zstd'),
    Load(ONE_BY_ONE, '-s 100 -B 1 -a 1 -i 50', limit='bare'),
    Load(ONE_BY_ONE_16, '-s 100 -B 1 -a 1 -i 10 -c 16', limit='bare'),
    Load(LARGE, '-s 1024 -B 1000000 -a all', limit='bare'),
    Load(SYNCED, '-s 1024 -a all', ALWAYS, limit='bare --sync'),
    Load('catch-up of 1 KiB records from cold files while 8 MB/s are produced (latency: produce)', '-s 1024 -a 1 -R 500',
         run=catch_up, topic=READ_TOPIC),
    Load(CACHED, '', run=read_again, topic=READ_TOPIC),
    Load('1 consumer at the end, 1,000 records/s, synced (latency: end to end)', '-s 100 -B 1 -a all -R 1000', ALWAYS,
         run=tail, consumers='-c 1', partitions=1),
    Load('10 consumers at the end, 16 MB/s in 16 KiB batches (latency: end to end)', '-s 1024 -a 1 -R 1000',
         run=tail, consumers='-c 10'),
    Load('16 consumers, fetch.max.wait.ms=5, 100 records/s (counted in fetches; latency: end to end)',
         '-s 100 -B 1 -a 1 -R 100', run=tail, consumers='-c 16 --max-wait 5', count_requests=True),
    Load(PACED, '-s 100 -B 1 -a all -i 100 -R 1000'),
    Load(PACED_SYNCED, '-s 100 -B 1 -a all -i 100 -R 1000', ALWAYS, limit='raw 1000'),
    Load('100 B records by librdkafka, acks=all', '-X acks=all -X linger.ms=5', run=librdkafka),
    Load('100 B records by the Java client, acks=all', 'acks=all linger.ms=5', run=java_producer),
    Load('20,000 records/s, one a request, acks=all, 256 connections', '-s 100 -B 1 -a all -c 256 -R 20000'),
    Load('30 % of the maximum, 16 KiB batches, acks=1', '-s 100 -a 1 -c 4', share_of_maximum=0.3),
    Load('70 % of the maximum, 16 KiB batches, acks=1', '-s 100 -a 1 -c 4', share_of_maximum=0.7),
    *(Load(name, f'-s 100 -B 1 -a all -i 1 -p {n}', ALWAYS, partitions=n, limit='raw 0' if n == 1 else '', topic=f'busy-{n}')
      for n, name in BUSY.items()),
)

WITH_CONNECTIONS = f'idle: resident memory with {CONNECTIONS:,} connections'
PINNED = (MAXIMUM, ONE_BY_ONE_16, SYNCED)
START, RESTART = 'start in a fresh directory', 'restart with {:g} GB written'
GIGABYTES = 3
AFTER = 'after all loads'
DURABLE = 'syncs for each synced answer, one in flight (strace)'

PHASED = (PACED_SYNCED, BUSY[1], BUSY[100])
PHASES = {'queue': 'until its handler began', 'local': 'in the handler, appends included', 'remote': 'waiting for the sync',
          'send': 'answer ready to written', 'total': 'all'}
PHASE = re.compile(r'^odradek_request_seconds_bucket\{api="Produce",phase="(\w+)",le="([^"]+)"\} (\d+)$', re.MULTILINE)

# measure: heading and unit of its column
COLUMNS = {
    'rate': ('k records/s', 'k/s'), 'volume': ('MB/s', 'MB/s'), 'p50': ('p50 ms', 'ms'), 'p99': ('p99 ms', 'ms'),
    'p99.9': ('p99.9 ms', 'ms'), 'cpu': ('CPU s per million', 's'), 'cpu by volume': ('CPU s per GB', 's'),
    'switches': ('context switches per request', ''), 'memory': ('RSS MiB', 'MiB'),
}

NUMBERS = (
    Number('start in a fresh directory to the Metadata answer', f'{START}: Metadata answered', fixed(100)),
    Number('start in a fresh directory to the first record acknowledged', f'{START}: first record acknowledged', fixed(100)),
    Number('resident memory, idle', 'idle: resident memory', fixed(20)),
    Number(f'resident memory with {CONNECTIONS:,} idle connections', WITH_CONNECTIONS, fixed(120)),
    Number('resident memory after all loads', f'{AFTER}: resident memory', fixed(200)),
    Number('CPU, idle', 'idle: CPU', fixed(0.1)),
    Number('CPU per million 100 B records, 16 KiB batches, acks=1', f'{MAXIMUM}: cpu', of_apache(1 / 8)),
    Number('the same', f'{MAXIMUM}: cpu', of_limit(1.6)),
    Number('the same, acks=all, idempotent', f'{IDEMPOTENT}: cpu', of_apache(1 / 8)),
    Number('CPU per million one-record requests, 1 connection', f'{ONE_BY_ONE}: cpu', of_apache(1 / 10)),
    Number('the same', f'{ONE_BY_ONE}: cpu', of_limit(2.5)),
    Number('CPU per million one-record requests, 16 connections', f'{ONE_BY_ONE_16}: cpu', of_apache(1 / 8)),
    Number('the same', f'{ONE_BY_ONE_16}: cpu', of_limit(2.5)),
    Number('CPU per million 1 KiB records, 1 MB batches, acks=all', f'{LARGE}: cpu', of_apache(1 / 5)),
    Number('CPU per million 1 KiB records, 16 KiB batches, synced', f'{SYNCED}: cpu', of_apache(1 / 10)),
    Number('CPU per GB fetched, plaintext', f'{CACHED}: cpu by volume', of_apache(1 / 2)),
    Number('one 100 B record in flight, synced, p50', f'{BUSY[1]}: p50', raw_plus(0.1)),
    Number('one 100 B record in flight, synced, p99', f'{BUSY[1]}: p99', of_apache(1 / 2)),
    Number('1,000 records/s, synced, p50', f'{PACED_SYNCED}: p50', raw_plus(0.1)),
    *(Number(f'1,000 records/s, synced, {p}', f'{PACED_SYNCED}: {p}', of_apache(part, against))
      for p, part in (('p99', 1 / 4), ('p99.9', 1 / 8)) for against in (None, f'{PACED}: {p}')),
    Number('1,000 records/s, not synced, p50', f'{PACED}: p50', of_apache(1 / 2)),
    Number('100 busy partitions, synced, p99', f'{BUSY[100]}: p99', of_own(2, f'{BUSY[1]}: p99', 'that over one')),
    Number('the same', f'{BUSY[100]}: p99', of_apache(1 / 10)),
    Number(f'kill -9 with {GIGABYTES} GB written to the first record acknowledged',
           f'{RESTART.format(GIGABYTES)}: after kill -9', fixed(500)),
    Number(DURABLE, f'{DURABLE}', fixed(1), least=True),
)


# ---- one run

class Bench:
    def __init__(self, seconds, rounds, gigabytes, port):
        self.seconds, self.rounds, self.gigabytes, self.port = seconds, rounds, gigabytes, port
        self.table, self.problems = Table(), []
        self.maximum = {}               # kind: requests a second in the first row of this round
        self.phases = {}                # (row, phase): {upper bound in s: requests up to there}
        self.memory = {}                # kind: [(seconds, MiB)] while the loads run

    # -- pieces that the rows are made of

    def rawperf(self, mode, broker, topic, *args):
        return rawperf(mode, '-b', broker.address, '-t', topic, '-P', broker.pid, *args, timeout_s=120 + 10 * self.seconds)

    @contextlib.contextmanager
    def producing(self, broker, topic, *args):
        """A producer from before the start until the end of what is done meanwhile; then what it measured."""
        command = [results.RAWPERF, 'produce', '-b', broker.address, '-t', topic, '-d', '86400', *map(str, args)]
        process, got = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True), {}
        try:
            time.sleep(0.5)
            yield got
            process.terminate()
            out, problem = process.communicate(timeout=60)
            if process.returncode:
                raise RuntimeError(f'{" ".join(command)}: {out}{problem}')
            got.update(json.loads(out))
        finally:
            process.kill()
            process.communicate()

    def folders(self, broker, topic):
        return [entry.path for entry in os.scandir(broker.logs) if entry.name.startswith(topic + '-')]

    def make_topic(self, broker, topic, load):
        self.rawperf('produce', broker, topic, '--create', load.partitions, '--conf', load.conf, '-n', 1, '-B', 1)

    def drop(self, broker, topic):
        connection = probe.Connection(broker.host, broker.port, 60)
        connection.call(DELETE_TOPICS, 1, struct.pack('>i', 1) + probe.string(topic) + struct.pack('>i', 30000))
        connection.close()
        end = time.time() + 30
        while self.folders(broker, topic) and time.time() < end:
            time.sleep(0.05)

    # -- each broker alone

    def start_and_restart(self, kind):
        def add(what, value, unit):
            self.table.add(what, kind, value, unit)
        broker = brokers.Broker(kind, self.port, heap=HEAP, loops=None)
        try:
            broker.spawn()
            seen = broker.wait('produce', topic='first')
            add(f'{START}: Metadata answered', seen['metadata'] * 1000, 'ms')
            add(f'{START}: first record acknowledged', seen['produce'] * 1000, 'ms')
            time.sleep(SETTLE_S)
            before, began = run_time_s(broker.pid), time.time()
            time.sleep(self.seconds)
            add('idle: CPU', (run_time_s(broker.pid) - before) / (time.time() - began) * 100, '% of a core')
            add('idle: resident memory', broker.rss_mib(), 'MiB')
            with idle_connections(broker, CONNECTIONS):
                add(WITH_CONNECTIONS, broker.rss_mib(), 'MiB')
            self.rawperf('produce', broker, 'burst', '--create', PARTITIONS, '--conf', NEVER, '-d', 2, '-n', WRITTEN_MOST // 1034,
                         '-s', 1024, '-B', 1000000, '-c', 64, '-a', 1)
            add('after a burst: resident memory, at once', broker.rss_mib(), 'MiB')
            time.sleep(SETTLE_S)
            add('after a burst: resident memory, 5 s later', broker.rss_mib(), 'MiB')
            self.drop(broker, 'burst')
            self.rawperf('produce', broker, 'large', '--create', PARTITIONS, '--conf', NEVER, '-n',
                         int(self.gigabytes * GB / 1034), '-s', 1024, '-B', 1000000, '-a', 1)
            for how, end in (('after kill -9', broker.kill), ('after a clean stop', broker.stop)):
                end()
                broker.spawn()
                add(f'{RESTART.format(self.gigabytes)}: {how}', broker.wait('produce', 180, 'first')['produce'] * 1000, 'ms')
        finally:
            broker.kill()
            broker.remove()

    # -- both brokers up

    def one(self, load, broker, index, turn):
        topic = load.topic or f'row-{index}-{turn}'
        with self.phases_of(load, broker):
            self.measure(load, broker, topic)
        self.table.add(f'{load.name}: memory', broker.kind, broker.rss_mib(), 'MiB')
        if not load.topic:
            self.drop(broker, topic)
        os.sync()

    def measure(self, load, broker, topic):
        got = (load.run or produce)(self, broker, load, topic)
        self.add(load, broker.kind, got)

    @contextlib.contextmanager
    def phases_of(self, load, broker):
        """Adds up Odradek's own histograms of where its Produce requests were while this row ran."""
        if broker.kind != 'odradek' or load.name not in PHASED:
            yield
            return
        before = produce_phases(broker)
        yield
        for phase, buckets in produce_phases(broker).items():
            sums = self.phases.setdefault((load.name, phase), {})
            for bound, count in buckets.items():
                sums[bound] = sums.get(bound, 0) + count - before[phase][bound]

    def add(self, load, kind, got):
        def add(measure, value):
            self.table.add(f'{load.name}: {measure}', kind, value, COLUMNS[measure][1])
        for measure, name in (('p50', 'p50_ms'), ('p99', 'p99_ms'), ('p99.9', 'p999_ms')):
            if name in got:
                add(measure, got[name])
        if 'records' not in got:        # of the raw fdatasync
            return
        units = got['requests'] if load.count_requests else got['records']
        add('rate', units / got['seconds'] / 1000)
        add('volume', got['bytes'] / got['seconds'] / 1e6)
        add('cpu', got['broker_cpu_s'] / units * 1e6)
        add('cpu by volume', got['broker_cpu_s'] / got['bytes'] * 1e9)
        if 'requests' in got:
            add('switches', got['broker_switches'] / got['requests'])

    def limit(self, load):
        file, port = os.path.join(WORK, 'limit'), self.port + 50
        how = load.limit.split()
        try:
            if how[0] == 'raw':
                # As large as a batch of one 100 B record.
                done = subprocess.run([LIMIT, 'fdatasync', file, str(self.seconds / 2), '171', how[1]], capture_output=True,
                                      check=True, text=True)
                self.add(load, 'limit', json.loads(done.stdout))
                return
            server = subprocess.Popen([LIMIT, 'serve', str(port), file, *how[1:]])
            try:
                probe.until_open('127.0.0.1', port)
                record_bytes = int(load.options.split()[1])
                got = rawperf('produce', '--bare', load.partitions, '-b', f'127.0.0.1:{port}', '-t', 'limit', '-P', server.pid,
                              '-d', self.seconds, '-n', WRITTEN_MOST // (record_bytes + 10), *load.options.split())
                self.add(load, 'limit', got)
            finally:
                server.kill()
                server.wait()
        finally:
            os.remove(file)
            os.sync()

    def warm_up(self, broker):
        """The just-in-time compiler needs some load; the other broker gets the same. Also writes what is to be read."""
        for options in ('-a 1', '-a all -I', '-B 1 -c 4'):
            self.rawperf('produce', broker, 'warm', '--create', PARTITIONS, '--conf', NEVER, '-d', self.seconds,
                         '-n', WRITTEN_MOST // 110, *options.split())
        self.rawperf('fetch', broker, 'warm')
        self.drop(broker, 'warm')
        self.rawperf('produce', broker, READ_TOPIC, '--create', PARTITIONS, '--conf', NEVER, '-n', WRITTEN_MOST // 1034,
                     '-s', 1024, '-B', 65536, '-a', 1)
        os.sync()

    def loads(self, chosen):
        running, done = [], threading.Event()
        began = time.time()

        def sample():
            while not done.wait(1):
                for broker in list(running):
                    with contextlib.suppress(OSError, StopIteration):
                        self.memory.setdefault(broker.kind, []).append((time.time() - began, broker.rss_mib()))
        sampler = threading.Thread(target=sample)
        sampler.start()
        try:
            for i, kind in enumerate(KINDS):
                port = self.port + 10 + 10 * i
                http = {'odradek.http.listeners': f'127.0.0.1:{port + 5}'} if kind == 'odradek' else {}
                running.append(brokers.Broker(kind, port, heap=HEAP, properties={**SETTINGS, **http}, loops=None).start())
                self.warm_up(running[-1])
            for turn in range(self.rounds):
                for index, load in enumerate(chosen):
                    self.turn(load, running if turn % 2 == 0 else running[::-1], index, turn)
            for broker in running:
                if len(chosen) == len(LOADS):
                    self.table.add(f'{AFTER}: resident memory', broker.kind, broker.rss_mib(), 'MiB')
                self.attempt(DURABLE, self.count_syncs, broker)
        finally:
            done.set()
            sampler.join()
            for broker in running:
                broker.kill()
                broker.remove()

    def turn(self, load, running, index, turn):
        for broker in running:
            self.attempt(f'round {turn + 1}, {load.name}', self.one, load, broker, index, turn)
        if load.limit:
            self.attempt(f'round {turn + 1}, {load.name}, limit', self.limit, load)

    def pinned(self, loops):
        """What a request costs with so many loops on as many cores, the load on the cores that are there."""
        broker = brokers.Broker('odradek', self.port, properties=SETTINGS, loops=loops).start()
        try:
            for task in os.listdir(f'/proc/{broker.pid}/task'):
                os.sched_setaffinity(int(task), set(range(loops)))
            for load in LOADS:
                if load.name in PINNED:
                    got = self.rawperf('produce', broker, 'pinned', '--create', load.partitions, '--conf', load.conf, '-d', PINNED_S,
                                       '-n', WRITTEN_MOST // 110, *load.options.split())
                    self.drop(broker, 'pinned')
                    self.table.add(f'{load.name}: µs of CPU a request', f'{loops} loop{"s" * (loops > 1)}',
                                   got['broker_cpu_s'] / got['requests'] * 1e6, 'µs')
        finally:
            broker.kill()
            broker.remove()

    def attempt(self, what, call, *args):
        """What goes wrong is told at the end, and the run goes on: a row that is missing shows it."""
        where = next((a if isinstance(a, str) else a.kind for a in args if isinstance(a, (str, brokers.Broker))), '')
        began = time.time()
        try:
            call(*args)
            say(f'{what}, {where}: {time.time() - began:.1f} s')
        except (RuntimeError, OSError, KeyError, ValueError, subprocess.SubprocessError) as problem:
            self.problems.append(f'{what}, {where}: {problem}')
            say(f'FAILED: {self.problems[-1]}')

    def count_syncs(self, broker):
        """The syncs of a broker, and its writes by io_uring that are one, while it answers one synced request after the other."""
        self.rawperf('produce', broker, 'syncs', '--create', 1, '--conf', ALWAYS, '-n', 1, '-B', 1, '-a', 'all')
        out = os.path.join(broker.directory, 'strace')
        strace = subprocess.Popen(['strace', '-f', '-c', '-qq', '-e', 'trace=fsync,fdatasync,syncfs,io_uring_enter', '-o', out,
                                   '-p', str(broker.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            end = time.time() + 30
            while not all_traced(broker.pid):
                if strace.poll() is not None or time.time() > end:
                    raise RuntimeError('strace cannot watch the broker')
                time.sleep(0.05)
            got = self.rawperf('produce', broker, 'syncs', '-n', STRACED, '-B', 1, '-i', 1, '-a', 'all')
        finally:
            strace.send_signal(signal.SIGINT)
            strace.communicate(timeout=30)
        with open(out, encoding='utf-8') as f:
            calls = re.findall(r'^ *[\d.]+ +[\d.]+ +\d+ +(\d+) .*\b(?:fsync|fdatasync|syncfs|io_uring_enter)$', f.read(), re.MULTILINE)
        self.table.add(DURABLE, broker.kind, sum(map(int, calls)) / got['requests'], '')


@contextlib.contextmanager
def idle_connections(broker, count):
    """Clients that have said who they are and wait."""
    held = []
    try:
        for _ in range(count):
            held.append(probe.Connection(broker.host, broker.port, 60))
            held[-1].call(probe.API_VERSIONS, 0, b'')
        time.sleep(1)
        yield
    finally:
        for connection in held:
            connection.close()


def say(text):
    print(f'# {time.strftime("%H:%M:%S")} {text}', file=sys.stderr, flush=True)


def http_port(broker):
    return broker.port + 5


def produce_phases(broker):
    """{phase: {upper bound in s: requests}} of what Odradek has told since its start."""
    found = {}
    with urllib.request.urlopen(f'http://{broker.host}:{http_port(broker)}/metrics', timeout=10) as page:
        for phase, bound, count in PHASE.findall(page.read().decode()):
            found.setdefault(phase, {})[float(bound)] = int(count)
    return found


def quantile_ms(buckets, part):
    """The upper bound of the bucket that it lies in."""
    most = max(buckets.values())
    return next(bound for bound, count in sorted(buckets.items()) if count >= part * most) * 1000


def tasks(pid, name):
    for task in os.listdir(f'/proc/{pid}/task'):
        with contextlib.suppress(OSError):
            with open(f'/proc/{pid}/task/{task}/{name}', encoding='utf-8') as f:
                yield f.read()


def run_time_s(pid):
    """CPU time of the threads that live, to the nanosecond: an idle process uses less than a clock tick."""
    return sum(int(text.split()[0]) for text in tasks(pid, 'schedstat')) / 1e9


def all_traced(pid):
    return all(re.search(r'TracerPid:\s*[1-9]', text) for text in tasks(pid, 'status'))


# ---- what is written

def cell(table, row, kind, spread):
    found = table.of(row, kind)
    text = number(table.median(row, kind))
    if spread and len(found) > 1:
        text += f' <sub>{number(min(found))}..{number(max(found))}</sub>'
    return text


def load_table(table, chosen, spread):
    lines = ['| load | | ' + ' | '.join(heading for heading, _ in COLUMNS.values()) + ' |', '|---' * (2 + len(COLUMNS)) + '|']
    for load in chosen:
        name = load.name
        for kind in (*KINDS, 'limit'):
            if any(table.of(f'{load.name}: {measure}', kind) for measure in COLUMNS):
                cells = [cell(table, f'{load.name}: {measure}', kind, spread) for measure in COLUMNS]
                lines.append(f'| {name} | {SHOWN[kind].replace(" Kafka " + brokers.KAFKA_VERSION, "")} | {" | ".join(cells)} |')
                name = ''
        lines.append('| | ratio | ' + ' | '.join(table.ratio(f'{load.name}: {m}') for m in COLUMNS) + ' |')
    return '\n'.join(lines)


def single_table(table, spread):
    """The figures that are no measure of a load."""
    lines = ['| what | unit | Apache | Odradek | ratio |', '|---|---|---|---|---|']
    for row, unit in table.units.items():
        if row.startswith((START, RESTART.split(maxsplit=1)[0], 'idle', 'after', DURABLE)):
            lines.append(f'| {row} | {unit} | {cell(table, row, "apache", spread)} | {cell(table, row, "odradek", spread)} | '
                         f'{table.ratio(row)} |')
    return '\n'.join(lines)


def phase_table(bench):
    lines = ['| load | where | p50 ms ≤ | p99 ms ≤ | p99.9 ms ≤ |', '|---|---|---|---|---|']
    order = list(PHASES)
    for (name, phase), buckets in sorted(bench.phases.items(), key=lambda item: (PHASED.index(item[0][0]), order.index(item[0][1]))):
        cells = ' | '.join(number(quantile_ms(buckets, part)) for part in (0.5, 0.99, 0.999))
        lines.append(f'| {name if phase == "queue" else ""} | {PHASES[phase]} | {cells} |')
    return '\n'.join(lines)


def pinned_table(table):
    lines = ['| load | 1 loop on 1 core: µs of CPU a request | 2 loops on 2 cores |', '|---|---|---|']
    for name in PINNED:
        cells = (cell(table, f'{name}: µs of CPU a request', kind, True) for kind in ('1 loop', '2 loops'))
        lines.append(f'| {name} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def text_of(bench, chosen, how, load_before, spread):
    parts = [f'Made by `bench/compare.sh{how}` on {time.strftime("%Y-%m-%d")}: {results.machine()}; load average before the '
             f'run {load_before:.1f}. {bench.rounds} rounds of {bench.seconds:g} s; medians'
             + (', and the least and the largest value in small' if spread else '')
             + '; the ratio is Odradek to Apache Kafka.',
             '### The numbers to hold', targets.markdown(bench.table, NUMBERS),
             'What 1,000 and 5,000 partitions cost is measured by `bench/partitions.sh` (below). A rebalance after kill -9 of a '
             'consumer (session timeout + 0.2 s) is not measured here; `tests/groups` shows it.',
             '### Start, idle, memory', single_table(bench.table, spread),
             '### Loads', load_table(bench.table, chosen, spread)]
    if bench.phases:
        parts += ['### Where a synced produce was', "Odradek's own histograms over all rounds; their buckets are powers of two.",
                  phase_table(bench)]
    if bench.table.of(f'{MAXIMUM}: µs of CPU a request', '1 loop'):
        parts += ['### Loops', 'Odradek alone, its threads pinned; the load takes what is left of both cores.',
                  pinned_table(bench.table)]
    if bench.problems:
        parts += ['### Not measured', '\n'.join(f'- {problem}' for problem in bench.problems)]
    return '\n\n'.join(parts)


def draw(bench, chosen, folder):
    """The plots, of what there are figures for."""
    table = bench.table

    def rows(measure, these, kinds):
        found = [(short_name(load.name), {k: table.median(f'{load.name}: {measure}', k) for k in kinds
                                          if table.median(f'{load.name}: {measure}', k)}) for load in these]
        return [row for row in found if row[1]]
    paced = [load for load in chosen if '-R' in load.options or load.share_of_maximum]
    open_throttle = [load for load in chosen if load not in paced]
    note = 'medians, logarithmic scale'
    for name, measure, title in (('throughput', 'rate', 'Throughput, thousand records a second (longer is better)'),
                                 ('cpu', 'cpu', "The broker's CPU seconds for a million records (shorter is better)")):
        if found := rows(measure, open_throttle, plots.NAMES):
            plots.bars(os.path.join(folder, name + '.svg'), title, note, found)
    found = []
    for load in [*paced, *(load for load in chosen if load.name in BUSY.values())]:
        by_kind = {}
        for kind in plots.NAMES:
            values = [table.median(f'{load.name}: {p}', kind) for p in ('p50', 'p99', 'p99.9')]
            if all(values):
                by_kind[kind] = values
        if by_kind:
            found.append((short_name(load.name), by_kind))
    if found:
        plots.percentiles(os.path.join(folder, 'latency.svg'), 'Latency in ms (further left is better)',
                          'dot: p50, ring: p99, end of the line: p99.9; logarithmic scale; limit: raw fdatasync', found)
    if bench.memory:
        plots.over_time(os.path.join(folder, 'memory.svg'), 'Resident memory in MiB while the loads run',
                        'each broker in turn under load, the other idle', bench.memory)


def short_name(name):
    return name.split(' (')[0].replace(' records', '').replace('one request in flight, ', '')


def images(folder, names):
    """Markdown for the plots that are there."""
    return '\n\n'.join(f'![{name}](images/{name}.svg)' for name in names if os.path.exists(os.path.join(folder, name + '.svg')))


def compare(args):
    load_before, began = os.getloadavg()[0], time.time()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))      # the brokers inherit it, and so does the load
    chosen = [load for load in LOADS if not args.rows or any(text in load.name for text in args.rows)]
    bench = Bench(2 if args.quick else 8, args.rounds or (1 if args.quick else 3), 0.3 if args.quick else GIGABYTES, args.port)
    if not args.rows or any(text in START + RESTART + 'idle' for text in args.rows):
        for turn in range(bench.rounds):
            for kind in KINDS:
                bench.attempt(f'round {turn + 1}, start and restart', bench.start_and_restart, kind)
    if chosen:
        bench.attempt('loads', bench.loads, chosen)
    if not args.rows or any(text in 'loops' for text in args.rows):
        for _ in range(bench.rounds):
            for loops in (1, 2):
                bench.attempt('pinned', bench.pinned, loops)
    how = (' --quick' if args.quick else '') + (f' --rounds {args.rounds}' if args.rounds else '') + (f' --rows {" ".join(map(repr, args.rows))}' if args.rows else '')
    print(text_of(bench, chosen, how, load_before, spread=False))
    folder = os.path.join(args.out, 'images')
    draw(bench, chosen, folder)
    text = text_of(bench, chosen, how, load_before, spread=True)
    text += '\n\n' + images(folder, ('throughput', 'cpu', 'latency', 'memory'))
    results.write_into(os.path.join(args.out, 'performance.md'), text, BEGIN, END)
    bench.table.write_csv(os.path.join(args.out, 'performance.csv'))
    say(f'{time.time() - began:.0f} s; written to {args.out}')
    return 1 if bench.problems else 0


def steady(args):
    """Each broker alone for so many minutes; sampled every few seconds."""
    table, load_before = Table(), os.getloadavg()[0]
    memory, disk = {}, {}
    confs = [word for conf in STEADY_CONFS for word in ('--conf', conf)]
    for kind in KINDS:
        say(f'{kind}: {args.steady:g} minutes')
        broker = brokers.Broker(kind, args.port, heap=HEAP, properties=STEADY_SETTINGS, loops=None).start()
        bench = Bench(60 * args.steady, 1, 0, args.port)
        try:
            began, cpu = time.time(), broker.cpu_s()
            with bench.producing(broker, 'steady', '--create', PARTITIONS, *confs, *STEADY.split()) as got:
                consumer = subprocess.Popen([results.RAWPERF, 'fetch', '-b', broker.address, '-t', 'steady', '--follow', '-d',
                                             str(bench.seconds)], stdout=subprocess.PIPE, text=True)
                while consumer.poll() is None:
                    memory.setdefault(kind, []).append((time.time() - began, broker.rss_mib()))
                    disk.setdefault(kind, []).append((time.time() - began, on_disk_mib(bench.folders(broker, 'steady'))))
                    time.sleep(STEADY_EVERY_S)
                if consumer.returncode:
                    raise RuntimeError('the consumer failed')
            used = (broker.cpu_s() - cpu) / (time.time() - began)
            consumed = json.loads(consumer.stdout.read())['records']
        finally:
            broker.stop()
            broker.kill()
            broker.remove()
        sizes, kept = [v for _, v in memory[kind]], [v for _, v in disk[kind]]
        for what, value, unit in (('records produced', got['records'], ''), ('records consumed', consumed, ''),
                                  *((f'produce {p}', got[p.replace('.', '') + '_ms'], 'ms') for p in ('p50', 'p99', 'p99.9')),
                                  ('produce, the slowest', got['max_ms'], 'ms'), ('CPU', used * 100, '% of a core'),
                                  ('resident memory, the most', max(sizes), 'MiB'), ('resident memory at the end', sizes[-1], 'MiB'),
                                  ('on disk, the most', max(kept), 'MiB'), ('on disk at the end', kept[-1], 'MiB')):
            table.add(what, kind, value, unit)
    folder = os.path.join(args.out, 'images')
    note = '32 producers, keyed records, one consumer, retention deleting'
    plots.over_time(os.path.join(folder, 'steady-memory.svg'), 'Resident memory in MiB, steady load', note, memory)
    plots.over_time(os.path.join(folder, 'steady-disk.svg'), 'MiB on disk, steady load', note, disk)
    text = (f'Made by `bench/compare.sh --steady {args.steady:g}` on {time.strftime("%Y-%m-%d")}: {results.machine()}; load average '
            f'before the run {load_before:.1f}. No answer waits for a sync; the ratio is Odradek to Apache Kafka.\n\n'
            + table.markdown())
    print(text)
    results.write_into(os.path.join(args.out, 'performance.md'), text + '\n\n' + images(folder, ('steady-memory', 'steady-disk')),
                       STEADY_BEGIN, STEADY_END)
    return 0


def on_disk_mib(folders):
    size = 0
    for folder in folders:
        with contextlib.suppress(OSError):
            for entry in os.scandir(folder):
                with contextlib.suppress(OSError):
                    size += entry.stat().st_size
    return size / (1 << 20)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--rounds', type=int, help='3; with --quick 1')
    parser.add_argument('--rows', nargs='+', metavar='TEXT')
    parser.add_argument('--steady', nargs='?', type=float, const=20, metavar='MINUTES')
    parser.add_argument('--out', help='where performance.md, performance.csv and images/ are written')
    parser.add_argument('--port', type=int, default=24000, help='the first of 100')
    args = parser.parse_args()
    partial = args.quick or args.rounds or args.rows or (args.steady and args.steady < 20)
    args.out = args.out or (os.path.join(WORK, 'quick') if partial else os.path.join(brokers.ROOT, 'docs'))
    os.makedirs(WORK, exist_ok=True)
    os.makedirs(os.path.join(args.out, 'images'), exist_ok=True)
    kind_of_disk = subprocess.run(['stat', '-f', '-c', '%T', WORK], capture_output=True, text=True, check=True).stdout.strip()
    if kind_of_disk in ('tmpfs', 'ramfs'):
        sys.exit(f'{WORK} is in memory ({kind_of_disk}): syncs would cost nothing')
    tempfile.tempdir = WORK             # the brokers' directories lie there
    return steady(args) if args.steady else compare(args)


if __name__ == '__main__':
    sys.exit(main())
