"""Requests that are well formed and ask for what is not, may not be, or makes no sense."""
import uuid

from batches import batch
from codec import request

HOST = 1          # the node's id
NO_ID = uuid.UUID(int=0)
OTHER_ID = uuid.UUID('12345678-1234-1234-1234-123456789abc')
LONG = 'x' * 250
BAD_NAMES = ['', '.', '..', LONG, 'a b', 'a/b', 'ä', 'a\0b', '__consumer_offsets', '__cluster_metadata', 'a,b', 'x' * 249]
INT32_MAX, INT64_MAX = 0x7fffffff, 0x7fffffffffffffff


def shown(name):
    return name if len(name) < 30 and name.isascii() and name.isprintable() else ascii(name)[1:-1] if len(name) < 30 else f'of-{len(name)}'


def topic(name, partitions=1, factor=1, assignments=(), configs=None):
    return {'Name': name, 'NumPartitions': partitions, 'ReplicationFactor': factor,
            'Assignments': [{'PartitionIndex': p, 'BrokerIds': ids} for p, ids in assignments],
            'Configs': [{'Name': k, 'Value': v} for k, v in (configs or {}).items()]}


CONFIGS = [
    ('no.such.setting', '1'), ('', '1'), ('retention.ms', ''), ('retention.ms', 'ten'), ('retention.ms', '-2'), ('retention.ms', '1.5'),
    ('retention.ms', '9223372036854775808'), ('retention.ms', ' 5 '), ('cleanup.policy', 'shred'), ('cleanup.policy', ''),
    ('cleanup.policy', 'compact,shred'), ('cleanup.policy', 'delete,delete'), ('compression.type', 'rar'), ('compression.type', 'GZIP'),
    ('compression.gzip.level', '0'), ('compression.gzip.level', '10'), ('compression.gzip.level', '-1'), ('compression.lz4.level', '18'),
    ('compression.lz4.level', '0'), ('compression.zstd.level', '23'), ('compression.zstd.level', '-131073'), ('segment.bytes', '0'),
    ('segment.bytes', '13'), ('segment.bytes', '1048575'), ('segment.bytes', '2147483648'), ('max.message.bytes', '-1'),
    ('min.insync.replicas', '0'), ('min.insync.replicas', '-1'), ('min.cleanable.dirty.ratio', '1.1'),
    ('min.cleanable.dirty.ratio', '-0.1'), ('min.cleanable.dirty.ratio', 'NaN'), ('unclean.leader.election.enable', 'yes'),
    ('unclean.leader.election.enable', 'TRUE'), ('message.timestamp.type', 'Now'), ('message.timestamp.before.max.ms', '-1'),
    ('message.timestamp.after.max.ms', '-5'), ('flush.messages', '0'), ('flush.ms', '-1'), ('index.interval.bytes', '-1'),
    ('segment.index.bytes', '3'), ('file.delete.delay.ms', '-1'), ('preallocate', 'maybe'), ('segment.ms', '0'),
    ('segment.jitter.ms', '-1'), ('max.compaction.lag.ms', '0'), ('min.compaction.lag.ms', '-1'), ('retention.bytes', '1e9'),
    ('leader.replication.throttled.replicas', 'x'), ('leader.replication.throttled.replicas', '*'),
    ('message.format.version', '2.8'), ('message.downconversion.enable', 'true'), ('local.retention.ms', '-3'),
    ('remote.storage.enable', 'true'),
]


