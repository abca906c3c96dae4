#!/usr/bin/env python3
"""Transactions of real clients against brokers that come and go.

    clients.py [--broker odradek|apache] [--port N] [CASE]...

Each case starts its own broker and prints `PASS name` or `FAIL name: why`; the last line is `N passed, N failed`.
"""
import collections
import os
import re
import signal
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'tools'))

import broker as brokers
import confluent_kafka
from cases import Cases, Place, equal, eventually, true
from confluent_kafka.admin import AdminClient, NewTopic
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaTopicPartition

case = Cases()
SETTINGS = {
    'offsets.topic.num.partitions': '3',
    'transaction.state.log.num.partitions': '3',
    'transaction.abort.timed.out.transaction.cleanup.interval.ms': '500',
    'broker.session.timeout.ms': '2000',
    'broker.heartbeat.interval.ms': '300',
}


def make_topics(address, *names, partitions=2):
    admin = AdminClient({'bootstrap.servers': address})
    for name, done in admin.create_topics([NewTopic(n, partitions, 1) for n in names]).items():
        done.result(30)


def command(main, *args, timeout_s=60):
    done = subprocess.run(brokers.java(main, *args), capture_output=True, text=True, timeout=timeout_s)
    return done.stdout + done.stderr


def transactions(address, *args):
    return command('org.apache.kafka.tools.TransactionsCommand', '--bootstrap-server', address, *args)


def feature(address, level):
    told = command('org.apache.kafka.tools.FeatureCommand', '--bootstrap-server', address, 'downgrade', '--feature',
                   f'transaction.version={level}')
    true('was downgraded' in told or 'finalized' in told, told)


# When its only broker goes, librdkafka 2.16 begins anew with its bootstrap servers, and a transaction that then asks the
# group coordinator waits for a broker that is no more, for good.
STAYS = {'metadata.recovery.strategy': 'none'}


def producer(address, transactional_id, **options):
    p = confluent_kafka.Producer({'bootstrap.servers': address, 'transactional.id': transactional_id,
                                  'transaction.timeout.ms': 20000, **STAYS, **options})
    p.init_transactions(30)
    return p


def retrying(function):
    """What librdkafka says may be tried again is tried again."""
    end = time.time() + 60
    while True:
        try:
            return function()
        except confluent_kafka.KafkaException as problem:
            if not problem.args[0].retriable() or time.time() > end:
                raise
            time.sleep(0.1)


def read(address, topic, partitions=2, isolation='read_committed', timeout_s=20):
    """All values of a topic up to where that isolation level sees."""
    consumer = confluent_kafka.Consumer({'bootstrap.servers': address, 'group.id': 'reader', 'isolation.level': isolation,
                                         'auto.offset.reset': 'earliest', 'enable.auto.commit': False,
                                         'enable.partition.eof': True})
    consumer.assign([confluent_kafka.TopicPartition(topic, p, 0) for p in range(partitions)])
    values, ended, end = [], set(), time.time() + timeout_s
    while len(ended) < partitions:
        true(time.time() < end, f'the end of {topic} does not come')
        message = consumer.poll(0.2)
        if message is None:
            continue
        if message.error():
            if message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            continue
        values.append(message.value().decode())
    consumer.close()
    return values


def stable(address, topic):
    """Whether no transaction holds back what the topic has."""
    return len(read(address, topic)) >= 0 and all(
        low_high(address, topic, p, 'read_committed') == low_high(address, topic, p, 'read_uncommitted') for p in range(2))


def low_high(address, topic, partition, isolation):
    consumer = KafkaConsumer(bootstrap_servers=address, isolation_level=isolation)
    where = KafkaTopicPartition(topic, partition)
    ends = consumer.end_offsets([where])[where]
    consumer.close()
    return ends


