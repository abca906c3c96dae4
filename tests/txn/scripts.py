"""The scripted transactions. Each is a function of a world and, where clients of different ages matter, their kit.

A script has topics, transactional ids and groups of its own, all of which begin with `w.name`, and so can share its broker.
"""
import time

from world import OLD, OURS, TV1, TV2, Producer, codec

SCRIPTS = []            # (name, clusters, function)
NEW, OLDER, EXPIRING, FEW = ('tv2',), ('tv1', 'tv0'), ('expiring',), ('restarting',)
ALL = NEW + OLDER


def script(clusters=NEW, kits=None):
    """Registers one script, or one for each kit."""
    def register(function):
        name = function.__name__
        for kit in kits or [None]:
            run = function if kit is None else lambda w, kit=kit: function(w, kit)
            # Clients look at the cluster's features before they use transactions of version 2.
            where = NEW if kit is TV2 and clusters == ALL else clusters
            SCRIPTS.append((name if kit is None else f'{name}-{kit.name}', where, run))
        return function
    return register


EVERY_KIT = (OLD, TV1, TV2)


def started(w, kit, suffix='', timeout_ms=60000):
    """A producer with its id and epoch."""
    p = Producer(w.name + suffix, kit)
    w.init(p, timeout_ms)
    return p


def write(w, p, topic, partition=0, count=1):
    """Records of a transaction as that client sends them."""
    if not p.kit.implicit:
        w.add(p, topic, [partition])
    w.produce(p, topic, partition, count)


def write_offsets(w, p, group, topic, offsets, **more):
    if not p.kit.implicit:
        w.add_offsets(p, group)
    w.commit_offsets(p, group, topic, offsets, **more)


# ---- what every client does

@script(ALL, EVERY_KIT)
def commit(w, kit):
    t = w.topic(w.name)
    p = started(w, kit)
    w.describe(w.name)
    write(w, p, t, count=2)
    w.produce(p, t)
    w.describe(w.name)
    w.active(t)
    w.data(t)
    w.end(p)
    w.describe(w.name)
    w.active(t)
    w.data(t)
    w.state(w.name)


@script(ALL, EVERY_KIT)
def abort(w, kit):
    t = w.topic(w.name, 3)
    p = started(w, kit)
    write(w, p, t, 0, 2)
    write(w, p, t, 2)
    w.end(p, commit=False)
    for n in range(3):
        w.data(t, n)
    w.state(w.name)


@script(ALL, EVERY_KIT)
def one_after_another(w, kit):
    t = w.topic(w.name)
    p = started(w, kit)
    for result in (True, False, False, True, True):
        write(w, p, t, count=2)
        w.end(p, result)
    w.data(t)
    w.active(t)
    w.state(w.name)


@script(ALL, EVERY_KIT)
def offsets(w, kit):
    t, g = w.topic(w.name, 2), w.name + '.group'
    p = started(w, kit)
    write_offsets(w, p, g, t, {0: 5, 1: 7})
    w.fetch_offsets(g, t, [0, 1])
    w.fetch_offsets(g, t, [0, 1], stable=True)
    w.describe(w.name)
    w.end(p)
    w.fetch_offsets(g, t, [0, 1], stable=True)
    write_offsets(w, p, g, t, {0: 6})
    w.end(p, commit=False)
    w.fetch_offsets(g, t, [0, 1], stable=True)
    w.group(g, p.id)
    w.state(w.name)


@script(ALL, EVERY_KIT)
def read_process_write(w, kit):
    t, g = w.topic(w.name), w.name + '.group'
    p = started(w, kit)
    for n, result in enumerate((True, False, True)):
        write(w, p, t)
        write_offsets(w, p, g, t, {0: 10 + n}, metadata=f'round {n}')
        w.end(p, result)
        w.fetch_offsets(g, t)
    w.data(t)
    w.group(g, p.id)


@script(ALL, EVERY_KIT)
def timeout(w, kit):
    t, g = w.topic(w.name), w.name + '.group'
    p = started(w, kit, timeout_ms=1200)
    write(w, p, t)
    write_offsets(w, p, g, t, {0: 3})
    w.wait_for(p, lambda state: state == 'CompleteAbort')
    w.describe(w.name)
    late = p.copy()
    w.produce(late, t)
    w.add(late, t)
    w.add_offsets(late, g)
    w.commit_offsets(late, g, t, {0: 4})
    w.end(late)
    w.end(late, commit=False)
    w.data(t)
    w.group(g, p.id)
    # How a producer finds back since KIP-360, and how an old one does.
    if kit is not OLD:
        w.init(p, 60000, keep=(p.id, p.epoch))
    w.init(p, 60000)
    write(w, p, t)
    w.end(p)
    w.data(t)
    w.state(w.name)


