#!/usr/bin/env python3
"""Usage: cli_test.py BINARY. Prints `N passed, N failed` at the end."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

BINARY = os.path.abspath(sys.argv.pop(1))


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def run(*args, stdin=None, cwd=None, timeout=60):
    return subprocess.run([BINARY, *args], input=stdin, capture_output=True, text=True, cwd=cwd, timeout=timeout)


class Server:
    """`odradek server` in a directory of its own, on ports of its own."""

    def __init__(self, *overrides, directory=None):
        self.directory = directory or tempfile.mkdtemp(prefix='odradek-cli-')
        self.port, self.controller, self.http = free_port(), free_port(), free_port()
        self.overrides = list(overrides)
        self.process = None

    @property
    def bootstrap(self):
        return f'127.0.0.1:{self.port}'

    def arguments(self):
        values = [f'listeners=PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller}',
                  f'odradek.http.listeners=127.0.0.1:{self.http}', *self.overrides]
        return [a for v in values for a in ('--override', v)]

    def start(self, ready=True):
        self.log = open(os.path.join(self.directory, 'server.log'), 'a+', encoding='utf-8')
        self.process = subprocess.Popen([BINARY, 'server', *self.arguments()], cwd=self.directory, stdout=self.log,
                                        stderr=self.log)
        deadline = time.monotonic() + 20
        while ready:
            if self.process.poll() is not None:
                raise AssertionError('the server ended:\n' + self.output())
            try:
                socket.create_connection(('127.0.0.1', self.port), 1).close()
                return self
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        return self

    def output(self):
        with open(os.path.join(self.directory, 'server.log'), encoding='utf-8') as f:
            return f.read()

    def stop(self, sig=signal.SIGTERM):
        self.process.send_signal(sig)
        code = self.process.wait(30)
        self.log.close()
        return code

    def cli(self, *args, stdin=None):
        return run(*args, '--bootstrap-server', self.bootstrap, stdin=stdin)


class FirstFiveMinutes(unittest.TestCase):
    """What the README shows, against one server."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server().start()

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        output = cls.server.output()
        shutil.rmtree(cls.server.directory)
        assert code == 0, output

    def ok(self, *args, stdin=None):
        done = self.server.cli(*args, stdin=stdin)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_topic_life(self):
        self.assertIn('Created topic life (3 partitions)', self.ok('topic', 'create', 'life', '-p', '3'))
        self.assertIn('life', self.ok('topic', 'list'))
        described = json.loads(self.ok('topic', 'describe', 'life', '--json'))
        self.assertEqual([p['leader'] for p in described[0]['partitions']], [1, 1, 1])
        self.ok('topic', 'add-partitions', 'life', '-p', '5')
        self.assertEqual(len(json.loads(self.ok('topic', 'describe', 'life', '--json'))[0]['partitions']), 5)
        again = self.server.cli('topic', 'create', 'life')
        self.assertEqual(again.returncode, 1)
        self.assertIn('TOPIC_ALREADY_EXISTS', again.stderr)
        self.assertIn('--if-not-exists', again.stderr)
        self.ok('topic', 'create', 'life', '--if-not-exists')
        self.ok('topic', 'delete', 'life')
        self.assertNotIn('life', self.ok('topic', 'list'))

    def test_produce_and_consume(self):
        self.ok('topic', 'create', 'greetings')
        self.assertIn('2 records acknowledged', self.ok('produce', 'greetings', stdin='hello\nworld\n'))
        self.assertEqual(self.ok('consume', 'greetings', '--from', 'beginning', '--exit'), 'hello\nworld\n')
        self.ok('produce', 'greetings', '-k', ':', '-H', 'a=b', stdin='k:v\n')
        record = json.loads(self.ok('consume', 'greetings', '--from', '-1', '--count', '1', '--json'))
        self.assertEqual((record['key'], record['value'], record['offset']), ('k', 'v', 2))
        self.assertEqual(record['headers'], [{'name': 'a', 'value': 'b'}])
        rows = json.loads(self.ok('offsets', 'greetings', '--json'))
        self.assertEqual(rows, [{'topic': 'greetings', 'partition': 0, 'first': 0, 'next': 3}])

    def test_group_life(self):
        self.ok('topic', 'create', 'grouped', '-p', '2')
        self.ok('produce', 'grouped', stdin='one\ntwo\nthree\n')
        self.ok('group', 'reset', 'life', '--topic', 'grouped', '--to', 'latest')
        self.assertIn({'group': 'life', 'type': 'classic', 'state': 'Empty', 'protocol': ''},
                      json.loads(self.ok('group', 'list', '--json')))
        described = json.loads(self.ok('group', 'describe', 'life', '--json'))[0]
        self.assertEqual([p['lag'] for p in described['partitions']], [0, 0])
        self.assertIn('not done', self.ok('group', 'reset', 'life', '--to', 'earliest', '--dry-run'))
        self.ok('group', 'reset', 'life', '--shift', '-1')
        described = json.loads(self.ok('group', 'describe', 'life', '--json'))[0]
        ends = [p['end'] for p in described['partitions']]
        self.assertEqual(sum(ends), 3)
        self.assertEqual([p['lag'] for p in described['partitions']], [min(end, 1) for end in ends])
        folder = os.path.join(self.server.directory, 'odradek-data', '__consumer_offsets-%d')
        shown = ''.join(run('dump-log', os.path.join(folder % p, '0' * 20 + '.log')).stdout for p in range(50))
        self.assertIn('OffsetCommitKey {"group":"life","topic":"grouped","partition":1}', shown)
        self.assertIn('Deleted group life', self.ok('group', 'delete', 'life'))
        again = self.server.cli('group', 'delete', 'life')
        self.assertEqual(again.returncode, 1)
        self.assertIn('GROUP_ID_NOT_FOUND', again.stderr)
        self.assertEqual(json.loads(self.server.cli('group', 'delete', 'life', '--json').stdout), {'deleted': False})
        self.assertEqual(self.server.cli('group', 'describe', 'life').returncode, 1)
        # What is mistyped is no 0.
        for args, why in ((('--to', 'earlest'), 'not earliest, latest or an offset'), (('--to', '12x'), '12x'), (('--to', '-3'), '-3'),
                          (('--to', '1', '--topic', 'grouped:x'), 'topic:0,3'), (('--to', '1', '--topic', 'grouped:'), 'topic:0,3')):
            mistyped = self.server.cli('group', 'reset', 'life', *args)
            self.assertEqual(mistyped.returncode, 1, args)
            self.assertIn(why, mistyped.stderr)
        both = self.server.cli('group', 'reset', 'life', '--to', '1', '--shift', '1')
        self.assertIn('one of', both.stderr)

    def test_consume_as_a_member(self):
        self.ok('topic', 'create', 'shared', '-p', '3')
        values = [f'v{n}' for n in range(300)]
        self.ok('produce', 'shared', stdin='\n'.join(values) + '\n')
        consume = ('consume', 'shared', '--group', 'readers', '--from', 'beginning')
        first = self.ok(*consume, '--max-messages', '100').split()
        self.assertEqual(len(first), 100)
        # The next one goes on where the first was.
        rest = self.ok(*consume, '--exit').split()
        self.assertEqual(sorted(first + rest), sorted(values))
        described = json.loads(self.ok('group', 'describe', 'readers', '--json'))[0]
        self.assertEqual((described['state'], sum(p['lag'] for p in described['partitions'])), ('Empty', 0))
        began = time.monotonic()
        self.assertEqual(self.ok(*consume, '--timeout', '1'), '')
        self.assertGreater(time.monotonic() - began, 1)
        self.assertIn('exclude each other', self.server.cli(*consume, '--partition', '0').stderr)
        self.assertIn('beginning or end', self.server.cli('consume', 'shared', '-g', 'x', '--from', '7').stderr)
        self.assertIn('it is at the end', self.ok('explain', 'group', 'readers', '--seconds', '0.1'))

    def test_members_share_and_leave(self):
        self.ok('topic', 'create', 'split', '-p', '2')
        members = []
        for n in range(2):
            out = open(os.path.join(self.server.directory, f'member-{n}'), 'w+', encoding='utf-8')
            members.append((subprocess.Popen(
                [BINARY, 'consume', 'split', '-g', 'both', '--bootstrap-server', self.server.bootstrap, '--from', 'beginning'],
                stdout=out, stderr=subprocess.STDOUT), out))
        try:
            deadline = time.monotonic() + 30
            while not all('PARTITIONS' in text and text.count(' 1\n') >= 2
                          for text in [self.server.cli('group', 'describe', 'both').stdout]):
                self.assertLess(time.monotonic(), deadline, 'two members with a partition each')
                time.sleep(0.1)
            self.ok('produce', 'split', stdin=''.join(f'{n}\n' for n in range(200)))
            while json.loads(self.ok('group', 'list', '--lag', '--state', 'Stable', '--json'))[0].get('lag', 1) != 0:
                self.assertLess(time.monotonic(), deadline, 'all is read and committed')
                time.sleep(0.1)
            # Asked to stop, a member commits and leaves at once: its session is not waited for.
            members[0][0].send_signal(signal.SIGTERM)
            self.assertEqual(members[0][0].wait(10), 0)
            told = json.loads(self.ok('group', 'describe', 'both', '--json'))[0]
            self.assertEqual(len(told['members']), 1)
        finally:
            for process, _ in members:
                process.kill()
                process.wait()
        seen = []
        for _, out in members:
            out.seek(0)
            seen += out.read().split()
            out.close()
        self.assertEqual(sorted(map(int, seen)), list(range(200)))

    def test_looking_makes_no_topic(self):
        self.assertEqual(self.server.cli('explain', 'partition', 'no-such', '0').returncode, 1)
        self.server.cli('txn', 'find-hanging', '--topic', 'no-such')
        self.assertNotIn('no-such', self.ok('topic', 'list'))

    def test_config(self):
        self.ok('topic', 'create', 'tuned', '-c', 'retention.ms=1000')
        shown = json.loads(self.ok('config', 'describe', '--topic', 'tuned', '--json'))
        self.assertEqual([c['value'] for c in shown if c['name'] == 'retention.ms'], ['1000'])
        self.ok('config', 'set', '--topic', 'tuned', 'retention.ms=2000')
        self.ok('config', 'delete', '--topic', 'tuned', 'retention.ms')
        shown = json.loads(self.ok('config', 'describe', '--topic', 'tuned', '--json'))
        self.assertEqual([c for c in shown if c['name'] == 'retention.ms' and c['source'] == 'topic'], [])
        bad = self.server.cli('config', 'set', '--topic', 'tuned', 'retention.ms=soon')
        self.assertEqual(bad.returncode, 1)
        self.assertIn('retention.ms', bad.stderr)
        everything = json.loads(self.ok('config', 'describe', '--broker', '1', '--all', '--json'))
        self.assertGreater(len(everything), 200)

    def test_http(self):
        with urllib.request.urlopen(f'http://127.0.0.1:{self.server.http}/healthz', timeout=5) as r:
            self.assertEqual(r.status, 200)
        with urllib.request.urlopen(f'http://127.0.0.1:{self.server.http}/metrics', timeout=5) as r:
            text = r.read().decode()
        self.assertRegex(text, r'(?m)^odradek_[a-z_]+(\{.*\})? \d')
        self.assertRegex(text, r'(?m)^# TYPE ')

    def test_banner_says_what_to_try(self):
        output = self.server.output()
        self.assertIn('odradek topic create', output)
        self.assertIn(str(self.server.port), output)

    def test_dump_log(self):
        self.ok('topic', 'create', 'dumped')
        self.ok('produce', 'dumped', stdin='one\ntwo\n')
        folder = os.path.join(self.server.directory, 'odradek-data', 'dumped-0')
        shown = run('dump-log', os.path.join(folder, '0' * 20 + '.log'), '--json')
        self.assertEqual(shown.returncode, 0, shown.stderr)
        values = [r['value'] for line in shown.stdout.splitlines() for r in json.loads(line)['records']]
        self.assertEqual(values, ['one', 'two'])
        metadata = os.path.join(self.server.directory, 'odradek-data', '__cluster_metadata-0', '0' * 20 + '.log')
        shown = run('dump-log', metadata)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertIn('"dumped"', shown.stdout)