def create_topics(version=7):
    def one(*topics, validate=False, v=version, timeout=5000):
        return request('CreateTopics', v, {'Topics': list(topics), 'timeoutMs': timeout, 'validateOnly': validate})

    for name in BAD_NAMES:
        yield f'name-{shown(name)}', one(topic(name))
    for partitions in (0, -1, -2, -2147483648, 10_001, INT32_MAX):
        yield f'partitions-{partitions}', one(topic('created', partitions), validate=True)
    for factor in (0, -1, -2, 2, 32767):
        yield f'factor-{factor}', one(topic('created', 1, factor), validate=True)
    for what, given in (('empty', [(0, [])]), ('unknown-broker', [(0, [99])]), ('twice-broker', [(0, [1, 1])]), ('gap', [(1, [1])]),
                        ('twice-partition', [(0, [1]), (0, [1])]), ('negative', [(-1, [1])]), ('other-size', [(0, [1]), (1, [1, 2])])):
        yield f'assignment-{what}', one(topic('created', -1, -1, given), validate=True)
        yield f'assignment-{what}-and-numbers', one(topic('created', 1, 1, given), validate=True)
    for name, value in CONFIGS:
        yield f'config-{name}={value}', one(topic('created', configs={name: value}), validate=True)
    yield 'config-null', one(topic('created', configs={'retention.ms': None}), validate=True)
    yield 'config-twice', one({**topic('created'), 'Configs': [{'Name': 'retention.ms', 'Value': '1'}, {'Name': 'retention.ms', 'Value': '2'}]},
                              validate=True)
    yield 'twice-in-one-request', one(topic('twice'), topic('twice'), topic('once'), validate=True)
    yield 'exists', one(topic('plain'))
    yield 'collides', one(topic('to.none'))
    yield 'collides-in-one-request', one(topic('c.d'), topic('c_d'), validate=True)
    yield 'none', one()
    yield 'timeout-0', one(topic('timeout-0'), timeout=0)
    yield 'timeout-minus-1', one(topic('timeout-1'), timeout=-1)


def delete_topics():
    def one(value, version=6):
        return request('DeleteTopics', version, {'TimeoutMs': 5000, **value})

    for name in ['unknown', '', LONG, 'a/b', '__cluster_metadata']:
        yield f'name-{name[:20]}', one({'Topics': [{'Name': name, 'TopicId': NO_ID}]})
        yield f'name-{name[:20]}-version-1', one({'TopicNames': [name]}, 1)
    yield 'id-unknown', one({'Topics': [{'Name': None, 'TopicId': OTHER_ID}]})
    yield 'id-zero', one({'Topics': [{'Name': None, 'TopicId': NO_ID}]})
    yield 'name-and-id', one({'Topics': [{'Name': 'zero', 'TopicId': OTHER_ID}]})
    yield 'twice', one({'Topics': [{'Name': 'unknown', 'TopicId': NO_ID}, {'Name': 'unknown', 'TopicId': NO_ID}]})
    yield 'none', one({'Topics': []})


def create_partitions():
    def one(name, count, assignments=None, validate=True):
        return request('CreatePartitions', 3, {'Topics': [{'Name': name, 'Count': count, 'Assignments': assignments}],
                                               'TimeoutMs': 5000, 'ValidateOnly': validate})

    yield 'unknown', one('unknown', 5)
    yield 'bad-name', one('a/b', 5)
    for count in (-1, 0, 1, 2, 20_000, INT32_MAX):
        yield f'count-{count}', one('zero', count)
    yield 'assignment-empty', one('zero', 2, [])
    yield 'assignment-too-many', one('zero', 2, [{'BrokerIds': [1]}, {'BrokerIds': [1]}])
    yield 'assignment-unknown-broker', one('zero', 2, [{'BrokerIds': [9]}])
    yield 'assignment-twice', one('zero', 2, [{'BrokerIds': [1, 1]}])
    yield 'assignment-none', one('zero', 2, [{'BrokerIds': []}])
    yield 'twice', request('CreatePartitions', 3, {'Topics': [{'Name': 'zero', 'Count': 3, 'Assignments': None}] * 2, 'TimeoutMs': 5000,
                                                   'ValidateOnly': True})