@script(ALL, EVERY_KIT)
def fenced_while_open(w, kit):
    t, g = w.topic(w.name), w.name + '.group'
    p = started(w, kit)
    write(w, p, t)
    zombie = p.copy()
    w.init(p)
    w.produce(zombie, t)
    w.add(zombie, t)
    w.add_offsets(zombie, g)
    w.commit_offsets(zombie, g, t, {0: 1})
    w.end(zombie)
    w.end(zombie, commit=False)
    write(w, p, t)
    w.produce(zombie, t)
    w.commit_offsets(zombie, g, t, {0: 1})
    w.end(zombie)
    w.end(p)
    w.produce(zombie, t)
    w.data(t)
    w.active(t)
    w.group(g, p.id)
    w.state(w.name)


@script(NEW, EVERY_KIT)
def fenced_while_idle(w, kit):
    t = w.topic(w.name)
    p = started(w, kit)
    write(w, p, t)
    w.end(p)
    zombie = p.copy()
    w.init(p)
    w.produce(zombie, t)
    w.add(zombie, t)
    w.end(zombie)
    w.data(t)
    w.state(w.name)


# ---- ends

@script(ALL, EVERY_KIT)
def end_of_nothing(w, kit):
    t = w.topic(w.name)
    p = started(w, kit)
    w.end(p)
    w.end(p, commit=False)
    w.end(p)
    write(w, p, t)
    w.end(p)
    w.data(t)
    w.state(w.name)


@script(NEW, EVERY_KIT)
def end_twice(w, kit):
    t = w.topic(w.name)
    p = started(w, kit)
    for first, second in ((True, True), (True, False), (False, False), (False, True)):
        write(w, p, t)
        before = p.copy()
        w.end(p, first)
        w.end(before, second)
    now = p.copy()
    w.end(now, True)
    w.end(now, False)
    w.data(t)
    w.state(w.name)


@script(ALL, EVERY_KIT)
def end_without_produce(w, kit):
    t, g = w.topic(w.name, 2), w.name + '.group'
    p = started(w, kit)
    w.add(p, t, [0, 1])
    w.end(p)
    w.add_offsets(p, g)
    w.end(p)
    w.add(p, t, [1])
    w.end(p, commit=False)
    w.data(t, 0)
    w.data(t, 1)
    w.active(t)
    w.group(g, p.id)
    w.state(w.name)


@script(NEW, EVERY_KIT)
def while_it_completes(w, kit):
    """Requests that come before the markers of the last transaction are written: asked again until they pass."""
    t = w.topic(w.name, 100)
    p = started(w, kit)
    w.add(p, t, range(100))
    before = p.copy()
    if w.end(p, settle=False) == 'NONE':
        w.note('then at once:')
    value = {'V3AndBelowTransactionalId': w.name, 'V3AndBelowProducerId': p.id, 'V3AndBelowProducerEpoch': p.epoch,
             'V3AndBelowTopics': [{'Name': t, 'Partitions': [0]}]}
    _, r = w.ask('AddPartitionsToTxn', 3, value, lambda a: a['ResultsByTopicV3AndBelow'][0]['ResultsByPartition'][0]['PartitionErrorCode'],
                    ('CONCURRENT_TRANSACTIONS',))
    w.note(f'AddPartitionsToTxn until it passes -> {r["ResultsByTopicV3AndBelow"][0]["ResultsByPartition"][0]["PartitionErrorCode"]}')
    w.produce(p, t)
    w.end(before)
    w.end(p)
    w.data(t)
    w.data(t, 99)


@script(NEW)
def clients_of_both_ages(w):
    t = w.topic(w.name)
    p = started(w, TV1)
    write(w, p, t)
    w.end(p)
    p.kit = TV2
    write(w, p, t)
    w.end(p)
    p.kit = TV1
    write(w, p, t)
    w.end(p, commit=False)
    p.kit = TV2
    w.init(p)
    write(w, p, t)
    w.end(p, commit=False)
    # Begun by one, ended by the other.
    p.kit = TV1
    write(w, p, t)
    w.end(p, version=5)
    p.kit = TV2
    write(w, p, t)
    w.end(p, version=4)
    w.data(t)
    w.state(w.name)


# ---- InitProducerId

