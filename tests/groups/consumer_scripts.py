"""Scripts of the consumer protocol (ConsumerGroupHeartbeat), and of groups that go from one protocol to the other."""
import time
import uuid

from members import assignment, subscription

SCRIPTS = []


def script(function):
    SCRIPTS.append(function)
    return function


def with_setting(name, value):
    """A script for a broker that has this setting."""
    def mark(function):
        function.settings = {name: value}
        return script(function)
    return mark


def with_policy(policy):
    return with_setting('group.consumer.migration.policy', policy)


def describe(s, version=1):
    s.ask('-', 'ConsumerGroupDescribe', version, {'GroupIds': [s.group]})


# ---- coming and going

@script
def consumer_alone(s):
    a = s.consumer('A')
    a.join()
    describe(s)
    a.follow()
    describe(s)
    a.beat()                       # nothing new: nothing is told
    a.full()                       # everything again: what it has is told again
    a.commit()
    a.leave()
    a.beat()
    describe(s)


@script
def consumer_of_version_0(s):
    """The broker makes the id of who has none."""
    a = s.consumer('A', member_id='', version=0)
    s.name_id(a.join()['MemberId'], 'A')
    a.follow()
    describe(s, 0)
    b = s.consumer('B', member_id='')
    b.join()                       # version 1 has to bring one
    a.leave()


@script
def consumers_share(s):
    """What one has to give up goes to the other when it says that it has let go."""
    a, b = s.consumer('A', topics=('t4',)), s.consumer('B', topics=('t4',))
    a.join()
    a.follow()
    b.join()
    b.beat()
    describe(s)
    a.beat()                       # is told to give up two
    b.beat()
    a.beat()                       # has not done so yet
    describe(s)
    a.follow()
    b.beat()
    b.follow()
    a.beat()
    describe(s)
    b.leave()
    a.beat()
    a.follow()
    describe(s)


@script
def three_consumers(s):
    a, b, c = (s.consumer(n, topics=('t7',)) for n in 'ABC')
    for m in (a, b, c):
        m.join()
    for _ in range(3):
        for m in (a, b, c):
            m.follow()
    describe(s)
    b.topics = ['t7', 't1']
    b.full()
    for _ in range(3):
        for m in (a, c, b):
            m.follow()
    describe(s)
    a.leave()
    for _ in range(2):
        for m in (c, b):
            m.follow()
    describe(s)


@script
def consumers_of_different_topics(s):
    a, b = s.consumer('A', topics=('t4', 'other')), s.consumer('B', topics=('t4', 't1', 't3'))
    a.join()
    b.join()
    for _ in range(3):
        a.follow()
        b.follow()
    describe(s)
    a.beat(SubscribedTopicNames=['other'])
    b.follow()
    a.follow()
    b.follow()
    describe(s)


@script
def range_assignor(s):
    a, b = (s.consumer(n, topics=('t4', 't3'), assignor='range') for n in 'AB')
    a.join()
    b.join()
    for _ in range(3):
        a.follow()
        b.follow()
    describe(s)
    a.beat(ServerAssignor='uniform')   # one of each: the preferred is that of most, then …
    for _ in range(3):
        a.follow()
        b.follow()
    describe(s)


@script
def nothing_to_read(s):
    a = s.consumer('A', topics=())
    a.join()
    a.follow()
    a.beat(SubscribedTopicNames=['nothing'])
    a.beat(SubscribedTopicNames=['t1', 'nothing'])
    a.follow()
    a.beat(SubscribedTopicNames=[])
    a.follow()
    describe(s)
    a.leave()


@script
def consumer_unsubscribes(s):
    a, b = s.consumer('A', topics=('t3',)), s.consumer('B', topics=('t3',))
    a.join()
    b.join()
    for _ in range(3):
        a.follow()
        b.follow()
    a.beat(SubscribedTopicNames=[])
    b.follow()
    a.follow()
    b.follow()
    b.follow()
    describe(s)


# ---- epochs

