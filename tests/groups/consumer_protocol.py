#!/usr/bin/env python3
"""Groups of the consumer protocol (KIP-848): real consumers of Apache and of librdkafka, alone and among classic ones.

    consumer_protocol.py [--broker odradek|apache] [--port N] [CASE]...

Told as groups.py tells it.
"""
import os
import re
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from groups import brokers, command, consumer_groups, dump_offsets, first_offsets, make_topic, offsets, produce, shared
from cases import Cases, Place, equal, eventually, true

import confluent_kafka

# Times that a test can wait for.
FAST = ('group.consumer.min.session.timeout.ms=2000', 'group.consumer.session.timeout.ms=6000',
        'group.consumer.min.heartbeat.interval.ms=200', 'group.consumer.heartbeat.interval.ms=300',
        'group.consumer.assignment.interval.ms=100')
case = Cases()


class Member:
    """A consumer of librdkafka on a thread of its own, which commits what it reads."""

    def __init__(self, address, topics, protocol='consumer', group='group', **options):
        self.values, self.problem, self.lost = [], None, 0
        config = {'bootstrap.servers': address, 'group.id': group, 'auto.offset.reset': 'earliest',
                  'enable.auto.commit': False, 'topic.metadata.refresh.interval.ms': 1000, 'group.protocol': protocol}
        if protocol == 'classic':
            config.update({'session.timeout.ms': 10000, 'heartbeat.interval.ms': 300,
                           'partition.assignment.strategy': 'cooperative-sticky'})
        config.update({name.replace('_', '.'): value for name, value in options.items()})
        self.consumer = confluent_kafka.Consumer(config)
        self.consumer.subscribe(topics, on_lost=self.on_lost)
        self.stopping = False
        self.places = set()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def on_lost(self, *_):
        self.lost += 1

    def run(self):
        while not self.stopping:
            try:
                message = self.consumer.poll(0.1)
                self.places = {(p.topic, p.partition) for p in self.consumer.assignment()}
                if message is None:
                    continue
                if message.error():
                    self.problem = message.error()
                    continue
                self.values.append(int(message.value()))
                self.consumer.commit(message, asynchronous=False)
            except confluent_kafka.KafkaException as problem:
                self.problem = problem

    @property
    def assigned(self):
        return {partition for _, partition in self.places}

    def close(self):
        self.stopping = True
        self.thread.join(30)
        self.consumer.close()


def all_read(members, values):
    return set(values) <= {v for m in members for v in m.values}


def describe(address, *what):
    return consumer_groups(address, '--describe', '--group', 'group', *what)


def group_epoch(address):
    """As the tool shows it: state, epoch of the group and of its assignment, members."""
    told = describe(address, '--state', '--verbose')
    found = re.search(r'^group +\S+ +\(\d+\) +\S+ +(\w+) +(\d+) +(\d+) +(\d+)', told, re.M)
    true(found, told)
    return found[1], int(found[2]), int(found[3]), int(found[4])


@case
def new_members_come_and_go(kind, port):
    with Place(kind, port, FAST) as place:
        make_topic(place.address, 't', 6)
        produce(place.address, 't', 6, range(300))
        members = [Member(place.address, ['t']) for _ in range(3)]
        eventually(lambda: shared(members, 6), 'three members share six partitions')
        eventually(lambda: all_read(members, range(300)), 'all was read')
        state, _, _, count = group_epoch(place.address)
        equal((state, count), ('Stable', 3), 'state and members')
        told = describe(place.address, '--members', '--verbose')
        equal(len(re.findall(r'^group .*rdkafka', told, re.M)), 3, told)
        told = command('org.apache.kafka.tools.GroupsCommand', '--bootstrap-server', place.address, '--list')
        true(re.search(r'^group +Consumer +consumer', told, re.M), told)
        members.pop().close()
        eventually(lambda: shared(members, 6), 'two members share six partitions')
        produce(place.address, 't', 6, range(300, 360))
        eventually(lambda: all_read(members, range(300, 360)), 'the rest was read')
        for member in members:
            equal(member.problem, None, 'problem of a member')
            member.close()
        equal(offsets(place.address, 'group'), {p: 60 for p in range(6)}, 'committed offsets')
        true('has no active members' in describe(place.address), describe(place.address))
        told = consumer_groups(place.address, '--delete', '--group', 'group')
        true('was successful' in told or 'successfully' in told, told)


JAVA = ('org.apache.kafka.tools.consumer.ConsoleConsumer', '--topic', 't', '--group', 'group', '--from-beginning')