@script(NEW, (TV1, TV2))
def claims(w, kit):
    """KIP-360: a producer that says which id and epoch it has."""
    p = started(w, kit)
    first = (p.id, p.epoch)
    w.init(p, keep=first)
    w.init(p, keep=first)                           # the same again: its answer was lost
    w.init(p, keep=(p.id, p.epoch))
    w.init(p, keep=first)                           # too old by now
    w.init(p, keep=(p.id, p.epoch + 1))
    w.init(p, keep=(1 << 40, 0))
    w.init(p, keep=(p.id, -1))
    w.init(p, keep=(-1, p.epoch))
    other = Producer(w.name + '.unknown', kit)
    w.init(other, keep=(p.id, p.epoch))
    w.init(other, keep=(1 << 40, 3))
    w.init(p)
    w.state(w.name, w.name + '.unknown')


@script(NEW, (TV1, TV2))
def claims_while_open(w, kit):
    t = w.topic(w.name)
    p = started(w, kit)
    write(w, p, t)
    opened = (p.id, p.epoch)
    w.init(p, keep=opened)                          # aborts it
    write(w, p, t)
    w.end(p)
    w.init(p, keep=opened)
    w.data(t)
    w.state(w.name)


@script(NEW)
def init_versions(w):
    for version in range(6):
        p = Producer(w.name, TV1)
        w.init(p, version=version)
        w.init(Producer(None, TV1), version=version)
    for version in (0, 3, 5):
        w.init(Producer('', TV1), version=version)
        for timeout_ms in (0, -1, 900000, 900001, 2147483647):
            w.init(Producer(f'{w.name}.timeout', TV1), timeout_ms, version=version)
        w.init(Producer(None, TV1), 0, version=version)
    w.init(Producer(None, TV1), version=4, keep=(5, 3))
    w.state(w.name)


@script(NEW, (TV1, TV2))
def last_epochs(w, kit):
    """What happens when a producer id has used up its epochs."""
    t = w.topic(w.name)
    p = started(w, kit)
    value = {'TransactionalId': w.name, 'TransactionTimeoutMs': 60000}
    while p.epoch < 32763:
        for _ in range(50):
            w.link().send('InitProducerId', 4, value)
        answers = [w.link().receive('InitProducerId', 4) for _ in range(50)]
        last = [a for a in answers if a['ErrorCode'] == 0][-1]
        p.become(last['ProducerId'], last['ProducerEpoch'])
        if p.epoch > 32763 - 60:
            while p.epoch < 32763:
                last = w.link().call('InitProducerId', 4, value)
                p.become(last['ProducerId'], last['ProducerEpoch'])
    w.note(f'... {w.at(p.id, p.epoch)}')
    for n in range(4):
        write(w, p, t)
        before = p.copy()
        w.end(p, commit=n != 1)
        w.describe(w.name)
        w.end(before, commit=n != 1)
        w.init(p, keep=(p.id, p.epoch))
    w.data(t)
    w.state_tail(w.name, 16)


@script(NEW, (TV1, TV2))
def last_epoch_open(w, kit):
    """Fencing an open transaction whose producer id has no epoch left."""
    t = w.topic(w.name)
    p = started(w, kit)
    value = {'TransactionalId': w.name, 'TransactionTimeoutMs': 60000}
    while p.epoch < 32766:
        step = min(50, 32766 - p.epoch)
        for _ in range(step):
            w.link().send('InitProducerId', 4, value)
        for _ in range(step):
            last = w.link().receive('InitProducerId', 4)
        p.become(last['ProducerId'], last['ProducerEpoch'])
    write(w, p, t)
    zombie = p.copy()
    w.init(p)
    w.end(zombie)
    write(w, p, t)
    w.end(p)
    w.data(t)
    w.state_tail(w.name, 8)


# ---- produce

@script(NEW, EVERY_KIT)
def produce_unasked(w, kit):
    """Batches of a transaction that the coordinator does not know of."""
    t = w.topic(w.name, 2)
    p = started(w, kit)
    for version in (3, 7, 10, 11, 12, 13):
        w.produce(p, t, sequence=0 if version < 12 else None, version=version)
    w.describe(w.name)
    w.end(p)
    w.data(t)
    w.active(t)
    # Added to one partition, sent to the other.
    w.add(p, t, [1])
    w.produce(p, t, 0, sequence=0, version=11)
    w.produce(p, t, 1)
    w.end(p)
    unknown = Producer(w.name + '.unknown', kit, p.id, 0)
    for version in (7, 11, 12):
        w.produce(unknown, t, sequence=0, version=version)
    elsewhere = Producer(w.name, kit, 1 << 40, 0)
    for version in (7, 11, 12):
        w.produce(elsewhere, t, sequence=0, version=version)
    w.data(t)
    w.data(t, 1)