@script
def wrong_epochs(s):
    a = s.consumer('A')
    a.beat()                       # epoch 0 without anything
    a.beat(MemberEpoch=3)
    a.leave()
    a.join()
    a.beat(MemberEpoch=99)
    a.beat(MemberEpoch=-5)
    a.beat(MemberId='made-up')
    a.beat(MemberId='')
    a.beat(MemberEpoch=a.epoch - 1)
    a.beat()


@script
def an_answer_was_lost(s):
    """The previous epoch is enough for who owns no more than it is given."""
    a, b = s.consumer('A', topics=('t4',)), s.consumer('B', topics=('t4',))
    a.join()
    a.follow()
    b.join()
    a.follow()
    a.follow()
    epoch = a.epoch
    a.beat(MemberEpoch=epoch - 1)
    a.beat(MemberEpoch=epoch - 1, TopicPartitions=a.owns())
    a.beat(MemberEpoch=epoch - 1, TopicPartitions=[{'TopicId': s.world.ids['t4'], 'Partitions': [0, 1, 2, 3]}])
    a.beat(MemberEpoch=epoch - 2, TopicPartitions=[])
    describe(s)


@script
def consumer_joins_twice(s):
    a = s.consumer('A')
    a.join()
    a.follow()
    a.join()                       # with epoch 0: from the beginning
    a.follow()
    describe(s)


@script
def consumer_owns_what_it_was_not_given(s):
    a, b = s.consumer('A', topics=('t4',)), s.consumer('B', topics=('t4',))
    a.join()
    a.follow()
    b.join(TopicPartitions=[{'TopicId': s.world.ids['t4'], 'Partitions': [0]}])
    b.join()
    b.beat(TopicPartitions=[{'TopicId': s.world.ids['t4'], 'Partitions': [0, 1, 2, 3]}])
    describe(s)


# ---- who crashes

@script
def consumer_crashes(s):
    a, b = s.consumer('A'), s.consumer('B')
    a.join()
    b.join()
    for _ in range(3):
        a.follow()
        b.follow()
    time.sleep(0.5)
    for _ in range(5):             # the session is 4 s
        time.sleep(1)
        b.beat()
    b.follow()
    b.follow()
    a.beat()
    a.commit()
    describe(s)


@script
def consumer_does_not_let_go(s):
    """Who does not give up what it has to within its rebalance timeout is out."""
    a, b = s.consumer('A', topics=('t4',), rebalance_ms=1000), s.consumer('B', topics=('t4',))
    a.join()
    a.follow()
    b.join()
    a.beat()
    time.sleep(0.5)
    a.beat()
    time.sleep(1.2)
    a.beat()
    b.beat()
    b.follow()
    describe(s)


# ---- static members

@script
def static_consumer_comes_back(s):
    a, b = s.consumer('A', instance='a'), s.consumer('B', instance='b')
    a.join()
    b.join()
    for _ in range(3):
        a.follow()
        b.follow()
    a.leave(-2)
    describe(s)
    b.beat()
    again = s.consumer('A2', instance='a')
    again.join()
    again.follow()
    b.beat()
    describe(s)
    a.beat()
    again.leave(-1)
    b.follow()
    describe(s)


@script
def static_consumer_is_replaced(s):
    a = s.consumer('A', instance='a')
    a.join()
    a.follow()
    other = s.consumer('O', instance='a')
    other.join()                   # while the first is there
    a.beat()
    a.beat(InstanceId='unknown')
    a.leave(-2)
    other.join()
    a.beat()
    a.full()
    a.commit()
    a.leave(-1)
    a.leave(-2)
    describe(s)


@script
def static_consumer_stays_away(s):
    a, b = s.consumer('A', instance='a'), s.consumer('B', instance='b')
    a.join()
    b.join()
    for _ in range(2):
        a.follow()
        b.follow()
    a.leave(-2)
    time.sleep(0.5)
    for _ in range(5):
        time.sleep(1)
        b.beat()
    b.follow()
    describe(s)


