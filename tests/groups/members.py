"""Scripted members: each has a connection of its own, sends one request at a time and tells what comes back."""
import itertools
import re
import socket
import struct
import time
from pathlib import Path

import codec
import probe

ROOT = Path(__file__).resolve().parents[2]
# Not compared: when, and in whose words.
TIMES = {'currentStateTimestamp', 'commitTimestamp', 'expireTimestamp', 'AssignmentTimestamp', 'Timestamp', 'timestamp'}
TEXTS = {'ErrorMessage'}
LEFT_OUT = {'ThrottleTimeMs'}
# Hashes over what the broker chose: only which of a group's are the same is told.
HASHES = {'MetadataHash', 'Version'}
# Arrays in which Apache's order is that of ids which nobody chose, or of its hash tables.
UNORDERED = {'Members', 'members', 'Groups', 'Results', 'DeletedTopics', 'DeletedPartitions', 'TopicPartitions',
             'AssignedPartitions', 'PartitionsPendingRevocation', 'SubscribedTopicNames'}


def load():
    """Error names, and the records of the group coordinator by type."""
    errors, keys, values, others = {}, {}, {}, {}
    with open(ROOT / 'src/wire/schemas/errors.txt', encoding='utf-8') as f:
        for line in f:
            words = line.split()
            if len(words) > 1 and re.fullmatch(r'-?\d+', words[0]):
                errors[int(words[0])] = words[1]
    for file in codec.schema.load(ROOT / 'src' / 'wire' / 'schemas'):
        for m in file.messages:
            others[m.name] = m
            if m.domain == 'group' and m.kind == 'key':
                keys[m.record_type] = m
            if m.domain == 'group' and m.kind == 'value':
                values[m.record_type] = m
    return errors, keys, values, others


ERRORS, KEYS, VALUES, OTHERS = load()


def subscription(*topics, version=1, owned=None):
    """What a consumer says in JoinGroup; `owned` is what it has: {topic: [partition]}."""
    message = OTHERS['ConsumerProtocolSubscription']
    value = {'Topics': list(topics), 'UserData': None,
             'OwnedPartitions': [{'Topic': t, 'Partitions': p} for t, p in (owned or {}).items()]}
    return struct.pack('>h', version) + codec.Encoder(version, version in message.flexible).struct(message.root, value)


def assignment(partitions, version=1):
    """What its leader gives it: {topic: [partition]}."""
    message = OTHERS['ConsumerProtocolAssignment']
    value = {'AssignedPartitions': [{'Topic': t, 'Partitions': p} for t, p in partitions.items()], 'UserData': None}
    return struct.pack('>h', version) + codec.Encoder(version, version in message.flexible).struct(message.root, value)


def in_order(value):
    """Partitions of a topic in their order; Apache's is that of its hash tables."""
    partitions, epochs = value.get('Partitions'), value.get('AssignmentEpochs')
    if not partitions or not isinstance(partitions[0], int):
        return value
    if not epochs:
        return dict(value, Partitions=sorted(partitions))
    pairs = sorted(zip(partitions, epochs))
    return dict(value, Partitions=[p for p, _ in pairs], AssignmentEpochs=[e for _, e in pairs])


def shown(value, names, name=''):
    """One line of an answer or record; `names`: what ids are called."""
    if name in TIMES:
        return str(value) if value in (-1, None) else '*'
    if name in HASHES:
        return names.setdefault((name, value), f'#{sum(1 for n in names if n[0] == name) + 1}')
    if name in TEXTS:
        return 'null' if value is None else 'text'
    if isinstance(value, dict):
        value = in_order(value)
        return '{' + ', '.join(f'{k}: {shown(v, names, k)}' for k, v in value.items() if k not in LEFT_OUT) + '}'
    if isinstance(value, list):
        inner = [shown(v, names) for v in value]
        return '[' + ', '.join(sorted(inner) if name in UNORDERED else inner) + ']'
    if name == 'ErrorCode':
        return ERRORS.get(value, str(value))
    if isinstance(value, bytes):
        return 'x' + value.hex()
    return 'null' if value is None else names.get(str(value), str(value))


def varint(data, at):
    out = shift = 0
    while True:
        byte = data[at]
        at += 1
        out |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return (out >> 1) ^ -(out & 1), at