@script(NEW, EVERY_KIT)
def sequences(w, kit):
    t = w.topic(w.name)
    p = started(w, kit)
    write(w, p, t, count=2)
    w.produce(p, t, count=2, sequence=0)            # again
    w.produce(p, t, sequence=5)                     # a gap
    w.produce(p, t, sequence=2)
    w.end(p)
    write(w, p, t)
    w.end(p)
    w.produce(p, t, sequence=0, transactional=False)
    w.data(t)
    w.active(t)


@script(NEW, EVERY_KIT)
def epochs_of_produce(w, kit):
    t = w.topic(w.name)
    p = started(w, kit)
    w.init(p)
    write(w, p, t)
    for version in (7, 9, 10, 11, 12):
        for epoch in (p.epoch - 1, p.epoch + 1):
            wrong = Producer(w.name, kit, p.id, epoch)
            w.produce(wrong, t, sequence=0, version=version)
    w.end(p)
    for version in (9, 11, 12):
        w.produce(Producer(w.name, kit, p.id, 0), t, sequence=0, version=version)
    w.data(t)


@script(NEW, (TV1, TV2))
def late_batch(w, kit):
    """A batch of one transaction that arrives in the next (KAFKA-17754)."""
    t = w.topic(w.name)
    p = started(w, kit)
    write(w, p, t)
    late = p.copy()
    w.end(p, commit=False)
    w.produce(late, t)
    write(w, p, t)
    w.produce(late, t, sequence=1)
    w.end(p)
    w.data(t)


@script(NEW)
def kinds_of_batches(w):
    """Transactional and other batches of one producer id."""
    t = w.topic(w.name)
    p = started(w, TV1)
    w.produce(p, t, transactional=False)
    w.add(p, t)
    w.produce(p, t, transactional=False)
    w.produce(p, t)
    w.produce(p, t, transactional=False)
    w.end(p)
    w.produce(p, t, transactional=False)
    w.data(t)


@script(NEW, (TV1, TV2))
def interleaved(w, kit):
    t = w.topic(w.name)
    a, b, c = (started(w, kit, '.' + s) for s in 'abc')
    for p in (a, b, c, b, a):
        w.produce(p, t) if p.sequences else write(w, p, t)
    w.data(t)
    w.end(b, commit=False)
    w.data(t)
    w.end(c)
    w.data(t)
    w.end(a)
    write(w, b, t)
    w.end(b, commit=False)
    w.data(t)
    w.active(t)


# ---- offsets

@script(NEW)
def offset_versions(w):
    t = w.topic(w.name, 2)
    for version in range(6):
        g, p = f'{w.name}.group{version}', started(w, TV1 if version < 5 else TV2, f'.v{version}')
        w.commit_offsets(p, g, t, {0: 1}, version=version)      # before it was added
        w.add_offsets(p, g, version=min(version, 4))
        w.commit_offsets(p, g, t, {0: 1, 1: 2}, version=version, metadata='note')
        w.fetch_offsets(g, t, [0, 1], stable=True)
        w.end(p)
        w.fetch_offsets(g, t, [0, 1], stable=True)
        w.group(g, p.id)


@script(NEW)
def unstable(w):
    t, g = w.topic(w.name, 2), w.name + '.group'
    p, q = started(w, TV2, '.p'), started(w, TV2, '.q')
    w.commit_offsets(p, g, t, {0: 1})
    for version in range(1, 11):
        w.fetch_offsets(g, t, [0, 1], version)
        if version >= 7:
            w.fetch_offsets(g, t, [0, 1], version, stable=True)
    w.commit_offsets(q, g, t, {0: 2})
    w.end(p)
    w.fetch_offsets(g, t, [0, 1], stable=True)
    w.fetch_offsets(g, t, [0, 1])
    w.end(q, commit=False)
    w.fetch_offsets(g, t, [0, 1], stable=True)
    # A commit without a transaction, while one is pending: the later in the log wins.
    w.commit_offsets(p, g, t, {0: 10, 1: 10})
    r = w.link().call('OffsetCommit', 8, {'GroupId': g, 'Topics': [{'Name': t, 'Partitions': [
        {'PartitionIndex': 0, 'CommittedOffset': 20}]}]})
    w.note(f'OffsetCommit {t}-0=20 -> {r["Topics"][0]["Partitions"][0]["ErrorCode"]}')
    w.fetch_offsets(g, t, [0, 1], stable=True)
    w.fetch_offsets(g, t, [0, 1])
    w.end(p)
    w.fetch_offsets(g, t, [0, 1], stable=True)
    w.commit_offsets(p, g, t, {0: 30})
    w.commit_offsets(p, g, t, {0: 31})
    w.end(p)
    w.fetch_offsets(g, t, [0, 1], stable=True)


