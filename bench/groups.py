#!/usr/bin/env python3
"""How long consumer groups stand still, and what offset commits cost: Odradek beside Apache Kafka, in turn, in one run.

A pause is counted until every partition of the topic was fetched again by a member of the new generation (after a restart:
by any). What the protocol itself asks for is taken off: the initial rebalance delay, the session of a dead member. Members
are those of group_members.py for both brokers; they send a heartbeat every 2 ms, so that what a real client waits for does
not blur what the broker does.

Commits are of one partition each, over many groups without members; CPU is the broker's, user and system. "Default" is what
the broker does when nothing is set: Odradek syncs before it answers, Apache Kafka does not.
"""
import argparse
import os
import socket
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'tests', 'tools'))

import broker as brokers
import group_members as gm
import probe
import results as tables

BEGIN, END = '<!-- groups-table:begin -->', '<!-- groups-table:end -->'
PARTITIONS, MANY = 24, 100
DELAY_S = 3.0
FIND_COORDINATOR = 10
FOREVER = '9223372036854775807'
DURABILITIES = {'default durability': {}, 'not synced': {'log.flush.interval.messages': FOREVER},
                'synced': {'log.flush.interval.messages': '1'}}


def topic(broker, name, partitions):
    connection = probe.Connection(broker.host, broker.port, 30)
    probe.create_topic(connection, name, partitions)
    for p in range(partitions):
        while probe.produce(connection, name, p)[0] != 0:
            time.sleep(0.05)
    # Somebody has to ask for a coordinator, else there is none.
    while struct.unpack_from('>h', connection.call(FIND_COORDINATOR, 0, gm.text('any')))[0] != 0:
        time.sleep(0.05)
    connection.close()


# ---- pauses

def pauses(table, kind, port, _):
    for name in ('default durability', 'not synced'):
        pauses_at(table, kind, port, name)


def pauses_at(table, kind, port, durability):
    def add(what, seconds):
        table.add(f'{what}, {durability}', kind, seconds * 1000, 'ms')
        print(f'#   {what}, {durability}: {seconds * 1000:.1f} ms', file=sys.stderr, flush=True)

    properties = {'group.initial.rebalance.delay.ms': '3000', **DURABILITIES[durability]}
    with brokers.Broker(kind, port, heap=tables.HEAP, loops=None, properties=properties) as broker:
        topic(broker, 'shared', PARTITIONS)
        topic(broker, 'wide', MANY)
        warm_up(broker)
        for turn in range(3):
            crowd, group = gm.Crowd(broker.address), f'three-{turn}'
            began = time.time()
            members = [crowd.add(group, 'shared', PARTITIONS) for _ in range(3)]
            end = crowd.run_until(lambda: crowd.all_consumed([group], PARTITIONS, began))
            # Others came while the first delay lasted, so there is a second one.
            add('3 members form a group on 24 partitions', end - began - 2 * DELAY_S)
            crowd.run_for(0.3)
            generation, began = members[0].generation, time.time()
            members.pop().leave()
            end = crowd.run_until(lambda: crowd.all_consumed([group], PARTITIONS, began, generation))
            add('one of 3 leaves politely', end - began)
            crowd.run_for(0.3)
            generation = members[0].generation
            dead = members.pop()
            dead.die()
            over = dead.last_beat + dead.session_ms / 1000
            end = crowd.run_until(lambda: crowd.all_consumed([group], PARTITIONS, time.time() - 0.5, generation))
            add('kill -9 of a member with a session of 6 s', end - over)
            crowd.close()
        for turn in range(3):
            crowd, began = gm.Crowd(broker.address), time.time()
            for _ in range(MANY):
                crowd.add(f'many-{turn}', 'wide', MANY, 30000)
            end = crowd.run_until(lambda: crowd.all_consumed([f'many-{turn}'], MANY, began))
            add(f'{MANY} members form a group on {MANY} partitions', end - began - 2 * DELAY_S)
            crowd.close()
        if durability == 'default durability':
            restarts(broker, add)


def warm_up(broker):
    """Classes are loaded and compiled before anything is measured."""
    crowd = gm.Crowd(broker.address)
    for turn in range(5):
        for _ in range(4):
            crowd.add(f'warm-{turn}', 'shared', PARTITIONS)
    crowd.run_until(lambda: crowd.all_consumed([f'warm-{n}' for n in range(5)], PARTITIONS, 1))
    crowd.run_for(5)
    crowd.close()


