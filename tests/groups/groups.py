#!/usr/bin/env python3
"""Consumer groups of real clients against brokers that come and go.

    groups.py [--broker odradek|apache] [--port N] [CASE]...

Each case starts its own broker and prints `PASS name` or `FAIL name: why`; the last line is `N passed, N failed`.
"""
import os
import re
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'tools'))

import broker as brokers
import confluent_kafka
from cases import Cases, Place, equal, eventually, true
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError
from kafka.structs import OffsetAndMetadata

# A minute is enough for `eventually`: kafka-python's consumer loses an answer once in a hundred joins, at Apache too, and asks again after 30 s.
case = Cases()


def admin(address):
    return KafkaAdminClient(bootstrap_servers=address)


def make_topic(address, name, partitions):
    client = admin(address)
    client.create_topics([NewTopic(name, partitions, 1)])
    client.close()


def produce(address, topic, partitions, values):
    """One record for each value, spread over the partitions."""
    producer = KafkaProducer(bootstrap_servers=address, acks='all', retries=100)
    for n, value in enumerate(values):
        producer.send(topic, str(value).encode(), partition=n % partitions)
    producer.flush(60)
    producer.close()


def offsets(address, group):
    """{partition: offset} of the group's only topic."""
    client = admin(address)
    found = {p.partition: o.offset for p, o in client.list_group_offsets(group)[group].items()}
    client.close()
    return found


def first_offsets(address, group):
    """The same of a broker that has just started: Apache says NOT_COORDINATOR until its coordinators are up."""
    def ask():
        try:
            return offsets(address, group)
        except (NotCoordinatorError, CoordinatorLoadInProgressError, CoordinatorNotAvailableError):
            return None
    return eventually(ask, 'the coordinator answers')


class Member(ConsumerRebalanceListener):
    """A consumer on a thread of its own, which commits what it reads."""

    def __init__(self, address, topic, group='group', **options):
        self.values, self.rebalances, self.assigned, self.problem = [], 0, set(), None
        self.consumer = KafkaConsumer(
            bootstrap_servers=address, group_id=group, auto_offset_reset='earliest', enable_auto_commit=False,
            **{'session_timeout_ms': 10000, 'heartbeat_interval_ms': 500, **options})
        self.consumer.subscribe([topic], listener=self)
        self.stopping = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def on_partitions_revoked(self, revoked):
        self.assigned = set()

    def on_partitions_assigned(self, assigned):
        self.rebalances += 1
        self.assigned = {p.partition for p in assigned}

    def run(self):
        while not self.stopping:
            try:
                for batch in self.consumer.poll(1500).values():
                    self.values += [int(r.value) for r in batch]
                    self.consumer.commit()
            except Exception as problem:  # told by whoever looks at the member
                self.problem = problem

    @property
    def generation(self):
        generation = self.consumer._coordinator._generation
        return generation.generation_id, generation.member_id

    def close(self):
        self.stopping = True
        self.thread.join(30)
        self.consumer.close()


