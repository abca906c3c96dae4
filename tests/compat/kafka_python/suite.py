"""kafka-python against the broker under test."""
import os
import sys
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))

from harness import (BROKER, CODECS, IS_APACHE, LARGE_LIMIT, case, equal, eventually, large_value, main, raises,
                     topic_name, true)
from kafka import KafkaConsumer, KafkaProducer, OffsetSpec, TopicPartition
from kafka import errors
from kafka.admin import ConfigResource, KafkaAdminClient

_admin = None


def admin():
    global _admin
    _admin = _admin or KafkaAdminClient(bootstrap_servers=BROKER)
    return _admin


def make_topic(stem, partitions=1, **configs):
    name = topic_name('kp-' + stem)
    configs = {key.replace('_', '.'): str(value) for key, value in configs.items()}
    admin().create_topics({name: {'num_partitions': partitions, 'replication_factor': 1, 'configs': configs}})
    admin().wait_for_topics([name])
    return name


def producer(**options):
    return KafkaProducer(bootstrap_servers=BROKER, **options)


def send(topic, records, **options):
    """Sends (key, value, headers, timestamp_ms, partition) tuples in order; returns their metadata."""
    with_defaults = [(list(r) + [None] * 5)[:5] for r in records]
    client = producer(**options)
    futures = [client.send(topic, key=k, value=v, headers=h or [], timestamp_ms=t, partition=p or 0)
               for k, v, h, t, p in with_defaults]
    client.flush(30)
    done = [f.get(30) for f in futures]
    client.close()
    return done


def read(topic, count, partition=0, offset=0, **options):
    """`count` records of one partition from `offset` on, without a group."""
    options = {'auto_offset_reset': 'earliest', **options}
    consumer = KafkaConsumer(bootstrap_servers=BROKER, consumer_timeout_ms=20000, enable_auto_commit=False, **options)
    place = TopicPartition(topic, partition)
    consumer.assign([place])
    consumer.seek(place, offset)
    found = []
    for record in consumer:
        found.append(record)
        if len(found) == count:
            break
    consumer.close()
    equal(len(found), count, 'records read')
    return found


@case
def produce_and_fetch():
    topic = make_topic('basic', 3)
    records = [(b'k%d' % i, b'v%d' % i, None, None, i % 3) for i in range(300)]
    done = send(topic, records)
    for partition in range(3):
        equal([m.offset for m in done if m.partition == partition], list(range(100)), 'offsets answered')
        found = read(topic, 100, partition)
        equal([r.offset for r in found], list(range(100)), 'offsets read')
        equal([(r.key, r.value) for r in found], [(r[0], r[1]) for r in records if r[4] == partition], 'records')


@case
def fetch_many_partitions_in_one_session():
    topic = make_topic('session', 8)
    consumer = KafkaConsumer(bootstrap_servers=BROKER, enable_auto_commit=False, auto_offset_reset='earliest')
    consumer.assign([TopicPartition(topic, p) for p in range(8)])
    client, got = producer(), []
    for turn in range(5):
        for partition in range(8):
            client.send(topic, value=b'%d' % turn, partition=partition)
        client.flush(10)
        end = time.time() + 10
        while len(got) < 8 * (turn + 1) and time.time() < end:
            for records in consumer.poll(500).values():
                got += [(r.partition, r.offset, r.value) for r in records]
    consumer.close(), client.close()
    equal(sorted(got), [(p, t, b'%d' % t) for p in range(8) for t in range(5)], 'records of all partitions')


@case
def acks_zero_one_all():
    topic = make_topic('acks')
    for acks in (0, 1, 'all'):
        send(topic, [(None, str(acks).encode())] * 3, acks=acks, enable_idempotence=False)
    equal([r.value for r in read(topic, 9)], [b'0'] * 3 + [b'1'] * 3 + [b'all'] * 3, 'values')


@case
def codecs():
    topic = make_topic('codecs')
    for codec in CODECS:
        values = [b'%s %d ' % (codec.encode(), i) + b'x' * 500 for i in range(200)]
        first = send(topic, [(None, v) for v in values], compression_type=None if codec == 'none' else codec,
                     linger_ms=50)[0].offset
        equal([r.value for r in read(topic, 200, offset=first)], values, codec)


@case
def headers_and_nulls():
    topic = make_topic('headers')
    headers = [('a', b'1'), ('a', b'2'), ('empty', b''), ('ключ', bytes(range(256)))]
    send(topic, [(None, b'v', headers), (b'k', None), (b'', b'')])
    found = read(topic, 3)
    equal(list(found[0].headers), headers, 'headers')
    equal([(r.key, r.value) for r in found], [(None, b'v'), (b'k', None), (b'', b'')], 'nulls')


