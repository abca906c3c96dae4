#!/usr/bin/env python3
"""Runs the steps of scripts/test.sh, prints a line for each and at the end `N passed, N failed`.

A step is a command; its exit code decides. Cases are counted from its output where it tells them (GoogleTest, or a last
line `N passed, N failed`); otherwise the step is one case. A step that counts no case fails: a suite that ran nothing
must not look green.
"""
import json
import os
import re
import signal
import subprocess
import sys
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..'))
LOGS = os.path.join(ROOT, 'build', 'test-logs')

GTEST_PASSED = re.compile(r'^\[  PASSED  \] (\d+) tests?\.', re.M)
GTEST_FAILED = re.compile(r'^ ?(\d+) FAILED TESTS?', re.M)
PLAIN = re.compile(r'^(\d+) passed, (\d+) failed', re.M)


def ctest_programs(preset):
    """(name, argv) of every program that CMake registered."""
    out = subprocess.run(['ctest', '--test-dir', f'build/{preset}', '--show-only=json-v1'], cwd=ROOT,
                         capture_output=True, text=True, check=True).stdout
    tests = json.loads(out)['tests']
    if not tests:
        sys.exit(f'build/{preset} has no tests')
    for test in tests:
        if 'command' not in test:
            sys.exit(f'build/{preset}: test {test["name"]} was not built')
        yield test['name'], test['command']


class Building:
    """A preset that is built meanwhile, when nobody else wants the processor."""

    def __init__(self, preset):
        self.command = ['bash', '-c', f'. scripts/lib.sh && build {preset}']
        self.process = subprocess.Popen(['chrt', '-i', '0', *self.command], cwd=ROOT, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True)

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
            self.process.wait()

    def rest(self):
        """The command that builds what is left, and tells what is wrong."""
        self.stop()
        return self.command


def steps(mode):
    if mode == 'tsan':
        for name, argv in ctest_programs('tsan'):
            yield f'tsan/{name}', argv, 1800
        return
    yield 'house', [sys.executable, 'tests/house/house.py'], 120
    for name, argv in ctest_programs('release'):
        yield f'release/{name}', argv, 600
    if mode == 'quick':
        return
    building = Building('asan')
    try:
        # These wait most of their time, for sessions and delays.
        yield 'compat', ['bash', 'tests/compat/run.sh'], 1500
        yield 'groups', ['bash', 'tests/groups/run.sh'], 900
        yield 'groups, new protocol', ['bash', 'tests/groups/run.sh', 'consumer_protocol'], 900
        yield 'clients of transactions', ['bash', 'tests/txn/clients.sh'], 600
        yield 'scripted groups', [sys.executable, '-B', 'tests/groups/scripted.py'], 600
        yield 'explain', ['bash', 'tests/groups/run.sh', 'explain'], 300
        yield 'consistency', ['bash', 'tests/consistency/run.sh'], 400
        yield 'build asan', building.rest(), 3600
    finally:
        building.stop()
    for name, argv in ctest_programs('asan'):
        yield f'asan/{name}', argv, 900
    yield 'fuzz', [sys.executable, '-B', 'tests/fuzz/run.py', '--seconds', '15', '--jobs', '4'], 600
    yield 'consistency checker', [sys.executable, '-B', 'tests/consistency/checker_test.py'], 60
    yield 'transactions', [sys.executable, '-B', 'tests/txn/scripted.py'], 400
    yield 'bad input', [sys.executable, '-B', 'tests/bad_input/bad_input.py'], 300
    yield 'cli', ['bash', 'tests/cli/run.sh'], 300
    yield 'counts', ['bash', 'bench/counts.sh'], 240
    yield 'dirs', ['bash', 'tests/dirs/run.sh'], 300
    yield 'crash', ['bash', 'tests/crash/run.sh', '--rounds', '3'], 600
    # Last: thousands of removed files keep ext4's journal busy for minutes.
    yield 'partitions', ['bash', 'tests/partitions/run.sh'], 300


def count(output, ok):
    """(passed, failed) as the step's output tells them."""
    passed = sum(int(n) for n in GTEST_PASSED.findall(output))
    failed = sum(int(n) for n in GTEST_FAILED.findall(output))
    plain = PLAIN.findall(output)
    if plain:
        passed += int(plain[-1][0])
        failed += int(plain[-1][1])
    if passed + failed == 0 and 'Running main() from' not in output and ok:
        passed = 1
    if (not ok or passed + failed == 0) and failed == 0:
        failed = 1
    return passed, failed


def run(name, argv, limit):
    log = os.path.join(LOGS, name.replace('/', '_') + '.log')
    env = dict(os.environ, ASAN_OPTIONS='detect_leaks=1:abort_on_error=0', UBSAN_OPTIONS='print_stacktrace=1',
               LSAN_OPTIONS='suppressions=tests/lsan.supp:print_suppressions=0',
               TSAN_OPTIONS='halt_on_error=1:second_deadlock_stack=1')
    started = time.monotonic()
    with open(log, 'w', encoding='utf-8') as out:
        try:
            code = subprocess.run(argv, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, timeout=limit, env=env).returncode
        except subprocess.TimeoutExpired:
            out.write(f'\ntimed out after {limit} s\n')
            code = -1
    with open(log, encoding='utf-8', errors='replace') as f:
        output = f.read()
    passed, failed = count(output, code == 0)
    took = time.monotonic() - started
    print(f'{"ok  " if failed == 0 else "FAIL"} {name}: {passed} passed, {failed} failed ({took:.1f} s)', flush=True)
    if failed:
        print('\n'.join('    ' + line for line in output.splitlines()[-40:]), flush=True)
    return passed, failed


def main():
    os.makedirs(LOGS, exist_ok=True)
    passed = failed = 0
    for name, argv, limit in steps(sys.argv[1] if len(sys.argv) > 1 else 'all'):
        p, f = run(name, argv, limit)
        passed += p
        failed += f
    print(f'{passed} passed, {failed} failed')
    return 1 if failed or passed == 0 else 0


if __name__ == '__main__':
    sys.exit(main())
