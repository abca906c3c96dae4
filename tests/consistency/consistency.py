#!/usr/bin/env python3
"""Real clients, faults, and a checker: is every acknowledged record there, once, in order, and no aborted one?

    consistency.py [--broker odradek|apache] [--seed N]                a minute: what scripts/test.sh runs
    consistency.py --minutes 60 --seed N                               an hour
    consistency.py --broker apache --acks 0 --faults kill --expect lost
    consistency.py --check HISTORY                                     the checker alone, on a file of an earlier run

Workers (Recorder.java: Apache's client; recorder.py: librdkafka) run transactions or plain operations against one broker behind a proxy and
write down what they did. Meanwhile the broker is killed, stopped and started, the proxy cuts and delays, and clients die. In the end
everything is healed and read from the beginning, and the checker looks at the whole history. README.md tells what it looks for.
Histories stay in build/tests/consistency, or where --keep says. The last line is `N passed, N failed`.
"""
import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, '..', 'tools')]

import broker as brokers
import checker
import proxy
import python_clients

FAULTS = ('kill', 'stop', 'pause', 'cut', 'refuse', 'delay', 'swallow', 'client-kill', 'client-pause')
JAVA_MODES = ('txn-subscribe', 'txn-subscribe', 'txn-assign', 'plain-subscribe', 'plain-assign')
BUILD = os.path.join(brokers.BUILD, 'consistency')
SETTINGS = {
    'num.partitions': '2',
    'auto.create.topics.enable': 'true',
    'offsets.topic.num.partitions': '5',
    'transaction.state.log.num.partitions': '5',
    'transaction.abort.timed.out.transaction.cleanup.interval.ms': '500',
    'group.min.session.timeout.ms': '1000',
}


def compiled():
    """The class path of the Java recorder."""
    where, source = os.path.join(BUILD, 'classes'), os.path.join(HERE, 'Recorder.java')
    built = os.path.join(where, 'Recorder.class')
    libs = os.path.join(brokers.kafka_dir(), 'libs', '*')
    if not os.path.exists(built) or os.path.getmtime(built) < os.path.getmtime(source):
        os.makedirs(where, exist_ok=True)
        subprocess.run(['javac', '-cp', libs, '-d', where, source], check=True)
    return f'{where}:{libs}'


