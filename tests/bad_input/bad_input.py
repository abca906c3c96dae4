#!/usr/bin/env python3
"""Gives a broker what no client should send and compares what it answers with what Apache Kafka 4.3.1 answered.

    bad_input.py [--full]                      Odradek against expected.txt
    bad_input.py --broker apache --full        Apache against expected.txt: is the file still true?
    bad_input.py --broker apache --full --record    makes expected.txt anew

A case is bytes, and its outcome: `closed`, `open` (neither answer nor end within a second), `answered`, or the error codes of
the answer with what else a client would see. Where Odradek is meant to differ, differences.txt has its outcome and why.
Besides, the process must stay up, answer others, keep its memory bounded, and say in its log why it closed connections.
Sections: frames and keys (no request at all), arrays (lengths that cannot be), prefixes (golden requests cut at every byte; without
--full of the first and the last version of each), produce (batches), api (well-formed nonsense). The last line is `N passed, N failed`.
"""
import argparse
import fnmatch
import os
import re
import selectors
import socket
import struct
import sys
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '..', 'tools')]

import api_cases
import broker as brokers
import codec
import frame_cases
import probe
import produce_cases

EXPECTED = os.path.join(HERE, 'expected.txt')
DIFFERENCES = os.path.join(HERE, 'differences.txt')
AT_ONCE = 48                 # connections
SILENCE_S = 1.0              # after which a connection counts as open
ANSWER_S = 20.0
TWENTY_YEARS_MS = 20 * 365 * 24 * 3_600_000
RSS_LIMIT_MIB = 400          # a bomb of 128 MiB may be unpacked and packed again
RSS_AFTER_MIB = 150          # and must be gone afterwards
SETTINGS = {'auto.create.topics.enable': 'false', 'log.flush.interval.messages': '9223372036854775807'}
NAMES_OF_ERRORS = {}


def error_names():
    with open(os.path.join(HERE, '..', '..', 'src', 'wire', 'schemas', 'errors.txt'), encoding='utf-8') as f:
        for line in f:
            words = line.split()
            if len(words) > 1 and re.fullmatch(r'-?\d+', words[0]):
                NAMES_OF_ERRORS[int(words[0])] = words[1]


def error(code):
    return NAMES_OF_ERRORS.get(code, str(code))


class Link:
    """A connection that is opened again when the broker has closed it."""

    def __init__(self, address):
        self.address, self.socket = address, None

    def exchange(self, frame, wait_s=ANSWER_S):
        """The payload of the answer, or 'closed' or 'open'."""
        if self.socket is None:
            self.socket = socket.create_connection(self.address, 10)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(wait_s)
        try:
            self.socket.sendall(frame)
            return probe.read_exactly(self.socket, struct.unpack('>i', probe.read_exactly(self.socket, 4))[0])
        except TimeoutError:
            self.close()
            return 'open'
        except OSError:
            self.close()
            return 'closed'

    def close(self):
        if self.socket is not None:
            self.socket.close()
        self.socket = None

    def call(self, api, version, value):
        payload = self.exchange(codec.request(api, version, value))
        if isinstance(payload, str):
            raise ConnectionError(f'{api}: {payload}')
        return codec.response(api, version, payload)


def send_all(address, frames):
    """The outcome of each frame on a connection of its own."""
    outcomes, waiting, at = [None] * len(frames), {}, 0
    selector = selectors.DefaultSelector()

    def done(link, outcome):
        number, _ = waiting.pop(link)
        outcomes[number] = outcome
        selector.unregister(link)
        # Without this the machine runs out of ports: the end of a closed connection is remembered for a minute.
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        link.close()

    while at < len(frames) or waiting:
        while at < len(frames) and len(waiting) < AT_ONCE:
            link = socket.create_connection(address, 10)
            waiting[link] = (at, time.monotonic())
            selector.register(link, selectors.EVENT_READ)
            try:
                link.sendall(frames[at])
            except OSError:
                pass
            at += 1
        for key, _ in selector.select(0.1):
            try:
                answered = bool(key.fileobj.recv(65536))
            except OSError:
                answered = False
            done(key.fileobj, 'answered' if answered else 'closed')
        now = time.monotonic()
        for link in [link for link, (_, began) in waiting.items() if now - began > SILENCE_S]:
            done(link, 'open')
    return outcomes


def run_lengths(outcomes):
    """`closed*40 answered`: a list of outcomes in short."""
    out = []
    for outcome in outcomes:
        if out and out[-1][0] == outcome:
            out[-1][1] += 1
        else:
            out.append([outcome, 1])
    return ' '.join(o if n == 1 else f'{o}*{n}' for o, n in out)