@case
def ten_mib_records():
    topic = make_topic('large', max_message_bytes=LARGE_LIMIT)
    for codec in (None, 'zstd'):
        done = send(topic, [(None, large_value())], max_request_size=LARGE_LIMIT, compression_type=codec)
        found = read(topic, 1, offset=done[0].offset, max_partition_fetch_bytes=LARGE_LIMIT)
        true(found[0].value == large_value(), 'the large value came back changed')


@case
def record_above_the_limit():
    topic = make_topic('limit', max_message_bytes=1000)
    raises(errors.MessageSizeTooLargeError, send, topic, [(None, b'x' * 2000)])
    send(topic, [(None, b'x' * 500)])


@case
def timestamps():
    topic = make_topic('time')
    times = [1000, 3000, 2000, 5000]
    send(topic, [(None, b'x', None, t) for t in times])
    equal([(r.timestamp, r.timestamp_type) for r in read(topic, 4)], [(t, 0) for t in times], 'create times')
    consumer, place = KafkaConsumer(bootstrap_servers=BROKER), TopicPartition(topic, 0)
    for when, want in ((0, (0, 1000)), (1001, (1, 3000)), (3001, (3, 5000)), (5001, None)):
        got = consumer.offsets_for_times({place: when})[place]
        equal(got and (got.offset, got.timestamp), want, f'offset for time {when}')
    consumer.close()


@case
def log_append_time():
    topic = make_topic('append', message_timestamp_type='LogAppendTime')
    before = int(time.time() * 1000)
    done = send(topic, [(None, b'x', None, 1000)] * 3, compression_type='gzip')
    after = int(time.time() * 1000) + 1
    for record in read(topic, 3):
        equal(record.timestamp_type, 1, 'timestamp type')
        true(before <= record.timestamp <= after, f'{record.timestamp} is not within {before}..{after}')
    true(before <= done[0].timestamp <= after, 'the answer names the append time')


@case
def idempotence():
    topic = make_topic('idempotent')
    done = send(topic, [(None, b'%d' % i) for i in range(500)], enable_idempotence=True, batch_size=1000)
    equal([m.offset for m in done], list(range(500)), 'offsets')
    equal([r.value for r in read(topic, 500)], [b'%d' % i for i in range(500)], 'values')
    state = admin().describe_producers([TopicPartition(topic, 0)])[TopicPartition(topic, 0)]
    equal(len(state.active_producers), 1, 'active producers')
    equal(state.active_producers[0].last_sequence, 499, 'last sequence')


@case
def beginning_end_and_watermarks():
    topic = make_topic('ends', 2)
    send(topic, [(None, b'x')] * 7)
    consumer = KafkaConsumer(bootstrap_servers=BROKER)
    places = [TopicPartition(topic, p) for p in (0, 1)]
    equal(consumer.beginning_offsets(places), dict(zip(places, (0, 0))), 'beginning')
    equal(consumer.end_offsets(places), dict(zip(places, (7, 0))), 'end')
    equal(consumer.partitions_for_topic(topic), {0, 1}, 'partitions')
    consumer.close()


@case
def offset_out_of_range_resets():
    topic = make_topic('range')
    send(topic, [(None, b'%d' % i) for i in range(5)])
    equal(read(topic, 1, offset=1000)[0].offset, 0, 'reset to earliest')
    raises(errors.OffsetOutOfRangeError, read, topic, 1, offset=1000, auto_offset_reset='none')


@case
def automatic_topic_creation():
    topic = topic_name('kp-auto')
    equal(send(topic, [(b'k', b'v')])[0].offset, 0, 'offset')
    equal(read(topic, 1)[0].value, b'v', 'value')


@case
def topics_create_describe_delete():
    topic = make_topic('admin', 3)
    described = admin().describe_topics([topic])[0]
    equal((described['name'], described['is_internal'], len(described['partitions'])), (topic, False, 3), 'topic')
    for number, partition in enumerate(sorted(described['partitions'], key=lambda p: p['partition_index'])):
        equal((partition['partition_index'], partition['leader_id'], partition['replica_nodes'],
               partition['isr_nodes'], partition['offline_replicas']), (number, 1, [1], [1], []), 'partition')
    by_id = admin().describe_topics([uuid.UUID(str(described['topic_id']))])[0]
    equal(by_id['name'], topic, 'described by id')
    true(topic in admin().list_topics(), 'listed')
    raises(errors.TopicAlreadyExistsError, admin().create_topics, {topic: {}})
    admin().delete_topics([topic])
    eventually(lambda: topic not in admin().list_topics(), 'the topic goes')
    raises(errors.UnknownTopicOrPartitionError, admin().delete_topics, [topic])


