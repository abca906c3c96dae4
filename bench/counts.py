#!/usr/bin/env python3
"""Counts what the broker does for a request: figures that do not depend on how fast or how busy the machine is.

    counts.py [ROW...]           measures and compares with counts.json; the last line is `N passed, N failed`
    counts.py --write            measures and writes counts.json anew
    counts.py --canary           only: is one more allocation, system call or copy for each request noticed?
    counts.py --where ROW        where in the code the allocations and large copies of a row come from

A row is a steady load: one client that sends requests encoded before, one at a time and only when every thread of the
broker sleeps, so that no count depends on what happens to arrive together. It runs twice: with the allocations, copies, context switches and bytes on disk counted
(counts_preload.cc, which the release binary is started with), and under strace. What is counted over many requests is
divided by their number. In the rows whose answer waits for the disk, the order of the calls is checked as well: no answer
is sent before the file that was written for it, or the copy in a write-ahead file, has been synced, and there is one sync for each;
where the device counts its flushes, there is one of those for each as well. With io_uring (the limits are of that) the write of the
copy is its sync. Where the system has none, only the order and the number of the syncs are compared in the rows that would use it.

counts.json holds what a request cost when it was last written; HEADROOM is what a count may vary without a change of the
code. Worse fails; clearly better prints a hint: write the file anew, so that it stays so. The canaries show that the step
can fail: the preloaded library does one thing more each time the broker reads from a socket.
"""
import argparse
import ctypes
import functools
import json
import mmap
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'tests', 'tools'), os.path.join(HERE, '..', 'tests', 'bad_input')]

import batches
import broker as brokers
import codec
import probe

LIMITS = os.path.join(HERE, 'counts.json')
PRELOAD = os.path.join(brokers.BUILD, 'bin', 'counts_preload.so')
WARM_UP, COUNTED, TRACED = 100, 400, 200
PATIENCE_S = 60.0
IDLE_S = 5
NEVER = 9223372036854775807
KiB, MiB = 1024, 1 << 20
IO_URING_SETUP = 425     # the number of the system call, on every processor

# What a count may vary by although the code is the same: timers of the loop fall into one run and not into the next. One
# thing more for each request is 1.
HEADROOM = {'calls': 0.2, 'allocations': 0.1, 'copied bytes': 100, 'context switches': 0.5, 'bytes on disk': 0.5}
SYNCED = {**HEADROOM, 'context switches': 3}                # of the file system's journal
IDLE = {**HEADROOM, 'calls': 4, 'context switches': 1.5}    # a second; heartbeats come every two
# Calls of which it depends on the moment whether they happen: counted in the total of no row.
BY_CHANCE = ('futex', 'sched_yield', 'restart_syscall')
CHANCE = 1.5


# ---- what the preloaded library shares with us

class Page:
    ALLOCATIONS, COPIED, CANARIES, TRACING, STACKS = range(5)
    DEPTH, MOST = 24, 1000
    STACK = 8 * (2 + DEPTH)

    def __init__(self, directory):
        self.path = os.path.join(directory, 'page')
        with open(self.path, 'wb') as f:
            f.truncate(40 + self.MOST * self.STACK)
        with open(self.path, 'r+b') as f:
            self.memory = mmap.mmap(f.fileno(), 0)

    def get(self, field):
        return struct.unpack_from('=Q', self.memory, 8 * field)[0]

    def set(self, field, value):
        struct.pack_into('=Q', self.memory, 8 * field, value)

    def stacks(self):
        """(bytes copied or 0, addresses) of what was traced."""
        for i in range(min(self.get(self.STACKS), self.MOST)):
            words = struct.unpack_from(f'={2 + self.DEPTH}Q', self.memory, 40 + i * self.STACK)
            yield words[0], words[2:2 + words[1]]


CANARIES = {'allocation': (1, 'allocations'), 'system call': (2, 'calls'), 'copy': (4, 'copied bytes')}


# ---- the broker