def configs():
    def incremental(kind, name, *entries, validate=True):
        return request('IncrementalAlterConfigs', 1, {'Resources': [{
            'ResourceType': kind, 'ResourceName': name,
            'Configs': [{'Name': n, 'ConfigOperation': op, 'Value': v} for n, op, v in entries]}], 'ValidateOnly': validate})

    def whole(kind, name, *entries):
        return request('AlterConfigs', 2, {'Resources': [{'ResourceType': kind, 'ResourceName': name, 'Configs': [
            {'Name': n, 'Value': v} for n, v in entries]}], 'ValidateOnly': True})

    def describe(kind, name, keys=None, version=4):
        return request('DescribeConfigs', version, {'Resources': [{'ResourceType': kind, 'ResourceName': name, 'ConfigurationKeys': keys}]})

    for name, value in CONFIGS:
        yield f'set-{name}={value}', incremental(2, 'plain', (name, 0, value))
    for kind in (0, 1, 3, 5, 8, 16, 32, 64, 127, -1):
        yield f'alter-type-{kind}', incremental(kind, 'plain', ('retention.ms', 0, '5'))
        yield f'describe-type-{kind}', describe(kind, 'plain')
    for name in ('unknown', '', LONG, 'a/b'):
        yield f'alter-topic-{name[:10]}', incremental(2, name, ('retention.ms', 0, '5'))
        yield f'describe-topic-{name[:10]}', describe(2, name)
        yield f'whole-topic-{name[:10]}', whole(2, name, ('retention.ms', '5'))
    for broker in ('', '1', '2', '-1', 'x', '99999999999'):
        yield f'alter-broker-{broker}', incremental(4, broker, ('log.retention.ms', 0, '100000'))
        yield f'describe-broker-{broker}', describe(4, broker, ['no.such.key'])
    for op in (-1, 2, 3, 4, 127):
        yield f'op-{op}-on-a-number', incremental(2, 'plain', ('retention.ms', op, '5'))
    yield 'append-to-a-list', incremental(2, 'plain', ('cleanup.policy', 2, 'compact'))
    yield 'append-wrong-to-a-list', incremental(2, 'plain', ('cleanup.policy', 2, 'shred'))
    yield 'subtract-from-a-list', incremental(2, 'plain', ('cleanup.policy', 3, 'delete'))
    yield 'null-value', incremental(2, 'plain', ('retention.ms', 0, None))
    yield 'twice', incremental(2, 'plain', ('retention.ms', 0, '5'), ('retention.ms', 0, '6'))
    yield 'resource-twice', request('IncrementalAlterConfigs', 1, {'Resources': [
        {'ResourceType': 2, 'ResourceName': 'plain', 'Configs': [{'Name': 'retention.ms', 'ConfigOperation': 0, 'Value': '5'}]}] * 2,
        'ValidateOnly': True})
    yield 'read-only', incremental(4, '1', ('log.dirs', 0, '/x'))
    yield 'broker-unknown-setting', incremental(4, '1', ('no.such', 0, '1'))
    yield 'broker-wrong-value', incremental(4, '1', ('log.retention.ms', 0, 'x'))
    yield 'default-per-broker-setting', incremental(4, '', ('listeners', 0, 'PLAINTEXT://:1'))
    yield 'whole-unknown-setting', whole(2, 'plain', ('no.such', '1'))
    yield 'whole-null', whole(2, 'plain', ('retention.ms', None))
    yield 'whole-wrong-value', whole(2, 'plain', ('retention.ms', 'x'))
    yield 'none', incremental(2, 'plain')
    for kinds in ([], [2], [0], [99], [2, 2]):
        yield f'list-{kinds}', request('ListConfigResources', 1, {'ResourceTypes': kinds})


