#!/usr/bin/env python3
"""Cleans the same logs with Apache Kafka's cleaner and with ours, and compares what is left.

    tests/both_ways/compaction/run.py [--count 300] [--first 1] [--keep DIR]

Logs are written by chance (keys, tombstones, idempotent producers, transactions, codecs), one for each seed, and cleaned in
three rounds. Compared after each round: every batch that is left, with offsets, producer, sequence, delete horizon, and
records; and where the next cleaning begins. After the last, where nothing is compressed: the files, byte for byte.
Apache's DumpLogSegments reads a sample of ours.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, '..', '..', '..'))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'tools'))
import broker  # noqa: E402

FILES = ('.log', '.index', '.timeindex', '.txnindex')


def files(folder):
    """Segment files of a partition's folder: name to content."""
    out = {}
    for name in os.listdir(folder):
        if name.endswith(FILES):
            with open(os.path.join(folder, name), 'rb') as f:
                out[name] = f.read()
    last = max(n for n in out if n.endswith('.log'))[:20]
    # Apache keeps the indexes of the last segment open, at their full size.
    return {n: c for n, c in out.items() if n[:20] != last}


def compare(at):
    """What differs in one history, as text; None: nothing."""
    with open(os.path.join(at, 'plan'), encoding='utf-8') as f:
        lines = f.read().splitlines()
    for number in range(len(lines) - 1):
        with open(os.path.join(at, f'ours.{number}'), encoding='utf-8') as f:
            ours = f.read().splitlines()
        with open(os.path.join(at, f'apache.{number}'), encoding='utf-8') as f:
            apache = f.read().splitlines()
        if ours != apache:
            for mine, theirs in zip(ours + [''] * len(apache), apache + [''] * len(ours)):
                if mine != theirs:
                    return f'round {number}\n  ours   {mine}\n  apache {theirs}'
    ours, apache = files(os.path.join(at, 'ours', 't-0')), files(os.path.join(at, 'apache', 't-0'))
    if sorted(ours) != sorted(apache):
        return f'files\n  ours   {sorted(ours)}\n  apache {sorted(apache)}'
    if lines[0].endswith('plain'):
        for name in ours:
            if ours[name] != apache[name]:
                return f'content of {name}'
    return None


def dump(folder):
    """Apache's tool over our segments; its complaints."""
    logs = ','.join(os.path.join(folder, n) for n in sorted(os.listdir(folder)) if n.endswith('.log'))
    done = subprocess.run(broker.java('org.apache.kafka.tools.DumpLogSegments', '--deep-iteration', '--files', logs),
                          capture_output=True, text=True, check=False)
    text = done.stdout + done.stderr
    bad = [line for line in text.splitlines()
           if 'isvalid: false' in line or 'Found' in line or 'mismatch' in line.lower() or 'Exception' in line]
    return bad + ([] if done.returncode == 0 else [f'exit {done.returncode}'])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--count', type=int, default=300)
    parser.add_argument('--first', type=int, default=1)
    parser.add_argument('--keep', help='work here, and leave everything')
    options = parser.parse_args()
    binary = os.environ.get('CLEAN_HISTORIES') or os.path.join(
        ROOT, 'build', 'release', 'tests', 'both_ways', 'compaction', 'clean_histories')
    work = options.keep or tempfile.mkdtemp(prefix='odradek-compaction-')
    try:
        subprocess.run([binary, work, str(options.first), str(options.count)], check=True)
        java = broker.java(os.path.join(HERE, 'ApacheClean.java'), work, level='ERROR')
        with open(os.path.join(work, 'java.log'), 'wb') as log:
            if subprocess.run(java, stdout=log, stderr=log, check=False).returncode != 0:
                with open(log.name, encoding='utf-8') as f:
                    sys.exit(f.read()[-3000:])
        different = 0
        for seed in range(options.first, options.first + options.count):
            what = compare(os.path.join(work, str(seed)))
            if what:
                different += 1
                print(f'seed {seed}: {what}')
        complaints = []
        for seed in range(options.first, options.first + min(options.count, 5)):
            complaints += [f'seed {seed}: {c}' for c in dump(os.path.join(work, str(seed), 'ours', 't-0'))]
        for complaint in complaints:
            print(complaint)
        print(f'{options.count} histories, 3 rounds each: {different} differ; DumpLogSegments: '
              f'{len(complaints)} complaints')
        return 1 if different or complaints else 0
    finally:
        if not options.keep:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main())