def shared(members, partitions):
    """Whether every partition has exactly one of the members, and nobody has more than a share."""
    most = -(-partitions // len(members))
    owned = [p for m in members for p in m.assigned]
    return sorted(owned) == list(range(partitions)) and all(0 < len(m.assigned) <= most for m in members)


def command(main, *args, timeout_s=60):
    done = subprocess.run(brokers.java(main, *args), capture_output=True, text=True, timeout=timeout_s)
    return done.stdout + done.stderr


def consumer_groups(address, *args):
    return command('org.apache.kafka.tools.consumer.group.ConsumerGroupCommand', '--bootstrap-server', address, *args)


@case
def members_come_and_go(kind, port):
    with Place(kind, port) as place:
        make_topic(place.address, 't', 6)
        produce(place.address, 't', 6, range(300))
        members = [Member(place.address, 't') for _ in range(3)]
        eventually(lambda: shared(members, 6), 'three members share six partitions')
        eventually(lambda: set(range(300)) <= {v for m in members for v in m.values}, 'all was read')
        members.pop().close()
        eventually(lambda: shared(members, 6), 'two members share six partitions')
        produce(place.address, 't', 6, range(300, 360))
        eventually(lambda: set(range(300, 360)) <= {v for m in members for v in m.values}, 'the rest was read')
        for member in members:
            equal(member.problem, None, 'problem of a member')
            member.close()
        equal(offsets(place.address, 'group'), {p: 60 for p in range(6)}, 'committed offsets')


DIES = '''
import sys
from kafka import KafkaConsumer
c = KafkaConsumer('t', bootstrap_servers=sys.argv[1], group_id='group', session_timeout_ms=6000, heartbeat_interval_ms=500)
while not c.assignment(): c.poll(100)
print('in', flush=True)
while True: c.poll(100)
'''


@case
def a_member_dies(kind, port):
    with Place(kind, port) as place:
        make_topic(place.address, 't', 4)
        dying = subprocess.Popen([sys.executable, '-c', DIES, place.address], stdout=subprocess.PIPE, text=True)
        dying.stdout.readline()
        member = Member(place.address, 't', session_timeout_ms=6000)
        eventually(lambda: len(member.assigned) == 2, 'two members share four partitions')
        dying.kill()
        dying.wait()
        began = time.time()
        eventually(lambda: len(member.assigned) == 4, 'the survivor has all partitions')
        print(f'     all partitions after {time.time() - began:.1f} s of a 6 s session', flush=True)
        member.close()


@case
def the_broker_dies(kind, port):
    with Place(kind, port) as place:
        make_topic(place.address, 't', 4)
        produce(place.address, 't', 4, range(100))
        members = [Member(place.address, 't') for _ in range(2)]
        eventually(lambda: shared(members, 4), 'two members share four partitions')
        eventually(lambda: sum(offsets(place.address, 'group').values()) == 100, 'all is committed')
        before = [(m.generation, m.rebalances) for m in members]
        for _ in range(3):
            place.become(kind, kill=True)
            # Ours has them when it serves; Apache's coordinators come a little later.
            ask = first_offsets if kind == 'apache' else offsets
            equal(sum(ask(place.address, 'group').values()), 100, 'offsets after the restart')
        produce(place.address, 't', 4, range(100, 200))
        eventually(lambda: set(range(200)) <= {v for m in members for v in m.values}, 'the rest was read')
        # Members never noticed: the group came back as it was.
        equal([(m.generation, m.rebalances) for m in members], before, 'generations and rebalances')
        for member in members:
            member.close()
        equal(sum(offsets(place.address, 'group').values()), 200, 'offsets in the end')


@case
def static_members(kind, port):
    with Place(kind, port) as place:
        make_topic(place.address, 't', 4)
        first = Member(place.address, 't', group_instance_id='one', session_timeout_ms=30000)
        eventually(lambda: len(first.assigned) == 4, 'the first has all partitions')
        second = Member(place.address, 't', group_instance_id='two', session_timeout_ms=30000)
        eventually(lambda: shared([first, second], 4), 'two members share four partitions')
        had, rebalances = second.assigned, first.rebalances
        second.close()
        second = Member(place.address, 't', group_instance_id='two', session_timeout_ms=30000)
        eventually(lambda: second.assigned, 'the second is back')
        equal(second.assigned, had, 'its partitions')
        produce(place.address, 't', 4, range(20))
        eventually(lambda: len(first.values) + len(second.values) == 20, 'all was read')
        equal(first.rebalances, rebalances, 'rebalances of the first')
        told = consumer_groups(place.address, '--describe', '--group', 'group', '--members', '--verbose')
        true('one' in told and 'two' in told, told)
        first.close()
        second.close()


class RdMember:
    """The same with librdkafka."""

    def __init__(self, address, topic, **options):
        self.consumer = confluent_kafka.Consumer({
            'bootstrap.servers': address, 'group.id': 'group', 'auto.offset.reset': 'earliest', 'session.timeout.ms': 10000,
            'heartbeat.interval.ms': 500, 'log_level': 0, **{k.replace('_', '.'): v for k, v in options.items()}})
        self.assigned, self.values, self.stopping = set(), [], False
        self.consumer.subscribe([topic])
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopping:
            message = self.consumer.poll(0.1)
            if message is not None and not message.error():
                self.values.append(int(message.value()))
            self.assigned = {p.partition for p in self.consumer.assignment()}

    def close(self):
        self.stopping = True
        self.thread.join(30)
        self.consumer.close()


@case
def librdkafka_members(kind, port):
    with Place(kind, port) as place:
        for strategy in ('range', 'roundrobin', 'cooperative-sticky'):
            for static in (False, True):
                topic = f'{strategy}-{static}'
                make_topic(place.address, topic, 4)
                produce(place.address, topic, 4, range(40))
                options = {'partition_assignment_strategy': strategy, 'group_id': topic}
                members = [RdMember(place.address, topic, **options, **({'group_instance_id': f'i{n}'} if static else {}))
                           for n in range(2)]
                eventually(lambda: shared(members, 4), f'{topic}: two members share four partitions')
                eventually(lambda: set(range(40)) <= {v for m in members for v in m.values}, f'{topic}: all was read')
                place.become(kind, kill=True)
                produce(place.address, topic, 4, range(40, 80))
                eventually(lambda: set(range(80)) <= {v for m in members for v in m.values}, f'{topic}: the rest was read')
                true(shared(members, 4), f'{topic}: still shared')
                members.pop().close()
                # A static member's place is kept until its session ends.
                eventually(lambda: len(members[0].assigned) == 4, f'{topic}: one member has all')
                members[0].close()
                equal(offsets(place.address, topic), {p: 20 for p in range(4)}, f'{topic}: committed offsets')


@case
def apache_tools(kind, port):
    with Place(kind, port) as place:
        make_topic(place.address, 't', 2)
        produce(place.address, 't', 2, range(10))
        out = command('org.apache.kafka.tools.consumer.ConsoleConsumer', '--bootstrap-server', place.address, '--topic', 't',
                      '--from-beginning', '--max-messages', '10', '--group', 'console', '--timeout-ms', '20000')
        equal(sorted(int(x) for x in out.splitlines() if x.isdigit()), list(range(10)), f'console consumer: {out}')
        true('console' in consumer_groups(place.address, '--list').split(), 'the group is listed')
        told = consumer_groups(place.address, '--describe', '--group', 'console')
        rows = [r.split()[1:6] for r in told.splitlines() if r.startswith('console')]
        equal(sorted(rows), [['t', '0', '5', '5', '0'], ['t', '1', '5', '5', '0']], told)
        told = consumer_groups(place.address, '--describe', '--group', 'console', '--state')
        true(re.search(r'console .*Empty', told), told)
        told = consumer_groups(place.address, '--group', 'console', '--reset-offsets', '--to-offset', '2', '--topic', 't', '--execute')
        equal(offsets(place.address, 'console'), {0: 2, 1: 2}, told)
        told = consumer_groups(place.address, '--group', 'console', '--reset-offsets', '--shift-by', '1', '--topic', 't:1', '--execute')
        equal(offsets(place.address, 'console'), {0: 2, 1: 3}, told)
        told = consumer_groups(place.address, '--group', 'console', '--delete-offsets', '--topic', 't:0')
        equal(offsets(place.address, 'console'), {1: 3}, told)
        member = Member(place.address, 't', group='busy')
        eventually(lambda: len(member.assigned) == 2, 'a member')
        told = consumer_groups(place.address, '--describe', '--group', 'busy', '--members')
        true(re.search(r'busy .*kafka-python', told), told)
        told = consumer_groups(place.address, '--delete', '--group', 'busy', '--group', 'console')
        true('GroupNotEmpty' in told, told)
        member.close()
        consumer_groups(place.address, '--delete', '--group', 'busy')
        equal([g for g in consumer_groups(place.address, '--list').split() if g in ('busy', 'console')], [], 'groups that are left')
        place.broker.stop()
        dump_offsets(place)


def dump_offsets(place):
    """Apache's own reader takes every record that was written."""
    logs, lines = place.broker.logs, []
    for folder in sorted(f for f in os.listdir(logs) if f.startswith('__consumer_offsets-')):
        files = sorted(f for f in os.listdir(os.path.join(logs, folder)) if f.endswith('.log'))
        full = [os.path.join(logs, folder, f) for f in files if os.path.getsize(os.path.join(logs, folder, f))]
        if full:
            lines += command('org.apache.kafka.tools.DumpLogSegments', '--offsets-decoder', '--print-data-log', '--files',
                             ','.join(full)).splitlines()
    told = '\n'.join(lines)
    for problem in ('rror', 'could not', 'mismatch', 'nvalid', 'unknown'):
        true(problem not in told.replace('"errorCode"', ''), told)
    kinds = sorted({(m[1], m[2]) for m in re.finditer(r'key: ?\{"type":"?(\w+)"?.*? payload: ?\{"version":"?(\w+)"?', told)})
    true(len(kinds) >= 2, f'kinds of records: {kinds}\n{told}')
    print(f'     record types and versions: {kinds}', flush=True)
    return kinds


@case
def offsets_are_compacted(kind, port):
    small = ('offsets.topic.segment.bytes=1048576', 'log.cleaner.backoff.ms=100', 'offsets.topic.num.partitions=1')
    with Place(kind, port, small) as place:
        make_topic(place.address, 't', 5)
        consumer = KafkaConsumer(bootstrap_servers=place.address, group_id='group', enable_auto_commit=False)
        where = [TopicPartition('t', p) for p in range(5)]
        consumer.assign(where)
        for n in range(1500):
            consumer.commit({w: OffsetAndMetadata(n, 'x' * 1000, -1) for w in where[:1 + n % 5]})
        consumer.close()
        want = {p: max(n for n in range(1500) if n % 5 >= p) for p in range(5)}
        equal(offsets(place.address, 'group'), want, 'offsets')
        folder = os.path.join(place.broker.logs, '__consumer_offsets-0')

        def size():
            return sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder) if f.endswith('.log'))
        eventually(lambda: size() < 1500000, 'the log is compacted')
        for _ in range(2):
            place.become(kind, kill=True)
            equal(first_offsets(place.address, 'group'), want, 'offsets after the restart')


