#!/usr/bin/env python3
"""What transactions cost Odradek and Apache Kafka: in one run on one machine, in turn.

Producers of Apache's client write transactions of 100 records of 100 bytes (load/TxnLoad.java), one alone and eight at once,
with what is acknowledged on disk on both brokers, and with neither waiting for the disk. CPU is the broker's, all threads, for a million
committed records; the commit is timed from the call, all records being acknowledged, to its end; the whole transaction from its beginning.
"""
import argparse
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'tests', 'tools'))

import broker as brokers
import probe
import results as tables

BEGIN, END = '<!-- transactions-table:begin -->', '<!-- transactions-table:end -->'
RECORDS, SIZE = 100, 100
DURABILITY = {'not synced': '9223372036854775807', 'synced': '1'}


def compiled():
    """The class path of the load."""
    classes, libs = os.path.join(brokers.BUILD, 'bench'), os.path.join(brokers.kafka_dir(), 'libs', '*')
    os.makedirs(classes, exist_ok=True)
    subprocess.run(['javac', '-cp', libs, '-d', classes, os.path.join(HERE, 'load', 'TxnLoad.java')], check=True)
    return f'{classes}:{libs}'


def measure(table, kind, port, producers, durability, seconds, class_path):
    name = f'{producers} producer{"s" if producers > 1 else ""}, {durability}'
    broker = brokers.Broker(kind, port, heap=tables.HEAP, properties={'log.flush.interval.messages': DURABILITY[durability]})
    with broker:
        connection = probe.Connection(broker.host, broker.port)
        if probe.create_topic(connection, 'bench', producers):
            raise RuntimeError('no topic')
        command = ['java', '-Xmx256m', '-XX:+UseSerialGC', f'-Dlog4j2.configurationFile={brokers.kafka_dir()}/log4j2.properties',
                   '-Dtest.loglevel=ERROR', '-cp', class_path, 'TxnLoad', broker.address, 'bench', producers, RECORDS, SIZE, seconds]
        load = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
        try:
            cpu = {}
            for _ in range(2):
                word = load.stdout.readline().strip()
                cpu[word] = broker.cpu_s()
            found = load.stdout.readline().split()
        finally:
            load.kill()
            load.wait()
    if len(found) != 7 or set(cpu) != {'warm', 'done'}:
        raise RuntimeError(f'{name}: the load ended early: {found}')
    records, count, took, commit50, commit99, whole50, whole99 = map(float, found)
    table.add(f'{name}: CPU per million records', kind, (cpu['done'] - cpu['warm']) / records * 1e6, 's')
    table.add(f'{name}: transactions', kind, count / took, '/s')
    table.add(f'{name}: commit, p50', kind, commit50, 'ms')
    table.add(f'{name}: commit, p99', kind, commit99, 'ms')
    table.add(f'{name}: whole transaction, p50', kind, whole50, 'ms')
    table.add(f'{name}: whole transaction, p99', kind, whole99, 'ms')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--seconds', type=float, default=15)
    parser.add_argument('--port', type=int, default=21440)
    parser.add_argument('--markdown', metavar='FILE')
    parser.add_argument('--only', choices=tables.KINDS)
    args = parser.parse_args()
    table, load_before, class_path = tables.Table(), os.getloadavg()[0], compiled()
    for turn in range(args.rounds):
        for durability in DURABILITY:
            for producers in (1, 8):
                for kind in [args.only] if args.only else tables.KINDS:
                    print(f'# round {turn + 1}, {kind}: {producers}, {durability}', file=sys.stderr, flush=True)
                    measure(table, kind, args.port, producers, durability, args.seconds, class_path)
    text = (f'Made by `bench/transactions.sh --rounds {args.rounds} --seconds {args.seconds:g}` on {time.strftime("%Y-%m-%d")}: {tables.machine()}; '
            f'load average before the run {load_before:.1f}. Medians; the ratio is Odradek to Apache Kafka.\n\n' + table.markdown())
    print(text)
    if args.markdown:
        tables.write_into(args.markdown, text, BEGIN, END)


if __name__ == '__main__':
    main()