@script
def dynamic_consumer_leaves_as_static(s):
    a = s.consumer('A')
    a.join()
    a.leave(-2)
    a.beat()
    describe(s)


# ---- what may not be

@script
def invalid_heartbeats(s):
    a = s.consumer('A')
    a.join(RebalanceTimeoutMs=-1)
    a.join(RebalanceTimeoutMs=0)
    a.join(SubscribedTopicNames=None)
    a.join(TopicPartitions=None)
    a.join(TopicPartitions=[{'TopicId': s.world.ids['t3'], 'Partitions': [0]}])
    a.join(InstanceId='')
    a.join(RackId='')
    a.join(ServerAssignor='nonsense')
    a.join(ServerAssignor='')
    a.join(SubscribedTopicNames=[''])
    a.beat(MemberEpoch=-2)
    a.beat(MemberEpoch=-1, MemberId='')
    group, s.group = s.group, ''
    a.join()
    s.group = '  '
    a.join()
    s.group = group
    a.join()
    a.beat(ServerAssignor='nonsense')
    a.beat(SubscribedTopicRegex='(')
    a.beat(RebalanceTimeoutMs=-7)
    a.beat(InstanceId='later')
    describe(s)


@script
def consumer_group_is_full(s):
    for n in 'ABCDE':
        s.consumer(n).join()
    describe(s)


@script
def regular_expressions(s):
    a = s.consumer('A', topics=None, regex='t[34]')
    a.join()
    for _ in range(20):            # topics are looked for beside the heartbeats
        time.sleep(0.1)
    a.beat()
    a.follow()
    describe(s)
    b = s.consumer('B', topics=['other'], regex='')
    b.join()
    b.beat(SubscribedTopicRegex='oth.*|nothing')
    time.sleep(1)
    a.follow()
    b.follow()
    a.follow()
    b.follow()
    describe(s)
    a.beat(SubscribedTopicRegex='')
    a.beat(SubscribedTopicRegex=None, SubscribedTopicNames=['t1'])
    a.follow()
    b.follow()
    describe(s)
    a.beat(SubscribedTopicRegex='*')
    a.beat(SubscribedTopicRegex='[')


@script
def consumer_commits(s):
    a, b = s.consumer('A'), s.consumer('B')
    a.commit()
    a.join()
    a.commit(version=8)
    a.commit(version=9)
    a.commit(GenerationIdOrMemberEpoch=0)
    a.commit(GenerationIdOrMemberEpoch=99)
    a.commit(version=8, GenerationIdOrMemberEpoch=99)
    a.commit(MemberId='made-up')
    a.commit(MemberId='', GenerationIdOrMemberEpoch=-1)
    b.join()
    a.commit()
    a.follow()
    a.commit(GenerationIdOrMemberEpoch=1)
    fetch = {'GroupId': s.group, 'Topics': [{'Name': 't3', 'PartitionIndexes': [0, 1]}]}
    for member, epoch in ((a.id, a.epoch), (a.id, 1), (a.id, 99), ('made-up', 1), ('', -1), (None, -1)):
        s.ask('-', 'OffsetFetch', 9, {'Groups': [dict(fetch, MemberId=member, MemberEpoch=epoch)]})
    s.ask('-', 'OffsetFetch', 7, dict(fetch))
    s.ask('-', 'OffsetDelete', 0, {'GroupId': s.group, 'Topics': [
        {'Name': t, 'Partitions': [{'PartitionIndex': 0}]} for t in ('t3', 't1')]})
    s.ask('-', 'DeleteGroups', 2, {'GroupsNames': [s.group]})
    a.leave()
    b.leave()
    s.ask('-', 'OffsetDelete', 0, {'GroupId': s.group, 'Topics': [{'Name': 't3', 'Partitions': [{'PartitionIndex': 0}]}]})
    b.commit(MemberId='', GenerationIdOrMemberEpoch=-1)
    s.ask('-', 'DeleteGroups', 2, {'GroupsNames': [s.group]})
    describe(s)