def once(values, wanted, what):
    counts = collections.Counter(values)
    doubled = sorted(v for v, n in counts.items() if n > 1)
    missing = sorted(set(wanted) - set(counts))
    alien = sorted(set(counts) - set(wanted))
    true(not doubled and not missing and not alien,
         f'{what}: {len(doubled)} twice {doubled[:3]}, {len(missing)} missing {missing[:3]}, {len(alien)} alien {alien[:3]}')


# ---- librdkafka

@case
def committed_and_aborted(kind, port):
    with Place(kind, port, SETTINGS) as place:
        make_topics(place.address, 't')
        p = producer(place.address, 'tx')
        for n in range(40):
            p.begin_transaction()
            for i in range(5):
                p.produce('t', f'{"good" if n % 4 else "bad"}-{n}-{i}', partition=i % 2)
            p.commit_transaction(30) if n % 4 else p.abort_transaction(30)
        once(read(place.address, 't'), [f'good-{n}-{i}' for n in range(40) if n % 4 for i in range(5)], 'committed')
        equal(len([v for v in read(place.address, 't', isolation='read_uncommitted') if v.startswith('good')]), 150, 'good ones')


@case
def a_crash_between_every_two_steps(kind, port):
    with Place(kind, port, SETTINGS) as place:
        make_topics(place.address, 't')
        wanted = []
        p = producer(place.address, 'tx', **{'transaction.timeout.ms': 60000})
        place.crash()
        for n in range(2):
            p.begin_transaction()
            place.crash()
            for i in range(4):
                p.produce('t', f'{n}-{i}', partition=i % 2)
            equal(p.flush(30), 0, 'messages left')
            place.crash()
            p.produce('t', f'{n}-more', partition=0)
            p.flush(30)
            place.crash()
            if n == 0:
                retrying(lambda: p.commit_transaction(30))
                wanted += [f'0-{i}' for i in range(4)] + ['0-more']
            else:
                retrying(lambda: p.abort_transaction(30))
            place.crash()
        once(read(place.address, 't'), wanted, 'after the crashes')
        eventually(lambda: stable(place.address, 't'), 'nothing is left open')


@case
def a_producer_that_died_is_fenced(kind, port):
    with Place(kind, port, SETTINGS) as place:
        make_topics(place.address, 't')
        first = producer(place.address, 'tx')
        first.begin_transaction()
        first.produce('t', 'lost', partition=0)
        first.flush(10)
        equal(read(place.address, 't', isolation='read_uncommitted'), ['lost'], 'uncommitted')
        second = producer(place.address, 'tx')  # waits until the first one's is aborted
        second.begin_transaction()
        second.produce('t', 'kept', partition=0)
        second.commit_transaction(30)
        try:
            first.produce('t', 'zombie', partition=0)
            first.commit_transaction(10)
            raise AssertionError('the first producer was not fenced')
        except confluent_kafka.KafkaException as problem:
            true(problem.args[0].fatal() or problem.args[0].txn_requires_abort(), f'{problem}')
        equal(read(place.address, 't'), ['kept'], 'committed')
        if kind == 'odradek':
            true('a newer producer of this id has come' in place.broker.log_tail(20000), 'the broker says who was fenced')


@case
def a_transaction_that_takes_too_long(kind, port):
    with Place(kind, port, SETTINGS) as place:
        make_topics(place.address, 't')
        p = producer(place.address, 'tx', **{'transaction.timeout.ms': 1500})
        p.begin_transaction()
        p.produce('t', 'late', partition=0)
        p.flush(10)
        eventually(lambda: stable(place.address, 't'), 'it is aborted')
        equal(read(place.address, 't'), [], 'committed')
        if kind == 'odradek':
            true('open for more than its timeout of 1500 ms' in place.broker.log_tail(20000), 'the broker says what ran out')


