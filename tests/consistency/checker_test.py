#!/usr/bin/env python3
"""The checker against histories made by hand: each has exactly one anomaly, or none. The last line is `N passed, N failed`."""
import sys

import checker

CASES = {}


class Story:
    """A history under construction; every call is one operation, done before the next one begins unless it is opened first."""

    def __init__(self):
        self.lines, self.clock, self.final = [], 0, True

    def line(self, process, kind, f, value, **more):
        self.clock += 1
        self.lines.append({'process': process, 'time': self.clock, 'type': kind, 'f': f, 'value': value, **more})

    def invoke(self, process, f, *steps):
        asked = [['poll'] if s[0] == 'poll' else ['send', s[1], s[2][1]] for s in steps]
        self.line(process, 'invoke', f, asked)

    def complete(self, process, kind, f, *steps, **more):
        self.line(process, kind, f, [list(s) for s in steps], **more)

    def op(self, process, kind, f, *steps, **more):
        self.invoke(process, f, *steps)
        self.complete(process, kind, f, *steps, **more)

    def use(self, process, f, *keys):
        self.line(process, 'invoke', f, list(keys))
        self.line(process, 'ok', f, list(keys))


def send(key, offset, value):
    return ('send', key, [offset, value])


def unknown(key, value):
    """A send that was not answered."""
    return ('send', key, value)


def poll(**keys):
    """k=[(0, 'a'), (1, 'b')]: what was polled."""
    return ('poll', {key: [list(pair) for pair in pairs] for key, pairs in keys.items()})


def story(*anomalies):
    def register(function):
        CASES[function.__name__] = (function, anomalies)
        return function
    return register


@story()
def all_is_well(s):
    s.use('a', 'assign', 'x', 'y')
    s.op('a', 'ok', 'txn', send('x', 0, 1), send('y', 0, 2))
    s.op('b', 'ok', 'txn', send('x', 2, 3))                       # 1 is a marker
    s.op('a', 'ok', 'txn', poll(x=[(0, 1)]), poll(x=[(2, 3)], y=[(0, 2)]), send('y', 2, 4))
    s.op('a', 'ok', 'poll', poll(y=[(2, 4)]))


@story()
def an_unknown_transaction_that_committed(s):
    s.invoke('a', 'txn', send('x', 0, 1), send('y', 0, 2))
    s.complete('a', 'info', 'txn', send('x', 0, 1), unknown('y', 2), error='TimeoutException at commit')
    s.op('b', 'ok', 'poll', poll(x=[(0, 1)], y=[(0, 2)]))


@story()
def a_failed_transaction_leaves_a_hole(s):
    s.op('a', 'fail', 'txn', send('x', 0, 1))
    s.op('a', 'ok', 'txn', send('x', 2, 2))
    s.op('b', 'ok', 'poll', poll(x=[(2, 2)]))


@story()
def read_again_after_a_failed_transaction(s):
    s.use('b', 'assign', 'x')
    s.op('a', 'ok', 'send', send('x', 0, 1))
    s.op('b', 'fail', 'txn', poll(x=[(0, 1)]))
    s.op('b', 'ok', 'txn', poll(x=[(0, 1)]))


@story('inconsistent-offsets')
def two_values_at_one_offset(s):
    s.op('a', 'ok', 'send', send('x', 0, 1))
    s.op('b', 'ok', 'poll', poll(x=[(0, 1)]))
    s.op('c', 'ok', 'send', send('x', 1, 2))
    s.op('d', 'ok', 'poll', poll(x=[(1, 2)]))
    s.op('e', 'fail', 'txn', send('x', 1, 3))                     # an aborted one was said to be there


@story('duplicate')
def one_value_twice(s):
    s.op('a', 'ok', 'send', send('x', 0, 1))
    s.op('d', 'ok', 'send', send('x', 1, 9))
    s.op('b', 'ok', 'poll', poll(x=[(0, 1), (1, 9)]))
    s.op('c', 'ok', 'poll', poll(x=[(2, 1)]))


