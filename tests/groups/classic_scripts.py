"""Scripts of the classic protocol: who joins, leaves, crashes, comes back and asks for what it may not have."""
import time

from members import assignment, subscription

SCRIPTS = []
OTHER = {'roundrobin': subscription('t3')}
BOTH = {'range': subscription('t3'), 'roundrobin': subscription('t3')}


def script(function):
    SCRIPTS.append(function)
    return function


def settled(s, *names, **options):
    """Members in a stable group, the first of them its leader."""
    members = []
    for name in names:
        members.append(s.member(name, **dict(options, instance=name if options.get('instance') else None)))
    first = members[0]
    first.enter()
    for other in members[1:]:
        other.enter()
    for m in members:
        m.receive()
    for m in members[1:]:
        m.ask_sync()
    first.assign(*members)
    for m in members[1:]:
        m.receive()
    return members


# ---- joining

@script
def one_member(s):
    a, = settled(s, 'A')
    a.heartbeat()
    a.join()                       # the leader asks again: a new generation
    a.assign(a)
    a.heartbeat()
    a.commit()
    a.leave()


@script
def old_versions(s):
    """No id is asked for before version 4, and there are no rebalance timeouts in version 0."""
    a = s.member('A')
    a.join(version=0)
    a.sync({a.id: b'mine'}, version=0)
    a.heartbeat(version=0)
    b = s.member('B')
    b.ask_join(version=1)
    a.heartbeat(version=1)
    a.join(version=2)
    b.receive()
    b.ask_sync(version=1)
    a.sync({a.id: b'a', b.id: b'b'}, version=2)
    b.receive()
    b.leave(version=0)
    a.heartbeat(version=2)
    a.leave(version=2)


@script
def every_version_of_join(s):
    for version in range(10):
        a = s.member(f'V{version}-', instance='always' if version >= 5 else None)
        if a.join(version=version)['ErrorCode'] == 79:
            a.join(version=version)
        a.leave()
        if version >= 5:
            a.leave(version=2)
        s.group = f'every_version_of_join.{version + 1}'
    s.group = s.name


@script
def ids_are_asked_for(s):
    a = s.member('A')
    a.join()
    a.heartbeat()                  # it has an id, but is no member
    a.sync()
    a.commit()
    a.join()
    a.assign(a)
    stranger = s.member('S')
    stranger.id = 'made-up'
    stranger.join()
    stranger.generation = 1
    stranger.heartbeat()
    stranger.sync()
    stranger.commit()
    stranger.leave()


@script
def unknown_member_of_no_group(s):
    a = s.member('A')
    a.id, a.generation = 'made-up', 1
    a.join()
    a.heartbeat()
    a.sync()
    a.leave()
    a.commit()
    a.leave(Members=[])


@script
def id_never_used(s):
    """Who was given an id and does not come back within its session is forgotten."""
    a = s.member('A', session_ms=600)
    a.join()
    time.sleep(0.2)
    s.ask('-', 'DescribeGroups', 6, {'Groups': [s.group]})
    time.sleep(1.2)
    a.join()
    s.ask('-', 'DescribeGroups', 6, {'Groups': [s.group]})


@script
def id_asked_for_with_instance(s):
    """A static member is given no id before it joins."""
    a = s.member('A', instance='one')
    a.join()
    b = s.member('B')
    b.join()
    b.instance = 'two'
    b.join()                       # an id that was handed out, with an instance


@script
def two_members(s):
    a, b = settled(s, 'A', 'B')
    a.heartbeat()
    b.heartbeat()
    s.ask('-', 'DescribeGroups', 6, {'Groups': [s.group]})
    b.leave()
    a.heartbeat()
    a.join()
    a.assign(a)
    a.leave()


@script
def follower_asks_first(s):
    a, b = s.member('A'), s.member('B')
    a.enter()
    b.enter()
    a.receive()
    b.receive()
    b.ask_sync()
    b.waits()
    a.sync({a.id: b'for-a', b.id: b'for-b', 'nobody': b'for-nobody'})
    b.receive()
    b.sync()                       # once more
    a.sync()
    b.leave()


@script
def initial_delay(s):
    """The first join waits for others; each that comes in time prolongs it."""
    a, b = s.member('A'), s.member('B')
    a.join()
    began = time.time()
    a.ask_join()
    a.waits()
    b.enter()
    a.receive()
    s.tell(f'the first waited {"as long as it should" if 1.0 < time.time() - began < 5 else time.time() - began}')
    b.receive()
    a.leave()


