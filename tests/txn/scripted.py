#!/usr/bin/env python3
"""Scripted transactions, byte by byte: what a broker answers and what it stores, compared with what Apache Kafka 4.3.1 did.

    scripted.py [SCRIPT...]                        Odradek against expected.txt
    scripted.py --broker apache                    Apache against expected.txt: is the file still true?
    scripted.py --broker apache --record           makes expected.txt anew

A script (scripts.py) sends requests of chosen versions, good, late and wrong ones, and notes the answers and the records in
`__transaction_state`, `__consumer_offsets` and its topics; ids, epochs of coordinators and times are replaced, `~` is the script's name (world.py). Scripts run on
clusters of transaction.version 2, 1 and 0, clients of three ages on each. Where Odradek is meant to differ, differences.txt
has the line, ours, and why. `--list` names the scripts, `--verbose` prints their traces. The last line is `N passed, N failed`.
"""
import argparse
import difflib
import os
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '..', 'tools')]

import broker as brokers
import scripts
import world

EXPECTED = os.path.join(HERE, 'expected.txt')
DIFFERENCES = os.path.join(HERE, 'differences.txt')
SETTINGS = {
    'auto.create.topics.enable': 'false',
    'offsets.topic.num.partitions': '2',
    'transaction.state.log.num.partitions': '2',
    'transaction.abort.timed.out.transaction.cleanup.interval.ms': '300',
    # Nothing here is about the disk, and epochs are used up by the thousand.
    'log.flush.interval.messages': '9223372036854775807',
    # A broker that was killed comes back sooner.
    'broker.session.timeout.ms': '1500',
    'broker.heartbeat.interval.ms': '300',
}
CLUSTERS = {
    'tv2': ({}, {}),
    'tv1': ({}, {'transaction.version': 1}),
    'tv0': ({}, {'transaction.version': 0}),
    'restarting': ({}, {}),
    'expiring': ({'transactional.id.expiration.ms': '1500', 'producer.id.expiration.ms': '600000',
                  'transaction.remove.expired.transaction.cleanup.interval.ms': '300'}, {}),
}


class World(world.World):
    def restart(self, kill):
        """The broker again, on the same directory; when it answers, its coordinators have loaded."""
        self.forget_links()
        if kill:
            self.broker.kill()
        else:
            self.broker.stop()
        self.broker.start()
        warm(self.broker)

    def state_tail(self, transactional_id, count):
        self.state(transactional_id)
        at = max(n for n, line in enumerate(self.lines) if line.startswith(world.STATE_TOPIC))
        self.lines[at + 1:] = self.lines[at + 1:][-count:]


def warm(broker):
    """Makes the internal topics, and waits until every coordinator answers."""
    w = world.World(broker, 'warm')
    t = w.topic(f'warm-{time.time_ns()}', 8)
    for n in range(8):
        for kind in (0, 1):
            w.ask('FindCoordinator', 3, {'Key': f'warm-{n}', 'KeyType': kind}, lambda a: a['ErrorCode'])
        w.fetch_offsets(f'warm-{n}', 'none')
        # Apache's broker asks its own coordinators over the network, and refuses while it connects.
        p = world.Producer(f'warm-{n}', world.TV1)
        w.init(p)
        w.add(p, t, [n])
        w.add_offsets(p, f'warm-{n}')
        end = time.time() + world.PATIENCE_S
        w.produce(p, t, n, sequence=0)
        while not w.lines[-1].endswith(' -> NONE 0'):
            if time.time() > end:
                raise TimeoutError(w.lines[-1])
            time.sleep(0.02)
            w.produce(p, t, n, sequence=0)
        w.commit_offsets(p, f'warm-{n}', t, {n: 0})
        while not w.lines[-1].endswith(' -> NONE'):
            if time.time() > end:
                raise TimeoutError(w.lines[-1])
            time.sleep(0.02)
            w.commit_offsets(p, f'warm-{n}', t, {n: 0})
        w.end(p)
    w.forget_links()