@story('G1a')
def an_aborted_record_is_read(s):
    s.op('a', 'fail', 'txn', send('x', 0, 1), error='on purpose')
    s.op('b', 'ok', 'poll', poll(x=[(0, 1)]))


@story('precommitted-read')
def a_transaction_reads_itself(s):
    s.op('a', 'ok', 'txn', send('x', 0, 1), poll(x=[(0, 1)]))


@story('lost-write')
def a_record_in_the_middle_is_lost(s):
    s.final = False
    s.op('a', 'ok', 'send', send('x', 0, 1))
    s.op('a', 'ok', 'send', send('x', 1, 2))
    s.op('b', 'ok', 'poll', poll(x=[(1, 2)]))


@story('lost-write')
def half_of_a_transaction_is_lost(s):
    s.final = False
    s.op('a', 'info', 'txn', send('x', 0, 1), send('y', 0, 2))
    s.op('c', 'ok', 'send', send('y', 2, 3))
    s.op('b', 'ok', 'poll', poll(x=[(0, 1)], y=[(2, 3)]))


@story('unseen')
def the_last_record_is_lost(s):
    s.op('a', 'ok', 'send', send('x', 0, 1))
    s.op('b', 'ok', 'poll', poll(x=[(0, 1)]))
    s.op('a', 'ok', 'send', send('x', 1, 2))


@story('unseen')
def lost_without_an_offset(s):
    s.op('a', 'ok', 'send', send('x', None, 1))


@story('int-poll-skip')
def a_poll_leaves_one_out(s):
    s.op('a', 'ok', 'send', send('x', 0, 1), send('x', 1, 2), send('x', 2, 3))
    s.op('b', 'ok', 'poll', poll(x=[(0, 1), (2, 3)]))
    s.op('c', 'ok', 'poll', poll(x=[(0, 1), (1, 2), (2, 3)]))


@story()
def a_rebalance_excuses_it(s):
    s.use('b', 'subscribe', 'x')
    s.op('a', 'ok', 'send', send('x', 0, 1), send('x', 1, 2), send('x', 2, 3))
    s.op('b', 'ok', 'poll', poll(x=[(0, 1)]), poll(x=[(2, 3)]), rebalances=[['revoked', ['x']], ['assigned', ['x']]])
    s.op('c', 'ok', 'poll', poll(x=[(0, 1), (1, 2), (2, 3)]))


@story('int-nonmonotonic-poll')
def a_poll_goes_back(s):
    s.op('a', 'ok', 'send', send('x', 0, 1), send('x', 1, 2))
    s.op('b', 'ok', 'txn', poll(x=[(0, 1), (1, 2)]), poll(x=[(1, 2)]))


@story('poll-skip')
def a_consumer_leaves_one_out(s):
    s.use('b', 'assign', 'x')
    s.op('a', 'ok', 'send', send('x', 0, 1), send('x', 1, 2), send('x', 2, 3))
    s.op('b', 'ok', 'poll', poll(x=[(0, 1)]))
    s.op('b', 'ok', 'poll', poll(x=[(2, 3)]))
    s.op('c', 'ok', 'poll', poll(x=[(0, 1), (1, 2), (2, 3)]))


@story('nonmonotonic-poll')
def a_consumer_goes_back(s):
    s.use('b', 'assign', 'x')
    s.op('a', 'ok', 'send', send('x', 0, 1), send('x', 1, 2))
    s.op('b', 'ok', 'poll', poll(x=[(0, 1), (1, 2)]))
    s.op('b', 'ok', 'poll', poll(x=[(0, 1)]))


@story()
def a_subscriber_may_go_back(s):
    s.use('b', 'subscribe', 'x')
    s.op('a', 'ok', 'send', send('x', 0, 1), send('x', 1, 2))
    s.op('b', 'ok', 'poll', poll(x=[(0, 1), (1, 2)]))
    s.op('b', 'ok', 'poll', poll(x=[(0, 1)]))