@script(NEW)
def groups_with_members(w):
    t, g = w.topic(w.name), w.name + '.group'
    link = w.link()
    join = {'GroupId': g, 'SessionTimeoutMs': 30000, 'RebalanceTimeoutMs': 30000, 'MemberId': '', 'ProtocolType': 'consumer',
            'GroupInstanceId': 'static', 'Protocols': [{'Name': 'range', 'Metadata': b'\0\1\0\0\0\0\0\0\0\0'}]}
    while True:
        r = link.call('JoinGroup', 5, join)
        if r['ErrorCode'] not in (14, 15, 16):
            break
        time.sleep(0.05)
    member, generation = r['MemberId'], r['GenerationId']
    r = link.call('SyncGroup', 3, {'GroupId': g, 'GenerationId': generation, 'MemberId': member, 'GroupInstanceId': 'static',
                                   'Assignments': [{'MemberId': member, 'Assignment': b'\0\0'}]})
    w.note(f'JoinGroup, SyncGroup -> generation {generation} {r["ErrorCode"]}')
    p = started(w, TV2)

    def attempt(told, *who):
        w.lines.append(f'as {told}:')
        for version in (3, 4, 5):
            w.commit_offsets(p, g, t, {0: 1}, version=version, member=who)
        w.lines[-3:] = [line.replace(member, 'MEMBER') for line in w.lines[-3:]]
    w.add_offsets(p, g)
    attempt('the member', generation, member, 'static')
    attempt('the member without its instance id', generation, member, None)
    attempt('an old generation', generation - 1, member, 'static')
    attempt('a coming generation', generation + 1, member, 'static')
    attempt('another member', generation, 'stranger', None)
    attempt('another member of that instance', generation, 'stranger', 'static')
    attempt('another instance', generation, member, 'unknown')
    attempt('nobody', -1, '', None)
    attempt('nobody in the generation', generation, '', None)
    attempt('the member in no generation', -1, member, None)
    w.commit_offsets(p, g, t, {0: 2}, version=2)
    empty = w.name + '.empty'
    for who in ((-1, '', None), (3, '', None), (-1, 'stranger', None), (3, 'stranger', None)):
        w.commit_offsets(p, empty, t, {0: 1}, version=5, member=who)
    w.end(p)
    w.fetch_offsets(g, t, stable=True)
    w.fetch_offsets(empty, t, stable=True)


@script(NEW)
def strange_offsets(w):
    t = w.topic(w.name)
    p = started(w, TV2)
    for version in (2, 4, 5):
        w.commit_offsets(p, w.name + '.group', 'no-such-topic', {0: 1}, version=version)
        w.commit_offsets(p, w.name + '.group', t, {0: 1, 7: 1}, version=version)
        w.commit_offsets(p, '', t, {0: 1}, version=version)
        w.commit_offsets(p, w.name + '.group', t, {0: 1}, version=version, metadata='x' * 5000)
        w.commit_offsets(p, w.name + '.group', t, {0: -5}, version=version)
    w.lines = [line.replace('x' * 5000, 'x...') for line in w.lines]
    w.describe(w.name)
    for version in range(5):
        w.add_offsets(p, '', version)
    for version in (2, 4, 5):
        w.commit_offsets(Producer(w.name + '.unknown', TV2, p.id, p.epoch), w.name + '.group', t, {0: 1}, version=version)
        w.commit_offsets(Producer(w.name, TV2, 1 << 40, 0), w.name + '.group', t, {0: 1}, version=version)
        w.commit_offsets(Producer(w.name, TV2, p.id, p.epoch + 1), w.name + '.group', t, {0: 1}, version=version)
    w.end(p)
    w.fetch_offsets(w.name + '.group', t, stable=True)


# ---- restarts, on a broker of their own: it has few partitions to load