class Refusals(unittest.TestCase):
    """One clear line and exit code, nothing touched."""

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix='odradek-cli-')

    def tearDown(self):
        shutil.rmtree(self.directory)

    def refuse(self, *args, code=1):
        done = run(*args, cwd=self.directory, timeout=30)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def write(self, text):
        path = os.path.join(self.directory, 'server.properties')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        return path

    def properties(self, **more):
        values = {'process.roles': 'broker,controller', 'node.id': '1', 'controller.listener.names': 'CONTROLLER',
                  'listeners': f'PLAINTEXT://127.0.0.1:{free_port()},CONTROLLER://127.0.0.1:{free_port()}',
                  'controller.quorum.bootstrap.servers': 'localhost:9093',
                  'log.dirs': os.path.join(self.directory, 'data'), **more}
        return self.write(''.join(f'{k}={v}\n' for k, v in values.items()))

    def test_wrong_value(self):
        out = self.refuse('server', '--config', self.properties(**{'num.partitions': 'many'}))
        self.assertIn('num.partitions', out)
        self.assertFalse(os.path.exists(os.path.join(self.directory, 'data')))

    def test_unformatted_directory_with_config(self):
        out = self.refuse('server', '--config', self.properties())
        self.assertIn('odradek format', out)

    def test_format_then_serve_then_other_cluster(self):
        config = self.properties()
        cluster = 'AAAAAAAAAAAAAAAAAAAAAg'
        done = run('format', '--config', config, '--cluster-id', cluster, '--standalone')
        self.assertEqual(done.returncode, 0, done.stderr)
        again = self.refuse('format', '--config', config, '--cluster-id', cluster, '--standalone')
        self.assertIn('formatted already', again)
        meta = os.path.join(self.directory, 'data', 'meta.properties')
        with open(meta, encoding='utf-8') as f:
            text = f.read()
        self.assertIn(f'cluster.id={cluster}', text)
        with open(meta, 'w', encoding='utf-8') as f:
            f.write(text.replace('node.id=1', 'node.id=2'))
        self.assertIn('node.id', self.refuse('server', '--config', config))

    def test_port_in_use(self):
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            s.listen()
            port = s.getsockname()[1]
            out = self.refuse('server', '--override',
                              f'listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{free_port()}')
            self.assertIn(str(port), out)
            self.assertIn('in use', out)

    def test_directory_in_use(self):
        server = Server(directory=self.directory).start()
        try:
            out = self.refuse('server', '--override',
                              f'listeners=PLAINTEXT://127.0.0.1:{free_port()},CONTROLLER://127.0.0.1:{free_port()}')
            self.assertIn('odradek-data', out)
        finally:
            server.stop()

    def test_security_is_never_ignored(self):
        out = self.refuse('server', '--config', self.properties(**{
            'listeners': f'SASL_PLAINTEXT://127.0.0.1:{free_port()},CONTROLLER://127.0.0.1:{free_port()}',
            'inter.broker.listener.name': 'SASL_PLAINTEXT',
            'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT'}))
        self.assertIn('SASL', out)

    def test_client_without_broker(self):
        out = self.refuse('topic', 'list', '--bootstrap-server', f'127.0.0.1:{free_port()}')
        self.assertIn('odradek server', out)

    def test_wrong_arguments(self):
        self.refuse('topic', 'creat', code=2)

    def test_no_arguments_explains(self):
        done = run()
        self.assertEqual(done.returncode, 0)
        for command in ('server', 'format', 'topic', 'config', 'produce', 'consume', 'offsets', 'dump-log', 'version'):
            self.assertIn(command, done.stdout)

    def test_completion(self):
        for shell in ('bash', 'zsh'):
            self.assertIn('complete -F _odradek odradek', run('completion', shell).stdout)
        script = run('completion', 'bash').stdout
        done = subprocess.run(['bash', '-c', script + '\nCOMP_WORDS=(odradek topic cr); COMP_CWORD=2; _odradek; '
                               'echo "${COMPREPLY[@]}"'], capture_output=True, text=True, cwd=self.directory)
        self.assertEqual(done.stdout.strip(), 'create', done.stderr)

    def test_version(self):
        self.assertRegex(run('version').stdout, r'odradek \d+\.\d+\.\d+')