@script
def tools_and_consumer_groups(s):
    describe(s)
    describe(s, 0)
    s.ask('-', 'ConsumerGroupDescribe', 1, {'GroupIds': ['', s.group, s.group + '.none']})
    a = s.consumer('A')
    a.join()
    s.ask('-', 'DescribeGroups', 6, {'Groups': [s.group]})
    s.ask('-', 'DescribeGroups', 5, {'Groups': [s.group]})
    for states, types in ([], []), (['Stable'], []), (['Reconciling'], []), ([], ['consumer']), ([], ['Consumer', 'classic']), \
            ([], ['classic']), (['Assigning'], ['consumer']), (['stable'], ['CONSUMER']):
        s.ask('-', 'ListGroups', 5, {'StatesFilter': states, 'TypesFilter': types})
    s.ask('-', 'ConsumerGroupDescribe', 1, {'GroupIds': [s.group], 'IncludeAuthorizedOperations': True})
    s.ask('-', 'LeaveGroup', 5, {'GroupId': s.group, 'Members': [{'MemberId': 'member-A', 'GroupInstanceId': None},
                                                                  {'MemberId': 'nobody', 'GroupInstanceId': None}]})
    describe(s)
    s.ask('-', 'DescribeGroups', 6, {'Groups': [s.group]})
    s.ask('-', 'ListGroups', 5, {})


# ---- the world around them

def create(s, name, partitions):
    made = s.link().call('CreateTopics', 7, {'Topics': [
        {'Name': name, 'NumPartitions': partitions, 'ReplicationFactor': 1, 'Assignments': [], 'Configs': []}], 'timeoutMs': 10000})
    assert made['Topics'][0]['ErrorCode'] == 0, made
    s.names[str(made['Topics'][0]['TopicId'])] = name
    time.sleep(1)                  # until the coordinator knows


@script
def a_topic_comes_grows_and_goes(s):
    a, b = (s.consumer(n, topics=('comes',)) for n in 'AB')
    a.join()
    b.join()
    describe(s)
    create(s, 'comes', 2)
    for _ in range(2):
        a.follow()
        b.follow()
    describe(s)
    s.link().call('CreatePartitions', 3, {'Topics': [{'Name': 'comes', 'Count': 4, 'Assignments': None}], 'TimeoutMs': 10000})
    time.sleep(1)
    for _ in range(2):
        a.follow()
        b.follow()
    describe(s)
    s.link().call('DeleteTopics', 6, {'Topics': [{'Name': 'comes', 'TopicId': uuid.UUID(int=0)}], 'TimeoutMs': 10000})
    time.sleep(1)
    for _ in range(2):
        a.follow()
        b.follow()
    describe(s)


@script
def a_topic_that_an_expression_matches_comes(s):
    a = s.consumer('A', topics=None, regex='matched-.*')
    a.join()
    time.sleep(0.5)
    a.beat()
    create(s, 'matched-1', 2)
    for _ in range(12):            # looked for again after 10 s
        a.quietly()
        time.sleep(1)
    a.follow()
    describe(s)


@script
def settings_of_the_group(s):
    def set_to(name, value):
        done = s.link().call('IncrementalAlterConfigs', 1, {'Resources': [{'ResourceType': 32, 'ResourceName': s.group, 'Configs': [
            {'Name': name, 'ConfigOperation': 0, 'Value': value}]}]})
        s.tell(f'{name}={value}', {'ErrorCode': done['Responses'][0]['ErrorCode']})
        time.sleep(0.5)
    a = s.consumer('A')
    a.join()
    set_to('consumer.heartbeat.interval.ms', '700')
    a.beat()
    set_to('consumer.session.timeout.ms', '900')
    a.beat()
    time.sleep(1.5)
    a.beat()
    set_to('consumer.session.timeout.ms', '100')       # less than the broker allows
    set_to('consumer.heartbeat.interval.ms', '50')
    set_to('consumer.nonsense', '1')