def restarted(w, kit, kill):
    t, g = w.topic(w.name, 2), w.name + '.group'
    done, open_, held = (started(w, kit, s) for s in ('.done', '.open', '.held'))
    write(w, done, t)
    w.end(done)
    write(w, open_, t)
    write_offsets(w, open_, g, t, {0: 1})
    write(w, held, t, 1)
    before = held.copy()
    # Killed between its markers and the record that says so, a coordinator writes them again.
    w.end(held, settle=kill)
    w.restart(kill)
    for p in (done, open_, held):
        w.settle(p)
        w.describe(p.transactional_id)
    w.wait_until_stable(t, 1)
    w.fetch_offsets(g, t, stable=True)
    w.active(t)
    w.produce(open_, t)
    w.end(open_)
    w.end(before)
    w.fetch_offsets(g, t, stable=True)
    for p in (done, held):
        write(w, p, t)
        w.end(p)
    w.init(open_, keep=(open_.id, open_.epoch))
    w.data(t)
    w.data(t, 1)
    w.group(g, open_.id)
    w.state(*(p.transactional_id for p in (done, open_, held)))


@script(FEW, (TV1, TV2))
def stopped_and_started(w, kit):
    restarted(w, kit, kill=False)


@script(FEW, (TV1, TV2))
def killed_and_started(w, kit):
    restarted(w, kit, kill=True)


@script(FEW, (TV1, TV2))
def timeout_over_a_restart(w, kit):
    t = w.topic(w.name)
    p = started(w, kit, timeout_ms=3000)
    write(w, p, t)
    w.restart(kill=True)
    w.wait_for(p, lambda state: state == 'CompleteAbort')
    w.wait_until_stable(t)
    w.data(t)
    w.state(w.name)


# ---- markers of a coordinator that is not this one

@script(NEW)
def strange_markers(w):
    t = w.topic(w.name, 2)
    for version, tv in ((1, None), (2, 0), (2, 1), (2, 2)):
        p = started(w, TV1, f'.{version}.{tv}', timeout_ms=900000)
        w.init(p, 900000)
        write(w, p, t)
        w.markers(version, t, [0], p.id, p.epoch - 1, True, OURS, tv)
        w.markers(version, t, [0], p.id, p.epoch, True, OURS + 1, tv)
        w.markers(version, t, [0], p.id, p.epoch, True, OURS + 1, tv)          # again
        w.markers(version, t, [0], p.id, p.epoch, False, OURS + 1, tv)         # again, and the other result
        w.markers(version, t, [0], p.id, p.epoch, True, OURS, tv)              # an older coordinator
        w.markers(version, t, [0], p.id, p.epoch + 1, True, OURS + 1, tv)
        w.markers(version, t, [0], p.id, p.epoch + 1, True, OURS + 1, tv)      # again
        w.markers(version, t, [0], p.id, p.epoch, True, OURS + 1, tv)
        w.markers(version, t, [1], p.id, 0, False, OURS + 2, tv)               # never seen there
        w.markers(version, t, [1], p.id, 0, False, OURS + 2, tv)
        w.markers(version, t, [0, 7], p.id, p.epoch + 2, False, OURS + 2, tv)
        w.markers(version, 'no-such-topic', [0], p.id, 5, True, OURS, tv)
    w.data(t)
    w.data(t, 1)
    w.active(t)
    w.active(t, 1)


@script(NEW)
def markers_of_an_open_transaction(w):
    t = w.topic(w.name)
    for tv in (1, 2):
        p = started(w, TV2, f'.{tv}', timeout_ms=900000)
        write(w, p, t)
        w.markers(2, t, [0], p.id, p.epoch, False, OURS, tv)
        w.markers(2, t, [0], p.id, p.epoch + 1, False, OURS, tv)
        w.produce(p, t)
        w.produce(Producer(p.transactional_id, TV2, p.id, p.epoch + 1), t, sequence=0)
        # The partition has heard of a later coordinator, so this one gives up and leaves the transaction as it is.
        w.end(p, settle=False)
        time.sleep(0.5)
        w.describe(p.transactional_id)
    w.data(t)


@script(NEW)
def markers_of_a_group(w):
    t, g = w.topic(w.name), w.name + '.group'
    for commit_it in (True, False):
        p = started(w, TV2, f'.{commit_it}', timeout_ms=900000)
        w.commit_offsets(p, g, t, {0: 4 if commit_it else 5})
        w.markers(2, '__consumer_offsets', w.partitions_of('__consumer_offsets'), p.id, p.epoch + 1, commit_it, OURS, 2)
        w.fetch_offsets(g, t, stable=True)


