#!/usr/bin/env python3
"""Time to ready, idle cost, and CPU per record of Odradek beside Apache Kafka, in one run on one machine.

Start-up and idle cost are measured one broker at a time, in turn. For the load both brokers run, warmed up, and each
row is measured on the one and then on the other, round after round; the median of the rounds counts. Durability is the
same in each row: topics set flush.messages, so that "not synced" and "synced" mean the same for both.

The table goes to standard output and, with --markdown, into that file between the lines
`<!-- first-table:begin -->` and `<!-- first-table:end -->`.
"""
import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'tests', 'tools'))

import broker as brokers

RAWPERF = os.path.join(brokers.BUILD, 'bin', 'rawperf')
BEGIN, END = '<!-- first-table:begin -->', '<!-- first-table:end -->'
KINDS = ('apache', 'odradek')
SHOWN = {'apache': f'Apache Kafka {brokers.KAFKA_VERSION}', 'odradek': 'Odradek'}
IDLE_S = 10
NEVER, ALWAYS = 'flush.messages=9223372036854775807', 'flush.messages=1'
HEAP = '1g'           # what Kafka's own start script gives

# name, rawperf's options, records, the topic's durability, also fetch what was written?
LOADS = (
    ('100 B records in 16 KiB batches, acks=1', '-s 100 -a 1', 4000000, NEVER, True),
    ('100 B records in 16 KiB batches, acks=all, idempotent, not synced', '-s 100 -a all -I', 4000000, NEVER, False),
    ('1 KiB records in 16 KiB batches, acks=all, not synced', '-s 1024 -a all', 1000000, NEVER, True),
    ('1 KiB records in 16 KiB batches, acks=all, synced before each answer', '-s 1024 -a all', 100000, ALWAYS, False),
    ('one 100 B record a request, acks=1, 1 connection', '-s 100 -B 1 -a 1 -i 50', 150000, NEVER, False),
    ('one 100 B record a request, acks=1, 16 connections', '-s 100 -B 1 -a 1 -i 10 -c 16', 250000, NEVER, False),
)
PARTITIONS = 6


def rawperf(*args):
    done = subprocess.run([RAWPERF, *map(str, args)], capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f'rawperf {" ".join(map(str, args))}: {done.stdout}{done.stderr}')
    return json.loads(done.stdout)


class Table:
    def __init__(self):
        self.values, self.units = {}, {}          # (row, kind): [values]; row: unit

    def add(self, row, kind, value, unit):
        self.units[row] = unit
        self.values.setdefault((row, kind), []).append(value)

    def median(self, row, kind):
        found = self.values.get((row, kind))
        return statistics.median(found) if found else None

    def markdown(self):
        lines = ['| what | unit | ' + ' | '.join(SHOWN[k] for k in KINDS) + ' | ratio |', '|---|---|---|---|---|']
        for row, unit in self.units.items():
            theirs, ours = (self.median(row, k) for k in KINDS)
            ratio = f'{ours / theirs:.3f}' if theirs and ours is not None else '–'
            lines.append(f'| {row} | {unit} | {number(theirs)} | {number(ours)} | {ratio} |')
        return '\n'.join(lines)

    def write_csv(self, path):
        with open(path, 'w', encoding='utf-8', newline='') as f:
            out = csv.writer(f)
            out.writerow(['what', 'unit', 'broker', 'median', 'min', 'max', 'runs'])
            for (row, kind), found in self.values.items():
                out.writerow([row, self.units[row], kind, statistics.median(found), min(found), max(found), len(found)])


def number(value):
    if value is None:
        return '–'
    if value >= 100:
        return f'{value:.0f}'
    return f'{value:.1f}' if value >= 10 else f'{value:.2f}' if value >= 1 else f'{value:.3f}'


def start_up(table, kind, port):
    """Fresh directory, then a restart: from the start of the process to the first answers; then the idle cost."""
    broker = brokers.Broker(kind, port, heap=HEAP)
    try:
        for state in ('fresh directory', 'restart'):
            broker.spawn()
            seen = broker.wait('produce', topic='first-' + state.split()[0])
            table.add(f'ready, {state}: first Metadata answer', kind, seen['metadata'] * 1000, 'ms')
            table.add(f'ready, {state}: first record acknowledged', kind, seen['produce'] * 1000, 'ms')
            if state == 'restart':
                time.sleep(IDLE_S)
                before, began = broker.cpu_s(), time.time()
                time.sleep(IDLE_S)
                used = (broker.cpu_s() - before) / (time.time() - began)
                table.add('idle: resident memory', kind, broker.rss_mib(), 'MiB')
                table.add('idle: CPU', kind, used * 100, '% of a core')
            broker.stop()
    finally:
        broker.kill()
        broker.remove()