def errors_in(value, name=''):
    """Every error code of an answer, in order."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from errors_in(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from errors_in(inner, name)
    elif name == 'ErrorCode':
        yield error(value)


def api_outcome(frame, payload):
    if isinstance(payload, str):
        return payload
    key, version = struct.unpack('>hh', frame[4:8])
    name = codec.REQUESTS[key].name.removesuffix('Request')
    try:
        answer = codec.response(name, version, payload)
    except (ValueError, struct.error, UnicodeDecodeError) as problem:
        return f'unreadable: {problem}'
    return ' '.join(errors_in(answer)) or 'answered'


class Producing:
    """The produce section: every case has a partition of its own."""

    def __init__(self, link, now):
        self.link, self.now = link, now
        self.cases = list(produce_cases.cases(now))
        self.partition, self.count = {}, {}
        for case in self.cases:
            self.partition[case.name] = self.count.get(case.topic, 0)
            self.count[case.topic] = self.partition[case.name] + 1

    def create_topics(self):
        """All topics of all sections; returns their ids."""
        link = self.link
        topics = [api_cases.topic(name, self.count.get(name, 1), 1, configs=settings) for name, settings in produce_cases.TOPICS.items()]
        answer = link.call('CreateTopics', 7, {'Topics': topics, 'timeoutMs': 60_000})
        for t in answer['Topics']:
            if t['ErrorCode']:
                sys.exit(f'cannot create {t["Name"]}: {error(t["ErrorCode"])} {t["ErrorMessage"]}')
        end = time.monotonic() + 60
        while time.monotonic() < end:
            answer = link.call('Metadata', 12, {'Topics': [{'Name': n, 'TopicId': uuid.UUID(int=0)} for n in produce_cases.TOPICS]})
            served = link.call('ListOffsets', 7, {'ReplicaId': -1, 'Topics': [
                {'Name': name, 'Partitions': [{'PartitionIndex': p, 'Timestamp': -2} for p in range(self.count.get(name, 1))]}
                for name in produce_cases.TOPICS]})
            if all(t['ErrorCode'] == 0 and len(t['Partitions']) == self.count.get(t['Name'], 1) for t in answer['Topics']) and \
                    all(p['ErrorCode'] == 0 for t in served['Topics'] for p in t['Partitions']):
                return {t['Name']: t['TopicId'] for t in answer['Topics']}
            time.sleep(0.2)
        sys.exit('the topics do not become available')

    def step(self, case, step):
        t = {'Name': case.topic, 'PartitionData': [{'Index': self.partition[case.name], 'Records': step.data}]}
        frame = codec.request('Produce', step.version, {'TransactionalId': step.transactional_id, 'Acks': step.acks, 'TimeoutMs': 10_000,
                                                        'TopicData': [t]}, client=step.client)
        payload = self.link.exchange(frame, SILENCE_S if step.acks == 0 else ANSWER_S)
        if isinstance(payload, str):
            return payload
        p = codec.response('Produce', step.version, payload)['Responses'][0]['PartitionResponses'][0]
        stamp = p['LogAppendTimeMs']
        out = f'{error(p["ErrorCode"])} base {p["BaseOffset"]}'
        if stamp != -1:
            out += ' append-time' if abs(stamp - self.now) < 600_000 else f' append-time-{stamp}'
        out += f' start {p["LogStartOffset"]}' if 'LogStartOffset' in p else ''
        if p.get('RecordErrors'):
            out += ' records ' + run_of_numbers([e['BatchIndex'] for e in p['RecordErrors']])
            out += '' if all(e['BatchIndexErrorMessage'] for e in p['RecordErrors']) and p['ErrorMessage'] else ' without texts'
        return out

    def stored(self, case):
        """What a consumer finds afterwards."""
        answer = self.link.call('Fetch', 11, {'ReplicaId': -1, 'MaxWaitMs': 0, 'MinBytes': 0, 'Topics': [{
            'Topic': case.topic, 'Partitions': [{'Partition': self.partition[case.name], 'FetchOffset': 0, 'PartitionMaxBytes': 4_000_000}]}]})
        p = answer['Responses'][0]['Partitions'][0]
        out, data = [], p['Records'] or b''
        while len(data) >= 61:
            size = struct.unpack('>i', data[8:12])[0] + 12
            out.append(self.batch(data[:size]))
            data = data[size:]
        return f' | {error(p["ErrorCode"])} end {p["HighWatermark"]}' + ''.join(f' [{b}]' for b in out)

    def batch(self, data):
        base, _, epoch, _, _, attributes, last, first, newest, producer, producer_epoch, sequence, count = struct.unpack(
            '>qiibIHiqqqhii', data[:61])
        ago = newest - self.now
        when = 'append-time' if attributes & 8 and abs(ago) < 600_000 else f'now{ago:+}' if abs(ago) < TWENTY_YEARS_MS else newest
        return f'{base}+{last} count {count} attributes {attributes:#x} max {when} epoch {epoch}' + (
            f' producer {producer}/{producer_epoch}/{sequence}' if producer != -1 or sequence != -1 else '')

    def run(self):
        for case in self.cases:
            outcome = ', '.join(self.step(case, step) for step in case.steps)
            yield f'produce/{case.name}', outcome + self.stored(case)


def run_of_numbers(numbers):
    """0-2,5: numbers in short."""
    out = []
    for n in numbers:
        if out and out[-1][1] == n - 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return ','.join(str(a) if a == b else f'{a}-{b}' for a, b in out)


def outcomes(broker, full):
    """(name, outcome, cases) of everything, one after the other."""
    address = (broker.host, broker.port)
    link = Link(address)
    now = int(time.time() * 1000)
    producing = Producing(link, now)
    ids = producing.create_topics()
    groups = list(frame_cases.groups(full))
    flat = send_all(address, [frame for _, frames in groups for frame in frames])
    at = 0
    for name, frames in groups:
        yield name, run_lengths(flat[at:at + len(frames)]), len(frames)
        at += len(frames)
    for name, outcome in producing.run():
        yield name, outcome, 1
    for name, frame in api_cases.cases(ids, now):
        yield f'api/{name}', api_outcome(frame, link.exchange(frame)), 1


def read_table(path, columns):
    rows = []
    if os.path.exists(path):
        with open(path, encoding='utf-8') as f:
            rows = [line.rstrip('\n').split('\t') for line in f if line.strip() and not line.startswith('#')]
    for row in rows:
        assert len(row) == columns, f'{path}: {row}'
    return rows


class Verdict:
    """Compares with the expectations."""

    def __init__(self, kind):
        self.expected = dict(read_table(EXPECTED, 2))
        self.differences = read_table(DIFFERENCES, 3) if kind == 'odradek' else []
        self.used = set()
        self.passed = self.failed = 0

    def judge(self, name, outcome, count):
        wanted = self.expected.get(name)
        for pattern, ours, _ in self.differences:
            if fnmatch.fnmatchcase(name, pattern) and fnmatch.fnmatchcase(outcome, ours):
                self.used.add(pattern)
                if outcome != wanted:
                    self.passed += count
                    return
        if outcome == wanted:
            self.passed += count
        else:
            self.failed += count
            print(f'FAIL {name}\n     got  {outcome}\n     want {wanted}', flush=True)

    def check(self, what, holds):
        self.passed, self.failed = self.passed + bool(holds), self.failed + (not holds)
        print(f'{"ok  " if holds else "FAIL"} {what}', flush=True)


def peak_mib(pid):
    with open(f'/proc/{pid}/status', encoding='utf-8') as f:
        return next(int(line.split()[1]) for line in f if line.startswith('VmHWM')) / 1024


def check_process(broker, verdict):
    """What must hold of the broker after all that."""
    peak, after = peak_mib(broker.pid), broker.rss_mib()
    verdict.check(f'memory: {peak:.0f} MiB at most (limit {RSS_LIMIT_MIB})', peak < RSS_LIMIT_MIB)
    verdict.check(f'memory: {after:.0f} MiB afterwards (limit {RSS_AFTER_MIB})', after < RSS_AFTER_MIB)
    with open(broker.log_file, encoding='utf-8', errors='replace') as f:
        lines = f.read().splitlines()
    closed = [line for line in lines if 'clos' in line]
    verdict.check(f'log: {len(closed)} of {len(lines)} lines are about connections that were closed', closed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--broker', choices=brokers.KINDS, default='odradek')
    parser.add_argument('--port', type=int, default=21400)
    parser.add_argument('--full', action='store_true')
    parser.add_argument('--record', action='store_true')
    parser.add_argument('--keep', action='store_true', help='leave the broker\'s directory')
    args = parser.parse_args()
    error_names()
    verdict, total, sections, lines = Verdict(args.broker), 0, {}, []
    broker = brokers.Broker(args.broker, args.port, properties=dict(SETTINGS), heap='1g')
    began = time.monotonic()
    broker.start()
    try:
        for name, outcome, count in outcomes(broker, args.full):
            total += count
            section = name.split('/', 1)[0]
            sections[section] = sections.get(section, 0) + count
            if args.record:
                lines.append(f'{name}\t{outcome}\n')
            else:
                verdict.judge(name, outcome, count)
        verdict.check('the process is up and answers', broker.alive() and broker.wait('metadata', 10))
        if args.broker == 'odradek':
            check_process(broker, verdict)
    finally:
        broker.stop()
        if not args.keep:
            broker.remove()
    if args.record:
        with open(EXPECTED, 'w', encoding='utf-8') as f:
            f.write('# What Apache Kafka 4.3.1 answers to each case: bad_input.py --broker apache --full --record\n')
            f.writelines(lines)
    print(', '.join(f'{n} {section}' for section, n in sections.items()), f'cases in {time.monotonic() - began:.0f} s', sep=' ')
    print(f'{total} cases ran')
    print(f'{verdict.passed} passed, {verdict.failed} failed')
    return 1 if verdict.failed else 0


if __name__ == '__main__':
    sys.exit(main())