def records_of(data):
    """(key, value) of every record of uncompressed batches; control batches are left out."""
    while len(data) >= 61:
        size = struct.unpack('>i', data[8:12])[0] + 12
        if size > len(data):
            return
        batch, data = data[:size], data[size:]
        attributes, count = struct.unpack('>h', batch[21:23])[0], struct.unpack('>i', batch[57:61])[0]
        if attributes & 0x20:
            continue
        at = 61
        for _ in range(count):
            length, at = varint(batch, at)
            end, at = at + length, at + 1
            _, at = varint(batch, at)
            _, at = varint(batch, at)
            parts = []
            for _ in range(2):
                size, at = varint(batch, at)
                parts.append(None if size < 0 else batch[at:at + size])
                at += max(size, 0)
            yield tuple(parts)
            at = end


def record(key, value):
    """(group, what it is, its key, its value) of a record of __consumer_offsets; without value: None."""
    kind = struct.unpack('>h', key[:2])[0]
    body = codec.Decoder(key[2:], 0, False).struct(KEYS[kind].root)
    name = KEYS[kind].name.removesuffix('Key')
    group = body.pop('group' if 'group' in body else 'GroupId')
    if value is None:
        return group, f'{name} gone', body, None
    version = struct.unpack('>h', value[:2])[0]
    decoder = codec.Decoder(value[2:], version, version in VALUES[kind].flexible)
    return group, f'{name} v{version}', body, decoder.struct(VALUES[kind].root)


