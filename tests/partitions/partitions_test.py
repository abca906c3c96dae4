#!/usr/bin/env python3
"""A node with many partitions: made, written to, read, started again after a clean stop and after kill -9.

The limits on times are generous: they catch what costs a disk access for each partition, on a busy machine. The last
case has as few descriptors as a container may have. The last line is `N passed, N failed`.
"""
import argparse
import atexit
import os
import re
import resource
import sys
import time
import traceback
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'tools'))

import broker as brokers
import probe
from many import create_topic, fetch_from_all, produce_to_all, until_serving

TOPIC = 'many'
LIMIT_S = 60


class Suite:
    def __init__(self, options):
        self.options, self.passed, self.failed = options, 0, 0

    def check(self, name, good, note=''):
        self.passed, self.failed = self.passed + bool(good), self.failed + (not good)
        print(f'{"PASS" if good else "FAIL"} {name} {note}', flush=True)

    def timed(self, name, began, limit_s):
        took = time.time() - began
        self.check(f'{name} within {limit_s} s', took < limit_s, f'({took:.2f} s)')


def new_broker(suite, properties):
    """Removed at the very end: what ext4 has just freed makes the next thousands of files slow to create."""
    broker = brokers.Broker('odradek', suite.options.port, properties=properties)
    atexit.register(broker.remove)
    return broker


def connect(broker):
    return probe.Connection(broker.host, broker.port, LIMIT_S)


def read_all(suite, broker, count, records, name):
    sizes = fetch_from_all(connect(broker), TOPIC, count)
    short = [p for p in range(count) if sizes.get(p, 0) < records * 61]
    suite.check(f'{name}: every partition has its {records} records', not short,
                f'{len(short)} have not, as {short[:3]}: {[sizes.get(p) for p in short[:3]]}' if short else '')


def start(suite, broker, count, name, limit_s):
    broker.spawn()
    until_serving(broker, TOPIC, count, broker.started_at, LIMIT_S)
    suite.timed(f'{name}: all serving', broker.started_at, limit_s)


def life(suite, count, properties, name):
    """Every stage of a node's life with `count` partitions; all records are there at every one."""
    broker = new_broker(suite, properties)
    try:
        broker.start()
        began = time.time()
        create_topic(broker, TOPIC, count)
        until_serving(broker, TOPIC, count, began, LIMIT_S)
        suite.timed(f'{name}: made', began, 10)
        began = time.time()
        suite.check(f'{name}: produce', produce_to_all(connect(broker), TOPIC, count, b'1') == {0})
        suite.timed(f'{name}: a synced record to each', began, 10)
        read_all(suite, broker, count, 1, name)
        began = time.time()
        code = broker.stop(LIMIT_S)
        suite.check(f'{name}: clean stop', code == 0, f'exit code {code}')
        suite.timed(f'{name}: stopped', began, 15)
        start(suite, broker, count, f'{name}, after a clean stop', 10)
        suite.check(f'{name}: produce', produce_to_all(connect(broker), TOPIC, count, b'2') == {0})
        broker.kill()
        start(suite, broker, count, f'{name}, after kill -9', 15)
        read_all(suite, broker, count, 2, f'{name}, after kill -9')
        time.sleep(1)       # the recovery points are written
        broker.kill()
        start(suite, broker, count, f'{name}, after a second kill -9', 15)
        read_all(suite, broker, count, 2, f'{name}, after a second kill -9')
        return broker.log_tail(1 << 20)
    finally:
        broker.kill()


def few_descriptors(suite, count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
    log = life(suite, count, (), f'{count} partitions, 1024 descriptors')
    suite.check('no descriptor was missing', not re.search('Too many open files', log))
    del soft, hard      # the hard limit cannot be raised again: this is the last case


def status_page(suite):
    """While logs are recovered the HTTP port tells how far that is."""
    port = suite.options.port
    broker = new_broker(suite, (f'odradek.http.listeners=127.0.0.1:{port + 2}', 'num.recovery.threads.per.data.dir=1'))
    try:
        broker.start()
        create_topic(broker, TOPIC, suite.options.partitions)
        until_serving(broker, TOPIC, suite.options.partitions, time.time(), LIMIT_S)
        produce_to_all(connect(broker), TOPIC, suite.options.partitions, b'1')
        broker.kill()
        broker.spawn()
        seen, end = set(), time.time() + LIMIT_S
        while time.time() < end and 'ready' not in seen:
            try:
                with urllib.request.urlopen(f'http://127.0.0.1:{port + 2}/healthz', timeout=5) as answer:
                    seen.add(answer.read().decode().strip())
            except urllib.error.HTTPError as answer:
                seen.add(answer.read().decode().strip())
            except OSError:
                pass
        suite.check('health tells of the recovery', any(re.fullmatch(r'recovering \d+/\d+ logs', s) for s in seen),
                    ', '.join(sorted(seen)[:8]))
        with urllib.request.urlopen(f'http://127.0.0.1:{port + 2}/metrics', timeout=5) as answer:
            text = answer.read().decode()
        suite.check('metrics: nothing remains', re.search(r'odradek_recovery_remaining_logs\{dir="[^"]+"\} 0\n', text))
    finally:
        broker.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--partitions', type=int, default=1000)
    parser.add_argument('--port', type=int, default=21500)
    suite = Suite(parser.parse_args())
    count = suite.options.partitions
    for case in (lambda: life(suite, count, (), f'{count} partitions'), lambda: status_page(suite),
                 lambda: few_descriptors(suite, count)):
        try:
            case()
        except Exception as problem:  # whatever ends a case early is a failure
            traceback.print_exc()
            suite.check('case', False, f'{type(problem).__name__}: {problem}')
    print(f'{suite.passed} passed, {suite.failed} failed')
    return 1 if suite.failed else 0


if __name__ == '__main__':
    sys.exit(main())
