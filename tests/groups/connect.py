#!/usr/bin/env python3
"""Kafka Connect, distributed, on a broker: two workers, a file that becomes a topic and a topic that becomes a file.

    connect.py [--broker odradek|apache] [--port N]

While lines are appended to the source file, the worker that runs the source is killed and started again, then the broker is.
Connect promises each line at least once: none may be missing, the first of each must come in order, and as long as nothing
was killed each comes exactly once. Apache's connectors (connect-file) are fetched by Maven into build/tests/connect.
"""
import argparse
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'tools'))

import broker as brokers
import cases
from cases import true

PLUGINS = os.path.join(brokers.BUILD, 'connect')
LINES = 500    # between two events
eventually = functools.partial(cases.eventually, timeout_s=90.0)


def plugins():
    jar = os.path.join(PLUGINS, f'connect-file-{brokers.KAFKA_VERSION}.jar')
    if not os.path.exists(jar):
        subprocess.run(['mvn', '-q', '-B', '-ntp', 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy',
                        f'-Dartifact=org.apache.kafka:connect-file:{brokers.KAFKA_VERSION}',
                        f'-DoutputDirectory={PLUGINS}'], check=True)
    return PLUGINS


class Worker:
    def __init__(self, directory, address, port):
        self.port, self.log = port, os.path.join(directory, f'worker-{port}.log')
        self.config = os.path.join(directory, f'worker-{port}.properties')
        values = {
            'bootstrap.servers': address, 'group.id': 'connect', 'plugin.path': plugins(), 'plugin.discovery': 'hybrid_warn',
            'listeners': f'http://127.0.0.1:{port}', 'key.converter': 'org.apache.kafka.connect.storage.StringConverter',
            'value.converter': 'org.apache.kafka.connect.storage.StringConverter',
            'offset.flush.interval.ms': '1000', 'session.timeout.ms': '6000', 'heartbeat.interval.ms': '1000',
            'scheduled.rebalance.max.delay.ms': '1000', 'offset.storage.partitions': '3', 'status.storage.partitions': '2'}
        for topic in ('config', 'offset', 'status'):
            values[f'{topic}.storage.topic'] = f'connect-{topic}'
            values[f'{topic}.storage.replication.factor'] = '1'
        with open(self.config, 'w', encoding='utf-8') as f:
            f.writelines(f'{k}={v}\n' for k, v in values.items())
        self.process = None
        self.start()

    def start(self):
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(
                brokers.java('org.apache.kafka.connect.cli.ConnectDistributed', self.config, heap='192m', level='INFO',
                             options=('-XX:TieredStopAtLevel=1',)),
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def rest(self, method, path, body=None):
        """The answer; None while there is none."""
        request = urllib.request.Request(f'http://127.0.0.1:{self.port}{path}', method=method,
                                         data=json.dumps(body).encode() if body else None,
                                         headers={'Content-Type': 'application/json'})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or b'true')
        except (urllib.error.URLError, OSError, json.JSONDecodeError):
            return None


class Lines:
    """The source's file, and the sink's."""

    def __init__(self, directory):
        self.source, self.sink, self.written = os.path.join(directory, 'in.txt'), os.path.join(directory, 'out.txt'), 0
        open(self.source, 'w', encoding='utf-8').close()

    def append(self, count):
        with open(self.source, 'a', encoding='utf-8') as f:
            for _ in range(count):
                f.write(f'{self.written}\n')
                self.written += 1

    def arrived(self):
        if not os.path.exists(self.sink):
            return []
        with open(self.sink, encoding='utf-8') as f:
            return [int(line) for line in f.read().split()]

    def all_arrive(self, what):
        eventually(lambda: len(set(self.arrived())) == self.written, f'{what}: all {self.written} lines')
        seen = self.arrived()
        first = list(dict.fromkeys(seen))
        true(first == sorted(first), f'{what}: lines come in another order')
        print(f'     {what}: {self.written} lines, {len(seen) - self.written} of them again', flush=True)
        return len(seen) - self.written


def running(worker, name):
    """The worker that runs the connector's task, once all runs."""
    told = worker.rest('GET', f'/connectors/{name}/status')
    if not told or not told['tasks'] or any(t['state'] != 'RUNNING' for t in [told['connector'], *told['tasks']]):
        return None
    return told['tasks'][0]['worker_id']


def connect(broker, directory):
    lines = Lines(directory)
    workers = [Worker(directory, broker.address, broker.port + n) for n in (5, 6)]
    try:
        eventually(lambda: all(w.rest('GET', '/connectors') is not None for w in workers), 'both workers answer')
        print('     two workers are up', flush=True)
        for name, kind, more in (('source', 'FileStreamSource', {'file': lines.source, 'topic': 'lines'}),
                                 ('sink', 'FileStreamSink', {'file': lines.sink, 'topics': 'lines',
                                                             'consumer.override.auto.offset.reset': 'earliest'})):
            config = {'connector.class': f'org.apache.kafka.connect.file.{kind}Connector', 'tasks.max': '1', **more}
            eventually(lambda: workers[0].rest('POST', '/connectors', {'name': name, 'config': config}) or
                       workers[0].rest('GET', f'/connectors/{name}'), f'{name} is made')
        lines.append(LINES)
        true(lines.all_arrive('quiet') == 0, 'a line came twice although nothing was killed')
        owner = eventually(lambda: running(workers[0], 'source'), 'the source runs')
        victim = next(w for w in workers if owner.endswith(f':{w.port}'))
        other = next(w for w in workers if w is not victim)
        lines.append(LINES)
        victim.kill()
        lines.append(LINES)
        lines.all_arrive('a worker was killed')
        victim.start()
        eventually(lambda: victim.rest('GET', '/connectors') is not None, 'the worker is back')
        lines.append(LINES)
        broker.kill()
        lines.append(LINES)
        broker.start()
        lines.all_arrive('the broker was killed')
        lines.append(LINES)
        lines.all_arrive('the worker and the broker are back')
        for name in ('source', 'sink'):
            eventually(lambda: running(other, name), f'{name} runs in the end')
    except AssertionError:
        for w in workers:
            with open(w.log, encoding='utf-8', errors='replace') as f:
                print('\n'.join(line for line in f.read().splitlines()[-400:] if ' ERROR ' in line or ' WARN ' in line)[-2000:])
        raise
    finally:
        for w in workers:
            w.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--broker', choices=brokers.KINDS, default='odradek')
    parser.add_argument('--port', type=int, default=21500)
    args = parser.parse_args()
    directory, began = tempfile.mkdtemp(prefix='odradek-connect-'), time.time()
    try:
        with brokers.Broker(args.broker, args.port) as broker:
            connect(broker, directory)
        print(f'PASS connect ({time.time() - began:.1f} s)')
        return 0
    except AssertionError as problem:
        print(f'FAIL connect: {problem}')
        return 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main())
