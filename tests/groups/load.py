#!/usr/bin/env python3
"""10,000 groups with 1,000,000 committed offsets: how long a start after kill -9 takes until all are there, and what they cost.

    load.py [--broker odradek|apache] [--port N] [--groups N] [--partitions N]

Held for Odradek: 3 s, 400 MiB, a scrape in 1 s. "All" means that OffsetFetch answers for a group in each partition of
__consumer_offsets.
"""
import argparse
import os
import struct
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'tools'))

import broker as brokers
import probe
import raw

START_S, MEMORY_MIB, SCRAPE_S = 3.0, 400, 1.0
OFFSET_COMMIT, FIND_COORDINATOR = 8, 10
AT_A_TIME = 20


def commit_body(group, partitions):
    """Version 2, of the topic `wide`."""
    body = raw.text(group) + struct.pack('>i', -1) + raw.text('') + struct.pack('>q', -1)
    body += struct.pack('>i', 1) + raw.text('wide') + struct.pack('>i', partitions)
    return body + b''.join(struct.pack('>iqh', p, p, 0) for p in range(partitions))


def commit_all(broker, groups, partitions):
    connection = probe.Connection(broker.host, broker.port, 60)
    while struct.unpack_from('>h', connection.call(FIND_COORDINATOR, 0, raw.text('any')))[0] != 0:
        time.sleep(0.1)
    for first in range(0, groups, AT_A_TIME):
        count = min(AT_A_TIME, groups - first)
        frames = b''
        for n in range(first, first + count):
            message = struct.pack('>hhi', OFFSET_COMMIT, 2, n) + raw.text('load') + commit_body(f'group-{n}', partitions)
            frames += struct.pack('>i', len(message)) + message
        connection.socket.sendall(frames)
        for n in range(first, first + count):
            answer = probe.read_exactly(connection.socket, struct.unpack('>i', probe.read_exactly(connection.socket, 4))[0])
            if any(struct.unpack('>h', answer[-2:])):
                raise AssertionError(f'group-{n}: error {struct.unpack(">h", answer[-2:])[0]}')
    connection.close()


def until_all_loaded(broker, groups, partitions):
    """Seconds from exec."""
    broker.wait('metadata', 120)
    connection = raw.Connection(broker.address)
    for n in range(0, groups, max(1, groups // 400)):     # with 400 of them each partition has some
        while True:
            answer = connection.call('OffsetFetch', 8, Groups=[{'GroupId': f'group-{n}', 'Topics': [
                {'Name': 'wide', 'PartitionIndexes': [partitions - 1]}]}], RequireStable=False)['Groups'][0]
            if answer['ErrorCode'] == 0:
                break
            time.sleep(0.01)
        if answer['Topics'][0]['Partitions'][0]['CommittedOffset'] != partitions - 1:
            raise AssertionError(f'group-{n}: {answer}')
    took = time.time() - broker.started_at
    connection.close()
    return took


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--broker', choices=brokers.KINDS, default='odradek')
    parser.add_argument('--port', type=int, default=21600)
    parser.add_argument('--groups', type=int, default=10000)
    parser.add_argument('--partitions', type=int, default=100)
    args = parser.parse_args()
    properties = {'odradek.http.listeners': f'127.0.0.1:{args.port + 2}'} if args.broker == 'odradek' else {}
    failed = []
    with brokers.Broker(args.broker, args.port, heap='1g', properties=properties) as broker:
        connection = probe.Connection(broker.host, broker.port, 30)
        probe.create_topic(connection, 'wide', args.partitions)
        connection.close()
        began = time.time()
        commit_all(broker, args.groups, args.partitions)
        print(f'{args.groups} groups, {args.groups * args.partitions} offsets committed in {time.time() - began:.1f} s')
        broker.kill()
        broker.spawn()
        took, memory = until_all_loaded(broker, args.groups, args.partitions), broker.rss_mib()
        print(f'all loaded {took:.2f} s after exec, {memory:.0f} MiB resident', flush=True)
        failed += [] if took <= START_S else [f'the start took {took:.2f} s, at most {START_S}']
        failed += [] if memory <= MEMORY_MIB else [f'{memory:.0f} MiB, at most {MEMORY_MIB}']
        if args.broker == 'odradek':
            for _ in range(2):
                began, used = time.time(), broker.cpu_s()
                with urllib.request.urlopen(f'http://127.0.0.1:{args.port + 2}/metrics', timeout=60) as answer:
                    size = len(answer.read())
                took = time.time() - began
                print(f'a scrape of {size >> 10} KiB took {took:.3f} s, {broker.cpu_s() - used:.2f} s of CPU')
            failed += [] if took <= SCRAPE_S else [f'a scrape took {took:.2f} s, at most {SCRAPE_S}']
    for problem in failed if args.broker == 'odradek' else []:
        print(f'FAIL: {problem}')
    print(f'{0 if failed else 1} passed, {1 if failed else 0} failed')
    return 1 if failed and args.broker == 'odradek' else 0


if __name__ == '__main__':
    sys.exit(main())