def read_sections(path):
    """{name: [line]} of `== name` sections."""
    found, current = {}, None
    if os.path.exists(path):
        with open(path, encoding='utf-8') as f:
            for line in f.read().splitlines():
                if line.startswith('== '):
                    current = found.setdefault(line[3:], [])
                elif line and current is not None and not line.startswith('# '):
                    current.append(line)
    return found


def differences():
    """{script: {Apache's line: ours}}."""
    found = {}
    for name, lines in read_sections(DIFFERENCES).items():
        assert len(lines) % 2 == 0 and all(a[0] == '-' and b[0] == '+' for a, b in zip(lines[::2], lines[1::2])), name
        found[name] = {a[1:]: b[1:] for a, b in zip(lines[::2], lines[1::2])}
    return found


def run(broker, name, function):
    """The trace of one script; an exception is its last line."""
    w = World(broker, name)
    try:
        function(w)
    except Exception as problem:  # a script that cannot go on is a difference, and the others still run
        if os.environ.get('VERBOSE'):
            traceback.print_exc()
        w.note(f'!! {type(problem).__name__}: {problem}')
    w.forget_links()
    return [line.replace(name, '~') for line in w.lines]


def compare(name, want, got, meant, verbose):
    """Prints what differs, but for what is meant to; whether nothing did."""
    want = [meant.get(line, line) for line in want]
    want = [line for line in want if line != '']
    if want == got:
        return True
    shown = difflib.unified_diff(want, got, 'Apache Kafka', 'this broker', lineterm='', n=40 if verbose else 1)
    print('\n'.join('    ' + line for line in list(shown)[:400 if verbose else 40]), flush=True)
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--broker', choices=brokers.KINDS, default='odradek')
    parser.add_argument('--port', type=int, default=21600)
    parser.add_argument('--cluster', choices=CLUSTERS, action='append')
    parser.add_argument('--record', action='store_true')
    parser.add_argument('--list', action='store_true')
    parser.add_argument('--verbose', action='store_true')
    parser.add_argument('scripts', nargs='*')
    args = parser.parse_args()
    wanted = [s for s in scripts.SCRIPTS if not args.scripts or s[0] in args.scripts]
    if not wanted:
        sys.exit('no such script; --list names them')
    if args.list:
        for name, clusters, _ in wanted:
            print(f'{name}: {", ".join(clusters)}')
        return 0
    expected, meant, recorded = read_sections(EXPECTED), differences() if args.broker == 'odradek' else {}, {}
    passed = failed = 0
    for number, (cluster, (settings, levels)) in enumerate(CLUSTERS.items()):
        here = [(f'{cluster}/{s[0]}', s[2]) for s in wanted if cluster in s[1]]
        if not here or (args.cluster and cluster not in args.cluster):
            continue
        broker = brokers.Broker(args.broker, args.port + 2 * number, properties={**SETTINGS, **settings}, features=levels)
        with broker:
            warm(broker)
            for name, function in here:
                began = time.time()
                lines = run(broker, name.split('/')[1], function)
                # Apache alone on its node, killed with a transaction to complete, forgets the marker in some of its starts.
                for again in range(2, 8 if cluster == 'restarting' and args.broker == 'apache' else 0):
                    if not lines[-1].startswith('!!'):
                        break
                    lines = run(broker, f'{name.split("/")[1]}.{again}', function)
                recorded[name] = lines
                if args.verbose:
                    print(f'== {name}\n' + '\n'.join(lines), flush=True)
                broken = bool(lines) and lines[-1].startswith('!!')
                good = not broken if args.record else compare(name, expected.get(name, []), lines, meant.get(name, {}), args.verbose)
                if broken and args.record:
                    print(f'    {lines[-1]}')
                passed, failed = passed + good, failed + (not good)
                print(f'{"PASS" if good else "FAIL"} {name} ({time.time() - began:.1f} s)', flush=True)
    if args.record and not failed:
        kept = {**expected, **recorded} if args.scripts or args.cluster else recorded
        with open(EXPECTED, 'w', encoding='utf-8') as f:
            f.write('# What Apache Kafka 4.3.1 answered and stored; made by scripted.py --broker apache --record.\n')
            for name, lines in kept.items():
                f.write(f'== {name}\n' + ''.join(line + '\n' for line in lines))
    print(f'{passed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
