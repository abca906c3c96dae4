"""The small frame of the Python suites: cases, their names, and one line of outcome each.

A suite prints `PASS name`, `FAIL name: why` or `SKIP name: why` for each case; run.py counts these lines, whatever
language the suite is written in. The broker under test is named by the environment: BROKER, BROKER_KIND.
"""
import os
import sys
import time
import traceback
import uuid

BROKER = os.environ.get('BROKER', '127.0.0.1:9092')
IS_APACHE = os.environ.get('BROKER_KIND', 'odradek') == 'apache'
CODECS = ('none', 'gzip', 'snappy', 'lz4', 'zstd')
LARGE = 10 * 1024 * 1024
LARGE_LIMIT = LARGE + 1024 * 1024

_cases = []


def case(function):
    """Registers a case; its name is the function's."""
    _cases.append(function)
    return function


def topic_name(stem):
    return f'{stem}-{uuid.uuid4().hex[:10]}'


def large_value(size=LARGE):
    """Bytes that no codec shrinks to nothing and that show where a piece went missing."""
    block = b''.join(i.to_bytes(4, 'big') for i in range(1024))
    return (block * (size // len(block) + 1))[:size]


def equal(got, want, what=''):
    if got != want:
        shown = [repr(x) if len(repr(x)) < 600 else repr(x)[:600] + '…' for x in (got, want)]
        raise AssertionError(f'{what}: got {shown[0]}, want {shown[1]}')


def true(condition, what):
    if not condition:
        raise AssertionError(what)


def eventually(check, what, timeout_s=10.0):
    """Repeats `check` until it returns something true; returns that."""
    end = time.time() + timeout_s
    while True:
        value = check()
        if value:
            return value
        if time.time() > end:
            raise AssertionError(f'not within {timeout_s} s: {what}')
        time.sleep(0.05)


def raises(kind, function, *args, **kwargs):
    """Calls and returns the exception of type `kind` that must come."""
    try:
        value = function(*args, **kwargs)
    except kind as problem:
        return problem
    raise AssertionError(f'no {kind} raised; the answer was {value!r}')


def main():
    """Runs the cases named on the command line, or all."""
    wanted, failed = sys.argv[1:], 0
    for function in _cases:
        if wanted and function.__name__ not in wanted:
            continue
        began = time.time()
        try:
            function()
            print(f'PASS {function.__name__} ({time.time() - began:.1f} s)', flush=True)
        except Exception as problem:  # a case may fail in any way; all are reported alike
            failed += 1
            if os.environ.get('VERBOSE'):
                traceback.print_exc()
            reason = ' '.join(f'{type(problem).__name__}: {problem}'.split())
            print(f'FAIL {function.__name__}: {reason}', flush=True)
    sys.exit(1 if failed else 0)