def reads(ids):
    def fetch(name, partition=0, offset=0, version=12, topic_id=None, epoch=-1, bytes_max=1000, **kw):
        part = {'Partition': partition, 'CurrentLeaderEpoch': epoch, 'FetchOffset': offset, 'PartitionMaxBytes': bytes_max}
        t = {'Topic': name, 'TopicId': topic_id or NO_ID, 'Partitions': [part]}
        t.pop('Topic' if version >= 13 else 'TopicId')
        return request('Fetch', version, {'MaxWaitMs': 0, 'MinBytes': 0, 'Topics': [t], **({'ReplicaId': -1} if version < 15 else {}), **kw})

    for offset in (-1, -2, 1, 1000, INT64_MAX):
        yield f'fetch-offset-{offset}', fetch('zero', offset=offset)
    for partition in (-1, 1, INT32_MAX):
        yield f'fetch-partition-{partition}', fetch('zero', partition)
    for name in ('unknown', '', 'a/b'):
        yield f'fetch-topic-{name}', fetch(name)
    yield 'fetch-id-unknown', fetch('', version=16, topic_id=OTHER_ID)
    yield 'fetch-id-zero', fetch('', version=16)
    yield 'fetch-id', fetch('', version=16, topic_id=ids['zero'])
    for epoch in (-2, 1, 5, INT32_MAX):
        yield f'fetch-epoch-{epoch}', fetch('zero', epoch=epoch)
    for size in (-1, 0, 1, INT32_MAX):
        yield f'fetch-bytes-{size}', fetch('zero', bytes_max=size)
    for session, epoch in ((1, 0), (1, 5), (0, 5), (-1, 0), (12345, -1), (0, -5)):
        yield f'fetch-session-{session}-{epoch}', fetch('zero', SessionId=session, SessionEpoch=epoch)
    yield 'fetch-isolation-7', fetch('zero', IsolationLevel=7)
    yield 'fetch-replica', request('Fetch', 12, {'ReplicaId': 5, 'MaxWaitMs': 0, 'Topics': [{'Topic': 'zero', 'Partitions': [{'PartitionMaxBytes': 9}]}]})
    for stamp in (-7, -6, -5, -4, -3, -2, -1, 0, INT64_MAX, -(1 << 63)):
        yield f'list-offsets-{stamp}', offsets('zero', 0, stamp)
    for name, partition in (('unknown', 0), ('', 0), ('zero', 9), ('zero', -1)):
        yield f'list-offsets-{name}-{partition}', offsets(name, partition, -1)
    yield 'list-offsets-isolation-9', request('ListOffsets', 9, {'ReplicaId': -1, 'IsolationLevel': 9, 'Topics': [
        {'Name': 'zero', 'Partitions': [{'PartitionIndex': 0, 'Timestamp': -1}]}], 'TimeoutMs': 1000})
    yield 'list-offsets-twice', request('ListOffsets', 9, {'ReplicaId': -1, 'Topics': [
        {'Name': 'zero', 'Partitions': [{'PartitionIndex': 0, 'Timestamp': -1}] * 2}], 'TimeoutMs': 1000})
    for name, partition, current, epoch in (('zero', 0, -1, 0), ('zero', 0, 5, 0), ('zero', 0, -1, -1), ('zero', 0, -1, INT32_MAX),
                                            ('zero', 7, -1, 0), ('unknown', 0, -1, 0), ('', 0, -1, 0)):
        yield f'epoch-{name}-{partition}-{current}-{epoch}', request('OffsetForLeaderEpoch', 4, {'ReplicaId': -2, 'Topics': [
            {'Topic': name, 'Partitions': [{'Partition': partition, 'CurrentLeaderEpoch': current, 'LeaderEpoch': epoch}]}]})
    for name, partition, offset in (('zero', 0, -2), ('zero', 0, 1), ('zero', 0, INT64_MAX), ('zero', 0, -1), ('zero', 3, 0), ('unknown', 0, 0),
                                    ('compact', 0, 0), ('', 0, 0), ('zero', -1, 0)):
        yield f'delete-records-{name}-{partition}-{offset}', request('DeleteRecords', 2, {'TimeoutMs': 1000, 'Topics': [
            {'Name': name, 'Partitions': [{'PartitionIndex': partition, 'Offset': offset}]}]})
    yield 'producers-unknown', request('DescribeProducers', 0, {'Topics': [{'Name': 'unknown', 'PartitionIndexes': [0]}]})
    yield 'producers-partition', request('DescribeProducers', 0, {'Topics': [{'Name': 'zero', 'PartitionIndexes': [-1, 0, 9]}]})
    yield 'producers-bad-name', request('DescribeProducers', 0, {'Topics': [{'Name': '', 'PartitionIndexes': [0]}]})