class Node:
    def __init__(self, port, settings):
        # How often a send buffer is full depends on how fast the client reads: here the system lets it grow.
        settings = {**settings, 'socket.send.buffer.bytes': '-1'}
        self.broker = brokers.Broker('odradek', port, properties=settings)
        self.page = Page(self.broker.directory)
        os.environ.update(LD_PRELOAD=PRELOAD, COUNTS_PAGE=self.page.path)
        try:
            self.broker.start()
        finally:
            del os.environ['LD_PRELOAD']
        self.topics = 0

    def topic(self, partitions=1, **configs):
        """(name, id) of a new topic whose partitions all have leaders."""
        self.topics += 1
        name, link = f't{self.topics}', Link(self)
        entries = [{'Name': k.replace('_', '.'), 'Value': str(v)} for k, v in configs.items()]
        made = link.ask('CreateTopics', 7, {'timeoutMs': 30000, 'Topics': [
            {'Name': name, 'NumPartitions': partitions, 'ReplicationFactor': 1, 'Configs': entries}]})
        assert made['Topics'][0]['ErrorCode'] == 0, made
        topic_id, end = made['Topics'][0]['TopicId'], time.time() + PATIENCE_S
        while any(p['ErrorCode'] for p in link.ask('ListOffsets', 7, {'ReplicaId': -1, 'Topics': [{
                'Name': name, 'Partitions': [{'PartitionIndex': i, 'Timestamp': -1} for i in range(partitions)]}]})
                ['Topics'][0]['Partitions']):
            assert time.time() < end, f'{name} is not served'
            time.sleep(0.01)
        link.close()
        return name, topic_id

    def folder(self, topic, partition=0):
        return os.path.join(self.broker.logs, f'{topic[0]}-{partition}')

    def bytes_on_disk(self, load):
        folder = self.folder(load.topic, load.partition)
        return sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))

    def flushes(self):
        """How often the device below has written what its cache held; None: it does not say, or has no cache."""
        device = os.stat(self.broker.logs).st_dev
        with open('/proc/diskstats', encoding='utf-8') as f:
            fields = next((words for words in map(str.split, f) if words[:2] == [str(os.major(device)), str(os.minor(device))]), [])
        return int(fields[18]) if len(fields) > 18 and fields[18] != '0' else None

    def tasks(self):
        return os.listdir(f'/proc/{self.broker.pid}/task')

    def status(self, task, field):
        with open(f'/proc/{self.broker.pid}/task/{task}/status', encoding='utf-8') as f:
            return next(int(line.split()[1]) for line in f if line.startswith(field + ':'))

    def settle(self):
        """Waits until every thread sleeps."""
        end = time.time() + PATIENCE_S
        while True:
            for task in self.tasks():
                with open(f'/proc/{self.broker.pid}/task/{task}/stat', encoding='utf-8') as f:
                    if f.read().rsplit(') ', 1)[1][0] != 'S':
                        break
            else:
                return
            assert time.time() < end, 'the broker does not come to rest'

    def switches(self):
        return sum(self.status(task, 'voluntary_ctxt_switches') for task in self.tasks())

    def end(self):
        code = self.broker.stop()
        self.broker.remove()
        return code


class Link:
    """A connection; requests are sent as they are, answers read as a whole."""

    def __init__(self, node):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * MiB)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect((node.broker.host, node.broker.port))
        self.port = self.socket.getsockname()[1]
        self.buffer = bytearray(2 * MiB)

    def send(self, frame):
        self.socket.sendall(frame)

    def answer(self):
        """The answer behind its size; good until the next one."""
        view, have, size = memoryview(self.buffer), 0, 4
        while have < size:
            n = self.socket.recv_into(view[have:])
            if n == 0:
                raise ConnectionError('the broker closed the connection')
            have += n
            if have >= 4:
                size = 4 + struct.unpack_from('>i', self.buffer)[0]
        return view[4:size]

    def ask(self, api, version, value):
        self.send(codec.request(api, version, value, client='counts'))
        return codec.response(api, version, bytes(self.answer()))

    def close(self):
        self.socket.close()