class JavaMember:
    """Apache's console consumer with the new protocol."""

    def __init__(self, address, *options):
        self.lines = []
        self.process = subprocess.Popen(
            brokers.java(*JAVA, '--bootstrap-server', address, '--command-property', 'group.protocol=consumer',
                              '--command-property', 'auto.commit.interval.ms=200', *options),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.strip())

    @property
    def values(self):
        return [int(line) for line in self.lines if line.isdigit()]

    def close(self, kill=False):
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        self.process.wait(30)


@case
def javas_consumers(kind, port):
    with Place(kind, port, FAST) as place:
        make_topic(place.address, 't', 4)
        produce(place.address, 't', 4, range(100))
        members = [JavaMember(place.address) for _ in range(2)]
        try:
            eventually(lambda: all_read(members, range(100)), 'all was read')
            eventually(lambda: group_epoch(place.address)[0::3] == ('Stable', 2), 'two members')
            eventually(lambda: sum(offsets(place.address, 'group').values()) == 100, 'all is committed')
            # One is killed: its session ends; then librdkafka's joins.
            members[1].close(kill=True)
            eventually(lambda: group_epoch(place.address)[0::3] == ('Stable', 1), 'one member')
            members.append(Member(place.address, ['t']))
            eventually(lambda: len(members[2].assigned) == 2, 'half of it')
            produce(place.address, 't', 4, range(100, 200))
            eventually(lambda: all_read(members, range(200)), 'the rest was read')
        finally:
            members[0].close()
            if len(members) > 2:
                members[2].close()
        equal(sum(offsets(place.address, 'group').values()), 200, 'offsets in the end')
        true(not [line for m in members[:2] for line in m.lines if 'rror' in line], [m.lines for m in members[:2]])


@case
def static_members_come_back(kind, port):
    with Place(kind, port, FAST) as place:
        make_topic(place.address, 't', 4)
        members = [Member(place.address, ['t'], group_instance_id=f'i{n}') for n in range(2)]
        eventually(lambda: shared(members, 4), 'two members share four partitions')
        epoch, had = group_epoch(place.address), members[0].assigned
        members[0].close()
        members[0] = Member(place.address, ['t'], group_instance_id='i0')
        eventually(lambda: members[0].assigned == had, 'it has what it had')
        equal(group_epoch(place.address), epoch, 'nobody else has noticed')
        members[0].close()
        eventually(lambda: len(members[1].assigned) == 4, 'after its session the other one has all')
        members[1].close()


@case
def a_group_has_its_own_settings(kind, port):
    with Place(kind, port, FAST) as place:
        make_topic(place.address, 't', 2)
        configs = ('kafka.admin.ConfigCommand', '--bootstrap-server', place.address, '--entity-type', 'groups')
        alter = configs + ('--entity-name', 'group', '--alter', '--add-config')
        told = command(*alter, 'consumer.session.timeout.ms=3000')
        true('Completed' in told, told)
        told = command(*alter, 'consumer.session.timeout.ms=1')
        true('must be greater than or equal to group.consumer.min.session.timeout.ms' in told, told)
        told = command(*configs, '--describe')
        true('consumer.session.timeout.ms=3000' in told, told)
        members = [Member(place.address, ['t'], group_instance_id=f'i{n}') for n in range(2)]
        eventually(lambda: shared(members, 2), 'two members share two partitions')
        members[0].close()
        began = time.time()
        eventually(lambda: len(members[1].assigned) == 2, 'the other one has both')
        true(2 < time.time() - began < 5.5, f'after {time.time() - began:.1f} s of a session of 3 s')
        members[1].close()


@case
def expressions(kind, port):
    with Place(kind, port, FAST) as place:
        make_topic(place.address, 'tom', 2)
        make_topic(place.address, 'atom', 2)
        member = Member(place.address, ['^to.*'])
        eventually(lambda: member.places == {('tom', 0), ('tom', 1)}, 'the topics that match')
        make_topic(place.address, 'top', 1)
        eventually(lambda: ('top', 0) in member.places, 'a new one that matches')
        equal(len(member.places), 3, 'nothing else')
        member.close()


