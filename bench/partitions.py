#!/usr/bin/env python3
"""What many partitions, and a kill -9, cost Odradek and Apache Kafka: in one run on one machine, in turn.

For each broker and round: a topic with many partitions is made, one record is written to each, and the node is started
again after a clean stop, after a kill -9, and after a second kill -9 that follows at once. Then a topic with a few GB is
written, and the node is killed and started again.

"Serving" means that ListOffsets answers without an error for every partition; a start is counted from exec. Topics have
the broker's own default durability (Odradek syncs before it answers acks=all, Apache Kafka does not) unless the row says
otherwise.
"""
import argparse
import atexit
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'tests', 'tools'))

import broker as brokers
import results as tables
import probe
from many import create_topic, produce_to_all, until_serving

KINDS = tables.KINDS
BEGIN, END = '<!-- partitions-table:begin -->', '<!-- partitions-table:end -->'


def new_broker(kind, port):
    """Its directory is removed at the end of the run only: ext4 goes past inodes that were freed in the last half minute one
    by one when it looks for free ones, so that removing thousands of files makes the next thousands slow to create."""
    broker = brokers.Broker(kind, port, heap=tables.HEAP)
    atexit.register(broker.remove)
    return broker


def stop(broker, limit_s=120):
    began = time.time()
    if broker.stop(limit_s) is None:
        raise RuntimeError('the broker had to be killed')
    return time.time() - began


def many_partitions(table, kind, port, count, limit_s):
    name = f'{count:,} partitions'
    topic = 'many'
    broker = new_broker(kind, port)

    def add(what, value, unit='s'):
        table.add(f'{name}: {what}', kind, value, unit)
        print(f'#   {what}: {value:.3f} {unit}', file=sys.stderr, flush=True)

    try:
        broker.spawn()
        broker.wait('produce')
        began = time.time()
        add('topic made, answered', create_topic(broker, topic, count))
        add('topic made, all serving', until_serving(broker, topic, count, began, limit_s))
        began = time.time()
        errors = produce_to_all(probe.Connection(broker.host, broker.port, limit_s), topic, count, b'x' * 40)
        if errors != {0}:
            raise RuntimeError(f'produce: errors {errors}')
        add('a record to each, acks=all', time.time() - began)
        add('resident memory', broker.rss_mib(), 'MiB')
        add('clean stop', stop(broker))
        broker.spawn()
        add('start after a clean stop, all serving', until_serving(broker, topic, count, broker.started_at, limit_s))
        add('resident memory after a start', broker.rss_mib(), 'MiB')
        broker.kill()
        broker.spawn()
        add('start after kill -9 of an idle node, all serving', until_serving(broker, topic, count, broker.started_at, limit_s))
        produce_to_all(probe.Connection(broker.host, broker.port, limit_s), topic, count, b'y' * 40)
        broker.kill()
        for what in ('start after kill -9, all serving', 'start after kill -9 at once after a start, all serving'):
            broker.spawn()
            add(what, until_serving(broker, topic, count, broker.started_at, limit_s))
            broker.kill()
    finally:
        broker.kill()


def large_logs(table, kind, port, gigabytes, limit_s):
    """kill -9 with a few GB written at full speed, to the first record acknowledged after exec."""
    for what, conf in (('default durability', None), ('not synced', tables.NEVER)):
        broker = new_broker(kind, port)
        try:
            broker.start()
            topic = 'large'
            create_topic(broker, topic, tables.PARTITIONS, [tuple(conf.split('='))] if conf else [])
            until_serving(broker, topic, tables.PARTITIONS, time.time(), limit_s)
            tables.rawperf('produce', '-b', broker.address, '-t', topic, '-P', broker.pid, '-n', gigabytes * 1000000,
                           '-s', 1000, '-B', 1000, '-a', '1')
            broker.kill()
            broker.spawn()
            seen = broker.wait('produce', limit_s, topic)
            row = f'{gigabytes} GB in {tables.PARTITIONS} partitions, {what}: start after kill -9, first record acknowledged'
            table.add(row, kind, seen['produce'], 's')
            print(f'#   {row}: {seen["produce"]:.3f} s', file=sys.stderr, flush=True)
        finally:
            broker.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--partitions', type=int, nargs='*', default=[1000, 5000])
    parser.add_argument('--gigabytes', type=int, default=3, help='0: none')
    parser.add_argument('--port', type=int, default=21400)
    parser.add_argument('--limit', type=float, default=180, help='seconds until a start is given up')
    parser.add_argument('--markdown', metavar='FILE')
    parser.add_argument('--csv', metavar='FILE')
    parser.add_argument('--only', choices=KINDS)
    args = parser.parse_args()
    table, load_before = tables.Table(), os.getloadavg()[0]
    for turn in range(args.rounds):
        for kind in [args.only] if args.only else KINDS:
            parts = [(f'{n} partitions', many_partitions, n) for n in args.partitions]
            parts += [(f'{args.gigabytes} GB', large_logs, args.gigabytes)] if args.gigabytes else []
            for name, part, size in parts:
                print(f'# round {turn + 1}, {kind}: {name}', file=sys.stderr, flush=True)
                try:
                    part(table, kind, args.port, size, args.limit)
                except (RuntimeError, OSError) as problem:     # the rows that are missing then show it
                    print(f'# given up: {problem}', file=sys.stderr, flush=True)
    text = (f'Made by `bench/partitions.sh --rounds {args.rounds}` on {time.strftime("%Y-%m-%d")}: {tables.machine()}; '
            f'load average before the run {load_before:.1f}. Medians; the ratio is Odradek to Apache Kafka.\n\n'
            + table.markdown())
    print(text)
    if args.markdown:
        tables.write_into(args.markdown, text, BEGIN, END)
    if args.csv:
        table.write_csv(args.csv)


if __name__ == '__main__':
    main()
