"""librdkafka, through confluent-kafka, against the broker under test."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))

from confluent_kafka import (OFFSET_BEGINNING, TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Consumer,
                             ElectionType, IsolationLevel, KafkaError, KafkaException, Producer, TopicCollection,
                             TopicPartition)
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
                                   OffsetSpec, ResourceType)
from harness import (BROKER, CODECS, IS_APACHE, LARGE_LIMIT, case, equal, eventually, large_value, main, raises,
                     topic_name, true)

_admin = None


def admin():
    global _admin
    _admin = _admin or AdminClient({'bootstrap.servers': BROKER})
    return _admin


def one(futures):
    """The result of an admin call about one thing."""
    return list(futures.values())[0].result(20)


def error_of(function, *args, **kwargs):
    """The error code that must come."""
    return raises(KafkaException, function, *args, **kwargs).args[0].code()


def make_topic(stem, partitions=1, **configs):
    name = topic_name('rd-' + stem)
    configs = {key.replace('_', '.'): str(value) for key, value in configs.items()}
    one(admin().create_topics([NewTopic(name, partitions, 1, config=configs)]))
    eventually(lambda: name in admin().list_topics(timeout=10).topics, 'the new topic is listed')
    return name


def send(topic, records, **options):
    """Sends (key, value, headers, timestamp_ms, partition) tuples; returns [(partition, offset)] in that order."""
    options = {key.replace('_', '.'): value for key, value in options.items()}
    client = Producer({'bootstrap.servers': BROKER, 'linger.ms': 5, **options})
    done = {}

    def answer(number):
        def called(error, message):
            done[number] = error or (message.partition(), message.offset())
        return called

    for number, record in enumerate(records):
        key, value, headers, timestamp, partition = (list(record) + [None] * 5)[:5]
        client.produce(topic, value, key, partition or 0, on_delivery=answer(number), timestamp=timestamp or 0,
                       headers=headers)
        client.poll(0)
    equal(client.flush(60), 0, 'records left in the queue')
    for outcome in done.values():
        if isinstance(outcome, KafkaError):
            raise KafkaException(outcome)
    return [done[i] for i in range(len(records))]


def consumer(**options):
    options = {key if key == 'error_cb' else key.replace('_', '.'): value for key, value in options.items()}
    return Consumer({'bootstrap.servers': BROKER, 'group.id': 'never-joined', 'enable.auto.commit': False,
                     'auto.offset.reset': 'earliest', **options})


def read(topic, count, partition=0, offset=OFFSET_BEGINNING, **options):
    client = consumer(**options)
    client.assign([TopicPartition(topic, partition, offset)])
    found, end = [], time.time() + 20
    while len(found) < count and time.time() < end:
        message = client.poll(1)
        if message is not None:
            if message.error():
                client.close()
                raise KafkaException(message.error())
            found.append(message)
    client.close()
    equal(len(found), count, 'records read')
    return found


@case
def produce_and_fetch():
    topic = make_topic('basic', 3)
    records = [(b'k%d' % i, b'v%d' % i, None, None, i % 3) for i in range(3000)]
    done = send(topic, records)
    for partition in range(3):
        equal([o for p, o in done if p == partition], list(range(1000)), 'offsets answered')
        found = read(topic, 1000, partition)
        equal([m.offset() for m in found], list(range(1000)), 'offsets read')
        equal([(m.key(), m.value()) for m in found], [(r[0], r[1]) for r in records if r[4] == partition], 'records')


@case
def acks_zero_one_all():
    topic = make_topic('acks')
    for acks in ('0', '1', 'all'):
        send(topic, [(None, acks.encode())] * 3, acks=acks)
    equal([m.value() for m in read(topic, 9)], [b'0'] * 3 + [b'1'] * 3 + [b'all'] * 3, 'values')


@case
def codecs():
    topic = make_topic('codecs')
    for codec in CODECS:
        values = [b'%s %d ' % (codec.encode(), i) + b'x' * 500 for i in range(500)]
        first = send(topic, [(None, v) for v in values], compression_type=codec, linger_ms=50)[0][1]
        equal([m.value() for m in read(topic, 500, offset=first, check_crcs=True)], values, codec)


@case
def codec_set_on_the_topic():
    """The broker compresses again what arrives in another codec."""
    for codec in CODECS[1:]:
        topic = make_topic('recode', compression_type=codec)
        values = [b'%d ' % i + b'x' * 500 for i in range(100)]
        send(topic, [(None, v) for v in values], linger_ms=50)
        send(topic, [(None, v) for v in values], linger_ms=50, compression_type='lz4' if codec != 'lz4' else 'gzip')
        equal([m.value() for m in read(topic, 200)], values * 2, codec)
        kept = sum(list(b.values())[0] for b in log_sizes(topic))
        true(kept < 50000, f'{codec}: {kept} bytes on disk for 100 KB that compress well')


def log_sizes(topic):
    """[{partition: bytes}] from the segment files, when the broker's directory is at hand."""
    directory = os.environ.get('BROKER_LOGS')
    if not directory:
        return []
    path = os.path.join(directory, topic + '-0')
    return [{0: sum(os.path.getsize(os.path.join(path, f)) for f in os.listdir(path) if f.endswith('.log'))}]


