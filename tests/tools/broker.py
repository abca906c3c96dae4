#!/usr/bin/env python3
"""Starts and stops a broker under test: Odradek or, as the yardstick, Apache Kafka. Both take the same properties.

    broker.py run --broker apache --port 21000 [--set name=value]... -- COMMAND...

runs COMMAND with BROKER (host:port), BROKER_KIND, BROKER_PID, BROKER_DIR and BROKER_LOGS set and stops the broker
afterwards. From Python: `with Broker('odradek', port) as broker: ...`.

Environment: ODRADEK, the binary (default build/release/odradek); KAFKA_DIR, an installed Apache Kafka (default
build/tests/kafka-VERSION, which is made when missing); KAFKA_HEAP (default 256m).
"""
import argparse
import base64
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid

import probe

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, '..', '..'))
BUILD = os.path.join(ROOT, 'build', 'tests')
KAFKA_VERSION = '4.3.1'
KINDS = ('odradek', 'apache')
# The cluster id is fixed so that what the two brokers print can be compared.
CLUSTER_ID = 'T2RyYWRlay10ZXN0cw' + 'AAAA'

LOG4J = '''rootLogger.level=${sys:test.loglevel:-WARN}
rootLogger.appenderRef.0.ref=STDERR
appender.0.type=Console
appender.0.name=STDERR
appender.0.target=SYSTEM_ERR
appender.0.layout.type=PatternLayout
appender.0.layout.pattern=[%d] %p %m (%c)%n
'''


def kafka_dir():
    """Where Apache Kafka is, installed on first use."""
    where = os.environ.get('KAFKA_DIR') or os.path.join(BUILD, 'kafka-' + KAFKA_VERSION)
    if not os.path.isdir(os.path.join(where, 'libs')):
        subprocess.run([os.path.join(HERE, 'apache', 'install.sh'), where, KAFKA_VERSION], check=True)
    config = os.path.join(where, 'log4j2.properties')
    if not os.path.exists(config):
        with open(config, 'w', encoding='utf-8') as f:
            f.write(LOG4J)
    return where


def java(main, *args, heap='256m', options=(), level='WARN'):
    """The command that runs a main class of Apache Kafka."""
    where = kafka_dir()
    return ['java', f'-Xms{heap}', f'-Xmx{heap}', *options, '-Djava.awt.headless=true',
            f'-Dlog4j2.configurationFile={where}/log4j2.properties', f'-Dtest.loglevel={level}',
            '-cp', f'{where}/libs/*', main, *args]


def odradek():
    """The binary under test."""
    binary = os.environ.get('ODRADEK') or os.path.join(ROOT, 'build', 'release', 'odradek')
    if not os.access(binary, os.X_OK):
        sys.exit(f'no broker at {binary}: run scripts/build.sh first, or set ODRADEK')
    return binary


def random_cluster_id():
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip('=').replace('-', 'A', 1)