# ---- many versions, wrong ids

@script(NEW)
def wrong_producers(w):
    t, g = w.topic(w.name), w.name + '.group'
    p = started(w, TV1)
    w.init(p)
    write(w, p, t)
    wrong = {'lower epoch': (w.name, p.id, p.epoch - 1), 'higher epoch': (w.name, p.id, p.epoch + 1),
             'other id': (w.name, 1 << 40, p.epoch), 'no id': (w.name, -1, -1), 'unknown': (w.name + '.unknown', p.id, p.epoch),
             'empty': ('', p.id, p.epoch)}
    for told, (name, producer, epoch) in wrong.items():
        w.note(f'{told}:')
        q = Producer(name, TV1, producer, epoch)
        for version in range(6):
            w.add(q, t, version=version)
        w.add(q, t, version=4, verify=True)
        w.add(q, t, version=5, verify=True)
        for version in range(5):
            w.add_offsets(q, g, version)
        for version in range(6):
            w.end(q, version=version, settle=False)
    w.end(p)
    w.state(w.name)


@script(NEW)
def wrong_partitions(w):
    t = w.topic(w.name)
    p = started(w, TV1)
    for version in range(6):
        w.add(p, t, [0, 1], version=version)
        w.add(p, 'no-such-topic', [0], version=version)
        w.add(p, t, [], version=version)
    w.describe(w.name)
    for version in range(6):
        w.add(p, '__consumer_offsets', [0], version=version)
        w.add(p, '__transaction_state', [0], version=version)
    w.describe(w.name)
    value = {'V3AndBelowTransactionalId': w.name, 'V3AndBelowProducerId': p.id, 'V3AndBelowProducerEpoch': p.epoch,
             'V3AndBelowTopics': [{'Name': n, 'Partitions': [0]} for n in ('__consumer_offsets', t, 'no-such-topic')]}
    r = w.link().call('AddPartitionsToTxn', 3, value)
    told = sorted((x['Name'], y['PartitionErrorCode']) for x in r['ResultsByTopicV3AndBelow'] for y in x['ResultsByPartition'])
    w.note(f'AddPartitionsToTxn v3 of three -> {told}')
    w.describe(w.name)
    w.end(p)


@script(NEW)
def added_by_a_broker(w):
    """AddPartitionsToTxn of versions 4 and 5, as brokers ask for several producers at once."""
    t = w.topic(w.name, 2)
    for version in (4, 5):
        p, q = started(w, TV2, f'.p{version}'), started(w, TV2, f'.q{version}')
        w.add(p, t, [0], version, verify=True)
        w.add(p, t, [0], version)
        w.add(p, t, [0], version, verify=True)
        w.add(p, t, [0, 1], version, verify=True)
        w.add(p, t, [0], version)                   # again
        transactions = [{'TransactionalId': x.transactional_id, 'ProducerId': x.id, 'ProducerEpoch': e, 'VerifyOnly': verify,
                         'Topics': [{'Name': t, 'Partitions': [0, 1]}]}
                        for x, e, verify in ((p, p.epoch, True), (q, q.epoch, False), (Producer(w.name + '.unknown', TV2, 1 << 40), 0, False))]
        r = w.link().call('AddPartitionsToTxn', version, {'Transactions': transactions})
        told = sorted((x['TransactionalId'], y['Name'], z['PartitionIndex'], z['PartitionErrorCode'])
                      for x in r['ResultsByTransaction'] for y in x['TopicResults'] for z in y['ResultsByPartition'])
        w.note(f'AddPartitionsToTxn v{version} of three -> {r["ErrorCode"]} {told}')
        w.end(p)
        w.add(p, t, [0], version, verify=True)
        w.end(q)


# ---- telling