def restarts(broker, add):
    crowd = gm.Crowd(broker.address, 0.02)
    groups = [f'live-{n}' for n in range(10)]
    for g in groups:
        for _ in range(3):
            crowd.add(g, 'shared', PARTITIONS, 30000)
    crowd.run_until(lambda: crowd.all_consumed(groups, PARTITIONS, 1))
    for what, end_it in (('clean restart', broker.stop), ('kill -9', broker.kill)):
        for _ in range(2):
            crowd.run_for(2)
            end_it()
            broker.spawn()
            began = time.time()
            end = crowd.run_until(lambda: crowd.all_consumed(groups, PARTITIONS, began))
            add(f'{what} of the broker with 10 live groups of 3, from exec', end - began)
    crowd.close()


# ---- commits

def commit_frames(groups):
    """A commit for each group, with a gap for the correlation id and the offset."""
    return [gm.frame(gm.OFFSET_COMMIT, 0, gm.text(f'group-{g}') + struct.pack('>i', -1) + gm.text('') + struct.pack('>q', -1) +
                     struct.pack('>i', 1) + gm.text('committed') + struct.pack('>iiq', 1, 0, 7) + gm.text(''))
            for g in range(groups)]


def answered(connection, count):
    """Reads so many answers, which have one size; the last one's error."""
    head = probe.read_exactly(connection, 4)
    size = struct.unpack('>i', head)[0]
    rest = probe.read_exactly(connection, size + (count - 1) * (4 + size))
    return struct.unpack('>h', rest[-2:])[0]


def commit_load(address, frames, seconds, deep, connections):
    """Commits until the time is over: `deep` in flight on each connection. Returns how many."""
    host, port = address.rsplit(':', 1)
    links = [socket.create_connection((host, int(port)), 30) for _ in range(connections)]
    for link in links:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    end, done, at = time.time() + seconds, 0, 0
    while time.time() < end:
        for link in links:
            link.sendall(b''.join(frames[(at + i) % len(frames)] for i in range(deep)))
            at += deep
        for link in links:
            error = answered(link, deep)
            if error:
                raise RuntimeError(f'a commit failed: error {error}')
            done += deep
    for link in links:
        link.close()
    return done


def until_committing(address, frames):
    end = time.time() + 60
    while True:
        try:
            commit_load(address, frames, 0.05, 1, 1)
            return
        except (RuntimeError, OSError):
            if time.time() > end:
                raise
            time.sleep(0.2)


def commits(table, kind, port, seconds):
    for name, properties in DURABILITIES.items():
        with brokers.Broker(kind, port, heap=tables.HEAP, loops=None, properties=properties) as broker:
            topic(broker, 'committed', 1)
            crowd = gm.Crowd(broker.address)
            crowd.add('first', 'committed', 1)
            crowd.run_until(lambda: crowd.all_consumed(['first'], 1, 1))
            crowd.close()
            frames = commit_frames(1000)
            for frame in frames[::97]:
                until_committing(broker.address, [frame])
            for way, deep, connections in (('one at a time', 1, 1), ('16 connections, one at a time each', 1, 16),
                                           ('pipelined, 8 connections of 50', 50, 8)):
                commit_load(broker.address, frames, seconds, deep, connections)       # the just-in-time compiler's share
                used, began = broker.cpu_s(), time.time()
                done = commit_load(broker.address, frames, seconds, deep, connections)
                took, used = time.time() - began, broker.cpu_s() - used
                row = f'commits in 1,000 groups, {way}, {name}'
                table.add(f'{row}: CPU for a thousand', kind, used / done * 1e6, 'ms')
                table.add(f'{row}: a second', kind, done / took, '')
                print(f'#   {row}: {used / done * 1e6:.2f} ms of CPU a thousand, {done / took:.0f} a second',
                      file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=2)
    parser.add_argument('--seconds', type=float, default=4, help='of commits, for each row')
    parser.add_argument('--port', type=int, default=21400)
    parser.add_argument('--markdown', metavar='FILE')
    parser.add_argument('--csv', metavar='FILE')
    parser.add_argument('--only', choices=tables.KINDS)
    parser.add_argument('parts', nargs='*', choices=['pauses', 'commits', []])
    args = parser.parse_args()
    table, load_before = tables.Table(), os.getloadavg()[0]
    for turn in range(args.rounds):
        for kind in [args.only] if args.only else tables.KINDS:
            for part in [p for p in (pauses, commits) if not args.parts or p.__name__ in args.parts]:
                print(f'# round {turn + 1}, {kind}: {part.__name__}', file=sys.stderr, flush=True)
                part(table, kind, args.port, args.seconds)
    text = (f'Made by `bench/groups.sh --rounds {args.rounds}` on {time.strftime("%Y-%m-%d")}: {tables.machine()}; '
            f'load average before the run {load_before:.1f}. Medians; the ratio is Odradek to Apache Kafka.\n\n'
            + table.markdown())
    print(text)
    if args.markdown:
        tables.write_into(args.markdown, text, BEGIN, END)
    if args.csv:
        table.write_csv(args.csv)


if __name__ == '__main__':
    main()