@with_setting('group.consumer.assignment.interval.ms', '1500')
def waits_with_assignments(s):
    """Members that come close together are given their partitions together."""
    a, b, c = (s.consumer(n, topics=('t4',)) for n in 'ABC')
    a.join()
    b.join()
    c.join()
    a.follow()
    describe(s)
    time.sleep(1.7)
    for _ in range(2):
        for m in (a, b, c):
            m.follow()
    describe(s)
    c.leave()
    a.follow()
    time.sleep(1.7)
    a.follow()
    b.follow()
    describe(s)


@with_setting('group.consumer.assignment.interval.ms', '1500')
def unsubscribed_before_there_is_a_target(s):
    """What it does not want any more goes at once, and the epoch before this one is this one, too."""
    a = s.consumer('A', topics=('t4',))
    a.join()
    a.follow()
    time.sleep(1.7)
    a.beat(SubscribedTopicNames=['t4', 't3'])
    a.follow()
    a.beat(SubscribedTopicNames=['t3'])
    a.beat(MemberEpoch=2, TopicPartitions=[])
    a.beat(MemberEpoch=3)
    a.beat(SubscribedTopicNames=[])
    describe(s)


@script
def gives_up_twice(s):
    """While it gives up partitions there is a newer target that wants more of it."""
    a, b, c = (s.consumer(n, topics=('t7',)) for n in 'ABC')
    a.join()
    a.follow()
    b.join()
    a.beat()
    describe(s)
    c.join()
    a.follow()
    describe(s)
    a.beat()
    a.follow()
    describe(s)
    for _ in range(3):
        for m in (b, c, a):
            m.follow()
    describe(s)


@script
def commits_with_older_epochs(s):
    """One partition that it got later than that, and none is committed."""
    a, b = s.consumer('A', topics=('t4',)), s.consumer('B', topics=('t4',))
    a.join()
    a.follow()
    first = a.epoch
    a.commit({'t4': {0: 1, 1: 2, 2: 3, 3: 4}})
    b.join()
    for m in (a, a, b, b):
        m.follow()
    second = a.epoch
    some = {'t4': {0: 11, 1: 12, 2: 13, 3: 14}, 't3': {0: 15}}
    for epoch in (first, second, second - 1, second + 1, 0, -1, -2):
        a.commit(some, GenerationIdOrMemberEpoch=epoch)
        b.commit(some, GenerationIdOrMemberEpoch=epoch)
    s.ask('-', 'OffsetCommit', 9, {'GroupId': s.group, 'MemberId': a.id, 'GenerationIdOrMemberEpoch': second, 'Topics': [
        {'Name': 't4', 'Partitions': [{'PartitionIndex': 0, 'CommittedOffset': 31, 'CommittedLeaderEpoch': -5, 'CommittedMetadata': ''}]},
        {'Name': 't3', 'Partitions': []}]})
    s.ask('-', 'OffsetFetch', 8, {'Groups': [{'GroupId': s.group, 'Topics': [{'Name': 't4', 'PartitionIndexes': [0, 1, 2, 3]}]}]})


def tied(first, second):
    """As many want one assignor as the other."""
    def of_two(s):
        a = s.consumer('Y', topics=('t7',), assignor=first)
        a.join()
        a.follow()
        b = s.consumer('B', topics=('t7',), assignor=second)
        b.join()
        for m in (a, a, b, b):
            m.follow()
        describe(s)
        c = s.consumer('A', topics=('t7',))
        c.join()
        describe(s)
    of_two.__name__ = f'{first}_or_{second}'
    return script(of_two)


tied('uniform', 'range')
tied('range', 'uniform')
tied(None, 'range')


