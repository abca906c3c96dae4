#!/usr/bin/env python3
"""Members of groups that follow a script, request by request, on Odradek and on Apache Kafka 4.3.1.

    scripted.py [SCRIPT]...                       Odradek against what Apache answered (scripted.txt)
    scripted.py --broker apache [SCRIPT]...       Apache against it: is the file still true?
    scripted.py --broker apache --record          makes scripted.txt anew
    scripted.py --show [SCRIPT]...                prints what happens

A script is a function of classic_scripts.py or consumer_scripts.py; SCRIPT is its name, a pattern, or its file's. It is told as lines: every answer field by field (ids that
the broker makes and times have names instead), and at its end the records that its group left in __consumer_offsets, in order.
Where Odradek is meant to differ, scripted_differences.txt has the line of both, and why.
Each script has a group of its own, so many run at a time. Prints `PASS script` or `FAIL script` with the difference; the
last line is `N passed, N failed`.
"""
import argparse
import concurrent.futures
import difflib
import fnmatch
import os
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '..', 'tools'), os.path.join(HERE, '..', 'bad_input')]

import broker as brokers
import classic_scripts
import consumer_scripts
import members

EXPECTED = os.path.join(HERE, 'scripted.txt')
DIFFERENCES = os.path.join(HERE, 'scripted_differences.txt')
AT_ONCE = 6
TOPICS = {'t1': 1, 't3': 3, 't4': 4, 't7': 7, 'other': 2}
# Short times, so that a script need not wait long for them.
SETTINGS = {
    'offsets.topic.num.partitions': '1',
    'auto.create.topics.enable': 'false',
    'group.initial.rebalance.delay.ms': '600',
    'group.min.session.timeout.ms': '500',
    'group.max.session.timeout.ms': '60000',
    'group.max.size': '4',
    'group.consumer.max.size': '4',
    'group.consumer.min.heartbeat.interval.ms': '100',
    'group.consumer.heartbeat.interval.ms': '500',
    'group.consumer.min.session.timeout.ms': '500',
    'group.consumer.session.timeout.ms': '4000',
    'group.consumer.assignment.interval.ms': '0',
}


def scripts():
    """{name: function}, in the order of the files."""
    out = {}
    for module in (classic_scripts, consumer_scripts):
        for function in module.SCRIPTS:
            out[function.__name__] = function
    return out


def play(function, world):
    script = members.Script(world, function.__name__)
    try:
        function(script)
    except Exception:
        script.tell('broken off: ' + traceback.format_exc().strip().replace('\n', '\n    '))
    script.close()
    return script


def run(kind, port, chosen):
    """{script: its lines}. Scripts that need other settings have a broker with those."""
    told = {}
    kinds = {}
    for name, function in chosen.items():
        kinds.setdefault(tuple(sorted(getattr(function, 'settings', {}).items())), []).append(function)
    for settings, functions in kinds.items():
        with brokers.Broker(kind, port, properties=dict(SETTINGS, **dict(settings))) as broker:
            world = members.World(broker, TOPICS)
            with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
                played = list(pool.map(lambda f: play(f, world), functions))
            for script in played:
                told[script.name] = script.told()
            if not broker.alive():
                raise SystemExit('the broker is gone:\n' + broker.log_tail())
    return told


def sections(path):
    """{script: lines} of a file."""
    out, name = {}, None
    if os.path.exists(path):
        with open(path, encoding='utf-8') as f:
            for line in f.read().splitlines():
                if line.startswith('== '):
                    name = line[3:]
                    out[name] = []
                elif name and line:
                    out[name].append(line)
    return out


def meant_to_differ(expected):
    """What is expected of Odradek: Apache's lines, with those changed that differ on purpose; all, where none are named."""
    for name, lines in sections(DIFFERENCES).items():
        theirs = [line[2:] for line in lines if line.startswith('- ')]
        ours = [line[2:] for line in lines if line.startswith('+ ')]
        if not theirs:
            expected[name] = ours
            continue
        assert len(theirs) == len(ours), name
        for old, new in zip(theirs, ours):
            assert old in expected[name], f'{DIFFERENCES}: {name}: no longer what Apache does: {old}'
            last = max(i for i, line in enumerate(expected[name]) if line == old)
            expected[name][last] = new
    return expected


def write_expected(told):
    with open(EXPECTED, 'w', encoding='utf-8') as f:
        f.write('# What Apache Kafka 4.3.1 does with each script: scripted.py --broker apache --record\n')
        for name in scripts():
            if name in told:
                f.write(f'\n== {name}\n' + '\n'.join(told[name]) + '\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--broker', choices=brokers.KINDS, default='odradek')
    parser.add_argument('--port', type=int, default=21700)
    parser.add_argument('--record', action='store_true')
    parser.add_argument('--show', action='store_true')
    parser.add_argument('script', nargs='*')
    args = parser.parse_args()
    chosen = {n: f for n, f in scripts().items()
              if not args.script or any(fnmatch.fnmatchcase(x, s) for s in args.script for x in (n, f.__module__))}
    if not chosen:
        sys.exit(f'no such script; there are: {", ".join(scripts())}')
    began = time.monotonic()
    told = run(args.broker, args.port, chosen)
    expected = sections(EXPECTED)
    if args.broker == 'odradek':
        expected = meant_to_differ(expected)
    passed = failed = 0
    for name in chosen:
        if args.show:
            print(f'== {name}\n' + '\n'.join(told[name]) + '\n')
        if args.record:
            expected[name] = told[name]
        elif told[name] == expected.get(name):
            passed += 1
            print(f'PASS {name}')
        else:
            failed += 1
            print(f'FAIL {name}')
            for line in difflib.unified_diff(expected.get(name, []), told[name], 'Apache', args.broker, lineterm='', n=2):
                print('     ' + line)
    if args.record:
        write_expected(expected)
    print(f'{time.monotonic() - began:.0f} s', flush=True)
    print(f'{passed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