@script(NEW)
def told(w):
    t = w.topic(w.name)
    idle, open_, done, gone = (started(w, TV2, '.' + s) for s in ('idle', 'open', 'done', 'gone'))
    for p in (open_, done, gone):
        write(w, p, t)
    w.end(done)
    w.end(gone, commit=False)
    for p in (idle, open_, done, gone):
        w.describe(p.transactional_id)
    w.describe(w.name + '.unknown')
    mine = w.name + '.'
    for version in range(3):
        w.list('everything', mine, version)
        w.list('open', mine, version, StateFilters=['Ongoing'])
    w.list('two states', mine, StateFilters=['Empty', 'CompleteAbort'])
    w.list('strange states', mine, StateFilters=['ongoing', 'Ongoing', 'Strange', 'PrepareEpochFence', 'Dead'])
    w.list('only strange states', mine, StateFilters=['Strange'])
    w.list('one producer', mine, ProducerIdFilters=[done.id])
    w.list('two producers', mine, ProducerIdFilters=[done.id, 1 << 40, gone.id])
    w.list('state and producer', mine, StateFilters=['Ongoing'], ProducerIdFilters=[done.id, open_.id])
    w.list('running for a day', mine, DurationFilter=86400000)
    w.list('running', mine, DurationFilter=0)
    time.sleep(0.05)
    w.list('running for a little', mine, DurationFilter=20)
    for pattern in ('', w.name, w.name + r'\..*', r'.*\.idle', w.name + r'\.(open|done)', '[', '(?i)' + w.name.upper() + r'\.IDLE', 'nothing'):
        w.list(f'pattern {pattern!r}', mine, TransactionalIdPattern=pattern)
    w.active(t)
    r = w.link().call('DescribeProducers', 0, {'Topics': [{'Name': t, 'PartitionIndexes': [5]},
                                                         {'Name': 'no-such-topic', 'PartitionIndexes': [0]}]})
    w.note('DescribeProducers of what is not there -> ' + ' '.join(
        f'{q["PartitionIndex"]}={q["ErrorCode"]}' for x in r['Topics'] for q in x['Partitions']))
    for version in range(1, 7):
        value = {'Key': w.name, 'KeyType': 1} if version < 4 else {'CoordinatorKeys': [w.name, ''], 'KeyType': 1}
        r = w.link().call('FindCoordinator', version, value)
        w.note(f'FindCoordinator v{version} -> ' + (f'{r["ErrorCode"]} node {r["NodeId"]}' if version < 4 else ' '.join(
            f'{c["Key"]!r}={c["ErrorCode"]} node {c["NodeId"]}' for c in r['Coordinators'])))
    w.end(open_)


@script(NEW)
def features(w):
    """What a fresh cluster says about transactions."""
    r = w.link().call('ApiVersions', 4, {'ClientSoftwareName': 'scripted', 'ClientSoftwareVersion': '1'})
    keys = {k['ApiKey']: k for k in r['ApiKeys']}
    for name in ('Produce', 'FindCoordinator', 'InitProducerId', 'AddPartitionsToTxn', 'AddOffsetsToTxn', 'EndTxn', 'WriteTxnMarkers',
                 'TxnOffsetCommit', 'DescribeProducers', 'DescribeTransactions', 'ListTransactions'):
        k = keys.get(codec.NAMES[name])
        w.note(f'{name} ' + (f'{k["MinVersion"]}-{k["MaxVersion"]}' if k else 'not served'))
    for what in ('SupportedFeatures', 'FinalizedFeatures'):
        for f in r[what]:
            if f['Name'] == 'transaction.version':
                w.note(f'{what} {sorted(f.items())}')
    topic = '__transaction_state'
    r = w.link().call('DescribeConfigs', 4, {'Resources': [{'ResourceType': 2, 'ResourceName': topic, 'ConfigurationKeys': None}]})
    for c in sorted(r['Results'][0]['Configs'], key=lambda c: c['Name']):
        if c['ConfigSource'] == 1:
            w.note(f'{topic} {c["Name"]}={c["Value"]}')


# ---- topics that go away

@script(NEW, (TV1, TV2))
def topic_deleted_in_a_transaction(w, kit):
    t, gone = w.topic(w.name), w.topic(w.name + '.gone')
    p = started(w, kit)
    write(w, p, t)
    write(w, p, gone)
    w.delete_topic(gone)
    w.end(p)
    w.describe(w.name)
    w.data(t)
    write(w, p, t)
    w.end(p)
    w.data(t)
    w.state(w.name)


# ---- ids that are forgotten (a broker with short expirations)

@script(EXPIRING, (TV1, TV2))
def forgotten(w, kit):
    t = w.topic(w.name)
    p = started(w, kit)
    write(w, p, t)
    w.end(p)
    open_ = started(w, kit, '.open')
    write(w, open_, t)
    w.wait_for(p, lambda state: not state or state == 'Dead')
    w.describe(w.name)
    late = p.copy()
    w.produce(late, t)
    w.add(late, t)
    w.end(late)
    w.describe(open_.transactional_id)
    w.end(open_)
    w.init(p, keep=(p.id, p.epoch))
    w.init(p)
    write(w, p, t)
    w.end(p)
    w.state(w.name)