@script
def an_assignor_is_changed(s):
    a, b = (s.consumer(n, topics=('t7',), assignor='uniform') for n in 'YB')
    a.join()
    a.follow()
    b.join()
    for m in (a, b, a, b):
        m.follow()
    b.beat(ServerAssignor='range')
    a.beat(SubscribedTopicNames=['t7', 'missing'])
    describe(s)
    for m in (a, b, a, b):
        m.follow()
    b.beat(ServerAssignor='uniform', SubscribedTopicNames=['t7', 'missing'])
    describe(s)
    b.beat(ServerAssignor='range', SubscribedTopicNames=['t7'])
    describe(s)


@with_setting('group.consumer.assignors', 'org.apache.kafka.coordinator.group.assignor.RangeAssignor,'
                                          'org.apache.kafka.coordinator.group.assignor.UniformAssignor')
def assignors_by_their_classes(s):
    for assignor in ('range', 'uniform', 'org.apache.kafka.coordinator.group.assignor.UniformAssignor', None):
        a = s.consumer('A', assignor=assignor)
        a.join()
        describe(s)
        a.leave()


@with_setting('group.coordinator.rebalance.protocols', 'classic')
def the_protocol_is_switched_off(s):
    a = s.consumer('A')
    a.join()
    a.beat(MemberEpoch=-1)
    a.join(GroupId='')
    describe(s)
    describe(s, 0)
    s.ask('-', 'ConsumerGroupDescribe', 1, {'GroupIds': ['', 'nothing']})
    s.ask('-', 'DescribeGroups', 6, {'Groups': [s.group]})


# ---- from one protocol to the other

def classic_meets_consumer(s):
    """A classic member joins a group of consumers."""
    c = s.consumer('C', topics=('t4',))
    c.join()
    c.follow()
    m = s.member('M', topics=('t4',))
    m.join()
    m.join()
    m.sync()
    m.heartbeat()
    c.follow()
    c.follow()
    m.heartbeat()
    m.join()
    m.sync()
    describe(s)
    m.commit({'t4': {0: 3}})
    s.ask('-', 'DescribeGroups', 6, {'Groups': [s.group]})
    s.ask('-', 'ListGroups', 5, {})
    c.leave()                      # the last consumer: by policy the group becomes classic
    m.heartbeat()
    m.join()
    m.sync({m.id: assignment({'t4': [0, 1, 2, 3]})})
    s.ask('-', 'DescribeGroups', 6, {'Groups': [s.group]})
    m.leave()
    s.ask('-', 'ListGroups', 5, {})


def consumer_meets_classic(s):
    """A consumer joins a group of classic members."""
    m = s.member('M', protocols={'range': subscription('t4', version=3)})
    m.enter()
    m.receive()
    m.sync({m.id: assignment({'t4': [0, 1, 2, 3]})})
    m.commit({'t4': {0: 3}})
    c = s.consumer('C', topics=('t4',))
    c.join()
    s.ask('-', 'ListGroups', 5, {})
    describe(s)
    m.heartbeat()
    m.join()
    m.sync()
    c.follow()
    m.heartbeat()
    c.follow()
    describe(s)
    m.leave()
    c.follow()
    c.follow()
    describe(s)
    c.leave()


def empty_groups_change(s):
    """A group without members becomes what its next member is."""
    m = s.member('M', topics=('t1',))
    m.enter()
    m.receive()
    m.sync({m.id: assignment({'t1': [0]})})
    m.commit({'t1': {0: 3}})
    m.leave()
    c = s.consumer('C', topics=('t1',))
    c.join()
    describe(s)
    c.leave()
    again = s.member('N', topics=('t1',))
    again.enter()
    again.receive()
    s.ask('-', 'ListGroups', 5, {})
    s.ask('-', 'OffsetFetch', 8, {'Groups': [{'GroupId': s.group, 'Topics': None}]})


def by_policy():
    for policy in ('bidirectional', 'upgrade', 'downgrade', 'disabled'):
        for what in (classic_meets_consumer, consumer_meets_classic, empty_groups_change):
            def one(s, what=what):
                what(s)
            one.__name__ = f'{what.__name__}_{policy}'
            with_policy(policy)(one)


by_policy()


