"""What a broker says of everything that it has, as a flat dictionary: two of them must be equal across a hand-over."""
import struct

import raw
from confluent_kafka import Consumer, TopicPartition

INTERNAL = ('__consumer_offsets', '__transaction_state')
LOOKUPS = 4                 # batches of a partition whose timestamps are looked up


def partitions(client):
    return sorted((t, p) for t, parts in client.metadata().items() for p in parts)


def look(client, broker, ignored=()):
    """{what: value} of all partitions and settings, as seen through the protocol."""
    seen, places = {}, [p for p in partitions(client) if p[0] not in ignored]
    seen['topics'] = places
    for topic in sorted({t for t, _ in places}):
        seen[f'settings of {topic}'] = client.configs(raw.TOPIC, topic)
    seen['settings of broker 1'] = client.configs(raw.BROKER, '1')
    seen['settings of all brokers'] = client.configs(raw.BROKER, '')
    for topic, partition in places:
        look_at_partition(client, seen, topic, partition)
    for committed in (False, True):
        level = 'committed' if committed else 'uncommitted'
        for place, records in consume(broker, [p for p in places if p[0] not in INTERNAL], committed).items():
            seen[f'{place} consumed, read_{level}'] = records
    return seen


def look_at_partition(client, seen, topic, partition):
    place = f'{topic}-{partition}'
    offsets, aborted, batches = client.read(topic, partition)
    seen[f'{place} start, last stable offset, high watermark'] = offsets
    seen[f'{place} batches'] = batches
    _, aborted, committed = client.read(topic, partition, committed=True)
    # Apache may name some that lie above what may be read.
    seen[f'{place} aborted transactions'] = [a for a in aborted if a[1] < offsets[1]]
    seen[f'{place} batches, read_committed'] = committed
    seen[f'{place} producers'] = client.producers(topic, partition)
    for name, timestamp in (('latest', raw.LATEST), ('earliest', raw.EARLIEST), ('earliest local', raw.EARLIEST_LOCAL),
                            ('max timestamp', raw.MAX_TIMESTAMP), ('latest tiered', raw.LATEST_TIERED)):
        # The leader epoch of the end is that of whoever leads now.
        answer = client.offset_for(topic, partition, timestamp)
        seen[f'{place} {name} offset'] = answer[:2] if timestamp == raw.LATEST or not batches else answer
    seen[f'{place} latest committed offset'] = client.offset_for(topic, partition, raw.LATEST, committed=True)[:2]
    for _, _, data in batches[::max(1, len(batches) // LOOKUPS)]:
        first, largest = struct.unpack_from('>qq', data, 27)
        for timestamp in (first - 1, first, largest, largest + 1):
            if timestamp >= 0:
                seen[f'{place} offset for {timestamp}'] = client.offset_for(topic, partition, timestamp)
    for epoch in sorted({struct.unpack_from('>i', data, 12)[0] for _, _, data in batches}):
        seen[f'{place} end of epoch {epoch}'] = client.epoch_end(topic, partition, epoch)


def consume(broker, places, committed):
    """{topic-partition: [(offset, timestamp, key, value)]} as librdkafka's consumer sees them."""
    consumer = Consumer({'bootstrap.servers': broker.address, 'group.id': 'not-joined', 'enable.auto.commit': False,
                         'enable.partition.eof': True, 'auto.offset.reset': 'earliest', 'check.crcs': True,
                         'isolation.level': 'read_committed' if committed else 'read_uncommitted', 'log_level': 0})
    records, open_places = {f'{t}-{p}': [] for t, p in places}, set(places)
    consumer.assign([TopicPartition(t, p, -2) for t, p in places])
    quiet = 0
    while open_places and quiet < 20:
        messages = consumer.consume(1000, 1.0)
        quiet = 0 if messages else quiet + 1
        for m in messages:
            if m.error():
                open_places.discard((m.topic(), m.partition()))      # its end
            else:
                records[f'{m.topic()}-{m.partition()}'].append((m.offset(), m.timestamp(), m.key(), m.value()))
    consumer.close()
    if open_places:
        raise RuntimeError(f'no end of {sorted(open_places)}')
    return records


def differences(before, after):
    found = []
    for what in sorted({*before, *after}):
        a, b = before.get(what), after.get(what)
        if a != b:
            found.append(f'{what}: {brief(a, b)}')
    return found


def brief(a, b):
    if isinstance(a, list) and isinstance(b, list):
        at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
        return f'{len(a)} and {len(b)} entries, apart from entry {at}: {str(a[at:at + 1])[:300]} / {str(b[at:at + 1])[:300]}'
    return f'{str(a)[:300]} / {str(b)[:300]}'
