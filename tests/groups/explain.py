#!/usr/bin/env python3
"""Every sentence of `odradek explain group`, and the lag that `odradek group` and /metrics tell, of real brokers.

    explain.py [--broker odradek|apache] [--port N] [CASE]...

Each case is named after what it makes happen. Apache has no metrics, so what needs them is not asked there.
Prints `PASS name` or `FAIL name: why`; the last line is `N passed, N failed`.
"""
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'tools'))

import broker as brokers
import probe
import raw
from cases import Cases, equal, eventually, true

case = Cases()


class Place:
    """A broker, and our command line pointed at it."""

    def __init__(self, broker):
        self.broker, self.address, self.ours = broker, broker.address, broker.kind == 'odradek'

    def cli(self, *args, stdin=None, ok=True):
        done = subprocess.run([brokers.odradek(), *args, '--bootstrap-server', self.address], input=stdin, text=True,
                              capture_output=True, timeout=60)
        true(done.returncode == 0 or not ok, f'{args}: {done.stderr}')
        return done.stdout

    def topic(self, name, partitions=1, records=0):
        self.cli('topic', 'create', name, '-p', str(partitions))
        self.produce(name, range(partitions), records)

    def produce(self, name, partitions, records):
        if records:
            connection = probe.Connection(self.broker.host, self.broker.port)
            for p in partitions:
                for _ in range(records):
                    while probe.produce(connection, name, p)[0] != 0:
                        time.sleep(0.05)     # nobody leads it yet
            connection.close()

    def explain(self, group, seconds=0.5):
        return json.loads(self.cli('explain', 'group', group, '--json', '--seconds', str(seconds)))

    def reasons(self, group, seconds=0.5):
        """{code: text}."""
        return {r['code']: r['text'] for r in self.explain(group, seconds)['reasons']}

    def expect(self, group, code, *words, only_ours=(), seconds=0.5, timeout_s=10.0):
        """The reason comes, and its text has the words; `only_ours` where there are metrics."""
        end = time.time() + timeout_s
        while True:
            told = self.reasons(group, seconds)
            wanted = words + (tuple(only_ours) if self.ours else ())
            if code in told and all(w in told[code] for w in wanted):
                print(f'     {told[code]}', flush=True)
                return told
            true(time.time() < end, f'no {code} with {wanted} in {told}')

    def metrics(self):
        """{'name{labels}': value}."""
        url = f'http://127.0.0.1:{self.broker.port + 2}/metrics'
        with urllib.request.urlopen(url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return {k: float(v) for k, v in (line.rsplit(' ', 1) for line in lines if not line.startswith('#'))}


@contextlib.contextmanager
def member(place, group, topics, **options):
    m = raw.Member(place.address, group, topics, **options)
    stop = threading.Event()

    def beat():
        while not stop.wait(0.5):
            with contextlib.suppress(OSError):
                m.heartbeat()
    m.beating = threading.Thread(target=beat, daemon=True)
    yield m
    stop.set()
    if m.beating.is_alive():
        m.beating.join()
    m.close()


# ---- no group, no members

@case
def no_group(place):
    told = place.explain('nobody')
    equal([r['code'] for r in told['reasons']], ['no-group'], 'reasons')
    true('there is no such group' in place.cli('explain', 'group', 'nobody'), 'text')


@case
def no_members(place):
    place.topic('left', 2, 5)
    place.cli('group', 'reset', 'left', '--topic', 'left', '--to', 'earliest')
    told = place.expect('left', 'no-members', 'nobody reads', only_ours=['last commit was'])
    equal(list(told), ['no-members'], 'reasons')
    text = place.cli('explain', 'group', 'left', '--seconds', '0.1')
    true(text.startswith('group left: Empty, 0 members, 2 partitions, lag 10, '), text)


@case
def at_the_end(place):
    place.topic('read', 1, 5)
    with member(place, 'read', ['read']) as m:
        m.alone({'read': [0]})
        m.commit('read', {0: 5})
        m.beating.start()
        equal(list(place.expect('read', 'at-end', 'nothing waits')), ['at-end'], 'reasons')


# ---- rebalances

@case
def a_member_does_not_join_again(place):
    place.topic('joins')
    with member(place, 'joins', ['joins'], client='sleeper') as first, member(place, 'joins', ['joins']) as second:
        first.alone({'joins': [0]})
        first.beating.start()
        second.send_join()
        if second.receive_join() == 79:
            second.send_join()
        place.expect('joins', 'joining', 'a rebalance is under way', 'join again',
                     only_ours=[first.id, 'client sleeper at /127.0.0.1', 'is given up in'])


@case
def the_leader_does_not_assign(place):
    place.topic('assigns')
    with member(place, 'assigns', ['assigns'], client='leading') as m:
        m.join()
        place.expect('assigns', 'assigning', 'a rebalance is under way', 'assign',
                     only_ours=[m.id, 'client leading', 'as the leader'])


@case
def a_new_group_waits_for_more(place):
    place.topic('early')
    with member(place, 'early', ['early']) as m:
        m.send_join()
        m.receive_join()
        m.send_join()
        place.expect('early', 'joining', only_ours=['group.initial.rebalance.delay.ms'], seconds=0.2)


@case
def a_member_is_silent(place):
    if not place.ours:
        return
    place.topic('silent', 3)
    with member(place, 'silent', ['silent'], session_ms=8000, client='dead') as m:
        m.alone({'silent': [0, 1, 2]})
        equal([c for c in place.reasons('silent') if c == 'silent-member'], [], 'reasons of one that was just there')
        place.expect('silent', 'silent-member', m.id, 'client dead', 'its 3 partitions wait', seconds=0.2)
        place.expect('silent', 'no-members', timeout_s=12)


CONSUMER_GROUP_HEARTBEAT, ADD_PARTITIONS_TO_TXN = 68, 24


def serves(place, api):
    connection = raw.Connection(place.address)
    keys = connection.call('ApiVersions', 3, ClientSoftwareName='explain', ClientSoftwareVersion='1')['ApiKeys']
    connection.close()
    return any(k['ApiKey'] == api for k in keys)


@case
def a_group_of_the_new_protocol(place):
    """A member that does not take part does not give up what another one is to have."""
    import confluent_kafka
    if not serves(place, CONSUMER_GROUP_HEARTBEAT):
        print('     not served here', flush=True)
        return
    place.topic('newer', 2, 3)
    options = {'bootstrap.servers': place.address, 'group.id': 'newer', 'group.protocol': 'consumer',
               'auto.offset.reset': 'earliest', 'enable.auto.commit': False}
    first, second = confluent_kafka.Consumer(options), confluent_kafka.Consumer(options)
    try:
        first.subscribe(['newer'])
        end = time.time() + 30
        while len(first.assignment()) < 2:
            first.poll(0.2)
            true(time.time() < end, 'the first member has both partitions')
        described = json.loads(place.cli('group', 'describe', 'newer', '--json'))[0]
        equal((described['type'], described['state'], len(described['members'])), ('consumer', 'Stable', 1), 'group')
        place.expect('newer', 'not-committing', '1 member is alive', '6 records wait')
        second.subscribe(['newer'])
        second.poll(1)
        place.expect('newer', 'reconciling', 'a rebalance is under way (Reconciling)', seconds=0.2, timeout_s=20)
    finally:
        first.close()
        second.close()


# ---- commits and movement

@case
def a_member_commits_nothing(place):
    place.topic('mute', 1, 7)
    with member(place, 'mute', ['mute']) as m:
        m.alone({'mute': [0]})
        m.beating.start()
        place.expect('mute', 'not-committing', '1 member is alive', 'nothing was ever committed', '7 records wait')
        m.commit('mute', {0: 2})
        place.expect('mute', 'not-committing', 'committed nothing in 0.5 s', '5 records wait',
                     only_ours=['its last commit was'])


@case
def a_partition_is_stuck(place):
    place.topic('stuck', 2, 100)
    with member(place, 'stuck', ['stuck']) as m, busy() as loop:
        m.alone({'stuck': [0, 1]})
        m.commit('stuck', {1: 3})
        loop(lambda n: m.commit('stuck', {0: min(n, 90)}))
        told = place.expect('stuck', 'partition-stuck', 'stuck-1', m.id, '97 records wait', 'the oldest for')
        true('not-committing' not in told, told)


@contextlib.contextmanager
def busy():
    """Calls something again and again, with 1, 2, 3…"""
    stop, threads = threading.Event(), []

    def loop(work, pause_s=0.02):
        def run():
            n = 0
            while not stop.wait(pause_s):
                n += 1
                work(n)
        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
    yield loop
    stop.set()
    for t in threads:
        t.join()


@case
def the_lag_falls(place):
    place.topic('falls', 1, 2000)
    with member(place, 'falls', ['falls']) as m, busy() as loop:
        m.alone({'falls': [0]})
        m.commit('falls', {0: 0})
        loop(lambda n: m.commit('falls', {0: n}))
        place.expect('falls', 'lag-falls', 'it moves', 'the lag falls, to the end in about', seconds=1)


@case
def the_lag_grows(place):
    place.topic('grows', 1, 50)
    with member(place, 'grows', ['grows']) as m, busy() as loop:
        m.alone({'grows': [0]})
        m.commit('grows', {0: 0})
        loop(lambda n: m.commit('grows', {0: n}), 0.1)
        loop(lambda n: place.produce('grows', [0], 5), 0.01)
        place.expect('grows', 'lag-grows', 'it moves', 'the lag does not fall', seconds=1)


# ---- partitions

@case
def a_partition_without_a_member(place):
    place.topic('orphans', 1)
    with member(place, 'orphans', ['orphans']) as m:
        m.alone({'orphans': [0]})
        m.beating.start()
        place.cli('topic', 'add-partitions', 'orphans', '-p', '4')
        place.expect('orphans', 'no-owner', 'partitions are of no member', 'orphans-1, orphans-2, orphans-3')


@case
def a_topic_is_missing(place):
    place.topic('there')
    with member(place, 'misses', ['there', 'not-there']) as m:
        m.alone({'there': [0]})
        m.beating.start()
        place.expect('misses', 'topic-missing', 'topic not-there does not exist', 'members are subscribed')


@case
def below_the_log_start(place):
    place.topic('cut', 1, 10)
    place.cli('group', 'reset', 'cut', '--topic', 'cut', '--to', '2')
    connection = raw.Connection(place.address)
    connection.call('DeleteRecords', 1, TimeoutMs=5000,
                    Topics=[{'Name': 'cut', 'Partitions': [{'PartitionIndex': 0, 'Offset': 6}]}])
    connection.close()
    place.expect('cut', 'below-start', 'cut-0: its offset 2 is below the log start 6: 4 records')


@case
def beyond_the_end(place):
    place.topic('beyond', 1, 3)
    with member(place, 'beyond', ['beyond']) as m:
        m.alone({'beyond': [0]})
        m.commit('beyond', {0: 500})
        place.expect('beyond', 'beyond-end', 'beyond-0: its offset 500 is beyond the end 3')


@case
def an_open_transaction(place):
    import confluent_kafka
    if not serves(place, ADD_PARTITIONS_TO_TXN):
        print('     not served here', flush=True)
        return
    place.topic('open', 1, 4)
    with member(place, 'open', ['open']) as m:
        m.alone({'open': [0]})
        m.commit('open', {0: 4})
        m.beating.start()
        producer = confluent_kafka.Producer({'bootstrap.servers': place.address, 'transactional.id': 'ledger'})
        producer.init_transactions(30)
        producer.begin_transaction()
        for _ in range(3):
            producer.produce('open', b'x')
        producer.flush(10)
        place.expect('open', 'open-transaction', 'open-0: readers of committed records stop at 4, 3 records before',
                     'transaction ledger of producer', 'open for')
        consumer = confluent_kafka.Consumer({'bootstrap.servers': place.address, 'group.id': 'moved'})
        producer.send_offsets_to_transaction([confluent_kafka.TopicPartition('open', 0, 4)],
                                             consumer.consumer_group_metadata(), 20)
        consumer.close()
        place.cli('group', 'reset', 'moved', '--topic', 'open', '--to', 'earliest')
        place.expect('moved', 'unstable-offsets', 'open-0', 'a transaction that is still open')
        producer.abort_transaction(20)
        true('open-transaction' not in place.reasons('open'), 'it is over')


# ---- the broker

@case
def a_directory_is_away(place):
    """Its own broker: the offsets of one group, and a topic, are in a directory that fails to come back."""
    if not place.ours:
        return
    port = place.broker.port + 10
    first = brokers.Broker('odradek', port, properties={'offsets.topic.num.partitions': '1'})
    logs = [os.path.join(first.directory, d) for d in ('one', 'two')]
    first.properties['log.dirs'] = ','.join(logs)
    first._write_config()
    first.logs = logs[0]
    with first:
        there = Place(first)
        there.cli('group', 'list')
        for n in range(6):
            there.topic(f't{n}', 1, 2)
            there.cli('group', 'reset', 'g', '--topic', f't{n}', '--to', 'earliest')

        def folder_of(name):
            return next(d for d in logs if os.path.isdir(os.path.join(d, name)))
        metadata, offsets = folder_of('__cluster_metadata-0'), folder_of('__consumer_offsets-0')
        away = next((f't{n}' for n in range(6) if folder_of(f't{n}-0') not in (metadata, offsets)), None)

        def restart_without(folder):
            first.stop()
            os.rename(folder, folder + '.away')
            with open(folder, 'w', encoding='utf-8'):
                pass
            first.start()
        if metadata != offsets:
            restart_without(offsets)
            there.expect('g', 'coordinator', 'cannot answer', 'COORDINATOR_NOT_AVAILABLE')
        else:
            true(away, 'no topic lies elsewhere')
            restart_without(folder_of(f'{away}-0'))
            there.expect('g', 'no-leader', 'nobody can read', f'{away}-0')


# ---- lag

@case
def lag_in_records_and_seconds(place):
    place.topic('old', 2, 3)
    time.sleep(1.2)
    place.produce('old', [0], 2)
    place.cli('group', 'reset', 'lags', '--topic', 'old', '--to', 'earliest')
    place.cli('group', 'reset', 'lags', '--topic', 'old:0', '--to', '3')
    rows = json.loads(place.cli('group', 'describe', 'lags', '--json'))[0]['partitions']
    equal([r['lag'] for r in rows], [2, 3], 'lag')
    true(0 < rows[0]['behind_ms'] < 1200 <= rows[1]['behind_ms'] < 30000, rows)
    listed = next(g for g in json.loads(place.cli('group', 'list', '--lag', '--json')) if g['group'] == 'lags')
    equal(listed['lag'], 5, 'lag over all')
    true(listed['behind_ms'] >= 1200, listed)
    true('BEHIND' in place.cli('group', 'list', '--lag') and 'BEHIND' in place.cli('group', 'describe', 'lags'), 'heads')
    if not place.ours:
        return
    told = place.metrics()

    def of(name, partition):
        return told[f'odradek_group_lag_{name}{{group="lags",topic="old",partition="{partition}"}}']
    equal([of('records', 0), of('records', 1)], [2, 3], 'records in the metrics')
    true(of('seconds', 0) < of('seconds', 1) and 1.2 <= of('seconds', 1) < 30, told)
    place.cli('group', 'reset', 'lags', '--to', 'latest')
    told = place.metrics()
    equal([of('records', 0), of('seconds', 0)], [0, 0], 'at the end')
    equal(told['odradek_group_members{group="lags"}'], 0, 'members')
    true(told['odradek_group_commit_age_seconds{group="lags"}'] < 30, told)
    true(told['odradek_groups{state="Empty"}'] >= 1, told)
    place.cli('topic', 'delete', 'old')
    true(not any('topic="old"' in name for name in place.metrics()), 'series of a topic that is gone')


@case
def series_have_a_limit(place):
    if not place.ours:
        return
    properties = {'odradek.group.metrics.max': '10', 'odradek.http.listeners': f'127.0.0.1:{place.broker.port + 22}'}
    with brokers.Broker('odradek', place.broker.port + 20, properties=properties) as broker:
        there = Place(broker)
        there.topic('wide', 4, 1)
        for n in range(5):
            there.cli('group', 'reset', f'g{n}', '--topic', 'wide', '--to', 'earliest')
        told = there.metrics()
        equal(sum(name.startswith('odradek_group_lag_records{') for name in told), 8, 'series of whole groups')
        equal(told['odradek_group_lag_omitted'], 12, 'what is left out')
        equal(told['odradek_groups{state="Empty"}'], 5, 'groups')


def main():
    args = case.arguments(__doc__, 21400)
    properties = {'group.initial.rebalance.delay.ms': '3000', 'group.min.session.timeout.ms': '1000',
                  'offsets.topic.num.partitions': '1'}
    if args.broker == 'odradek':
        properties['odradek.http.listeners'] = f'127.0.0.1:{args.port + 2}'
    with brokers.Broker(args.broker, args.port, properties=properties) as broker:
        # Apache says NOT_COORDINATOR for a while.
        eventually(lambda: 'no-group' in Place(broker).reasons('nobody', 0.1), 'there is a coordinator')
        return case.run(args.cases, lambda _, function: function(Place(broker)))


if __name__ == '__main__':
    sys.exit(main())