def hand_over(first, second, port, kill):
    with Place(first, port) as place:
        make_topic(place.address, 't', 4)
        produce(place.address, 't', 4, range(100))
        members = [Member(place.address, 't', session_timeout_ms=45000) for _ in range(2)]
        eventually(lambda: shared(members, 4), 'two members share four partitions')
        eventually(lambda: sum(offsets(place.address, 'group').values()) == 100, 'all is committed')
        before = [(m.generation, m.rebalances) for m in members]
        for kind in (second, first):
            place.become(kind, kill)
            equal(sum(first_offsets(place.address, 'group').values()), 100, f'offsets at {kind}')
            told = consumer_groups(place.address, '--describe', '--group', 'group', '--state')
            true(re.search(r'group .*Stable +2', told), f'at {kind}: {told}')
        produce(place.address, 't', 4, range(100, 200))
        eventually(lambda: set(range(200)) <= {v for m in members for v in m.values}, 'the rest was read')
        equal([(m.generation, m.rebalances) for m in members], before, 'generations and rebalances')
        for member in members:
            member.close()
        equal(sum(offsets(place.address, 'group').values()), 200, 'offsets in the end')


@case
def handed_to_apache_and_back(kind, port):
    hand_over(kind, 'apache' if kind == 'odradek' else 'odradek', port, kill=False)


@case
def handed_over_after_a_crash(kind, port):
    hand_over('apache' if kind == 'odradek' else 'odradek', kind, port, kill=True)


if __name__ == '__main__':
    sys.exit(case.main(__doc__, 21300))