@script
def follower_rejoins(s):
    a, b = settled(s, 'A', 'B')
    b.join()                       # with nothing new: what it has
    b.sync()
    b.protocols = {'range': subscription('t3', 't1')}
    b.ask_join()
    a.heartbeat()
    a.sync()
    a.commit()
    a.join()
    b.receive()
    b.join()                       # while the leader assigns: the same again
    b.ask_sync()
    a.assign(a, b)
    b.receive()


@script
def second_join_of_a_waiting_member(s):
    a, b = settled(s, 'A', 'B')
    c = s.member('C')
    c.enter()
    a.ask_join()
    again = s.member('A')
    again.id = a.id
    again.ask_join()
    a.waits()
    b.join()
    again.receive()
    c.receive()


@script
def second_sync_of_a_waiting_member(s):
    a, b = s.member('A'), s.member('B')
    a.enter()
    b.enter()
    a.receive()
    b.receive()
    b.ask_sync()
    again = s.member('B')
    again.id, again.generation = b.id, b.generation
    again.ask_sync()
    b.waits()
    a.assign(a, b)
    again.receive()


@script
def group_is_full(s):
    members = settled(s, 'A', 'B', 'C', 'D')
    e = s.member('E')
    e.join()
    e.join()
    members[3].leave()
    e.enter()
    for m in members[:3]:
        m.ask_join()
    for m in members[:3]:
        m.receive()
    e.receive()


@script
def group_is_full_while_they_join(s):
    members = [s.member(n, version=3) for n in 'ABCDE']
    for m in members:
        m.ask_join()
        time.sleep(0.05)
    for m in members[::-1]:
        m.receive()


# ---- protocols

@script
def protocols_that_do_not_fit(s):
    a = s.member('A')
    a.join(ProtocolType='')
    a.join(Protocols=[])
    a.join()
    a.join(ProtocolType='')
    a.join()
    b = s.member('B', protocols=OTHER)
    b.join()
    b.protocol_type, b.protocols = 'connect', {'range': b''}
    b.join()
    b.join(Protocols=[])
    a.assign(a)
    a.protocols = OTHER
    a.join()                       # alone it may change its mind
    a.join(ProtocolType='connect')
    a.join(ProtocolType='')


@script
def sync_of_another_protocol(s):
    a = s.member('A')
    a.enter()
    a.receive()
    a.sync(ProtocolName='roundrobin')
    a.sync(ProtocolType='connect')
    a.sync(ProtocolName=None, ProtocolType=None)
    a.sync(ProtocolName='roundrobin')


@script
def votes(s):
    a = s.member('A', protocols=BOTH)
    b = s.member('B', protocols={'roundrobin': subscription('t3'), 'range': subscription('t3')})
    a.enter()
    b.enter()
    a.receive()
    b.receive()
    c = s.member('C', protocols={'roundrobin': subscription('t3', 'other'), 'sticky': b''})
    c.enter()
    a.ask_join()
    b.ask_join()
    c.receive()
    a.receive()
    b.receive()


@script
def other_protocol_type(s):
    """Not consumers: the broker does not look into what they say."""
    a = s.member('A', protocol_type='connect', protocols={'compatible': b'\1\2', 'eager': b''})
    a.enter()
    a.receive()
    a.sync({a.id: b'task'}, ProtocolName='compatible')
    a.commit()
    s.ask('-', 'DescribeGroups', 6, {'Groups': [s.group]})
    s.ask('-', 'OffsetDelete', 0, {'GroupId': s.group, 'Topics': [{'Name': 't3', 'Partitions': [{'PartitionIndex': 0}]}]})


@script
def consumer_that_says_nonsense(s):
    a = s.member('A', protocols={'range': b'\0'})
    a.enter()
    a.receive()
    a.sync({a.id: b'x'})
    a.commit()
    s.ask('-', 'OffsetDelete', 0, {'GroupId': s.group, 'Topics': [{'Name': 't3', 'Partitions': [{'PartitionIndex': 0}]}]})


# ---- what may not be

@script
def sessions_too_short_or_long(s):
    a = s.member('A')
    a.join(SessionTimeoutMs=499)
    a.join(SessionTimeoutMs=60001)
    a.join(SessionTimeoutMs=-1)
    a.join(SessionTimeoutMs=500)