def offsets(name, partition, stamp):
    return request('ListOffsets', 9, {'ReplicaId': -1, 'TimeoutMs': 1000, 'Topics': [
        {'Name': name, 'Partitions': [{'PartitionIndex': partition, 'Timestamp': stamp}]}]})


def metadata(ids):
    def one(*topics, version=12, **kw):
        return request('Metadata', version, {'Topics': list(topics), 'AllowAutoTopicCreation': False, **kw})

    for name in ['unknown', *BAD_NAMES]:
        yield f'metadata-{shown(name)}', one({'Name': name, 'TopicId': NO_ID})
    yield 'metadata-id-unknown', one({'Name': None, 'TopicId': OTHER_ID})
    yield 'metadata-id-zero', one({'Name': None, 'TopicId': NO_ID})
    yield 'metadata-name-and-id', one({'Name': 'plain', 'TopicId': ids['zero']})
    yield 'metadata-null-name-version-10', one({'Name': None, 'TopicId': ids['zero']}, version=10)
    yield 'metadata-twice', one({'Name': 'zero', 'TopicId': NO_ID}, {'Name': 'zero', 'TopicId': NO_ID})
    for name in ('unknown', '', 'a/b'):
        yield f'partitions-{name}', request('DescribeTopicPartitions', 0, {'Topics': [{'Name': name}], 'ResponsePartitionLimit': 10, 'Cursor': None})
    for limit in (0, -1, 1, INT32_MAX):
        yield f'partitions-limit-{limit}', request('DescribeTopicPartitions', 0, {'Topics': [{'Name': 'zero'}], 'ResponsePartitionLimit': limit,
                                                                                  'Cursor': None})
    yield 'partitions-cursor-unknown', request('DescribeTopicPartitions', 0, {
        'Topics': [{'Name': 'zero'}], 'ResponsePartitionLimit': 10, 'Cursor': {'TopicName': 'unknown', 'PartitionIndex': 0}})
    yield 'partitions-cursor-negative', request('DescribeTopicPartitions', 0, {
        'Topics': [{'Name': 'zero'}], 'ResponsePartitionLimit': 10, 'Cursor': {'TopicName': 'zero', 'PartitionIndex': -1}})
    for kind in (-1, 0, 2, 3, 127):
        yield f'cluster-endpoint-type-{kind}', request('DescribeCluster', 2, {'EndpointType': kind})
    for topics in ([], [{'TopicName': 'unknown', 'Partitions': [{'PartitionIndex': 0}]}],
                   [{'TopicName': '__cluster_metadata', 'Partitions': [{'PartitionIndex': 1}]}]):
        yield f'quorum-{len(topics)}-{topics[0]["TopicName"] if topics else ""}', request('DescribeQuorum', 2, {'Topics': topics})
    for kind, parts in ((0, [0]), (1, [0]), (2, [0]), (-1, [0]), (0, [9])):
        yield f'elect-{kind}-{parts}', request('ElectLeaders', 2, {'ElectionType': kind, 'TimeoutMs': 1000, 'TopicPartitions': [
            {'Topic': 'zero', 'Partitions': parts}]})
    yield 'elect-unknown', request('ElectLeaders', 2, {'ElectionType': 0, 'TimeoutMs': 1000, 'TopicPartitions': [{'Topic': 'unknown', 'Partitions': [0]}]})
    for name, level, kind in (('no.such', 1, 1), ('metadata.version', -1, 1), ('metadata.version', 0, 3), ('metadata.version', 32767, 1),
                              ('metadata.version', 7, 0), ('kraft.version', 99, 1), ('', 1, 1)):
        yield f'feature-{name}-{level}-{kind}', request('UpdateFeatures', 2, {'timeoutMs': 1000, 'ValidateOnly': True, 'FeatureUpdates': [
            {'Feature': name, 'MaxVersionLevel': level, 'UpgradeType': kind}]})
    yield 'feature-twice', request('UpdateFeatures', 2, {'timeoutMs': 1000, 'ValidateOnly': True, 'FeatureUpdates': [
        {'Feature': 'metadata.version', 'MaxVersionLevel': 7, 'UpgradeType': 1}] * 2})
    for identity, epoch, transactional in ((-1, -1, ''), (5, -1, None), (-1, 5, None), (5, 5, None), (-2, -1, None)):
        yield f'init-producer-{identity}-{epoch}-{transactional}', request('InitProducerId', 4, {
            'TransactionalId': transactional, 'TransactionTimeoutMs': 1000, 'ProducerId': identity, 'ProducerEpoch': epoch})
    for kind, key in ((-1, 'g'), (3, 'g'), (0, ''), (127, 'g')):
        yield f'coordinator-{kind}-{key}', request('FindCoordinator', 4, {'KeyType': kind, 'CoordinatorKeys': [key]})
    for name, version in (('', '1'), ('a b', '1'), ('ok', ''), ('ok', 'a b'), ('-x', '1'), ('ok', '1')):
        yield f'api-versions-{name}-{version}', request('ApiVersions', 3, {'ClientSoftwareName': name, 'ClientSoftwareVersion': version})


