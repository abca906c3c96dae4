#!/usr/bin/env python3
"""A sample of damaged files under real processes: Odradek and Apache Kafka each start on a copy of one damaged directory.

    tests/damage/real.py [--port 21500] [--cases N]

The directory comes from Odradek after 300 records of 1 KiB, acks=all: killed with -9, for indexes cleanly stopped (after a kill both
brokers make them anew). For each damage both brokers are started on a copy, read it from the beginning and take one more record. What they give must be what was written, in order, without a gap at its beginning; a
refusal must come with a line. Prints what each did; the last line is `N passed, N failed`.
"""
import argparse
import os
import shutil
import struct
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'tools'), os.path.join(HERE, '..', 'bad_input')]

import broker as brokers
import codec
import probe

RECORDS, TOPIC = 300, 'damage'
SEGMENT = '00000000000000000000'


def value(n):
    return f'{n:08}'.encode() * 128


def batch(n):
    body = b'\0\0\0\x01' + codec.uvarint(2 * len(value(n))) + value(n) + b'\0'
    records = codec.uvarint(2 * len(body)) + body
    now = int(time.time() * 1000)
    tail = struct.pack('>hiqqqhii', 0, 0, now, now, -1, -1, -1, 1) + records
    return struct.pack('>qiibI', 0, 9 + len(tail), -1, 2, probe.crc32c(tail)) + tail


def flip(path, at):
    def change(root):
        with open(os.path.join(root, path), 'r+b') as f:
            size = os.path.getsize(f.name)
            where = at if at >= 0 else size + at
            f.seek(where)
            byte = f.read(1)
            f.seek(where)
            f.write(bytes([byte[0] ^ 0x10]))
    return change


def cut(path, at):
    def change(root):
        name = os.path.join(root, path)
        os.truncate(name, at if at >= 0 else os.path.getsize(name) + at)
    return change


LOG, INDEX = f'{TOPIC}-0/{SEGMENT}.log', f'{TOPIC}-0/{SEGMENT}.index'
CASES = [
    ('log cut in its last batch', cut(LOG, -500)),
    ('log flipped in its last batch', flip(LOG, -500)),
    ('log flipped in the middle', flip(LOG, 160_000)),
    ('log of zeros behind', lambda root: open(os.path.join(root, LOG), 'ab').write(bytes(4096))),
    ('index flipped', flip(INDEX, 3)),
    ('index cut to no whole entry', cut(INDEX, 13)),
    ('index gone', lambda root: os.remove(os.path.join(root, INDEX))),
    ('leader epochs cut', cut(f'{TOPIC}-0/leader-epoch-checkpoint', 3)),
    ('recovery points cut', cut('recovery-point-offset-checkpoint', 5)),
    ('high watermarks cut', cut('replication-offset-checkpoint', 5)),
    ('partition.metadata flipped', flip(f'{TOPIC}-0/partition.metadata', 3)),
    ('meta.properties cut', cut('meta.properties', 20)),
    ('quorum-state cut', cut('__cluster_metadata-0/quorum-state', 20)),
    ('metadata log flipped', flip(f'__cluster_metadata-0/{SEGMENT}.log', 400)),
]


def read(port):
    """Values from the beginning on; stops at a batch whose checksum is wrong."""
    link, offset, out = probe.Connection('127.0.0.1', port, 20), 0, []
    while True:
        body = codec.body('Fetch', 11, {'ReplicaId': -1, 'MaxWaitMs': 200, 'MinBytes': 1, 'Topics': [{'Topic': TOPIC, 'Partitions': [
            {'Partition': 0, 'FetchOffset': offset, 'PartitionMaxBytes': 1 << 20}]}]})
        answer = codec.response('Fetch', 11, bytes(4) + link.call(1, 11, body))['Responses'][0]['Partitions'][0]
        if answer['ErrorCode']:
            return out, f'error {answer["ErrorCode"]}'
        data = answer['Records'] or b''
        if offset >= answer['HighWatermark']:
            return out, ''
        while len(data) >= 61 and len(data) >= 12 + struct.unpack('>i', data[8:12])[0]:
            size = 12 + struct.unpack('>i', data[8:12])[0]
            if probe.crc32c(data[21:size]) != struct.unpack('>I', data[17:21])[0]:
                return out, f'wrong checksum at {offset}'
            out.append((struct.unpack('>q', data[:8])[0], data[size - 1025:size - 1]))
            offset, data = struct.unpack('>q', data[:8])[0] + 1, data[size:]


def start(kind, port, directory):
    """(outcome, records): what the broker does with the directory."""
    node = brokers.Broker(kind, port, directory=directory)
    try:
        node.start(90)
    except RuntimeError:
        lines = [line for line in node.log_tail().splitlines() if 'ERROR' in line or 'error' in line or line.startswith('odradek: ')]
        return f'refuses: {lines[-1][:150] if lines else "without a line"}', None
    try:
        deadline = time.time() + 30
        while True:
            got, note = read(port)
            if not note.startswith('error') or time.time() > deadline:
                break
            time.sleep(0.5)
        code, base = probe.produce_batch(probe.Connection('127.0.0.1', port, 20), TOPIC, 0, batch(RECORDS))
        return f'serves {len(got)}{", " + note if note else ""}; the next record: error {code}, offset {base}', got
    except OSError as problem:
        return f'ends: {problem}', None
    finally:
        node.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--port', type=int, default=21500)
    parser.add_argument('--cases', type=int, default=len(CASES))
    args = parser.parse_args()
    work = tempfile.mkdtemp(prefix='odradek-damage-')
    killed, stopped = os.path.join(work, 'killed'), os.path.join(work, 'stopped')
    # The recovery points must be on disk by the time of the kill, or their file could not be damaged.
    node = brokers.Broker('odradek', args.port, directory=killed, properties=['log.flush.offset.checkpoint.interval.ms=1000']).start()
    link = probe.Connection('127.0.0.1', args.port)
    created = probe.create_topic(link, TOPIC)
    assert created == 0, f'create_topic: {created}'
    for n in range(RECORDS):
        while probe.produce_batch(link, TOPIC, 0, batch(n)) != (0, n):
            time.sleep(0.05)
    time.sleep(6)                  # checkpoints of high watermarks are written every five seconds
    node.kill()
    shutil.copytree(killed, stopped)
    brokers.Broker('odradek', args.port, directory=stopped).start().stop()
    passed = 0
    for number, (name, damage) in enumerate(CASES[:args.cases]):
        outcomes = {}
        for kind in brokers.KINDS:
            directory = os.path.join(work, f'{number}-{kind}')
            shutil.copytree(stopped if 'index' in name else killed, directory)
            damage(os.path.join(directory, 'logs'))
            outcomes[kind] = start(kind, args.port, directory)
            shutil.rmtree(directory)
        ours = outcomes['odradek']
        right = ours[1] is None or ours[1] == [(n, value(n)) for n in range(len(ours[1]))]
        right = right and (ours[1] is not None or 'without a line' not in ours[0])
        passed += right
        print(f'{"ok  " if right else "FAIL"} {name}\n     odradek {ours[0]}\n     apache  {outcomes["apache"][0]}', flush=True)
    shutil.rmtree(work)
    print(f'{passed} passed, {args.cases - passed} failed')
    return 0 if passed == args.cases else 1


if __name__ == '__main__':
    sys.exit(main())