@script
def rebalance_timeouts(s):
    """None at all: whoever has joined would have to ask for its assignment at once."""
    a = s.member('A')
    a.join()
    a.join(RebalanceTimeoutMs=0)
    time.sleep(0.4)
    a.assign(a)
    b = s.member('B')
    b.join()
    b.join(RebalanceTimeoutMs=-1)
    time.sleep(0.4)
    b.assign(b)


@script
def no_group_id(s):
    a = s.member('A')
    s.group = ''
    a.join()
    a.heartbeat()
    a.sync()
    a.commit()
    a.leave()
    s.ask('-', 'DescribeGroups', 6, {'Groups': ['']})
    s.ask('-', 'DeleteGroups', 2, {'GroupsNames': ['']})
    s.ask('-', 'OffsetFetch', 8, {'Groups': [{'GroupId': '', 'Topics': None}]})
    s.ask('-', 'OffsetDelete', 0, {'GroupId': '', 'Topics': [{'Name': 't3', 'Partitions': [{'PartitionIndex': 0}]}]})
    s.group = s.name


@script
def wrong_generations(s):
    a, = settled(s, 'A')
    for generation in (a.generation - 1, a.generation + 1, -1):
        a.heartbeat(GenerationId=generation)
        a.sync(GenerationId=generation)
        a.commit(GenerationIdOrMemberEpoch=generation)
    a.heartbeat(MemberId='')
    a.sync(MemberId='')
    a.commit(MemberId='')
    a.commit(MemberId='', GenerationIdOrMemberEpoch=-1)


# ---- who goes

@script
def crash(s):
    """Nothing is heard of a member for its session: the others join again."""
    a, b = s.member('A'), s.member('B', session_ms=700)
    a.enter()
    b.enter()
    a.receive()
    b.receive()
    b.ask_sync()
    a.assign(a, b)
    b.receive()
    time.sleep(0.4)
    b.heartbeat()
    a.heartbeat()
    time.sleep(1.2)
    a.heartbeat()
    b.heartbeat()
    a.join()
    a.assign(a)
    b.commit()
    b.join()


@script
def crash_of_the_last(s):
    a = s.member('A', session_ms=600)
    a.enter()
    a.receive()
    a.assign(a)
    a.commit()
    time.sleep(1.4)
    s.ask('-', 'DescribeGroups', 6, {'Groups': [s.group]})
    a.heartbeat()
    a.join()


@script
def crash_of_the_leader(s):
    a, b = s.member('A', session_ms=700), s.member('B')
    a.enter()
    b.enter()
    a.receive()
    b.receive()
    b.ask_sync()
    a.assign(a, b)
    b.receive()
    time.sleep(1.5)
    b.heartbeat()
    b.join()
    b.assign(b)


@script
def leader_does_not_assign(s):
    """Who has not asked for its assignment within the rebalance timeout is out."""
    a, b = s.member('A', rebalance_ms=1000), s.member('B', rebalance_ms=1000)
    a.enter()
    b.enter()
    a.receive()
    b.receive()
    b.ask_sync()
    b.receive()
    b.join()
    b.assign(b)
    a.heartbeat()
    a.sync()


@script
def member_does_not_rejoin(s):
    a, b = s.member('A', rebalance_ms=1000), s.member('B', rebalance_ms=1000)
    a.enter()
    b.enter()
    a.receive()
    b.receive()
    b.ask_sync()
    a.assign(a, b)
    b.receive()
    a.ask_join()
    b.heartbeat()
    a.receive()
    b.heartbeat()
    b.join()
    a.assign(a)


@script
def leaving(s):
    a, b = settled(s, 'A', 'B')
    a.leave(Members=[{'MemberId': 'nobody', 'GroupInstanceId': None}])
    a.leave(Members=[{'MemberId': '', 'GroupInstanceId': None}])
    a.leave(Members=[{'MemberId': '', 'GroupInstanceId': 'nobody'}])
    a.leave(Members=[{'MemberId': b.id, 'GroupInstanceId': 'nobody'}])
    a.leave(Members=[])
    a.heartbeat()
    a.leave(Members=[{'MemberId': b.id, 'GroupInstanceId': None, 'Reason': 'enough'},
                     {'MemberId': b.id, 'GroupInstanceId': None},
                     {'MemberId': a.id, 'GroupInstanceId': None}])
    a.leave()
    a.heartbeat()
    s.ask('-', 'DescribeGroups', 6, {'Groups': [s.group]})


@script
def leaving_one_at_a_time(s):
    a, = settled(s, 'A')
    a.leave(version=1, MemberId='nobody')
    a.leave(version=1, MemberId='')
    a.leave(version=1)
    a.leave(version=0)