@case
def headers_and_nulls():
    topic = make_topic('headers')
    headers = [('a', b'1'), ('a', b'2'), ('empty', b''), ('null', None), ('ключ', bytes(range(256)))]
    send(topic, [(None, b'v', headers), (b'k', None), (None, None), (b'', b'')])
    found = read(topic, 4)
    equal(found[0].headers(), headers, 'headers')
    equal([(m.key(), m.value()) for m in found], [(None, b'v'), (b'k', None), (None, None), (b'', b'')], 'nulls')


@case
def ten_mib_records():
    topic = make_topic('large', max_message_bytes=LARGE_LIMIT)
    for codec in ('none', 'zstd'):
        done = send(topic, [(None, large_value())], message_max_bytes=LARGE_LIMIT, compression_type=codec)
        found = read(topic, 1, offset=done[0][1], fetch_message_max_bytes=LARGE_LIMIT,
                     fetch_max_bytes=LARGE_LIMIT, receive_message_max_bytes=2 * LARGE_LIMIT)
        true(found[0].value() == large_value(), 'the large value came back changed')


@case
def record_above_the_limit():
    topic = make_topic('limit', max_message_bytes=1000)
    equal(error_of(send, topic, [(None, b'x' * 2000)]), KafkaError.MSG_SIZE_TOO_LARGE, 'error')
    send(topic, [(None, b'x' * 500)])


@case
def timestamps():
    topic = make_topic('time')
    times = [1000, 3000, 2000, 5000]
    send(topic, [(None, b'x', None, t) for t in times])
    equal([m.timestamp() for m in read(topic, 4)], [(TIMESTAMP_CREATE_TIME, t) for t in times], 'create times')
    client = consumer()
    for when, want in ((0, 0), (1001, 1), (3001, 3), (5001, -1)):
        equal(client.offsets_for_times([TopicPartition(topic, 0, when)], 10)[0].offset, want, f'offset for {when}')
    client.close()


@case
def log_append_time():
    topic = make_topic('append', message_timestamp_type='LogAppendTime')
    before = int(time.time() * 1000)
    send(topic, [(None, b'x', None, 1000)] * 3, compression_type='zstd')
    for kind, when in (m.timestamp() for m in read(topic, 3)):
        equal(kind, TIMESTAMP_LOG_APPEND_TIME, 'timestamp type')
        true(before <= when <= int(time.time() * 1000) + 1, f'append time {when}')


@case
def idempotence():
    topic = make_topic('idempotent')
    done = send(topic, [(None, b'%d' % i) for i in range(2000)], enable_idempotence=True, batch_size=1000)
    equal([o for _, o in done], list(range(2000)), 'offsets')
    equal([m.value() for m in read(topic, 2000)], [b'%d' % i for i in range(2000)], 'values')


@case
def read_committed():
    topic = make_topic('committed')
    send(topic, [(None, b'%d' % i) for i in range(10)])
    equal(len(read(topic, 10, isolation_level='read_committed')), 10, 'records')