def produces(ids, now):
    """Produce requests whose addressee is wrong; version 13 names topics by id."""
    good = batch(now=now)

    def one(name, partition=0, version=9, topic_id=None, acks=-1, client='bad-input', transactional=None):
        t = {'Name': name, 'PartitionData': [{'Index': partition, 'Records': good}]}
        if version >= 13:
            t = {'TopicId': topic_id, 'PartitionData': t['PartitionData']}
        return request('Produce', version, {'TransactionalId': transactional, 'Acks': acks, 'TimeoutMs': 1000, 'TopicData': [t]}, client=client)

    for name in ('unknown', '', 'a/b', '__cluster_metadata'):
        yield f'produce-{name}', one(name)
    for partition in (-1, 1, INT32_MAX):
        yield f'produce-partition-{partition}', one('zero', partition)
    yield 'produce-id-unknown', one('', version=13, topic_id=OTHER_ID)
    yield 'produce-id-zero', one('', version=13, topic_id=NO_ID)
    yield 'produce-id-partition', one('', 9, version=13, topic_id=ids['zero'])
    yield 'produce-null-client', one('unknown', client=None)
    for t in (-1, 0, -2147483648):
        yield f'produce-timeout-{t}', request('Produce', 9, {'Acks': -1, 'TimeoutMs': t, 'TopicData': [
            {'Name': 'unknown', 'PartitionData': [{'Index': 0, 'Records': good}]}]})
    yield 'produce-nothing', request('Produce', 9, {'Acks': -1, 'TimeoutMs': 1000, 'TopicData': []})
    yield 'produce-no-partitions', request('Produce', 9, {'Acks': -1, 'TimeoutMs': 1000, 'TopicData': [{'Name': 'zero', 'PartitionData': []}]})


def cases(ids, now):
    for group, source in (('create-topics', create_topics()), ('delete-topics', delete_topics()), ('create-partitions', create_partitions()),
                          ('configs', configs()), ('reads', reads(ids)), ('metadata', metadata(ids)), ('produce', produces(ids, now))):
        for name, frame in source:
            yield f'{group}/{name}', frame