@script
def leaving_with_a_request_under_way(s):
    a, b = settled(s, 'A', 'B')
    b.ask_join(Protocols=[{'Name': 'range', 'Metadata': subscription('other')}])
    s.ask('-', 'LeaveGroup', 4, {'GroupId': s.group, 'Members': [{'MemberId': b.id, 'GroupInstanceId': None}]})
    b.receive()
    a.join()
    c = s.member('C')
    c.join()
    s.ask('-', 'LeaveGroup', 4, {'GroupId': s.group, 'Members': [{'MemberId': c.id, 'GroupInstanceId': None}]})
    c.join()


@script
def leaving_while_another_waits_to_sync(s):
    a, b = s.member('A'), s.member('B')
    a.enter()
    b.enter()
    a.receive()
    b.receive()
    b.ask_sync()
    a.leave()
    b.receive()
    b.join()


# ---- static members

@script
def static_member_comes_back(s):
    a, b = settled(s, 'A', 'B', instance=True)
    again = s.member('B', instance='B')
    again.join()                   # stable: what the old one had
    again.sync()
    b.heartbeat()
    b.sync()
    b.commit()
    b.join()
    b.leave()
    a.heartbeat()
    again.heartbeat()
    s.ask('-', 'DescribeGroups', 6, {'Groups': [s.group]})


@script
def static_leader_comes_back(s):
    a, b = settled(s, 'A', 'B', instance=True)
    again = s.member('A', instance='A')
    again.join()
    again.sync()
    older = s.member('A', instance='A', version=8)
    older.join()
    older.sync()
    b.heartbeat()
    again.heartbeat()


@script
def static_member_comes_back_with_other_topics(s):
    a, b = settled(s, 'A', 'B', instance=True)
    again = s.member('B', instance='B', protocols={'range': subscription('t3', 't1')})
    again.join()                   # still the same protocol
    again.sync()
    a.heartbeat()
    third = s.member('B', instance='B', protocols=OTHER)
    third.join()                   # which no other member has


@script
def static_member_comes_back_while_they_join(s):
    a, b = settled(s, 'A', 'B', instance=True)
    c = s.member('C', instance='C')
    c.ask_join()
    a.heartbeat()
    b.ask_join()
    again = s.member('B', instance='B')
    again.ask_join()
    b.receive()
    a.join()
    again.receive()
    c.receive()


@script
def static_member_comes_back_while_the_leader_assigns(s):
    a, b = s.member('A', instance='A'), s.member('B', instance='B')
    a.enter()
    b.enter()
    a.receive()
    b.receive()
    b.ask_sync()
    again = s.member('B', instance='B')
    again.ask_join()
    b.receive()
    a.sync()
    a.join()
    again.receive()


@script
def static_member_comes_back_amid_a_cooperative_rebalance(s):
    """A has to give back what B is to have then; its successor never had it."""
    has_all = {'cooperative-sticky': subscription('t4', owned={'t4': [0, 1, 2, 3]})}
    has_none = {'cooperative-sticky': subscription('t4')}
    a, b = s.member('A', instance='A', protocols=has_all), s.member('B', instance='B', protocols=has_none)
    a.enter()
    b.enter()
    a.receive()
    b.receive()
    b.ask_sync()
    a.sync({a.id: assignment({'t4': [0, 1]}), b.id: assignment({})})
    b.receive()
    again = s.member('B', instance='B', protocols=has_none)
    again.join()
    successor = s.member('A', instance='A', protocols=has_none)
    successor.ask_join()
    again.heartbeat()
    again.ask_join()
    successor.receive()
    again.receive()


@script
def static_members_that_are_not(s):
    a, = settled(s, 'A', instance=True)
    for instance in ('unknown', ''):
        a.heartbeat(GroupInstanceId=instance)
        a.sync(GroupInstanceId=instance)
        a.commit(GroupInstanceId=instance)
        a.join(GroupInstanceId=instance, MemberId='made-up')
    a.heartbeat(MemberId='made-up')
    a.sync(MemberId='made-up')
    a.commit(MemberId='made-up')
    a.join(MemberId='made-up')
    a.leave(Members=[{'MemberId': 'made-up', 'GroupInstanceId': 'A'}])
    a.leave(Members=[{'MemberId': '', 'GroupInstanceId': 'A'}])
    a.heartbeat()