@script
def classic_members_with_nonsense_cannot_be_taken_over(s):
    m = s.member('M', protocols={'range': b'\0'})
    m.enter()
    m.receive()
    m.sync({m.id: b''})
    c = s.consumer('C')
    c.join()
    m.heartbeat()


@script
def other_protocol_types_stay_classic(s):
    m = s.member('M', protocol_type='connect', protocols={'compatible': b''})
    m.enter()
    m.receive()
    m.sync({m.id: b''}, ProtocolName='compatible')
    c = s.consumer('C')
    c.join()
    m.heartbeat()


@script
def classic_member_among_consumers(s):
    """What it may not do, and what it is told."""
    c, m = s.consumer('C', topics=('t4',)), s.member('M', topics=('t4',))
    c.join()
    c.follow()
    m.join(Protocols=[{'Name': 'range', 'Metadata': b'\0'}])
    m.join(ProtocolType='connect')
    m.join()
    m.join(SessionTimeoutMs=100)
    m.join()
    m.sync(GenerationId=m.generation + 1)
    m.sync(ProtocolName='roundrobin')
    m.sync(MemberId='made-up')
    m.heartbeat(GenerationId=m.generation + 1)
    m.heartbeat(MemberId='made-up')
    m.sync()
    c.follow()
    c.follow()
    m.heartbeat()
    m.commit({'t4': {0: 1}}, GenerationIdOrMemberEpoch=m.generation + 1)
    m.commit({'t4': {0: 1}}, version=8, GenerationIdOrMemberEpoch=m.generation - 1)
    m.commit({'t4': {0: 1}})
    m.join()
    m.sync()
    m.heartbeat()
    m.join()                       # again, with nothing new
    m.protocols = {'range': subscription('t1')}
    m.join()
    m.sync()
    m.heartbeat()
    m.join()
    m.sync()
    describe(s)
    m.leave(Members=[{'MemberId': m.id, 'GroupInstanceId': 'nobody'}])
    m.leave()
    m.heartbeat()
    c.follow()
    describe(s)


@script
def classic_member_among_consumers_crashes(s):
    c, m = s.consumer('C', topics=('t4',)), s.member('M', topics=('t4',), session_ms=1000)
    c.join()
    c.follow()
    m.join()
    m.join()
    m.sync()
    c.follow()
    time.sleep(1.7)
    m.heartbeat()
    c.follow()
    c.follow()
    describe(s)


@script
def classic_member_among_consumers_does_not_rejoin(s):
    c, m = s.consumer('C', topics=('t4',)), s.member('M', topics=('t4',), rebalance_ms=1000)
    c.join()
    c.follow()
    m.join()
    m.join()
    m.sync()
    c.follow()
    c.follow()
    m.heartbeat()                  # it has to rejoin
    time.sleep(1.6)
    m.heartbeat()
    c.follow()
    describe(s)


@script
def static_classic_member_among_consumers(s):
    c, m = s.consumer('C', topics=('t4',), instance='c'), s.member('M', topics=('t4',), instance='m')
    c.join()
    c.follow()
    m.join()
    m.sync()
    again = s.member('N', topics=('t4',), instance='m')
    again.join()
    again.sync()
    m.heartbeat()
    m.sync()
    s.ask('-', 'LeaveGroup', 5, {'GroupId': s.group, 'Members': [{'MemberId': '', 'GroupInstanceId': 'm'},
                                                                  {'MemberId': '', 'GroupInstanceId': 'x'}]})
    describe(s)


@script
def static_consumer_comes_back_as_classic(s):
    c = s.consumer('C', topics=('t4',), instance='c')
    c.join()
    c.follow()
    c.leave(-2)
    other = s.member('O', topics=('t4',), instance='c')
    other.join()
    other.sync()
    s.ask('-', 'ListGroups', 5, {})
    s.ask('-', 'LeaveGroup', 5, {'GroupId': s.group, 'Members': [{'MemberId': '', 'GroupInstanceId': 'c'}]})
    describe(s)