@case
def groups_change_their_protocol(kind, port):
    with Place(kind, port, FAST) as place:
        make_topic(place.address, 't', 6)
        members = [Member(place.address, ['t'], protocol='classic') for _ in range(2)]
        eventually(lambda: shared(members, 6), 'two classic members share it')
        stop, sent = threading.Event(), []

        def feed():
            while not stop.is_set():
                values = range(len(sent), len(sent) + 60)
                produce(place.address, 't', 6, values)
                sent.extend(values)
                time.sleep(0.5)
        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            # One after the other becomes new, then classic again.
            for protocol in ('consumer', 'classic'):
                for n in range(2):
                    members.append(Member(place.address, ['t'], protocol=protocol))
                    eventually(lambda: shared(members[-3:], 6), f'three members, {protocol} {n}')
                    members[-3].close()
                    members[-3], members[-2], members[-1] = members[-2], members[-1], members[-3]
                    done = members.pop()
                    members.insert(0, done)
                    eventually(lambda: shared(members[-2:], 6), f'two members, {protocol} {n}')
                told = command('org.apache.kafka.tools.GroupsCommand', '--bootstrap-server', place.address, '--list')
                true(re.search(rf'^group +{protocol} ', told, re.M | re.I), told)
        finally:
            stop.set()
            feeder.join()
        eventually(lambda: all_read(members, range(len(sent))), 'all was read')
        for member in members[-2:]:
            member.close()
        equal(sum(offsets(place.address, 'group').values()), len(sent), 'offsets in the end')


@case
def policies(kind, port):
    for n, (policy, up) in enumerate((('disabled', False), ('downgrade', False), ('upgrade', True))):
        with Place(kind, port + 2 * n, FAST + (f'group.consumer.migration.policy={policy}',)) as place:
            make_topic(place.address, 't', 4)
            classic = Member(place.address, ['t'], protocol='classic')
            eventually(lambda: len(classic.assigned) == 4, 'a classic member')
            new = Member(place.address, ['t'])
            if up:
                eventually(lambda: len(new.assigned) == 2 and len(classic.assigned) == 2, 'they share it')
                new.close()
                eventually(lambda: len(classic.assigned) == 4, 'the classic one is alone')
                # It stays a group of the new kind.
                true('Consumer' in command('org.apache.kafka.tools.GroupsCommand', '--bootstrap-server', place.address,
                                           '--list'), policy)
            else:
                eventually(lambda: new.problem, 'it is refused')
                equal(len(classic.assigned), 4, f'{policy}: the classic one keeps all')
                new.close()
            classic.close()


@case
def the_broker_dies_under_new_members(kind, port):
    with Place(kind, port, FAST) as place:
        make_topic(place.address, 't', 4)
        produce(place.address, 't', 4, range(100))
        members = [Member(place.address, ['t']) for _ in range(2)]
        eventually(lambda: shared(members, 4), 'two members share four partitions')
        eventually(lambda: sum(offsets(place.address, 'group').values()) == 100, 'all is committed')
        before = group_epoch(place.address)
        place.become(kind, kill=True)
        eventually(lambda: sum(first_offsets(place.address, 'group').values()) == 100, 'offsets')
        produce(place.address, 't', 4, range(100, 200))
        eventually(lambda: all_read(members, range(200)), 'the rest was read')
        equal(group_epoch(place.address), before, 'nobody had to move')
        for member in members:
            member.close()
        equal(sum(offsets(place.address, 'group').values()), 200, 'offsets in the end')


def hand_over(first, second, port):
    slow = FAST + ('group.consumer.session.timeout.ms=45000',)
    with Place(first, port, slow) as place:
        make_topic(place.address, 't', 4)
        produce(place.address, 't', 4, range(100))
        members = [Member(place.address, ['t']) for _ in range(2)]
        members.append(Member(place.address, ['t'], protocol='classic', session_timeout_ms=45000))
        eventually(lambda: shared(members, 4), 'three members share four partitions')
        eventually(lambda: sum(offsets(place.address, 'group').values()) == 100, 'all is committed')
        before, had = group_epoch(place.address), [m.places for m in members]
        sent = 100
        for kind in (second, first):
            place.become(kind)
            equal(sum(first_offsets(place.address, 'group').values()), sent, f'offsets at {kind}')
            produce(place.address, 't', 4, range(sent, sent + 100))
            sent += 100
            eventually(lambda: all_read(members, range(sent)), f'the rest was read at {kind}')
            eventually(lambda: sum(offsets(place.address, 'group').values()) == sent, 'all is committed')
            equal(group_epoch(place.address), before, f'epochs at {kind}')
            equal([m.places for m in members], had, f'assignments at {kind}')
        for member in members:
            member.close()
        place.broker.stop()
        dump_offsets(place)


@case
def a_live_group_is_handed_to_apache_and_back(kind, port):
    hand_over(kind, 'apache' if kind == 'odradek' else 'odradek', port)


@case
def a_live_group_is_taken_from_apache(kind, port):
    hand_over('apache' if kind == 'odradek' else 'odradek', kind, port)


if __name__ == '__main__':
    sys.exit(case.main(__doc__, 21360))