class Link:
    """A connection: one request at a time, whose answer may be fetched later."""

    def __init__(self, broker):
        self.socket = socket.create_connection((broker.host, broker.port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.asked = None

    def send(self, api, version, value):
        assert self.asked is None, f'{self.asked} waits'
        self.asked = (api, version)
        self.socket.sendall(codec.request(api, version, value, client='client'))

    def receive(self, wait_s=20):
        """The answer; None when there is none within that time."""
        self.socket.settimeout(wait_s)
        try:
            size = struct.unpack('>i', probe.read_exactly(self.socket, 4))[0]
        except TimeoutError:
            return None
        self.socket.settimeout(20)
        payload = probe.read_exactly(self.socket, size)
        (api, version), self.asked = self.asked, None
        return codec.response(api, version, payload)

    def call(self, api, version, value):
        self.send(api, version, value)
        return self.receive()


class World:
    """The broker with its topics."""

    def __init__(self, broker, topics):
        self.broker, self.link = broker, Link(broker)
        made = self.link.call('CreateTopics', 7, {'Topics': [
            {'Name': n, 'NumPartitions': p, 'ReplicationFactor': 1, 'Assignments': [], 'Configs': []} for n, p in topics.items()],
            'timeoutMs': 30000})
        assert all(t['ErrorCode'] == 0 for t in made['Topics']), made
        self.ids = {t['Name']: t['TopicId'] for t in made['Topics']}
        self.wait_for_coordinator()

    def wait_for_coordinator(self):
        end = time.time() + 60
        while time.time() < end:
            found = self.link.call('FindCoordinator', 4, {'KeyType': 0, 'CoordinatorKeys': ['nobody']})
            if found['Coordinators'][0]['ErrorCode'] == 0:
                described = self.link.call('DescribeGroups', 5, {'Groups': ['nobody']})
                if described['Groups'][0]['ErrorCode'] == 0:
                    return
            time.sleep(0.1)
        raise TimeoutError('no coordinator')

    def records(self, link):
        """{group: what it left in the log}."""
        out, at = {}, 0
        while True:
            answer = link.call('Fetch', 11, {'ReplicaId': -1, 'MaxWaitMs': 0, 'MinBytes': 0, 'Topics': [
                {'Topic': '__consumer_offsets', 'Partitions': [
                    {'Partition': 0, 'FetchOffset': at, 'PartitionMaxBytes': 8_000_000}]}]})
            part = answer['Responses'][0]['Partitions'][0]
            assert part['ErrorCode'] == 0, part
            data = part['Records'] or b''
            if not data:
                return out
            for key, value in records_of(data):
                group, *told = record(key, value)
                out.setdefault(group, []).append(told)
            while len(data) >= 61:
                at = struct.unpack('>q', data[:8])[0] + struct.unpack('>i', data[23:27])[0] + 1
                data = data[struct.unpack('>i', data[8:12])[0] + 12:]


class Script:
    """What a script is given: `member` and `consumer` make who takes part. What happens is told at the end, when all ids have
    their names."""

    def __init__(self, world, name):
        self.world, self.name, self.group = world, name, name
        self.events, self.links, self.records = [], [], {}
        self.names = {str(i): n for n, i in world.ids.items()}

    def tell(self, what, *values):
        self.events.append((what, values))

    def link(self):
        self.links.append(Link(self.world.broker))
        return self.links[-1]

    def member(self, name, **options):
        return Member(self, name, **options)

    def consumer(self, name, **options):
        return Consumer(self, name, **options)

    def transaction(self):
        return Transaction(self)

    def ask(self, who, api, version, value):
        """One request on a connection of its own."""
        answer = self.link().call(api, version, value)
        if api == 'ListGroups':    # only what is this script's
            answer['Groups'] = [g for g in answer['Groups'] if g['GroupId'].split('.')[0] == self.name]
        if api == 'OffsetDelete':
            answer['DeletedTopics'] = [dict(t, DeletedPartitions=t.pop('Partitions')) for t in answer.pop('Topics')]
        self.tell(f'{who} {api} v{version}', answer)
        return answer

    def name_id(self, identity, name):
        """An id that the broker made is told by the name of who got it; a second one is NAME2."""
        if identity and identity not in self.names:
            n = sum(1 for known in self.names.values() if re.fullmatch(f'<{name}[0-9]*>', known)) + 1
            self.names[identity] = f'<{name}>' if n == 1 else f'<{name}{n}>'

    def close(self):
        """Before sessions run out: what then happens is another script's."""
        time.sleep(0.1)
        self.records = self.world.records(self.link())
        for link in self.links:
            link.socket.close()

    def told(self):
        """Lines."""
        def line(what, values):
            return ' '.join([what] + [shown(v, self.names) for v in values if v not in (None, {})])
        lines = [line(what, values) for what, values in self.events]
        for group, found in self.records.items():
            if group.split('.')[0] != self.group:
                continue
            told = [(what, line(f'record{group[len(self.group):]} {what}', values)) for what, *values in found]
            for _, same in itertools.groupby(told, key=lambda pair: pair[0]):
                same = [text for _, text in same]
                # Apache's order of members is that of their ids; of those that the broker made it is chance.
                lines += sorted(same) if any('{MemberId: <' in text for text in same) else same
        return lines


class Transaction:
    """A producer that commits offsets of the script's group in a transaction. Only the commit is told."""

    MEANWHILE = (14, 15, 16, 51)       # coordinators that are not there yet, a transaction that has not ended

    def __init__(self, script):
        self.script, self.id, self.link = script, script.name + '-transaction', script.link()
        self.patiently('FindCoordinator', 4, {'KeyType': 1, 'CoordinatorKeys': [self.id]}, lambda a: a['Coordinators'][0]['ErrorCode'])
        made = self.patiently('InitProducerId', 4, {'TransactionalId': self.id, 'TransactionTimeoutMs': 60000, 'ProducerId': -1, 'ProducerEpoch': -1})
        self.identity = {'TransactionalId': self.id, 'ProducerId': made['ProducerId'], 'ProducerEpoch': made['ProducerEpoch']}

    def patiently(self, api, version, value, error_of=lambda a: a['ErrorCode']):
        for _ in range(200):
            answer = self.link.call(api, version, value)
            if error_of(answer) not in self.MEANWHILE:
                break
            time.sleep(0.1)
        assert error_of(answer) == 0, (api, answer)
        return answer

    def add(self):
        self.patiently('AddOffsetsToTxn', 3, dict(self.identity, GroupId=self.script.group))

    def commit(self, topics):
        self.script.ask('-', 'TxnOffsetCommit', 3, dict(self.identity, GroupId=self.script.group, GenerationId=-1, MemberId='', Topics=[
            {'Name': t, 'Partitions': [{'PartitionIndex': p, 'CommittedOffset': o, 'CommittedLeaderEpoch': -1, 'CommittedMetadata': ''}
                                       for p, o in partitions.items()]} for t, partitions in topics.items()]))

    def end(self):
        self.patiently('EndTxn', 3, dict(self.identity, Committed=True))
        time.sleep(0.5)                # the markers follow the answer


class Member:
    """A member of a classic group."""

    def __init__(self, script, name, instance=None, topics=('t3',), protocols=None, session_ms=30000, rebalance_ms=30000,
                 protocol_type='consumer', version=9):
        self.script, self.name, self.instance, self.version = script, name, instance, version
        self.protocols = protocols or {'range': subscription(*topics)}
        self.session_ms, self.rebalance_ms, self.protocol_type = session_ms, rebalance_ms, protocol_type
        self.id, self.generation, self.leads, self.others = '', -1, False, []
        self.connection = script.link()

    # Requests may be sent and their answers fetched later.
    def send(self, api, version, value):
        self.connection.send(api, version, value)
        time.sleep(0.1)            # what others send comes later

    def receive(self, wait_s=20):
        if self.connection.asked is None:
            return None            # answered at once
        api, version = self.connection.asked
        answer = self.connection.receive(wait_s)
        if answer is None:
            self.script.tell(f'{self.name} {api} v{version} waits')
            return None
        if api == 'JoinGroup':
            self.joined(answer)
        self.script.tell(f'{self.name} {api} v{version}', answer)
        return answer

    def waits(self):
        """Tells that there is no answer yet, if there is none."""
        self.receive(0.25)

    def call(self, api, version, value):
        self.connection.send(api, version, value)
        return self.receive()

    def joined(self, answer):
        if answer['MemberId']:
            self.script.name_id(answer['MemberId'], self.name)
        if answer['ErrorCode'] in (0, 79):
            self.id = answer['MemberId']
        if answer['ErrorCode'] == 0:
            self.generation, self.leads = answer['GenerationId'], answer['Leader'] == answer['MemberId']
            self.others = [m['MemberId'] for m in answer['Members']]

    def identity(self, api, version):
        out = {'GroupId': self.script.group, 'MemberId': self.id}
        since = {'JoinGroup': 5, 'SyncGroup': 3, 'Heartbeat': 3, 'OffsetCommit': 7}[api]
        if self.instance is not None and version >= since:
            out['GroupInstanceId'] = self.instance
        return out

    def join_request(self, version=None, **changed):
        version = self.version if version is None else version
        value = dict(self.identity('JoinGroup', version), SessionTimeoutMs=self.session_ms, ProtocolType=self.protocol_type,
                     Protocols=[{'Name': n, 'Metadata': m} for n, m in self.protocols.items()])
        if version >= 1:
            value['RebalanceTimeoutMs'] = self.rebalance_ms
        return 'JoinGroup', version, dict(value, **changed)

    def ask_join(self, version=None, **changed):
        self.send(*self.join_request(version, **changed))

    def join(self, version=None, **changed):
        """One JoinGroup, and its answer."""
        return self.call(*self.join_request(version, **changed))

    def enter(self):
        """Gets an id and waits to join: the answer has to be received."""
        if self.instance is not None:
            self.ask_join()
        elif self.join()['ErrorCode'] == 79:
            self.ask_join()

    def sync_request(self, assignments=None, version=5, **changed):
        value = dict(self.identity('SyncGroup', version), GenerationId=self.generation,
                     Assignments=[{'MemberId': m, 'Assignment': a} for m, a in (assignments or {}).items()])
        if version >= 5:
            value.update(ProtocolType=self.protocol_type, ProtocolName=next(iter(self.protocols)))
        return 'SyncGroup', version, dict(value, **changed)

    def ask_sync(self, *args, **options):
        self.send(*self.sync_request(*args, **options))

    def sync(self, *args, **options):
        return self.call(*self.sync_request(*args, **options))

    def assign(self, *members):
        """The leader's SyncGroup: who is given what is told by their names."""
        return self.sync({m.id: assignment({'t3': [i]}) for i, m in enumerate(members)})

    def heartbeat(self, version=4, **changed):
        value = dict(self.identity('Heartbeat', version), GenerationId=self.generation)
        return self.call('Heartbeat', version, dict(value, **changed))

    def commit(self, topics=None, version=9, **changed):
        """{topic: {partition: offset or (offset, metadata)}}"""
        told = []
        for topic, partitions in (topics or {'t3': {0: 7}}).items():
            name = {'TopicId': self.script.world.ids[topic]} if version >= 10 else {'Name': topic}
            told.append(dict(name, Partitions=[
                {'PartitionIndex': p, 'CommittedOffset': o if isinstance(o, int) else o[0],
                 'CommittedMetadata': '' if isinstance(o, int) else o[1]} for p, o in partitions.items()]))
        value = dict(self.identity('OffsetCommit', version), GenerationIdOrMemberEpoch=self.generation, Topics=told)
        return self.call('OffsetCommit', version, dict(value, **changed))

    def leave(self, version=5, **changed):
        value = {'GroupId': self.script.group}
        if version < 3:
            value['MemberId'] = self.id
        else:
            value['Members'] = [{'MemberId': self.id, 'GroupInstanceId': self.instance}]
        return self.call('LeaveGroup', version, dict(value, **changed))


class Consumer:
    """A member of a group of the consumer protocol. What it owns follows what it is told, once it says so."""

    def __init__(self, script, name, topics=('t3',), instance=None, assignor=None, regex=None, rebalance_ms=10000, member_id=None,
                 rack=None, version=1):
        self.script, self.name, self.version = script, name, version
        self.topics, self.instance, self.assignor, self.regex = list(topics) if topics is not None else None, instance, assignor, regex
        self.rebalance_ms, self.rack = rebalance_ms, rack
        self.id = member_id if member_id is not None else f'member-{name}'
        self.epoch, self.owned, self.told = 0, {}, None
        self.connection = script.link()

    def call(self, api, version, value):
        answer = self.connection.call(api, version, value)
        self.script.tell(f'{self.name} {api} v{version}', answer)
        return answer

    def beat(self, version=None, **changed):
        """A heartbeat of these fields alone, beside who and in which epoch."""
        value = {'GroupId': self.script.group, 'MemberId': self.id, 'MemberEpoch': self.epoch, 'InstanceId': self.instance}
        version = self.version if version is None else version
        answer = self.call('ConsumerGroupHeartbeat', version, dict(value, **changed))
        if answer['ErrorCode'] == 0:
            if answer['MemberId']:
                self.id = answer['MemberId']
            self.epoch = answer['MemberEpoch']
            if answer['Assignment'] is not None:
                self.told = {t['TopicId']: t['Partitions'] for t in answer['Assignment']['TopicPartitions']}
        return answer

    def quietly(self):
        """A heartbeat that is not told: when its answer changes is a matter of time."""
        told = len(self.script.events)
        self.beat()
        del self.script.events[told:]

    def full(self, **changed):
        """A heartbeat with everything, as the first one is."""
        value = {'RebalanceTimeoutMs': self.rebalance_ms, 'SubscribedTopicNames': self.topics, 'TopicPartitions': self.owns()}
        for field, given in (('ServerAssignor', self.assignor), ('RackId', self.rack)):
            if given is not None:
                value[field] = given
        if self.regex is not None:
            value['SubscribedTopicRegex'] = self.regex
        return self.beat(**dict(value, **changed))

    def owns(self):
        return [{'TopicId': t, 'Partitions': p} for t, p in self.owned.items()]

    def join(self, **changed):
        self.epoch, self.owned = 0, {}
        return self.full(**changed)

    def follow(self):
        """Says that it owns what it was told to own."""
        self.owned = self.told or {}
        return self.beat(TopicPartitions=self.owns())

    def settle(self, beats=6):
        """Heartbeats until nothing changes."""
        for _ in range(beats):
            before = self.epoch
            self.follow()
            if self.epoch == before and self.owned == (self.told or {}):
                return

    def leave(self, epoch=-1):
        return self.beat(MemberEpoch=epoch)

    def commit(self, topics=None, version=9, **changed):
        told = [{'Name': t, 'Partitions': [{'PartitionIndex': p, 'CommittedOffset': o, 'CommittedMetadata': ''}
                                           for p, o in partitions.items()]} for t, partitions in (topics or {'t3': {0: 7}}).items()]
        value = {'GroupId': self.script.group, 'MemberId': self.id, 'GenerationIdOrMemberEpoch': self.epoch, 'Topics': told}
        if self.instance is not None:
            value['GroupInstanceId'] = self.instance
        return self.call('OffsetCommit', version, dict(value, **changed))