@case
def topics_refused():
    for name, options, kind in (
            ('bad name', {}, errors.InvalidTopicError),
            (topic_name('kp-zero'), {'num_partitions': 0, 'replication_factor': 1}, errors.InvalidPartitionsError),
            (topic_name('kp-rf'), {'num_partitions': 1, 'replication_factor': 3}, errors.InvalidReplicationFactorError),
            (topic_name('kp-config'), {'configs': {'no.such.config': '1'}}, errors.InvalidConfigurationError),
            (topic_name('kp-value'), {'configs': {'retention.ms': 'soon'}}, errors.InvalidConfigurationError),
            (topic_name('kp-replica'), {'assignments': {0: [99]}}, errors.InvalidReplicationAssignmentError)):
        raises(kind, admin().create_topics, {name: options})
        true(name not in admin().list_topics(), f'{name} exists')
    dry = topic_name('kp-dry')
    admin().create_topics({dry: {'num_partitions': 2, 'replication_factor': 1}}, validate_only=True)
    true(dry not in admin().list_topics(), 'validate_only created the topic')


@case
def topic_deleted_by_id():
    topic = make_topic('byid')
    identity = uuid.UUID(str(admin().describe_topics([topic])[0]['topic_id']))
    admin().delete_topics([identity])
    eventually(lambda: topic not in admin().list_topics(), 'the topic goes')
    raises(errors.UnknownTopicIdError, admin().delete_topics, [identity])


@case
def partitions_added():
    topic = make_topic('grow', 2)
    admin().create_partitions({topic: 5})
    eventually(lambda: len(admin().describe_topics([topic])[0]['partitions']) == 5, 'five partitions')
    send(topic, [(None, b'x', None, None, 4)])
    raises(errors.InvalidPartitionsError, admin().create_partitions, {topic: 3})
    raises(errors.UnknownTopicOrPartitionError, admin().create_partitions, {topic_name('none'): 3})


def topic_configs(topic, **options):
    return admin().describe_configs([ConfigResource('TOPIC', topic)], **options)['topic'][topic]


@case
def topic_configs_incremental():
    topic = make_topic('config', retention_ms=3600000, cleanup_policy='delete')
    equal(topic_configs(topic)['retention.ms']['value'], '3600000', 'as created')
    everything = topic_configs(topic, config_filter='all', include_synonyms=True)
    true(len(everything) > 25, f'{len(everything)} configs')
    equal(everything['segment.bytes']['config_source'], 'DEFAULT_CONFIG', 'source')
    admin().alter_configs([ConfigResource('TOPIC', topic, {
        'retention.ms': '7200000', 'cleanup.policy': ('APPEND', 'compact')})])
    equal(topic_configs(topic)['retention.ms']['value'], '7200000', 'set')
    equal(topic_configs(topic)['cleanup.policy']['value'], 'delete,compact', 'appended')
    admin().alter_configs([ConfigResource('TOPIC', topic, {'cleanup.policy': ('SUBTRACT', 'delete')})])
    equal(topic_configs(topic)['cleanup.policy']['value'], 'compact', 'subtracted')
    admin().reset_configs([ConfigResource('TOPIC', topic, ['retention.ms'])])
    true('retention.ms' not in topic_configs(topic), 'reset')
    refused = admin().alter_configs([ConfigResource('TOPIC', topic, {'retention.ms': 'soon'})])
    true('InvalidConfigurationError' in str(refused['topic'][topic]), f'refused with {refused}')


@case
def topic_configs_replaced_whole():
    topic = make_topic('legacy', retention_ms=3600000)
    admin().alter_configs([ConfigResource('TOPIC', topic, {'max.message.bytes': '2000'})], incremental=False)
    equal(topic_configs(topic)['max.message.bytes']['value'], '2000', 'set')
    raises(errors.MessageSizeTooLargeError, send, topic, [(None, b'x' * 3000)])


@case
def broker_configs():
    every = admin().describe_configs([ConfigResource('BROKER', '1')], config_filter='all')['broker']['1']
    equal(every['node.id']['value'], '1', 'node.id')
    equal(every['node.id']['read_only'], True, 'node.id is read only')
    admin().alter_configs([ConfigResource('BROKER', '1', {'log.cleaner.threads': '2'})])
    eventually(lambda: admin().describe_configs([ConfigResource('BROKER', '1')])['broker']['1'].get(
        'log.cleaner.threads', {}).get('value') == '2', 'a dynamic broker config')
    admin().reset_configs([ConfigResource('BROKER', '1', ['log.cleaner.threads'])])
    refused = admin().alter_configs([ConfigResource('BROKER', '1', {'node.id': '2'})], raise_on_unknown=False)
    true('InvalidRequestError' in str(refused['broker']['1']), f'refused with {refused}')


