"""What suites of named cases share: what they demand, who runs them and tells it, and a broker that changes under its data.

    case = Cases()
    @case
    def members_come_and_go(kind, port): ...
    sys.exit(case.main(__doc__, 21300))
"""
import argparse
import os
import time
import traceback

import broker as brokers


def true(condition, what):
    if not condition:
        raise AssertionError(what)


def equal(got, want, what):
    true(got == want, f'{what}: got {got!r}, want {want!r}')


def eventually(check, what, timeout_s=60.0):
    """What `check` returns once that is true."""
    end = time.time() + timeout_s
    while True:
        value = check()
        if value:
            return value
        true(time.time() < end, f'not within {timeout_s} s: {what}')
        time.sleep(0.05)


class Cases:
    """The cases of a suite, in the order in which they are written; those for `asked` run only when they are named."""

    def __init__(self):
        self.all, self.only_asked = [], set()

    def __call__(self, function):
        self.all.append(function)
        return function

    def asked(self, function):
        self.only_asked.add(function)
        return self(function)

    def arguments(self, about, port):
        parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument('--broker', choices=brokers.KINDS, default='odradek')
        parser.add_argument('--port', type=int, default=port)
        parser.add_argument('cases', nargs='*')
        args = parser.parse_args()
        known = {c.__name__ for c in self.all}
        if unknown := set(args.cases) - known:
            parser.error(f'no such case: {", ".join(sorted(unknown))}; there are: {", ".join(sorted(known))}')
        return args

    def run(self, names, call):
        """`PASS name` or `FAIL name: why` for each; the last line is `N passed, N failed`. Returns the exit code."""
        wanted = [c for c in self.all if (c.__name__ in names if names else c not in self.only_asked)]
        failed = 0
        for n, function in enumerate(wanted):
            began = time.time()
            try:
                call(n, function)
                print(f'PASS {function.__name__} ({time.time() - began:.1f} s)', flush=True)
            except Exception as problem:
                failed += 1
                if os.environ.get('VERBOSE'):
                    traceback.print_exc()
                print(f'FAIL {function.__name__}: {problem}', flush=True)
        print(f'{len(wanted) - failed} passed, {failed} failed')
        return 1 if failed or not wanted else 0

    def main(self, about, port):
        """Each case gets the kind of the broker and two ports of its own."""
        args = self.arguments(about, port)
        return self.run(args.cases, lambda n, function: function(args.broker, args.port + 2 * n))


class Place:
    """A directory and a port, and whichever broker runs there."""

    def __init__(self, kind, port, properties=()):
        self.broker = brokers.Broker(kind, port, properties=properties)
        self.port, self.directory, self.properties = port, self.broker.directory, properties

    def __enter__(self):
        self.broker.start()
        return self

    def __exit__(self, *_):
        self.broker.kill()
        self.broker.own_directory = True
        self.broker.remove()

    @property
    def address(self):
        return self.broker.address

    def become(self, kind, kill=False):
        """The same directory under another process, of that kind."""
        if kill:
            self.broker.kill()
        else:
            true(self.broker.stop() in (0, 143), 'the broker did not end by itself')
        self.broker = brokers.Broker(kind, self.port, directory=self.directory, properties=self.properties)
        self.broker.start()

    def crash(self):
        self.become(self.broker.kind, kill=True)
