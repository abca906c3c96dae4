#!/usr/bin/env python3
"""transactions.py BUILD [--seeds N] [--seed S] [--jobs J] [--keep DIR]: transactions in the simulator (odradek_sim --scenario
transactions), each seed's history judged by tests/consistency/checker.py.

Runs N seeds (20) from S on, in batches, and deletes the histories in which nothing is wrong. Prints what is wrong with the
others and how to replay them, the totals, and at the end `N passed, N failed`.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'consistency'))
import checker  # noqa: E402

BATCH = 25                      # seeds of one run of the simulator
TOTAL = re.compile(r'(\d+)(?: of them| transactions| values)? ([a-z]+)')        # of the simulator's last line but one


def judge(path, final):
    """What is wrong with a history, in a line; empty: nothing."""
    with open(path, encoding='utf-8') as f:
        found = checker.check([json.loads(line) for line in f], final)
    return '; '.join(f'{name}: {what[0]}' + (f' and {len(what) - 1} more' if len(what) > 1 else '') for name, what in found.items())


def run(program, first, count, keep=None):
    """({seed: what is wrong}, totals) of a batch; the histories of failing seeds stay in `keep`."""
    with tempfile.TemporaryDirectory(prefix='odradek-histories-') as histories:
        out = subprocess.run([program, '--scenario', 'transactions', '--seed', str(first), '--seeds', str(count), '--jobs', '1',
                              '--histories', histories], capture_output=True, text=True, errors='replace').stdout
        failed = {int(seed): what for seed, what in re.findall(r'^seed (\d+): (.*?) \(trace', out, re.M)}
        wrong = {}
        for seed in range(first, first + count):
            path = os.path.join(histories, f'{seed}.jsonl')
            if not os.path.exists(path):
                wrong[seed] = failed.get(seed, 'the simulator crashed in this seed or one before it')
                continue
            # A run that failed has ended before the last reading.
            what = [text for text in (failed.get(seed), judge(path, final=seed not in failed)) if text]
            if what:
                wrong[seed] = '; '.join(what)
                if keep:
                    shutil.copy(path, keep)
    totals = collections.Counter()
    last = re.search(r'^(\d+ operations .*)$', out, re.M)
    for n, what in TOTAL.findall(last[1] if last else ''):
        totals[what] += int(n)
    return wrong, totals


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument('build')
    args.add_argument('--seeds', type=int, default=20)
    args.add_argument('--seed', type=int, default=1)
    args.add_argument('--jobs', type=int, default=os.cpu_count())
    args.add_argument('--keep', default='/tmp/odradek-histories', help='where histories with something wrong stay')
    args = args.parse_args()
    program = os.path.join(args.build, 'tests/sim/odradek_sim')
    os.makedirs(args.keep, exist_ok=True)
    end, totals, failed, done = args.seed + args.seeds, collections.Counter(), 0, 0
    size = max(1, min(BATCH, -(-args.seeds // args.jobs)))
    with concurrent.futures.ProcessPoolExecutor(args.jobs) as pool:
        batches = [pool.submit(run, program, first, min(size, end - first), args.keep) for first in range(args.seed, end, size)]
        for batch in concurrent.futures.as_completed(batches):
            wrong, counts = batch.result()
            for seed, what in sorted(wrong.items()):
                print(f'seed {seed}: {what}\n  replay: {program} --scenario transactions --seed {seed} --seeds 1 --verbose; '
                      f'history: {args.keep}/{seed}.jsonl', flush=True)
            totals.update(counts)
            failed += len(wrong)
            done += 1
            if done % 40 == 0:
                print(f'{done} of {len(batches)} batches, {failed} seeds failed', flush=True)
    print(', '.join(f'{n} {what}' for what, n in totals.items()))
    print(f'{args.seeds - failed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