class Stopping(unittest.TestCase):
    def test_clean_stop_leaves_marker_and_next_start_is_clean(self):
        server = Server().start()
        try:
            server.cli('topic', 'create', 't')
            server.cli('produce', 't', stdin='x\n')
            self.assertEqual(server.stop(), 0)
            marker = os.path.join(server.directory, 'odradek-data', '.kafka_cleanshutdown')
            with open(marker, encoding='utf-8') as f:
                self.assertTrue(re.match(r'\{"version":0,"brokerEpoch":\d+\}', f.read()))
            server.start()
            self.assertFalse(os.path.exists(marker))
            self.assertEqual(server.cli('consume', 't', '-f', 'beginning', '-e').stdout, 'x\n')
            self.assertEqual(server.stop(signal.SIGKILL), -signal.SIGKILL)
            server.start()
            self.assertEqual(server.cli('consume', 't', '-f', 'beginning', '-e').stdout, 'x\n')
        finally:
            server.stop()
            shutil.rmtree(server.directory)


if __name__ == '__main__':
    result = unittest.main(argv=[sys.argv[0], '-v', *sys.argv[1:]], exit=False).result
    bad = len(result.failures) + len(result.errors)
    print(f'{result.testsRun - bad} passed, {bad} failed')
    sys.exit(1 if bad else 0)