@script
def static_member_is_away(s):
    """Until its session is over a static member keeps its place, whoever joins meanwhile."""
    a = s.member('A', instance='A', session_ms=3000, rebalance_ms=600)
    b = s.member('B', rebalance_ms=600)
    a.enter()
    b.enter()
    a.receive()
    b.receive()
    b.ask_sync()
    a.assign(a, b)
    b.receive()
    b.protocols = {'range': subscription('t3', 't1')}
    b.join()                       # A does not come
    b.assign(b)
    time.sleep(3.2)
    b.heartbeat()
    b.join()
    s.ask('-', 'DescribeGroups', 6, {'Groups': [s.group]})


# ---- offsets

@script
def commits(s):
    a, = settled(s, 'A')
    for version in range(2, 11):
        a.commit({'t3': {0: version}}, version=version)
    a.commit({'t3': {1: (5, 'x' * 4096), 2: (6, 'x' * 4097)}})
    a.commit({'t3': {3: 1}, 'nothing': {0: 1}})
    a.commit({'t3': {0: -1, 1: -5}})
    a.commit(Topics=[])
    s.ask('-', 'OffsetFetch', 8, {'Groups': [{'GroupId': s.group, 'Topics': None}]})
    s.ask('-', 'OffsetFetch', 7, {'GroupId': s.group, 'Topics': [{'Name': 't3', 'PartitionIndexes': [0, 1, 2, 9]},
                                                                 {'Name': 'nothing', 'PartitionIndexes': [0]}]})


@script
def commits_while_the_group_changes(s):
    a, b = s.member('A'), s.member('B')
    a.enter()
    b.enter()
    a.receive()
    b.receive()
    a.commit()                     # the leader assigns
    a.assign(a, b)
    b.commit()
    b.sync()
    b.ask_join(Protocols=[{'Name': 'range', 'Metadata': subscription('other')}])
    a.commit()                     # others join: still allowed
    a.join()
    b.receive()


@script
def commits_without_members(s):
    a = s.member('A')
    for version in (2, 8, 9, 10):
        a.commit(version=version)
        a.commit(version=version, GenerationIdOrMemberEpoch=3)
        a.commit(version=version, MemberId='made-up')
    a.commit(GroupInstanceId='made-up')
    a.commit(version=4, RetentionTimeMs=5000)
    s.ask('-', 'DescribeGroups', 6, {'Groups': [s.group]})
    a.enter()                      # and becomes a group
    a.receive()
    b = s.member('B')
    b.commit()
    b.commit(MemberId=a.id)
    a.leave()
    b.commit()
    b.commit(GenerationIdOrMemberEpoch=a.generation)


@script
def fetching_offsets(s):
    a, = settled(s, 'A')
    a.commit({'t3': {0: 3, 1: (4, 'note')}, 't1': {0: 9}})
    fetch = {'GroupId': s.group, 'Topics': [{'Name': 't3', 'PartitionIndexes': [0, 1, 2]}]}
    for version in range(1, 8):
        s.ask('-', 'OffsetFetch', version, fetch)
    s.ask('-', 'OffsetFetch', 8, {'Groups': [fetch, {'GroupId': s.group + '.none', 'Topics': None}]})
    for member, epoch in (('', -1), ('', 0), ('made-up', -1), ('made-up', 1), (a.id, a.generation), (a.id, 99), (None, 5)):
        s.ask('-', 'OffsetFetch', 9, {'Groups': [dict(fetch, MemberId=member, MemberEpoch=epoch)]})
    t3 = s.world.ids['t3']
    s.ask('-', 'OffsetFetch', 10, {'Groups': [{'GroupId': s.group, 'Topics': [{'TopicId': t3, 'PartitionIndexes': [0, 2]}]}]})
    s.ask('-', 'OffsetFetch', 10, {'Groups': [{'GroupId': s.group, 'Topics': None}]})


@script
def deleting_offsets(s):
    def delete(*topics, group=s.group):
        s.ask('-', 'OffsetDelete', 0, {'GroupId': group, 'Topics': [
            {'Name': t, 'Partitions': [{'PartitionIndex': p} for p in ps]} for t, ps in topics]})
    delete(('t3', [0]))
    a, = settled(s, 'A')
    a.commit({'t3': {0: 1}, 't1': {0: 2}, 'other': {0: 3, 1: 4}})
    delete(('t3', [0]), ('t1', [0]))
    delete(('other', [0, 7]), ('nothing', [0]))
    delete()
    a.leave()
    delete(('t3', [0, 1]), ('other', [1]))
    s.ask('-', 'OffsetFetch', 8, {'Groups': [{'GroupId': s.group, 'Topics': None}]})