def copy(address, transactional_id, amount, until, on_step=None):
    """Reads `from`, writes to `to`, a transaction for each handful, positions and all."""
    consumer = confluent_kafka.Consumer({'bootstrap.servers': address, 'group.id': 'copies', 'isolation.level': 'read_committed',
                                         'auto.offset.reset': 'earliest', 'enable.auto.commit': False,
                                         'session.timeout.ms': 6000, 'heartbeat.interval.ms': 500, **STAYS})
    consumer.subscribe(['from'])
    p = producer(address, transactional_id)
    done = 0
    while done < amount and time.time() < until:
        messages = [m for m in consumer.consume(20, 1.0) if not m.error()]
        if not messages:
            continue
        p.begin_transaction()
        for m in messages:
            p.produce('to', m.value(), partition=m.partition())
        if on_step:
            on_step(done)
        positions = consumer.position(consumer.assignment())
        retrying(lambda: p.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), 30))
        retrying(lambda: p.commit_transaction(30))
        done += len(messages)
    consumer.close()
    return done


def fill(address, count):
    p = confluent_kafka.Producer({'bootstrap.servers': address, 'enable.idempotence': True})
    for n in range(count):
        p.produce('from', str(n), partition=n % 2)
    equal(p.flush(30), 0, 'messages left')


@case
def copied_while_the_broker_dies(kind, port):
    with Place(kind, port, SETTINGS) as place:
        make_topics(place.address, 'from', 'to')
        fill(place.address, 400)
        crashes = [100, 200, 300]

        def crash(done):
            if crashes and done >= crashes[0]:
                crashes.pop(0)
                place.crash()
        equal(copy(place.address, 'copier', 400, time.time() + 150, crash), 400, 'copied')
        once(read(place.address, 'to'), [str(n) for n in range(400)], 'copies')


# ---- kafka-python

@case
def kafka_python_commits_and_aborts(kind, port):
    with Place(kind, port, SETTINGS) as place:
        make_topics(place.address, 't')
        p = KafkaProducer(bootstrap_servers=place.address, transactional_id='py', acks='all')
        p.init_transactions()
        for n in range(10):
            p.begin_transaction()
            for i in range(4):
                p.send('t', f'{n}-{i}'.encode(), partition=i % 2)
            p.commit_transaction() if n % 2 else p.abort_transaction()
        p.close()
        once(read(place.address, 't'), [f'{n}-{i}' for n in range(10) if n % 2 for i in range(4)], 'committed')


# ---- Java

COPIER = 'org.apache.kafka.tools.TransactionalMessageCopier'


