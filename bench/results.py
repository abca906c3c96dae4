"""What the measurements beside Apache Kafka share: the table of medians, the load generator, the description of the machine."""
import csv
import json
import os
import platform
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'tests', 'tools'))

import broker as brokers

RAWPERF = os.path.join(brokers.BUILD, 'bin', 'rawperf')
KINDS = ('apache', 'odradek')
SHOWN = {'apache': f'Apache Kafka {brokers.KAFKA_VERSION}', 'odradek': 'Odradek', 'limit': 'limit'}
NEVER, ALWAYS = 'flush.messages=9223372036854775807', 'flush.messages=1'
HEAP = '1g'           # what Kafka's own start script gives
PARTITIONS = 6


def rawperf(*args, timeout_s=600):
    done = subprocess.run([RAWPERF, *map(str, args)], capture_output=True, text=True, timeout=timeout_s)
    if done.returncode:
        raise RuntimeError(f'rawperf {" ".join(map(str, args))}: {done.stdout}{done.stderr}')
    return json.loads(done.stdout)


class Table:
    """Every value that was measured; each row has one value for a broker and round, of which the median counts."""

    def __init__(self):
        self.values, self.units = {}, {}          # (row, kind): [values]; row: unit

    def add(self, row, kind, value, unit):
        self.units[row] = unit
        self.values.setdefault((row, kind), []).append(value)

    def of(self, row, kind):
        return self.values.get((row, kind), [])

    def median(self, row, kind):
        found = self.of(row, kind)
        return statistics.median(found) if found else None

    def ratio(self, row):
        theirs, ours = (self.median(row, k) for k in KINDS)
        return f'{ours / theirs:.3f}' if theirs and ours is not None else '–'

    def markdown(self):
        lines = ['| what | unit | ' + ' | '.join(SHOWN[k] for k in KINDS) + ' | ratio |', '|---|---|---|---|---|']
        for row, unit in self.units.items():
            theirs, ours = (number(self.median(row, k)) for k in KINDS)
            lines.append(f'| {row} | {unit} | {theirs} | {ours} | {self.ratio(row)} |')
        return '\n'.join(lines)

    def write_csv(self, path):
        with open(path, 'w', encoding='utf-8', newline='') as f:
            out = csv.writer(f)
            out.writerow(['what', 'unit', 'broker', 'round', 'value'])
            for (row, kind), found in self.values.items():
                out.writerows([row, self.units[row], kind, i + 1, f'{value:.6g}'] for i, value in enumerate(found))


def number(value):
    if value is None:
        return '–'
    if value >= 100:
        return f'{value:.0f}'
    return f'{value:.1f}' if value >= 10 else f'{value:.2f}' if value >= 1 else f'{value:.3f}'


def machine():
    with open('/proc/cpuinfo', encoding='utf-8') as f:
        model = next((line.split(':', 1)[1].strip() for line in f if line.startswith('model name')), 'unknown processor')
    java = subprocess.run(['java', '-version'], capture_output=True, text=True).stderr.splitlines()[0]
    return f'{os.cpu_count()} cores ({model}), Linux {platform.release()}, {java}, Kafka heap {HEAP}'


def write_into(path, text, begin, end):
    """Replaces what is between the markers, or appends them."""
    old = open(path, encoding='utf-8').read() if os.path.exists(path) else '# Performance\n'
    if begin not in old:
        old += f'\n{begin}\n{end}\n'
    head, rest = old.split(begin, 1)
    tail = rest.split(end, 1)[1]
    with open(path, 'w', encoding='utf-8') as f:
        f.write(f'{head}{begin}\n{text}\n{end}{tail}')
