"""A member of consumer groups that does exactly what it is told: the classic protocol, request by request."""
import os
import socket
import struct
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ('tools', 'bad_input'):
    sys.path.insert(0, os.path.join(HERE, '..', folder))

import codec
import probe


class Connection:
    """One connection, one request at a time; of any API, by the schemas."""

    def __init__(self, address, client='raw', timeout_s=30.0):
        host, port = address.rsplit(':', 1)
        self.socket = socket.create_connection((host, int(port)), timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client, self.correlation, self.lock = client, 0, threading.Lock()

    def send(self, api, version, **value):
        self.correlation += 1
        self.socket.sendall(codec.request(api, version, value, self.correlation, self.client))

    def receive(self, api, version):
        size = struct.unpack('>i', probe.read_exactly(self.socket, 4))[0]
        return codec.response(api, version, probe.read_exactly(self.socket, size))

    def call(self, api, version, **value):
        with self.lock:
            self.send(api, version, **value)
            return self.receive(api, version)

    def close(self):
        self.socket.close()


def text(value):
    return struct.pack('>h', len(value)) + value.encode()


def subscription(topics):
    """A consumer protocol subscription, version 0."""
    return struct.pack('>hi', 0, len(topics)) + b''.join(text(t) for t in topics) + struct.pack('>i', -1)


def assignment(partitions):
    """A consumer protocol assignment, version 0, of {topic: [partition]}."""
    out = struct.pack('>hi', 0, len(partitions))
    for topic, indexes in partitions.items():
        out += text(topic) + struct.pack('>i', len(indexes)) + struct.pack(f'>{len(indexes)}i', *indexes)
    return out + struct.pack('>i', -1)


class Member:
    """Joins, and then waits to be told."""

    def __init__(self, address, group, topics, session_ms=6000, rebalance_ms=60000, client='raw'):
        self.connection, self.group, self.topics = Connection(address, client), group, topics
        self.session_ms, self.rebalance_ms = session_ms, rebalance_ms
        self.id, self.generation, self.leads, self.others = '', -1, False, []

    def send_join(self):
        self.connection.send('JoinGroup', 5, GroupId=self.group, SessionTimeoutMs=self.session_ms,
                             RebalanceTimeoutMs=self.rebalance_ms, MemberId=self.id, GroupInstanceId=None,
                             ProtocolType='consumer', Protocols=[{'Name': 'range', 'Metadata': subscription(self.topics)}])

    def receive_join(self):
        answer = self.connection.receive('JoinGroup', 5)
        self.id, self.generation = answer['MemberId'], answer['GenerationId']
        self.leads = answer['Leader'] == self.id
        self.others = [m['MemberId'] for m in answer['Members']]
        return answer['ErrorCode']

    def join(self):
        """Until it is in; a new member is given its id first."""
        while True:
            self.send_join()
            error = self.receive_join()
            if error == 0:
                return self
            if error not in (79, 27):  # MEMBER_ID_REQUIRED, REBALANCE_IN_PROGRESS
                raise AssertionError(f'JoinGroup: error {error}')

    def sync(self, assignments=None):
        """As the leader, with {member: {topic: [partition]}}."""
        answer = self.connection.call(
            'SyncGroup', 3, GroupId=self.group, GenerationId=self.generation, MemberId=self.id, GroupInstanceId=None,
            Assignments=[{'MemberId': m, 'Assignment': assignment(p)} for m, p in (assignments or {}).items()])
        if answer['ErrorCode']:
            raise AssertionError(f'SyncGroup: error {answer["ErrorCode"]}')
        return self

    def alone(self, partitions):
        """Joins a group of its own and takes {topic: [partition]}."""
        return self.join().sync({self.id: partitions})

    def heartbeat(self):
        return self.connection.call('Heartbeat', 3, GroupId=self.group, GenerationId=self.generation, MemberId=self.id,
                                    GroupInstanceId=None)['ErrorCode']

    def commit(self, topic, offsets):
        answer = self.connection.call(
            'OffsetCommit', 7, GroupId=self.group, GenerationIdOrMemberEpoch=self.generation, MemberId=self.id,
            GroupInstanceId=None, Topics=[{'Name': topic, 'Partitions': [
                {'PartitionIndex': p, 'CommittedOffset': o, 'CommittedLeaderEpoch': -1, 'CommittedMetadata': ''}
                for p, o in offsets.items()]}])
        return [p['ErrorCode'] for t in answer['Topics'] for p in t['Partitions']]

    def leave(self):
        return self.connection.call('LeaveGroup', 3, GroupId=self.group,
                                    Members=[{'MemberId': self.id, 'GroupInstanceId': None}])

    def close(self):
        self.connection.close()