def start_copier(address, transactional_id, amount, topic='from'):
    return subprocess.Popen(brokers.java(
        COPIER, '--broker-list', address, '--input-topic', topic, '--input-partition', '-1', '--output-topic', 'to',
        '--max-messages', str(amount), '--consumer-group', 'java', '--transactional-id', transactional_id,
        '--transaction-size', '10', '--transaction-timeout', '20000', '--group-mode', heap='128m'),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def java_copies(kind, port, level=None):
    with Place(kind, port, SETTINGS) as place:
        make_topics(place.address, 'from', 'to')
        if level is not None:
            feature(place.address, level)
        fill(place.address, 2000)
        # One that is killed in the midst, the same id again, and a broker that dies.
        dying = start_copier(place.address, 'copier', 2000)
        eventually(lambda: len(read(place.address, 'to')) > 100 or dying.poll() is not None, 'the first copies')
        dying.send_signal(signal.SIGKILL)
        dying.wait()
        going = start_copier(place.address, 'copier', 2000)
        had = len(read(place.address, 'to'))
        eventually(lambda: len(read(place.address, 'to')) > had or going.poll() is not None, 'more copies')
        place.crash()
        eventually(lambda: len(read(place.address, 'to')) >= 2000, 'all copies', 120)
        going.kill()
        going.wait()
        once(read(place.address, 'to'), [str(n) for n in range(2000)], 'copies')


@case
def java_copies_tv2(kind, port):
    java_copies(kind, port)


@case
def java_copies_tv1(kind, port):
    java_copies(kind, port, 1)


# ---- tools

@case
def the_tools_see_it(kind, port):
    with Place(kind, port, SETTINGS) as place:
        make_topics(place.address, 't')
        p = producer(place.address, 'tx', **{'transaction.timeout.ms': 600000})
        p.begin_transaction()
        p.produce('t', 'open', partition=1)
        p.flush(10)
        true(re.search(r'tx\s+\S+\s+\d+\s+Ongoing', transactions(place.address, 'list')), 'list')
        true(not re.search(r'\btx\b', transactions(place.address, 'list', '--duration-filter', '600000')), 'list by duration')
        told = transactions(place.address, 'describe', '--transactional-id', 'tx')
        true(re.search(r'tx\s+\d+\s+0\s+Ongoing\s+600000', told) and 't-1' in told, told)
        told = transactions(place.address, 'describe-producers', '--topic', 't', '--partition', '1')
        start = re.search(r'^\s*(\d+)\s+0\s+\S+\s+0\s+\d+\s+(\d+)', told, re.M)
        true(start, told)
        told = transactions(place.address, 'find-hanging', '--broker-id', '1')
        true('t-1' not in told and 'Exception' not in told, told)
        told = transactions(place.address, 'abort', '--topic', 't', '--partition', '1', '--start-offset', start.group(2))
        true('Exception' not in told and 'error' not in told.lower(), told)
        eventually(lambda: stable(place.address, 't'), 'the tool has aborted it')
        equal(read(place.address, 't'), [], 'committed')


def ours(address, *args):
    done = subprocess.run([brokers.odradek(), *args, '--bootstrap-server', address], capture_output=True, text=True, timeout=30)
    return done.stdout + done.stderr


@case
def our_tools_see_it(kind, port):
    with Place(kind, port, SETTINGS) as place:
        make_topics(place.address, 't')
        p = producer(place.address, 'tx', **{'transaction.timeout.ms': 600000})
        p.begin_transaction()
        p.produce('t', 'open', partition=1)
        p.flush(10)
        true(re.search(r'tx +\d+ +Ongoing', ours(place.address, 'txn', 'list')), 'list')
        true('tx' not in ours(place.address, 'txn', 'list', '--state', 'Empty'), 'list by state')
        told = ours(place.address, 'txn', 'describe', 'tx')
        true('Ongoing' in told and 'timeout 600000 ms' in told and 't-1' in told, told)
        true('TRANSACTIONAL_ID_NOT_FOUND' in ours(place.address, 'txn', 'describe', 'nobody'), 'describe')
        told = ours(place.address, 'explain', 'partition', 't', '1')
        true('last stable offset 0' in told and '(tx)' in told and 'is aborted after 600000 ms' in told, told)
        true('everything can be read' in ours(place.address, 'explain', 'partition', 't', '0'), 'explain')
        true(not re.search(r'^t ', ours(place.address, 'txn', 'find-hanging', '--minutes', '0'), re.M), 'a coordinator has it')
        true('no transaction is open' in ours(place.address, 'txn', 'abort', 't', '1', '7'), 'abort')
        true('aborted' in ours(place.address, 'txn', 'abort', 't', '1', '0'), 'abort')
        eventually(lambda: stable(place.address, 't'), 'it is aborted')


# ---- hand-over

def hand_over(first, second, port, kill):
    with Place(first, port, SETTINGS) as place:
        make_topics(place.address, 't')
        wanted = []

        def run(p, name, commit):
            p.begin_transaction()
            for i in range(4):
                p.produce('t', f'{name}-{i}', partition=i % 2)
            if commit is None:
                p.flush(10)
            elif commit:
                retrying(lambda: p.commit_transaction(30))
                wanted.extend(f'{name}-{i}' for i in range(4))
            else:
                retrying(lambda: p.abort_transaction(30))
        going = producer(place.address, 'going', **{'transaction.timeout.ms': 120000})
        opened = producer(place.address, 'open', **{'transaction.timeout.ms': 120000})
        run(going, 'before', True)
        run(going, 'dropped', False)
        run(opened, 'across', None)
        for n, kind in enumerate((second, first)):
            place.become(kind, kill=kill)
            run(going, f'at-{kind}', True)
            run(going, f'not-at-{kind}', False)
            true('across-0' not in read(place.address, 't'), 'what is open is not read')
        retrying(lambda: opened.commit_transaction(30))
        wanted.extend(f'across-{i}' for i in range(4))
        eventually(lambda: stable(place.address, 't'), 'nothing is left open')
        once(read(place.address, 't'), wanted, 'after two hand-overs')


def state_record(transactional_id, producer_id, epoch, topic, status):
    """Key and value of `__transaction_state`, value version 1, client of transaction.version 2."""
    now = int(time.time() * 1000)
    name = transactional_id.encode()
    key = struct.pack('>hh', 0, len(name)) + name
    value = struct.pack('>hqhib', 1, producer_id, epoch, 600000, status)
    value += b'\x02' + bytes([len(topic) + 1]) + topic.encode() + b'\x02' + struct.pack('>i', 0) + b'\0'
    value += struct.pack('>qq', now, now) + b'\x02' + b'\0\x08' + struct.pack('>q', producer_id) + b'\x02\x02' + struct.pack('>h', 2)
    return key, value


class MarkersDropped(AssertionError):
    """Apache, alone on its node, may load its coordinator before it knows its own address: it takes the partitions for deleted ones, says so, and
    completes the transaction without the markers."""


def decided_elsewhere(first, second, port):
    for attempt in range(5):
        try:
            return decided_once(first, second, port)
        except MarkersDropped:
            true(attempt < 4, 'Apache dropped its markers five times')


def decided_once(first, second, port):
    """The first broker dies between the decision to end a transaction and its markers: the second one writes them."""
    with Place(first, port, SETTINGS) as place:
        make_topics(place.address, 't')
        for status, name in ((2, 'commits'), (3, 'aborts')):
            p = producer(place.address, name, **{'transaction.timeout.ms': 600000})
            p.begin_transaction()
            p.produce('t', name, partition=0)
            p.flush(10)
            told = transactions(place.address, 'describe', '--transactional-id', name)
            found = re.search(name + r'\s+(\d+)\s+(\d+)\s+Ongoing', told)
            true(found, told)
            # Brokers let this client write to their own topics.
            tool = confluent_kafka.Producer({'bootstrap.servers': place.address, 'client.id': '__admin_client'})
            key, value = state_record(name, int(found.group(1)), int(found.group(2)) + 1, 't', status)
            index = abs(java_hash(name)) % 3
            tool.produce('__transaction_state', key=key, value=value, partition=index)
            equal(tool.flush(10), 0, 'messages left')
        place.become(second, kill=True)
        try:
            eventually(lambda: stable(place.address, 't'), 'the markers are written', 20)
        except AssertionError as problem:
            if second == 'apache' and 'can be skipped' in place.broker.log_tail(1 << 20):
                raise MarkersDropped from problem
            raise
        equal(read(place.address, 't'), ['commits'], 'committed')
        listed = transactions(place.address, 'list')
        true(re.search(r'commits\s.*CompleteCommit', listed) and re.search(r'aborts\s.*CompleteAbort', listed), listed)


def java_hash(text):
    h = 0
    for c in text:
        h = (31 * h + ord(c)) & 0xFFFFFFFF
    return h - (1 << 32) if h >= 1 << 31 else h


@case.asked      # Apache fails at it by itself: see MarkersDropped
def decided_here_and_ended_by_apache(kind, port):
    decided_elsewhere('odradek', 'apache', port)


@case
def decided_by_apache_and_ended_here(kind, port):
    decided_elsewhere('apache', 'odradek', port)


@case
def handed_to_apache_and_back(kind, port):
    hand_over(kind, 'apache' if kind == 'odradek' else 'odradek', port, kill=False)


@case
def handed_over_after_a_crash(kind, port):
    hand_over('apache' if kind == 'odradek' else 'odradek', kind, port, kill=True)


if __name__ == '__main__':
    sys.exit(case.main(__doc__, 24400))