def one_load(table, broker, number_of_round, index, scale):
    name, options, records, durability, fetch_too = LOADS[index]
    topic = f'load-{number_of_round}-{index}'
    common = ('-b', broker.address, '-t', topic, '-P', broker.pid)
    got = rawperf('produce', *common, '--create', PARTITIONS, '--conf', durability, '-n', max(1000, int(records * scale)),
                  *options.split())
    row = 'produce ' + name
    table.add(f'{row}: broker CPU', broker.kind, got['broker_cpu_s_per_M'], 's per million records')
    if 'synced before' in name:
        table.add(f'{row}: rate', broker.kind, got['rec_per_s'] / 1000, 'k records/s')
    if fetch_too:
        got = rawperf('fetch', *common)
        size = name.split(' in ')[0]
        table.add(f'fetch {size}: broker CPU', broker.kind, got['broker_cpu_s_per_M'], 's per million records')
        table.add(f'fetch {size}: broker CPU by volume', broker.kind, got['broker_cpu_s_per_GB'], 's per GB')


def warm_up(broker, scale):
    """The just-in-time compiler needs some load; the other broker gets the same."""
    for options in ('-a 1', '-a all -I', '-B 1 -c 4'):
        rawperf('produce', '-b', broker.address, '-t', 'warm', '--create', PARTITIONS, '--conf', NEVER, '-n',
                int((40000 if '-B' in options else 2000000) * scale), *options.split())
    rawperf('fetch', '-b', broker.address, '-t', 'warm')


def loads(table, kinds, port, rounds, scale):
    running = []
    try:
        for i, kind in enumerate(kinds):
            running.append(brokers.Broker(kind, port + 10 * i, heap=HEAP).start())
            warm_up(running[-1], scale)
        for turn in range(rounds):
            for index in range(len(LOADS)):
                for broker in running:
                    print(f'# round {turn + 1}, {broker.kind}: {LOADS[index][0]}', file=sys.stderr, flush=True)
                    one_load(table, broker, turn, index, scale)
        for broker in running:
            table.add('resident memory after the load', broker.kind, broker.rss_mib(), 'MiB')
    finally:
        for broker in running:
            broker.stop()
            broker.remove()


def machine():
    with open('/proc/cpuinfo', encoding='utf-8') as f:
        model = next((line.split(':', 1)[1].strip() for line in f if line.startswith('model name')), 'unknown processor')
    java = subprocess.run(['java', '-version'], capture_output=True, text=True).stderr.splitlines()[0]
    return f'{os.cpu_count()} cores ({model}), Linux {platform.release()}, {java}, Kafka heap {HEAP}'


def write_into(path, text, begin=BEGIN, end=END):
    """Replaces what is between the markers, or appends them."""
    old = open(path, encoding='utf-8').read() if os.path.exists(path) else '# Performance\n'
    if begin not in old:
        old += f'\n{begin}\n{end}\n'
    head, rest = old.split(begin, 1)
    tail = rest.split(end, 1)[1]
    with open(path, 'w', encoding='utf-8') as f:
        f.write(f'{head}{begin}\n{text}\n{end}{tail}')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--scale', type=float, default=1.0, help='factor for the numbers of records')
    parser.add_argument('--port', type=int, default=21200)
    parser.add_argument('--markdown', metavar='FILE')
    parser.add_argument('--csv', metavar='FILE')
    parser.add_argument('--only', choices=KINDS)
    args = parser.parse_args()
    kinds = [args.only] if args.only else list(KINDS)
    table, load_before = Table(), os.getloadavg()[0]
    for turn in range(args.rounds):
        for kind in kinds:
            print(f'# round {turn + 1}, {kind}: start and idle', file=sys.stderr, flush=True)
            start_up(table, kind, args.port)
    loads(table, kinds, args.port, args.rounds, args.scale)
    text = (f'Made by `bench/first_table.sh --rounds {args.rounds}` on {time.strftime("%Y-%m-%d")}: {machine()}; '
            f'load average before the run {load_before:.1f}. Medians; the ratio is Odradek to Apache Kafka.\n\n'
            + table.markdown())
    print(text)
    if args.markdown:
        write_into(args.markdown, text)
    if args.csv:
        table.write_csv(args.csv)


if __name__ == '__main__':
    main()
