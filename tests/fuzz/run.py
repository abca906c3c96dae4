#!/usr/bin/env python3
"""Runs the fuzzers on their corpora (tests/fuzz/corpus) and prints a line for each.

    tests/fuzz/run.py [--preset asan] [--seconds 30] [--jobs 2] [TARGET...]

--preset says whose programs: `fuzz` for a long search, `asan` for the half minute of scripts/test.sh. What a fuzzer finds
new lies in build/PRESET/fuzz-new/TARGET and is used by the next run; an input that it trips over in
build/PRESET/fuzz-findings. The last line is `N passed, N failed`.
"""
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
CORPUS = os.path.join(ROOT, 'tests', 'fuzz', 'corpus')
EXECUTED = re.compile(r'stat::number_of_executed_units: *(\d+)')
COVERED = re.compile(r'cov: (\d+)')
LENGTH_MAX = 8192


def run(target, args):
    program = os.path.join(ROOT, 'build', args.preset, 'tests', 'fuzz', 'fuzz_' + target)
    new = os.path.join(ROOT, 'build', args.preset, 'fuzz-new', target)
    findings = os.path.join(ROOT, 'build', args.preset, 'fuzz-findings')
    os.makedirs(new, exist_ok=True)
    os.makedirs(findings, exist_ok=True)
    command = [program, f'-max_total_time={args.seconds}', '-print_final_stats=1', '-timeout=120', '-rss_limit_mb=2048',
               f'-max_len={LENGTH_MAX}', '-verbosity=1', f'-artifact_prefix={findings}/{target}-', new,
               os.path.join(CORPUS, target)]
    started = time.monotonic()
    env = dict(os.environ, UBSAN_OPTIONS='print_stacktrace=1')
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, errors='replace')
    took = time.monotonic() - started
    executed = EXECUTED.search(done.stderr)
    covered = COVERED.findall(done.stderr)
    ok = done.returncode == 0 and executed is not None and int(executed[1]) > 0
    print(f'{"ok  " if ok else "FAIL"} fuzz_{target}: {executed[1] if executed else 0} executions in {took:.0f} s, '
          f'coverage {covered[-1] if covered else "?"}', flush=True)
    if not ok:
        print('\n'.join('    ' + line for line in done.stderr.splitlines()[-60:]), flush=True)
    return ok


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--preset', default='asan')
    parser.add_argument('--seconds', type=int, default=30)
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument('targets', nargs='*', default=sorted(os.listdir(CORPUS)))
    args = parser.parse_args()
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        outcomes = list(pool.map(lambda target: run(target, args), args.targets))
    print(f'{outcomes.count(True)} passed, {outcomes.count(False)} failed')
    return 0 if all(outcomes) else 1


if __name__ == '__main__':
    sys.exit(main())