# ---- the calls of the process

CALL = re.compile(r'^(\d+) +(?:<\.\.\. )?(\w+)(?:\(| resumed>)')
FILE = re.compile(r'^\d+ +\w+\(\d+<([^>]*)>')


class Trace:
    """strace on every thread of a node, from `with` to its end. Two requests on a connection of its own mark the part
    that counts."""

    def __init__(self, node):
        self.node, self.file = node, os.path.join(node.broker.directory, 'strace')

    def __enter__(self):
        self.link = Link(self.node)
        self.strace = subprocess.Popen(['strace', '-f', '-yy', '-qq', '-s', '0', '-o', self.file, '-p', str(self.node.broker.pid)],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        end = time.time() + PATIENCE_S
        while any(self.node.status(task, 'TracerPid') != self.strace.pid for task in self.node.tasks()):
            if self.strace.poll() is not None or time.time() > end:
                sys.exit(f'strace cannot watch the broker: {self.strace.stderr.read().decode()}')
            time.sleep(0.01)
        return self

    def mark(self):
        self.link.ask('ApiVersions', 3, {'ClientSoftwareName': 'counts', 'ClientSoftwareVersion': '1'})

    def __exit__(self, *_):
        self.strace.send_signal(signal.SIGINT)
        self.strace.communicate()
        self.link.close()

    def lines(self):
        """What lies between the marks: (thread, call, begins, ends, line)."""
        with open(self.file, encoding='utf-8', errors='replace') as f:
            lines = f.read().splitlines()
        first, last = (i for i, line in enumerate(lines) if f':{self.link.port}]' in line and re.search(r'\bsend\w*\(', line))
        for line in lines[first + 1:last]:
            found = CALL.match(line)
            if found:
                yield (found[1], found[2], '<... ' not in line[:20], 'unfinished ...>' not in line, line)


def count_calls(trace, units):
    trace = list(trace)
    counts = Counter(call for _, call, begins, _, _ in trace if begins)
    # A wait that is woken only to have io_uring's end of the work done is by chance.
    counts['epoll_wait'] -= sum(call == 'epoll_wait' and ends and ' EINTR ' in line for _, call, _, ends, line in trace)
    return {call: n / units for call, n in sorted(counts.items())}


def check_syncs(trace, folder, ports):
    """(syncs for each answer, breaches), of requests that come one after the other. A breach is an answer sent while a segment of
    `folder` that was written is durable neither by a sync of its own nor by one of a write-ahead file, which counts for what its
    thread had read of the segments, or, if it read none, for the request that had come before it was written; or an answer whose
    bytes are in no segment yet. A write by io_uring is one with its sync: it is over when its thread has next been woken."""
    dirty, written_since, syncing = set(), {}, {}
    copied, ahead = {}, {}          # by thread: segments read since its last sync, the write-ahead file written then
    carrying = set()                # threads that have written to a write-ahead file, since the request, what they did not read
    promised = in_segment = False   # of the request: a write-ahead file has been synced; a segment was written
    in_ring = {}                    # by thread: what the write that is under way there holds of segments; None: what it was given
    syncs = answers = breaches = 0
    for thread, call, begins, ends, line in trace:
        if call in ('fdatasync', 'fsync', 'syncfs'):
            if begins:
                path = FILE.match(line)[1]
                covered = {f for f in dirty if call == 'syncfs' or f == path}
                if path == ahead.pop(thread, None):
                    covered = dirty & copied.pop(thread)
                carried = thread in carrying and '/odradek.wal-' in path
                syncing[thread] = covered, carried
                syncs += bool(covered) or carried
                written_since[thread] = set()
            if ends:
                covered, carried = syncing.pop(thread)
                dirty -= covered - written_since.pop(thread)
                promised |= carried and thread in carrying
        elif call == 'io_uring_enter' and begins:
            in_ring[thread] = copied.pop(thread, None)
            syncs += 1
        elif call == 'epoll_wait' and ends and thread in in_ring and not line.endswith(' = 0'):
            held = in_ring.pop(thread)
            promised |= held is None
            dirty -= held or set()
        elif call.startswith('pwrite') and begins:
            path = FILE.match(line)[1]
            if path.startswith(folder) and path.endswith('.log'):
                in_segment = True
                dirty.add(path)
                for since in written_since.values():
                    since.add(path)
                for segments in (*copied.values(), *filter(None, in_ring.values())):
                    segments.discard(path)
            elif '/odradek.wal-' in path and thread in copied:
                ahead[thread] = path
            elif '/odradek.wal-' in path:
                carrying.add(thread)
        elif call.startswith('pread') and begins and FILE.match(line)[1].startswith(folder):
            copied.setdefault(thread, set()).add(FILE.match(line)[1])
        elif call.startswith('recv') and ends and ' = -1 ' not in line and any(f':{port}]' in line for port in ports):
            promised = in_segment = False
            carrying.clear()
        elif call.startswith('send') and begins and any(f':{port}]' in line for port in ports):
            answers += 1
            dirty -= dirty if promised else set()
            breaches += bool(dirty) or not in_segment
    return syncs / max(answers, 1), breaches


# ---- the loads

def batch_of(size, record_bytes=100):
    """A batch of about `size` bytes (one record if 0) of records with values of `record_bytes`."""
    count = max(1, (size - 61) // (record_bytes + 10))
    now = int(time.time() * 1000)
    return batches.batch(batches.records(count, key=None, value=b'v' * record_bytes), count=count, now=now)


def produce_frame(topic, batch, acks, partition=0):
    return codec.request('Produce', 13, {'Acks': acks, 'TimeoutMs': 30000, 'TopicData': [
        {'TopicId': topic[1], 'PartitionData': [{'Index': partition, 'Records': batch}]}]}, client='counts')


class Fetch:
    """A Fetch request of which offset, session and epoch are written in place."""

    def __init__(self, topic, wait_ms=0, bytes_max=MiB, partitions=1, session=0, epoch=-1, named=True, bytes_min=1):
        def encode(offset):
            topics = [{'TopicId': topic[1], 'Partitions': [
                {'Partition': i, 'FetchOffset': offset, 'PartitionMaxBytes': bytes_max} for i in range(partitions)]}]
            return bytearray(codec.request('Fetch', 16, {
                'MaxWaitMs': wait_ms, 'MinBytes': bytes_min, 'MaxBytes': 50 * MiB, 'SessionId': session, 'SessionEpoch': epoch,
                'Topics': topics if named else []}, client='counts'))
        self.frame, other = encode(0), encode(-1)
        changed = [i for i, (a, b) in enumerate(zip(self.frame, other)) if a != b]
        self.offset_at = changed[0] if changed else None
        self.epoch_at = self.frame.index(struct.pack('>i', session)) + 4 if session else None

    def at(self, offset):
        struct.pack_into('>q', self.frame, self.offset_at, offset)
        return self.frame

    def next_epoch(self, epoch):
        struct.pack_into('>i', self.frame, self.epoch_at, epoch)
        return self.frame


class Produce:
    """One batch a request. `every` frame must be answered without error."""

    synced, partition = False, 0

    def __init__(self, node, size, acks, partitions=1, **configs):
        self.node, self.topic = node, node.topic(partitions, **configs)
        self.batch = batch_of(size)
        self.records = struct.unpack_from('>i', self.batch, 57)[0]
        self.link = Link(node)
        self.ports = [self.link.port]
        self.frame = produce_frame(self.topic, self.batch, acks)
        self.link.send(self.frame)
        self.first = bytes(self.link.answer())
        answer = codec.response('Produce', 13, self.first)
        assert answer['Responses'][0]['PartitionResponses'][0]['ErrorCode'] == 0, answer
        self.offset = self.first.index(self.topic[1].bytes) + 16 + 1 + 4 + 2    # of the base offset

    def one(self):
        self.link.send(self.frame)
        answer = self.link.answer()
        assert answer[self.offset - 2:self.offset] == b'\0\0', 'an error code'

    def close(self):
        self.link.close()


class ProduceSynced(Produce):
    synced = True


class ProduceElsewhere(Produce):
    """To a partition that lives on another loop than the connection does."""

    def __init__(self, node, size, acks):
        super().__init__(node, size, acks, partitions=16, flush_messages=NEVER)
        frames = [produce_frame(self.topic, self.batch, acks, i) for i in range(16)]
        with Trace(node) as trace:
            self.link.send(frames[0])
            self.link.answer()
            trace.mark()
            for self.frame in frames:
                self.one()
            trace.mark()
        reader, elsewhere = None, set()
        for thread, call, _, _, line in trace.lines():
            if call.startswith('recv') and f':{self.link.port}]' in line:
                reader = thread
            found = call.startswith('pwrite') and re.search(rf'/{self.topic[0]}-(\d+)/', line)
            if found and thread != reader:
                elsewhere.add(int(found[1]))
        assert elsewhere, 'all partitions are on the loop of the connection'
        self.partition = min(elsewhere)
        self.frame = frames[self.partition]


class TailRead(Produce):
    """A consumer waits for what a producer sends: one produced batch and one fetch are one unit."""

    def __init__(self, node, size):
        super().__init__(node, size, 1, flush_messages=NEVER)
        self.consumer = Link(node)
        self.fetch, self.next = Fetch(self.topic, wait_ms=30000), self.records

    def one(self):
        self.consumer.send(self.fetch.at(self.next))
        time.sleep(0.001)
        self.node.settle()      # it waits by now
        super().one()
        assert len(self.consumer.answer()) > len(self.batch), 'an empty answer'
        self.next += self.records

    def close(self):
        super().close()
        self.consumer.close()


class ColdRead:
    """1 MiB from a file that is not in the page cache."""

    synced, records, topic = False, 0, None
    FILES = 24

    def __init__(self, node):
        self.topic = node.topic(flush_messages=NEVER)
        self.ports = []
        self.link = Link(node)
        batch = batch_of(1000000, 1000)
        self.size, self.records_in = len(batch), struct.unpack_from('>i', batch, 57)[0]
        frame = produce_frame(self.topic, batch, 1)
        for _ in range(self.FILES):
            self.link.send(frame)
            self.link.answer()
        folder = node.folder(self.topic)
        self.log = os.path.join(folder, next(n for n in sorted(os.listdir(folder)) if n.endswith('.log')))
        self.fetch, self.turn = Fetch(self.topic, bytes_max=self.size), 0

    def forget(self):
        with open(self.log, 'rb') as f:
            os.fsync(f.fileno())
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def one(self):
        if self.turn % self.FILES == 0:
            self.forget()
        self.link.send(self.fetch.at(self.turn % self.FILES * self.records_in))
        assert len(self.link.answer()) > self.size, 'an empty answer'
        self.turn += 1

    def close(self):
        self.link.close()


class QuietSession:
    """An incremental fetch session of 100 partitions of which none has anything new."""

    synced, records, topic = False, 0, None

    def __init__(self, node):
        topic = node.topic(partitions=100)
        self.ports, self.link = [], Link(node)
        self.link.send(Fetch(topic, partitions=100, epoch=0).frame)
        first = codec.response('Fetch', 16, bytes(self.link.answer()))
        self.fetch = Fetch(topic, session=first['SessionId'], epoch=1, named=False)
        self.epoch, self.short = 1, None

    def one(self):
        self.link.send(self.fetch.next_epoch(self.epoch))
        size = len(self.link.answer())
        assert size < 40, 'something was new'
        self.epoch += 1

    def close(self):
        self.link.close()


ROWS = {
    'produce, one 100 B record, acks=1': lambda node: Produce(node, 0, 1, flush_messages=NEVER),
    'produce, 16 KiB batch, acks=1': lambda node: Produce(node, 16 * KiB, 1, flush_messages=NEVER),
    'produce, one 100 B record, acks=all, synced': lambda node: ProduceSynced(node, 0, -1),
    'produce, 16 KiB batch, acks=all, synced': lambda node: ProduceSynced(node, 16 * KiB, -1),
    'produce 16 KiB, acks=1, and a consumer that waits for it': lambda node: TailRead(node, 16 * KiB),
    'produce 100 B, acks=1, and a consumer that waits for it': lambda node: TailRead(node, 0),
    'fetch 1 MB, cold': ColdRead,
    'fetch session of 100 partitions, nothing new': QuietSession,
}
# On a second node, with two loops and the clock's own work.
ELSEWHERE_ROWS = {
    'produce 100 B, acks=1, from another loop': lambda node: ProduceElsewhere(node, 0, 1),
}
# On a third, as the first but without io_uring.
BY_THREAD_ROWS = {
    'produce, one 100 B record, acks=all, synced, without io_uring': lambda node: ProduceSynced(node, 0, -1),
}
LOADS = (ROWS, ELSEWHERE_ROWS, BY_THREAD_ROWS)     # by node
IDLE_ROW = 'idle, 256 partitions'
ALL_ROWS = [*ROWS, IDLE_ROW, *ELSEWHERE_ROWS, *BY_THREAD_ROWS]
CANARY_ROW = 'produce, 16 KiB batch, acks=1'
SYNCED_ROW = 'produce, one 100 B record, acks=all, synced'


def count_plain(node, load):
    """Counts without strace: {name: per unit}."""
    for _ in range(WARM_UP):
        load.one()
    node.settle()
    def now():
        return (node.page.get(Page.ALLOCATIONS), node.page.get(Page.COPIED), node.switches(),
                node.bytes_on_disk(load) if load.records else 0)

    flushed, before = node.flushes(), now()
    for _ in range(COUNTED):
        load.one()
        node.settle()
    after = now()
    allocations, copied, switches, disk = ((b - a) / COUNTED for a, b in zip(before, after))
    out = {'allocations': allocations, 'copied bytes': copied, 'context switches': switches}
    if load.records:
        out['bytes on disk'] = disk
    if load.synced and flushed is not None:
        out['device flushes'] = (node.flushes() - flushed) / COUNTED
    return out


def count_traced(node, load):
    """({call: per unit}, lines of the trace)."""
    with Trace(node) as trace:
        for _ in range(10):
            load.one()
        trace.mark()
        for _ in range(TRACED):
            node.settle()
            load.one()
        node.settle()
        trace.mark()
    lines = list(trace.lines())
    return count_calls(lines, TRACED), lines


def make_load(nodes, name):
    """(node, load)"""
    rows, node = next((rows, node) for rows, node in zip(LOADS, nodes) if name in rows)
    return node, rows[name](node)


def measure(nodes, name):
    if name == IDLE_ROW:
        return measure_idle(nodes[1])
    node, load = make_load(nodes, name)
    try:
        counts = count_plain(node, load)
        counts['calls'], lines = count_traced(node, load)
        if load.synced:
            counts['syncs'], counts['breaches'] = check_syncs(lines, node.folder(load.topic), load.ports)
    finally:
        load.close()
    return counts


def measure_idle(node):
    """Calls and wake-ups a second."""
    before = node.switches()
    time.sleep(IDLE_S)
    woken = (node.switches() - before) / IDLE_S
    with Trace(node) as trace:
        trace.mark()
        time.sleep(IDLE_S)
        trace.mark()
    return {'context switches': woken, 'calls': count_calls(trace.lines(), IDLE_S)}


# ---- comparing

@functools.cache
def io_uring_there():
    fd = ctypes.CDLL(None, use_errno=True).syscall(IO_URING_SETUP, 1, ctypes.create_string_buffer(120))
    if fd >= 0:
        os.close(fd)
    return fd >= 0


def total(calls):
    return sum(n for call, n in calls.items() if call not in BY_CHANCE)


def compare(counts, known):
    """(what is worse, what is clearly better), as lines."""
    worse, better = [], []
    if 'io_uring_enter' in known['calls'] and not io_uring_there():
        counts = {name: value for name, value in counts.items() if name in ('syncs', 'breaches', 'device flushes')}
        known, counts['calls'] = {'calls': {}}, {}
    unsure = {f'calls: {call}' for call in BY_CHANCE}

    def look(what, now, limit, headroom):
        if now > limit + headroom:
            worse.append(f'{what}: {now:.2f}, at most {limit + headroom:.2f}')
        elif now < limit - headroom and what not in unsure:
            better.append(f'{what}: {now:.2f}, was {limit:.2f}')

    headroom = SYNCED if 'syncs' in counts else HEADROOM if 'allocations' in counts else IDLE
    for what in ('allocations', 'copied bytes', 'context switches', 'bytes on disk'):
        if what in counts:
            look(what, counts[what], known[what], headroom[what])
    calls, limits = counts['calls'], known['calls']
    look('calls', total(calls), total(limits), headroom['calls'])
    for call in sorted(set(calls) | set(limits)):
        varies = max(headroom['calls'], CHANCE if call in BY_CHANCE else 0)
        look(f'calls: {call}', calls.get(call, 0), limits.get(call, 0), varies)
    if counts.get('breaches'):
        worse.append(f'{counts["breaches"]} answers were sent before the sync')
    if counts.get('device flushes', 1) < 1:     # others on the machine only make it more
        worse.append(f'{counts["device flushes"]:.2f} flushes of the device for an answer')
    if 'syncs' in counts and abs(counts['syncs'] - 1) > 0.01:
        worse.append(f'{counts["syncs"]:.2f} syncs for an answer')
    return worse, better


def shown(counts):
    calls = ', '.join(f'{call} {n:.2f}' for call, n in counts['calls'].items() if n >= 0.02)
    rest = ', '.join(f'{what} {n:.2f}' for what, n in counts.items() if what != 'calls')
    return f'{total(counts["calls"]):.2f} calls ({calls}); {rest}'


class Suite:
    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, problems, notes=()):
        self.passed, self.failed = self.passed + (not problems), self.failed + bool(problems)
        print(f'{"FAIL" if problems else "PASS"} {name}', flush=True)
        for problem in problems:
            print(f'    worse: {problem}', flush=True)
        for note in notes:
            print(f'    {note}', flush=True)


def run_rows(suite, nodes, names, known):
    measured = {}
    for name in names:
        measured[name] = measure(nodes, name)
        if known is None:
            suite.check(name, [], [shown(measured[name])])
            continue
        if name not in known:
            suite.check(name, ['it has no limits'])
            continue
        worse, better = compare(measured[name], known[name])
        if worse:       # the clock's doing, perhaps: that is not there twice
            measured[name] = measure(nodes, name)
            worse, better = compare(measured[name], known[name])
        notes = [shown(measured[name])]
        notes += [f'better than its limit; tighten it (--write): {line}' for line in better]
        suite.check(name, worse, notes)
    return measured


def run_canaries(suite, node, known):
    """Each must make exactly the count worse that it is made for."""
    load = ROWS[CANARY_ROW](node)
    for name, (bit, what) in CANARIES.items():
        node.page.set(Page.CANARIES, bit)
        counts = count_plain(node, load)
        counts['calls'], _ = count_traced(node, load)
        node.page.set(Page.CANARIES, 0)
        worse, _ = compare(counts, known[CANARY_ROW])
        noticed = [line for line in worse if line.startswith(what)]
        suite.check(f'canary: one more {name} for each request is noticed', [] if noticed else ['it is not'], noticed)
    load.close()
    load = ROWS[SYNCED_ROW](node)
    _, lines = count_traced(node, load)
    lines = [line for line in lines if line[1] not in ('fdatasync', 'io_uring_enter')]
    syncs, breaches = check_syncs(lines, node.folder(load.topic), load.ports)
    suite.check('canary: an answer without its sync is noticed', [] if syncs == 0 and breaches == TRACED else ['it is not'])
    load.close()


def where(nodes, name):
    """Prints the places of the allocations and copies of some units."""
    units = 20
    node, load = make_load(nodes, name)
    for _ in range(WARM_UP):
        load.one()
        node.settle()
    node.page.set(Page.TRACING, 1)
    for _ in range(units):
        load.one()
        node.settle()
    node.page.set(Page.TRACING, 0)
    binary, base = brokers.odradek(), None
    with open(f'/proc/{node.broker.pid}/maps', encoding='utf-8') as f:
        for line in f:
            if line.rstrip().endswith(os.path.realpath(binary)):
                base = int(line.split('-')[0], 16)
                break
    seen = Counter((copied, frames) for copied, frames in node.page.stacks())
    for (copied, frames), n in seen.most_common(40):
        print(f'{n / units:.2f} a unit: {"copy of " + str(copied) + " bytes" if copied else "allocation"}')
        places = [hex(frame - base - 1) for frame in frames if base <= frame < base + (64 << 20)]
        done = subprocess.run(['llvm-symbolizer-19', '-e', binary, '-s', '-C', '-p', *places], capture_output=True, text=True)
        print('\n'.join('    ' + line for line in done.stdout.splitlines() if line)[:2500])
    load.close()


def start_nodes(port):
    """One loop, so that everything meets there; and two, with 256 partitions that nobody uses; and one without io_uring."""
    # Checkpoints come by the clock: not while requests are counted.
    never = dict.fromkeys(('replica.high.watermark.checkpoint.interval.ms', 'log.flush.offset.checkpoint.interval.ms'), '3600000')
    one = {'odradek.loops': '1', **never}
    nodes = [Node(port, one), Node(port + 2, {'odradek.loops': '2'}), Node(port + 4, {**one, 'odradek.io.uring.enable': 'false'})]
    nodes[1].topic(partitions=256)
    return nodes


def read_limits():
    with open(LIMITS, encoding='utf-8') as f:
        return json.load(f)


def write_limits(measured):
    def rounded(value):
        return {k: rounded(v) for k, v in value.items() if rounded(v) or k != 'calls'} if isinstance(value, dict) else round(value, 2)

    with open(LIMITS, 'w', encoding='utf-8') as f:
        json.dump(rounded(measured), f, indent=2)
        f.write('\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('rows', nargs='*', metavar='ROW')
    parser.add_argument('--write', action='store_true')
    parser.add_argument('--canary', action='store_true')
    parser.add_argument('--where', choices=[row for rows in LOADS for row in rows], metavar='ROW')
    parser.add_argument('--port', type=int, default=21800)
    options = parser.parse_args()
    for name in options.rows:
        if name not in ALL_ROWS:
            parser.error(f'no such row; there are: {", ".join(ALL_ROWS)}')
    known = None if options.write else read_limits()
    suite, nodes = Suite(), start_nodes(options.port)
    try:
        if options.where:
            return where(nodes, options.where)
        if not options.canary:
            measured = run_rows(suite, nodes, options.rows or ALL_ROWS, known)
            if options.write:
                known = {**(read_limits() if options.rows else {}), **measured}
                write_limits(known)
        if not options.rows:
            run_canaries(suite, nodes[0], known)
    finally:
        for node in nodes:
            node.end()
    print(f'{suite.passed} passed, {suite.failed} failed')
    return 1 if suite.failed else 0


if __name__ == '__main__':
    sys.exit(main())
