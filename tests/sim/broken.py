#!/usr/bin/env python3
"""broken.py BUILD [--seeds N] [NAME...]: every node that was broken on purpose (tests/sim/broken) must be caught by the
simulator within N seeds (200), and by the rule that is meant to catch it. Prints the seed that did."""
import argparse
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import break_rules  # noqa: E402
import transactions  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))


def run_groups(program, seeds):
    """(the first seed in which something is wrong, what it is), or None."""
    out = subprocess.run([program, '--scenario', 'groups', '--seeds', str(seeds), '--jobs', '1', '--stop'],
                         capture_output=True, text=True, errors='replace').stdout
    caught = re.search(r'^seed (\d+): (.*?) \(trace', out, re.M)
    return caught and caught.groups()


def run_transactions(program, seeds):
    """The same, with the histories judged."""
    for first in range(1, seeds + 1, transactions.BATCH):
        wrong, _ = transactions.run(program, first, min(transactions.BATCH, seeds + 1 - first))
        if wrong:
            return min(wrong.items())
    return None


def check(build, name, seeds):
    fields = break_rules.parse(os.path.join(HERE, 'broken', name + '.txt'))[0]
    program = os.path.join(build, 'tests/sim', 'odradek_sim_' + name)
    caught = {'groups': run_groups, 'transactions': run_transactions}[fields.get('scenario', 'groups')](program, seeds)
    if not caught:
        print(f'{name}: NOT caught within {seeds} seeds')
        return False
    seed, what = caught
    right = re.search(fields['caught by'], what) is not None
    print(f"{name}: {'caught' if right else 'caught by ANOTHER rule'} with seed {seed}: {what}")
    return right


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument('build')
    args.add_argument('--seeds', type=int, default=200)
    args.add_argument('names', nargs='*')
    args = args.parse_args()
    names = args.names or sorted(f[:-4] for f in os.listdir(os.path.join(HERE, 'broken')))
    results = [check(args.build, name, args.seeds) for name in names]
    print(f'{sum(results)} of {len(results)} caught')
    return 0 if all(results) else 1


if __name__ == '__main__':
    sys.exit(main())
