#!/usr/bin/env python3
"""Real clients against a running broker.

    run.py [--broker odradek|apache] [--port N] [--list] [SUITE[:CASE]...]

Installs what the suites need under build/tests, starts one broker, runs every suite against it, and ends with the
line `N passed, N failed`. A suite is a program that prints `PASS name`, `FAIL name: why` or `SKIP name: why`.
"""
import argparse
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'tools'))

import broker as brokers
import python_clients

SUITE_TIMEOUT_S = 300


def stale(target, *sources):
    return not os.path.exists(target) or any(os.path.getmtime(s) > os.path.getmtime(target) for s in sources)


def python_suite(name):
    return lambda: [python_clients.python(), os.path.join(HERE, name, 'suite.py')]


def go_suite(name):
    """None if the machine's Go is older than what the suite's library wants."""
    def prepare():
        source, target = os.path.join(HERE, name), os.path.join(brokers.BUILD, name)
        files = [os.path.join(source, f) for f in ('main.go', 'go.mod', 'go.sum')]
        with open(files[1], encoding='utf-8') as f:
            wanted = re.search(r'^go (\d+)\.(\d+)', f.read(), re.M)
        there = re.search(r'go(\d+)\.(\d+)', subprocess.run(['go', 'version'], capture_output=True, text=True, check=True).stdout)
        if tuple(map(int, there.groups())) < tuple(map(int, wanted.groups())):
            return None
        if stale(target, *files):
            os.makedirs(brokers.BUILD, exist_ok=True)
            subprocess.run(['go', 'build', '-o', target, '.'], cwd=source, check=True)
        return [target]
    return prepare


def java_suite(version):
    def prepare():
        where = os.path.join(brokers.BUILD, 'clients-' + version)
        install = os.path.join(HERE, '..', 'tools', 'apache', 'install.sh')
        subprocess.run([install, where, version, 'clients-pom.xml'], check=True)
        source, classes = os.path.join(HERE, 'java', 'CompatSuite.java'), os.path.join(where, 'classes')
        if stale(os.path.join(classes, 'CompatSuite.class'), source):
            subprocess.run(['javac', '-cp', f'{where}/libs/*', '-d', classes, source], check=True)
        return ['java', '-Xmx512m', '-cp', f'{classes}:{where}/libs/*', 'CompatSuite']
    return prepare


SUITES = {
    'kafka-python': python_suite('kafka_python'),
    'librdkafka': python_suite('librdkafka'),
    'kcat': python_suite('kcat'),
    'kafka-go': go_suite('kafka_go'),
    'franz-go': go_suite('franz_go'),
    'java-4.3.1': java_suite('4.3.1'),
    'java-4.4.0': java_suite('4.4.0'),
}


class Tally:
    def __init__(self):
        self.passed = self.skipped = 0
        self.failures = []

    def line(self, suite, text):
        if text.startswith('PASS '):
            self.passed += 1
        elif text.startswith('SKIP '):
            self.skipped += 1
        elif text.startswith('FAIL '):
            self.failures.append(f'{suite}: {text[5:]}')


def run_suite(name, command, cases, broker, tally):
    """Runs one suite, echoes its outcomes, and counts. Whatever else it prints goes to a file under build/tests."""
    log_file = os.path.join(brokers.BUILD, f'compat-{broker.kind}-{name}.log')
    print(f'== {name} ({broker.kind})', flush=True)
    outcomes = 0
    with open(log_file, 'w', encoding='utf-8') as log:
        child = subprocess.Popen([*command, *cases], env=broker.environment(), stdout=subprocess.PIPE, stderr=log,
                                 stdin=subprocess.DEVNULL, text=True)
        end = time.time() + SUITE_TIMEOUT_S
        for line in child.stdout:
            if line.split(' ')[0] in ('PASS', 'FAIL', 'SKIP'):
                outcomes += 1
                tally.line(name, line.rstrip())
                print('   ' + line.rstrip(), flush=True)
            else:
                log.write(line)
            if time.time() > end:
                child.kill()
                tally.failures.append(f'{name}: took more than {SUITE_TIMEOUT_S} s')
        code = child.wait()
    if outcomes == 0 or code not in (0, 1):
        tally.failures.append(f'{name}: ended with {code} after {outcomes} cases; see {log_file}')
    if not broker.alive():
        tally.failures.append(f'{name}: the broker died; the end of its log:\n{broker.log_tail(1500)}')
        broker.start()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--broker', choices=brokers.KINDS, default='odradek')
    parser.add_argument('--port', type=int, default=21000)
    parser.add_argument('--list', action='store_true')
    parser.add_argument('suites', nargs='*', metavar='SUITE[:CASE]')
    args = parser.parse_args()
    if args.list:
        print('\n'.join(SUITES))
        return 0
    chosen = {}
    for text in args.suites or SUITES:
        name, _, one = text.partition(':')
        if name not in SUITES:
            parser.error(f'no suite {name}; there are {", ".join(SUITES)}')
        chosen.setdefault(name, [])
        chosen[name] += [one] if one else []
    commands = {name: SUITES[name]() for name in chosen}
    tally = Tally()
    with brokers.Broker(args.broker, args.port) as broker:
        for name, cases in chosen.items():
            if commands[name] is None:
                tally.line(name, 'SKIP all: Go is too old')
                print(f'== {name}: skipped, Go is too old', flush=True)
            else:
                run_suite(name, commands[name], cases, broker, tally)
        code = broker.stop()
        if args.broker == 'odradek' and code != 0:
            tally.failures.append(f'the broker ended with {code} at SIGTERM')
    for failure in tally.failures:
        print('failed: ' + failure)
    skipped = f', {tally.skipped} skipped' if tally.skipped else ''
    print(f'{tally.passed} passed, {len(tally.failures)} failed{skipped}')
    return 1 if tally.failures else 0


if __name__ == '__main__':
    sys.exit(main())