@case
def watermarks_and_ends_of_partitions():
    topic = make_topic('ends')
    send(topic, [(None, b'x')] * 7)
    client = consumer(enable_partition_eof=True)
    equal(client.get_watermark_offsets(TopicPartition(topic, 0), timeout=10), (0, 7), 'watermarks')
    client.assign([TopicPartition(topic, 0, 5)])
    seen = []
    end = time.time() + 10
    while len(seen) < 3 and time.time() < end:
        message = client.poll(1)
        if message is not None:
            seen.append('eof' if message.error() else message.offset())
    client.close()
    equal(seen, [5, 6, 'eof'], 'offsets, then the end')


@case
def offset_out_of_range():
    topic = make_topic('range')
    send(topic, [(None, b'%d' % i) for i in range(5)])
    equal(read(topic, 1, offset=1000)[0].offset(), 0, 'reset to earliest')
    equal(error_of(read, topic, 1, offset=1000, auto_offset_reset='error'), KafkaError._AUTO_OFFSET_RESET, 'error')


@case
def long_poll_wakes():
    """A fetch that waits is answered when a record comes, long before its time is over."""
    topic = make_topic('wait')
    client = consumer(fetch_wait_max_ms=8000, fetch_min_bytes=1)
    client.assign([TopicPartition(topic, 0, 0)])
    true(client.poll(1) is None, 'nothing is there yet')
    send(topic, [(None, b'x')])
    began = time.time()
    message = client.poll(7)
    true(message is not None and not message.error(), 'the record comes')
    true(time.time() - began < 2, f'it came after {time.time() - began:.1f} s')
    client.close()


@case
def topics_created_and_deleted():
    topic = make_topic('admin', 3)
    found = admin().list_topics(topic, 10).topics[topic]
    equal(sorted((p.id, p.leader, tuple(p.replicas), tuple(p.isrs)) for p in found.partitions.values()),
          [(n, 1, (1,), (1,)) for n in range(3)], 'partitions')
    described = one(admin().describe_topics(TopicCollection([topic]), include_authorized_operations=True))
    equal((described.name, described.is_internal, [p.id for p in described.partitions]), (topic, False, [0, 1, 2]),
          'described')
    equal(error_of(lambda: one(admin().create_topics([NewTopic(topic, 1, 1)]))), KafkaError.TOPIC_ALREADY_EXISTS,
          'create again')
    one(admin().delete_topics([topic]))
    eventually(lambda: topic not in admin().list_topics(timeout=10).topics, 'the topic goes')
    equal(error_of(lambda: one(admin().delete_topics([topic]))), KafkaError.UNKNOWN_TOPIC_OR_PART, 'delete again')


@case
def topics_refused():
    for name, partitions, factor, configs, code in (
            ('bad name', 1, 1, {}, KafkaError.TOPIC_EXCEPTION),
            (topic_name('rd-rf'), 1, 3, {}, KafkaError.INVALID_REPLICATION_FACTOR),
            (topic_name('rd-config'), 1, 1, {'no.such.config': '1'}, KafkaError.INVALID_CONFIG)):
        equal(error_of(lambda: one(admin().create_topics([NewTopic(name, partitions, factor, config=configs)]))), code,
              name)
    dry = topic_name('rd-dry')
    one(admin().create_topics([NewTopic(dry, 2, 1)], validate_only=True))
    true(dry not in admin().list_topics(timeout=10).topics, 'validate_only created the topic')


@case
def partitions_added():
    topic = make_topic('grow', 2)
    one(admin().create_partitions([NewPartitions(topic, 4)]))
    eventually(lambda: len(admin().list_topics(topic, 10).topics[topic].partitions) == 4, 'four partitions')
    equal(error_of(lambda: one(admin().create_partitions([NewPartitions(topic, 2)]))), KafkaError.INVALID_PARTITIONS,
          'fewer')


def configs_of(kind, name):
    return one(admin().describe_configs([ConfigResource(kind, name)]))