@case
def records_deleted():
    topic = make_topic('trim')
    send(topic, [(None, b'%d' % i) for i in range(10)])
    place = TopicPartition(topic, 0)
    equal(admin().delete_records({place: 4})[place]['low_watermark'], 4, 'low watermark')
    equal([r.value for r in read(topic, 6, offset=4)], [b'%d' % i for i in range(4, 10)], 'what is left')
    equal(admin().list_partition_offsets({place: OffsetSpec.EARLIEST})[place].offset, 4, 'earliest')
    raises(errors.OffsetOutOfRangeError, admin().delete_records, {place: 100})
    equal(admin().delete_records({place: -1})[place]['low_watermark'], 10, 'all of them')


@case
def offsets_listed():
    topic = make_topic('offsets')
    send(topic, [(None, b'x', None, t) for t in (1000, 9000, 2000)])
    place = TopicPartition(topic, 0)
    for spec, want in ((OffsetSpec.EARLIEST, 0), (OffsetSpec.LATEST, 3), (OffsetSpec.MAX_TIMESTAMP, 1),
                       (OffsetSpec.EARLIEST_LOCAL, 0), (1500, 1)):
        equal(admin().list_partition_offsets({place: spec})[place].offset, want, str(spec))


@case
def cluster_and_log_dirs():
    cluster = admin().describe_cluster()
    equal([(b['broker_id'], b['host'], b['port']) for b in cluster['brokers']],
          [(1, BROKER.split(':')[0], int(BROKER.split(':')[1]))], 'brokers')
    equal(cluster['controller_id'], 1, 'controller')
    topic = make_topic('dirs', 2)
    send(topic, [(None, b'x' * 1000)])
    found = [d for d in admin().describe_log_dirs()[0]['log_dirs']]
    equal(found[0]['error_code'], 0, 'log dir error')
    true(found[0]['total_bytes'] > 0, 'total bytes')
    sizes = {(t['name'], p['partition_index']): p['partition_size'] for t in found[0]['topics'] for p in t['partitions']}
    true(sizes[(topic, 0)] > 1000, 'size of the first partition')
    equal(sizes[(topic, 1)], 0, 'size of the second')


@case
def topic_partitions_in_pages():
    topics = sorted(make_topic('page', 3) for _ in range(3))
    seen, cursor = [], None
    while True:
        page = admin().describe_topic_partitions(topics, response_partition_limit=4, cursor=cursor)
        seen += [(t['name'], p['partition_index']) for t in page['topics'] for p in t['partitions']]
        cursor = page['next_cursor']
        if not cursor:
            break
    equal(seen, [(t, p) for t in topics for p in range(3)], 'partitions')


@case
def features_quorum_and_leaders():
    features = admin().describe_features()
    equal(features['metadata.version']['finalized'], (30, 30), 'metadata.version')
    equal(features['kraft.version']['supported'], (0, 1), 'kraft.version')
    quorum = admin().describe_metadata_quorum()
    partition = quorum['topics'][0]['partitions'][0]
    equal(partition['leader_id'], 1, 'leader of the quorum')
    equal([v['replica_id'] for v in partition['current_voters']], [1], 'voters')
    topic = make_topic('elect')
    elected = admin().elect_leaders(0, {topic: [0]}).replica_election_results[0].partition_result[0]
    equal(elected.error_code, errors.ElectionNotNeededError.errno, 'preferred election')
    true(topic in admin().list_config_resources(['TOPIC'])['topic'], 'topic among the config resources')


@case
def group_consumer():
    """A consumer that names a group, and the next one, which goes on where it stopped."""
    topic = make_topic('group')
    send(topic, [(None, b'x')] * 3)
    group = topic_name('kp-group')
    for want in (3, 0):
        consumer = KafkaConsumer(topic, bootstrap_servers=BROKER, group_id=group, auto_offset_reset='earliest',
                                 consumer_timeout_ms=3000)
        equal(len(list(consumer)), want, 'records')
        equal(consumer.committed(TopicPartition(topic, 0)), None if want else 3, 'committed offset')
        consumer.close()
    equal(admin().list_group_offsets(group)[group][TopicPartition(topic, 0)].offset, 3, 'offset of the group')


if __name__ == '__main__':
    main()