class Broker:
    """One node that is broker and controller at once, its data in `directory` (a temporary one by default). Odradek has two
    loops, so that requests meet partitions of both wherever the tests run; `loops=None`: as many as it takes by itself."""

    def __init__(self, kind, port, directory=None, properties=(), heap=None, cluster_id=CLUSTER_ID, loops=2, features=None):
        assert kind in KINDS, kind
        self.kind, self.port, self.host = kind, port, '127.0.0.1'
        self.own_directory = directory is None
        self.directory = directory or tempfile.mkdtemp(prefix=f'odradek-test-{kind}-')
        self.logs = os.path.join(self.directory, 'logs')
        self.config = os.path.join(self.directory, 'server.properties')
        self.log_file = os.path.join(self.directory, 'broker.log')
        self.heap = heap or os.environ.get('KAFKA_HEAP', '256m')
        self.cluster_id = cluster_id
        self.features = features or {}         # {name: level}, where a fresh cluster's is not wanted
        self.properties = dict(p.split('=', 1) for p in properties) if not isinstance(properties, dict) else properties
        self.loops = loops
        self.process, self.started_at = None, 0.0
        # A run that is ended from outside must not leave its broker behind.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        os.makedirs(self.directory, exist_ok=True)
        self._write_config()

    @property
    def address(self):
        return f'{self.host}:{self.port}'

    @property
    def pid(self):
        return self.process.pid

    def _write_config(self):
        controller = f'{self.host}:{self.port + 1}'
        lines = {
            'process.roles': 'broker,controller',
            'node.id': '1',
            'controller.quorum.bootstrap.servers': controller,
            'listeners': f'PLAINTEXT://{self.address},CONTROLLER://{controller}',
            'advertised.listeners': f'PLAINTEXT://{self.address},CONTROLLER://{controller}',
            'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT',
            'controller.listener.names': 'CONTROLLER',
            'inter.broker.listener.name': 'PLAINTEXT',
            'log.dirs': self.logs,
            'offsets.topic.replication.factor': '1',
            'transaction.state.log.replication.factor': '1',
            'transaction.state.log.min.isr': '1',
            'share.coordinator.state.topic.replication.factor': '1',
            'share.coordinator.state.topic.min.isr': '1',
            'group.initial.rebalance.delay.ms': '0',
        }
        if self.kind == 'odradek' and self.loops:
            lines['odradek.loops'] = str(self.loops)
        lines.update(self.properties)
        with open(self.config, 'w', encoding='utf-8') as f:
            f.writelines(f'{k}={v}\n' for k, v in lines.items())

    def format(self):
        if os.path.exists(os.path.join(self.logs, 'meta.properties')):
            return
        if self.kind == 'apache':
            command = java('kafka.tools.StorageTool', 'format', '--standalone', '-t', self.cluster_id, '-c', self.config,
                           heap='128m', options=('-XX:TieredStopAtLevel=1',))
        else:
            command = [odradek(), 'format', '--standalone', '--config', self.config, '--cluster-id', self.cluster_id]
        for name, level in self.features.items():
            command += ['--feature', f'{name}={level}']
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f'format failed: {done.stdout}{done.stderr}')

    def spawn(self):
        """Starts the process and returns at once."""
        self.format()
        if self.kind == 'apache':
            # The collector that Kafka's own start script chooses.
            command = java('kafka.Kafka', self.config, heap=self.heap, level='INFO', options=(
                '-server', '-XX:+UseG1GC', '-XX:MaxGCPauseMillis=20', '-XX:InitiatingHeapOccupancyPercent=35'))
        else:
            command = [odradek(), 'server', '--config', self.config]
        with open(self.log_file, 'ab') as log:
            self.started_at = time.time()
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            start_new_session=True, cwd=self.directory)
        return self

    def start(self, timeout_s=60):
        self.spawn()
        try:
            self.wait('metadata', timeout_s)
        except (TimeoutError, RuntimeError) as problem:
            self.kill()
            raise RuntimeError(f'{problem}; the end of its log:\n{self.log_tail()}') from None
        return self

    def wait(self, stage, timeout_s=60, topic='probe'):
        """Seconds from the start of the process to each stage up to `stage`; see probe.until."""
        seen = probe.until(self.host, self.port, stage, timeout_s, self.started_at, topic, self.alive)
        if not self.alive():
            raise RuntimeError(f'another process answers at {self.address}')
        return seen

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def log_tail(self, size=3000):
        with open(self.log_file, 'rb') as f:
            f.seek(max(0, os.path.getsize(self.log_file) - size))
            return f.read().decode(errors='replace')

    def stop(self, timeout_s=60):
        """Asks it to end (SIGTERM) and waits. Returns the exit code, or None when it had to be killed."""
        if self.process is None:
            return None
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return None
        self.process = None
        return code

    def kill(self):
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def cpu_s(self):
        """User and system time that the process has used."""
        with open(f'/proc/{self.pid}/stat', encoding='utf-8') as f:
            fields = f.read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def rss_mib(self):
        with open(f'/proc/{self.pid}/status', encoding='utf-8') as f:
            return next(int(line.split()[1]) for line in f if line.startswith('VmRSS')) / 1024

    def remove(self):
        if self.own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
        self.remove()

    def environment(self):
        return dict(os.environ, BROKER=self.address, BROKER_KIND=self.kind, BROKER_PID=str(self.pid),
                    BROKER_DIR=self.directory, BROKER_LOGS=self.logs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('verb', choices=['run'])
    parser.add_argument('--broker', choices=KINDS, default='odradek')
    parser.add_argument('--port', type=int, default=21000)
    parser.add_argument('--set', action='append', default=[], metavar='NAME=VALUE')
    parser.add_argument('command', nargs='+')
    args = parser.parse_args()
    with Broker(args.broker, args.port, properties=args.set) as broker:
        sys.exit(subprocess.run(args.command, env=broker.environment()).returncode)


if __name__ == '__main__':
    main()