class Recorder:
    """A process with workers, which can be killed and comes back as the next incarnation."""

    def __init__(self, kind, run, modes, first):
        self.kind, self.run, self.modes, self.first, self.incarnation, self.process = kind, run, modes, first, 0, None

    def arguments(self, **more):
        words = {'bootstrap': f'127.0.0.1:{self.run.proxy.port}', 'out': os.path.join(self.run.directory, f'{self.kind}{self.first}.jsonl'),
                 'seed': self.run.args.seed, 'first': self.first, 'modes': ','.join(self.modes), 'incarnation': self.incarnation,
                 'began': self.run.began, 'seconds': self.run.args.minutes * 60, 'period': self.run.period, 'crash': self.run.crash,
                 'acks': self.run.args.acks, 'protocol': self.run.args.protocol, **more}
        return [f'{k}={v}' for k, v in words.items()]

    def start(self, **more):
        if self.kind == 'java':
            command = ['java', '-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1',
                       f'-Dlog4j2.configurationFile={brokers.kafka_dir()}/log4j2.properties', '-Dtest.loglevel=OFF',
                       '-cp', compiled(), 'Recorder']
        else:
            command = [python_clients.python(), '-B', os.path.join(HERE, 'recorder.py')]
        self.incarnation += 1
        with open(os.path.join(self.run.directory, f'{self.kind}{self.first}.log'), 'ab') as log:
            self.process = subprocess.Popen(command + self.arguments(**more), stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Run:
    def __init__(self, args):
        self.args, self.random = args, random.Random(args.seed)
        self.directory = args.keep or os.path.join(BUILD, f'{args.broker}-{args.seed}-{int(time.time())}')
        os.makedirs(self.directory, exist_ok=True)
        # Short runs see as many new topics and crashes as long ones do in their first minutes.
        self.period = 15.0 if args.minutes < 5 else 60.0
        self.crash = 12.0 if args.minutes < 5 else 30.0
        port = args.port
        address = f'127.0.0.1:{port + 2}'
        settings = dict(SETTINGS)
        # Clients come through the proxy; the broker itself, when it asks its own coordinators, does not.
        listeners = f'PLAINTEXT://127.0.0.1:{port},INTERNAL://127.0.0.1:{port + 3},CONTROLLER://127.0.0.1:{port + 1}'
        settings.update({
            'listeners': listeners,
            'advertised.listeners': f'PLAINTEXT://{address},INTERNAL://127.0.0.1:{port + 3},CONTROLLER://127.0.0.1:{port + 1}',
            'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT',
            'inter.broker.listener.name': 'INTERNAL',
        })
        if args.acks != 'all':
            # What is neither synced nor waited for is lost with the page cache only; Apache's own flush is the same.
            settings['log.flush.interval.messages'] = '9223372036854775807'
        self.broker = brokers.Broker(args.broker, port, directory=os.path.join(self.directory, 'broker'), properties=settings)
        self.proxy = proxy.Proxy(port + 2, port)
        self.recorders = []
        self.faults = []

    def say(self, text):
        print(f'     {(time.monotonic_ns() - self.began) / 1e9:6.1f} s {text}', flush=True)

    # ---- faults

    def restart(self):
        self.broker.start(timeout_s=120)

    def fault(self, kind):
        """Does harm, waits, and heals it."""
        pick, r = self.random.choice, self.random.random
        recorder = pick(self.recorders)
        self.faults.append(kind)
        self.say(kind + (f' of {recorder.kind}' if kind.startswith('client') else ''))
        if kind == 'kill':
            self.broker.kill()
            time.sleep(r() * 2)
            self.restart()
            if r() < 0.3:
                self.broker.kill()              # once more, while it is at work again
                self.restart()
        elif kind == 'stop':
            self.broker.stop()
            self.restart()
        elif kind == 'pause':
            self.broker.process.send_signal(signal.SIGSTOP)
            time.sleep(1 + r() * 7)
            self.broker.process.send_signal(signal.SIGCONT)
        elif kind == 'cut':
            for _ in range(3):
                self.proxy.cut()
                time.sleep(r())
        elif kind == 'refuse':
            self.proxy.cut(refuses=True)
            time.sleep(1 + r() * 4)
        elif kind == 'delay':
            self.proxy.delay(0.02 + r() * 0.3)
            time.sleep(2 + r() * 3)
        elif kind == 'swallow':
            self.proxy.swallow(pick(('up', 'down', 'both')))
            time.sleep(1 + r() * 5)
        elif kind == 'client-kill':
            recorder.kill()
            time.sleep(r() * 3)
            recorder.start()
        elif kind == 'client-pause':
            # Longer than a transaction and a session may last: it comes back as a zombie.
            recorder.process.send_signal(signal.SIGSTOP)
            time.sleep(5 + r() * 6)
            recorder.process.send_signal(signal.SIGCONT)
        self.proxy.heal()

    def elapsed(self):
        return (time.monotonic_ns() - self.began) / 1e9

    def disturb(self):
        end, wanted = self.args.minutes * 60, [f for f in self.args.faults.split(',') if f]
        gap = 4.0 if self.args.minutes < 5 else 10.0
        todo = []
        while True:
            wait = gap * (0.5 + self.random.random())
            if not wanted or self.elapsed() + wait + 8 > end:
                break
            time.sleep(wait)
            if not todo:
                todo = self.random.sample(wanted, len(wanted))      # all of them before one comes again
            self.fault(todo.pop())
            if not self.broker.alive():
                raise RuntimeError(f'the broker ended by itself:\n{self.broker.log_tail()}')
        time.sleep(max(0.0, end - self.elapsed()))

    # ---- the history

    def history(self):
        lines = []
        for name in sorted(os.listdir(self.directory)):
            if name.endswith('.jsonl') and name != 'history.jsonl':
                with open(os.path.join(self.directory, name), encoding='utf-8') as f:
                    lines += [json.loads(line) for line in f if line.endswith('\n')]
        lines.sort(key=lambda line: line['time'])
        with open(os.path.join(self.directory, 'history.jsonl'), 'w', encoding='utf-8') as f:
            f.writelines(json.dumps(line) + '\n' for line in lines)
        return lines

    def read_all(self):
        """The final phase; whether a worker has passed the highest offset of every key."""
        highest = {}
        for op in checker.pair(self.history()):
            for key, offset, _ in op.reads:
                highest[key] = max(highest.get(key, -1), offset)
            for key, _, offset, acked in op.sends:
                highest[key] = max(highest.get(key, -1), offset if acked and offset is not None else -1)
        path = os.path.join(self.directory, 'final.txt')
        with open(path, 'w', encoding='utf-8') as f:
            f.writelines(f'{key} {offset}\n' for key, offset in sorted(highest.items()))
        final = Recorder('java', self, ['plain-assign'], 900)
        final.start(final=path, seconds=60)
        final.process.wait(120)
        with open(os.path.join(self.directory, 'java900.log'), encoding='utf-8') as f:
            return ' complete' in f.read()

    def go(self):
        compiled()
        self.broker.start(timeout_s=120)
        self.began = time.monotonic_ns()
        plan = [('java', list(JAVA_MODES), 0)]
        if self.args.acks != 'all':
            plan = [('java', ['plain-assign'] * 4, 0)]
        elif not self.args.no_librdkafka:
            plan.append(('librdkafka', ['txn-assign'] * 2, 100))
        if self.args.modes:
            plan = [('java', self.args.modes.split(','), 0)]
        for kind, modes, first in plan:
            self.recorders.append(Recorder(kind, self, modes, first))
            self.recorders[-1].start()
        try:
            self.disturb()
            for recorder in self.recorders:
                try:
                    recorder.process.wait(60)
                except subprocess.TimeoutExpired:
                    recorder.kill()             # a client that hangs has not lost anything yet
            time.sleep(7)                       # transactions that were left open time out
            complete = self.read_all()
        finally:
            for recorder in self.recorders:
                if recorder.process and recorder.process.poll() is None:
                    recorder.kill()
            self.broker.kill()
            self.proxy.close()
        return complete


def report(lines, expect):
    """Prints what was found; whether it is as expected."""
    found = checker.check(lines)
    print('     ' + checker.summary(lines))
    for name, cases in found.items():
        print(f'     {name}: {len(cases)}')
        for case in cases[:3]:
            print(f'         {case}')
    if expect == 'lost':
        return bool({'lost-write', 'unseen'} & set(found))
    return not found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--broker', choices=brokers.KINDS, default='odradek')
    parser.add_argument('--port', type=int, default=21700)
    parser.add_argument('--minutes', type=float, default=1.0)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--acks', choices=['all', '1', '0'], default='all')
    parser.add_argument('--protocol', choices=['classic', 'consumer'], default='classic', help='of groups')
    parser.add_argument('--faults', default=','.join(FAULTS), help='of ' + ', '.join(FAULTS))
    parser.add_argument('--modes', help='workers of the Java client, of ' + ', '.join(sorted(set(JAVA_MODES))))
    parser.add_argument('--no-librdkafka', action='store_true')
    parser.add_argument('--expect', choices=['clean', 'lost'], default='clean')
    parser.add_argument('--keep', metavar='DIRECTORY')
    parser.add_argument('--check', metavar='HISTORY')
    args = parser.parse_args()
    if args.check:
        with open(args.check, encoding='utf-8') as f:
            good = report([json.loads(line) for line in f], args.expect)
    else:
        run = Run(args)
        print(f'     seed {args.seed}, {args.minutes:g} minutes, histories in {run.directory}', flush=True)
        complete = run.go()
        lines = run.history()
        good = report(lines, args.expect)
        if not complete and args.expect == 'clean':
            print('     not everything could be read in the end')
            good = False
        elif good and not args.keep:
            shutil.rmtree(run.directory)
    print(f'{"PASS" if good else "FAIL"} consistency of {args.broker}, acks={args.acks}, seed {args.seed}')
    print(f'{int(good)} passed, {int(not good)} failed')
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