@case
def configs():
    topic = make_topic('config', retention_ms=3600000)
    entry = configs_of(ResourceType.TOPIC, topic)['retention.ms']
    equal((entry.value, entry.source, entry.is_read_only, entry.is_default), ('3600000', 1, False, False), 'entry')
    true('log.retention.ms' in entry.synonyms or len(entry.synonyms) >= 1, f'synonyms {entry.synonyms}')

    def alter(name, value, operation):
        change = ConfigEntry(name, value, incremental_operation=operation)
        one(admin().incremental_alter_configs(
            [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[change])]))

    alter('retention.ms', '7200000', AlterConfigOpType.SET)
    equal(configs_of(ResourceType.TOPIC, topic)['retention.ms'].value, '7200000', 'set')
    alter('cleanup.policy', 'compact', AlterConfigOpType.APPEND)
    equal(configs_of(ResourceType.TOPIC, topic)['cleanup.policy'].value, 'delete,compact', 'appended')
    alter('retention.ms', None, AlterConfigOpType.DELETE)
    equal(configs_of(ResourceType.TOPIC, topic)['retention.ms'].value, '604800000', 'deleted')
    equal(error_of(alter, 'retention.ms', 'soon', AlterConfigOpType.SET), KafkaError.INVALID_CONFIG, 'refused')
    equal(error_of(configs_of, ResourceType.TOPIC, topic_name('rd-none')), KafkaError.UNKNOWN_TOPIC_OR_PART, 'unknown')
    equal(configs_of(ResourceType.BROKER, '1')['node.id'].value, '1', 'broker config')


@case
def records_deleted():
    topic = make_topic('trim')
    send(topic, [(None, b'%d' % i) for i in range(10)])
    equal(one(admin().delete_records([TopicPartition(topic, 0, 4)])).low_watermark, 4, 'low watermark')
    equal(read(topic, 1)[0].offset(), 4, 'first offset')


@case
def offsets_listed():
    topic = make_topic('offsets')
    send(topic, [(None, b'x', None, t) for t in (1000, 9000, 2000)])
    for spec, want in ((OffsetSpec.earliest(), 0), (OffsetSpec.latest(), 3), (OffsetSpec.max_timestamp(), 1),
                       (OffsetSpec.for_timestamp(1500), 1)):
        for level in (IsolationLevel.READ_UNCOMMITTED, IsolationLevel.READ_COMMITTED):
            got = one(admin().list_offsets({TopicPartition(topic, 0): spec}, isolation_level=level))
            equal(got.offset, want, f'{spec} {level}')


@case
def cluster_and_leaders():
    cluster = admin().describe_cluster(include_authorized_operations=True).result(10)
    equal([(n.id, n.host, n.port) for n in cluster.nodes], [(1, BROKER.split(':')[0], int(BROKER.split(':')[1]))],
          'nodes')
    equal(cluster.controller.id, 1, 'controller')
    true(len(cluster.cluster_id) == 22, f'cluster id {cluster.cluster_id}')
    topic = make_topic('elect')
    outcome = admin().elect_leaders(ElectionType.PREFERRED, [TopicPartition(topic, 0)]).result(10)
    equal(list(outcome.values())[0].code(), KafkaError.ELECTION_NOT_NEEDED, 'election')


@case
def group_consumer():
    """A consumer that names a group, and what the group looks like from outside."""
    topic = make_topic('group')
    send(topic, [(None, b'x')] * 3)
    errors, group = [], topic_name('rd-group')
    client = consumer(**{'group.id': group, 'error_cb': errors.append, 'auto.offset.reset': 'earliest'})
    client.subscribe([topic])
    found, fatal, end = 0, [], time.time() + 10
    while found < 3 and time.time() < end:
        message = client.poll(0.2)
        if message is not None:
            found += not message.error()
            fatal += [message.error()] if message.error() else []
    client.commit(asynchronous=False)
    described = one(admin().describe_consumer_groups([group], request_timeout=10))
    equal(described.state.name, 'STABLE', 'state')
    equal([len(m.assignment.topic_partitions) for m in described.members], [1], 'assignment')
    equal(client.committed([TopicPartition(topic, 0)], timeout=10)[0].offset, 3, 'committed offset')
    client.close()
    equal(found, 3, 'records')
    equal([e for e in errors if e.fatal()], [], 'fatal errors')
    equal(fatal, [], 'errors given to the application')


if __name__ == '__main__':
    main()