# ---- tools

@script
def deleting_groups(s):
    def delete(*groups):
        s.ask('-', 'DeleteGroups', 2, {'GroupsNames': list(groups)})
    delete(s.group)
    a = s.member('A')
    a.join()
    delete(s.group)                # an id was handed out, nobody joined
    a.join()
    a.join()
    a.ask_join()
    delete(s.group)                # a member
    a.receive()
    a.sync({a.id: b'x'})
    delete(s.group)
    a.commit({'t3': {0: 1}, 't1': {0: 2}})
    a.leave()
    delete(s.group, s.group + '.none', s.group)
    s.ask('-', 'OffsetFetch', 8, {'Groups': [{'GroupId': s.group, 'Topics': None}]})
    s.ask('-', 'DescribeGroups', 6, {'Groups': [s.group]})
    a.commit()
    delete(s.group)


@script
def describing_groups(s):
    for version in range(7):
        s.ask('-', 'DescribeGroups', version, {'Groups': [s.group]})
    a, b = s.member('A', instance='A'), s.member('B', instance='B')
    a.enter()
    b.enter()
    s.ask('-', 'DescribeGroups', 6, {'Groups': [s.group]})
    a.receive()
    b.receive()
    s.ask('-', 'DescribeGroups', 6, {'Groups': [s.group]})
    b.ask_sync()
    a.assign(a, b)
    b.receive()
    for version in range(7):
        s.ask('-', 'DescribeGroups', version, {'Groups': [s.group, s.group]})
    s.ask('-', 'DescribeGroups', 6, {'Groups': [s.group], 'IncludeAuthorizedOperations': True})
    a.leave(Members=[{'MemberId': '', 'GroupInstanceId': 'A'}, {'MemberId': '', 'GroupInstanceId': 'B'}])
    s.ask('-', 'DescribeGroups', 6, {'Groups': [s.group]})


@script
def listing_groups(s):
    def listed(version, **filters):
        s.ask('-', 'ListGroups', version, filters)
    a, = settled(s, 'A')
    s.group = s.name + '.committed'
    s.member('-').commit()
    s.group = s.name + '.waiting'
    w = s.member('W')
    w.join()
    s.group = s.name + '.assigning'
    c = s.member('C')
    c.enter()
    c.receive()
    for version in range(6):
        listed(version)
    for states in (['Stable'], ['stable', 'Empty'], ['EMPTY'], ['CompletingRebalance'], ['PreparingRebalance'], ['Dead'], ['nonsense'],
                   [' Stable '], ['Assigning'], ['']):
        listed(4, StatesFilter=states)
    for types in (['classic'], ['Classic', 'consumer'], ['consumer'], ['share'], ['nonsense'], ['']):
        listed(5, TypesFilter=types)
    listed(5, StatesFilter=['Empty'], TypesFilter=['classic'])
    s.group = s.name


# ---- offsets of a transaction

def deleted_amid_a_transaction(member):
    """The group is deleted while a producer has offsets in it that are not committed."""
    def of_a_group(s):
        transaction = s.transaction()
        m = None
        if member == 'classic':
            m, = settled(s, 'M')
        elif member == 'consumer':
            m = s.consumer('C')
            m.join()
        transaction.add()
        transaction.commit({'t3': {0: 9, 1: 9}})
        if m is not None:
            m.leave()
        for _ in range(2):
            s.ask('-', 'DeleteGroups', 2, {'GroupsNames': [s.group]})
            s.ask('-', 'ListGroups', 5, {})
        transaction.end()
        s.ask('-', 'ListGroups', 5, {})
        s.ask('-', 'DeleteGroups', 2, {'GroupsNames': [s.group]})
    of_a_group.__name__ = f'{member}_group_deleted_amid_a_transaction'
    return script(of_a_group)


deleted_amid_a_transaction('simple')
deleted_amid_a_transaction('classic')
deleted_amid_a_transaction('consumer')


@script
def large_assignments(s):
    """As large as one record may be."""
    for size in (100_000, 900_000, 1_100_000):
        s.group = f'{s.name}.{size}'
        m = s.member(f'M{size}')
        m.enter()
        m.receive()
        answer = m.connection.call('SyncGroup', 5, m.sync_request({m.id: b'y' * size})[2])
        s.tell(f'SyncGroup {size}', {'ErrorCode': answer['ErrorCode'], 'Bytes': len(answer['Assignment'])})
        m.heartbeat()
    s.group = f'{s.name}.none'     # its records are large