@story('delivered-twice')
def two_transactions_consume_one_record(s):
    s.use('b', 'subscribe', 'x')
    s.use('c', 'subscribe', 'x')
    s.op('a', 'ok', 'send', send('x', 0, 1))
    s.op('b', 'ok', 'txn', poll(x=[(0, 1)]))
    s.op('c', 'ok', 'txn', poll(x=[(0, 1)]))


@story('passed-over')
def an_aborted_transaction_moves_its_group(s):
    s.use('b', 'subscribe', 'x')
    s.use('c', 'subscribe', 'x')
    s.op('a', 'ok', 'send', send('x', 0, 1), send('x', 1, 2))
    s.op('b', 'fail', 'txn', poll(x=[(0, 1)]))
    s.op('c', 'ok', 'txn', poll(x=[(1, 2)]))


@story('int-nonmonotonic-send')
def an_operation_is_reordered(s):
    s.op('a', 'ok', 'txn', send('x', 1, 1), send('x', 0, 2))
    s.op('b', 'ok', 'poll', poll(x=[(0, 2), (1, 1)]))


@story('nonmonotonic-send')
def operations_are_reordered(s):
    s.op('a', 'ok', 'send', send('x', 1, 1))
    s.op('a', 'ok', 'send', send('x', 0, 2))
    s.op('b', 'ok', 'poll', poll(x=[(0, 2), (1, 1)]))


@story('G1c')
def two_transactions_read_each_other(s):
    for process, mine in (('a', send('x', 0, 1)), ('b', send('y', 0, 2))):
        s.invoke(process, 'txn', mine, ('poll',))
    s.complete('a', 'ok', 'txn', send('x', 0, 1), poll(y=[(0, 2)]))
    s.complete('b', 'ok', 'txn', send('y', 0, 2), poll(x=[(0, 1)]))


@story('G1c-process')
def an_answer_before_the_question(s):
    """b reads what a will send after it has read what b sends."""
    s.invoke('b', 'txn', ('poll',), send('y', 0, 2))
    s.op('a', 'ok', 'txn', poll(y=[(0, 2)]))
    s.invoke('a', 'txn', send('x', 0, 1))
    s.complete('b', 'ok', 'txn', poll(x=[(0, 1)]), send('y', 0, 2))
    s.complete('a', 'ok', 'txn', send('x', 0, 1))


@story('G1c-realtime')
def read_before_it_was_sent(s):
    s.op('a', 'ok', 'poll', poll(x=[(0, 1)]))
    s.op('b', 'ok', 'txn', send('x', 0, 1))


def main():
    failed = 0
    for name, (tell, anomalies) in CASES.items():
        s = Story()
        tell(s)
        # Offsets are numbers, values are text in histories; here both are as they come.
        for line in s.lines:
            for step in line['value'] if line['f'] in ('txn', 'send', 'poll') else ():
                if step[0] == 'send':
                    step[2] = [step[2][0], str(step[2][1])] if isinstance(step[2], list) else str(step[2])
                elif len(step) > 1:
                    step[1] = {k: [[o, str(v)] for o, v in pairs] for k, pairs in step[1].items()}
        found = checker.check(s.lines, s.final)
        good = tuple(found) == tuple(sorted(anomalies, key=checker.FORBIDDEN.index))
        failed += not good
        print(f'{"PASS" if good else "FAIL"} {name}' + ('' if good else f': found {found}, want {anomalies}'))
    missing = set(checker.FORBIDDEN) - {a for _, anomalies in CASES.values() for a in anomalies}
    failed += bool(missing)
    print(f'{"FAIL" if missing else "PASS"} every anomaly has its history{": not " + ", ".join(missing) if missing else ""}')
    print(f'{len(CASES) + 1 - failed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
