"""A broker under a script: every call is a line of the trace, with what differs from run to run replaced.

A line is `Api vN fields -> answer`. Producer ids become P1, P2 ... in the order in which the script met them, the
coordinator's epochs C1, C2 ..., times T. `state`, `data` and `group` add the records that a topic holds to the trace.
"""
import os
import socket
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'tools'), os.path.join(HERE, '..', 'bad_input'), os.path.join(HERE, '..', 'both_ways')]

import codec
import probe
import raw
import schema

STATE_TOPIC, OFFSETS_TOPIC = '__transaction_state', '__consumer_offsets'
LOADING = ('COORDINATOR_LOAD_IN_PROGRESS', 'COORDINATOR_NOT_AVAILABLE', 'NOT_COORDINATOR')
STATES = ('Empty', 'Ongoing', 'PrepareCommit', 'PrepareAbort', 'CompleteCommit', 'CompleteAbort', 'Dead', 'PrepareEpochFence')
TRANSACTIONAL, CONTROL = 0x10, 0x20
OURS = 1000             # from here on, a coordinator epoch is one that a script made up
PATIENCE_S = 30.0


def error_names():
    names = {}
    for row in schema.rows(codec.ROOT / 'src' / 'wire' / 'schemas' / 'errors.txt'):
        names[int(row[0])] = row[1]
    return names


ERRORS = error_names()


def record_schemas(domain):
    """{record type: (key message, value message)} of an internal topic."""
    found = {}
    for f in schema.load(codec.ROOT / 'src' / 'wire' / 'schemas'):
        if f.record_domain == domain:
            by_kind = {m.kind: m for m in f.messages}
            found[f.record] = by_kind['key'], by_kind['value']
    return found


SCHEMAS = {STATE_TOPIC: record_schemas('transaction'), OFFSETS_TOPIC: record_schemas('group')}


def decode(message, data, version=None):
    """(version, fields) of a stored key or value; what stands in the place of a key's version is the record's kind."""
    version = struct.unpack('>h', data[:2])[0] if version is None else version
    decoder = codec.Decoder(data[2:], version, version in message.flexible)
    fields = decoder.struct(message.root)
    assert decoder.at == len(decoder.data), f'bytes behind {message.name}'
    return version, fields


def in_order(results):
    """The error codes of (partition, code), by partition: Apache answers in the order of a hash table."""
    return [code for _, code in sorted(results)]


class Records(raw.Cursor):
    """The records of an uncompressed batch: [(key, value)]."""

    def varint(self):
        value = self.uvarint()
        return (value >> 1) ^ -(value & 1)

    def piece(self):
        size = self.varint()
        if size < 0:
            return None
        self.at += size
        return self.data[self.at - size:self.at]

    def all(self, count):
        for _ in range(count):
            self.varint(), self.take('b'), self.varint(), self.varint()
            key, value = self.piece(), self.piece()
            for _ in range(self.varint()):
                self.piece(), self.piece()
            yield key, value


class Batch:
    def __init__(self, data):
        self.base, _, self.leader_epoch = struct.unpack_from('>qii', data)
        self.attributes, delta = struct.unpack_from('>hi', data, 21)
        self.producer, self.epoch, self.sequence, count = struct.unpack_from('>qhii', data, 43)
        self.last = self.base + delta
        self.records = list(Records(data[61:]).all(count))

    @property
    def control(self):
        return bool(self.attributes & CONTROL)


class Kit:
    """The versions of the requests that a client of some age uses."""

    def __init__(self, name, init, produce, add, add_offsets, commit, end):
        self.name, self.init, self.produce, self.add = name, init, produce, add
        self.add_offsets, self.commit, self.end = add_offsets, commit, end

    @property
    def implicit(self):
        """Whether Produce and TxnOffsetCommit add to the transaction by themselves."""
        return self.end >= 5


OLD = Kit('old', init=1, produce=7, add=1, add_offsets=1, commit=2, end=1)
TV1 = Kit('tv1', init=4, produce=11, add=3, add_offsets=3, commit=4, end=4)
TV2 = Kit('tv2', init=5, produce=12, add=3, add_offsets=4, commit=5, end=5)


class Link:
    """One connection."""

    def __init__(self, broker):
        self.socket = socket.create_connection((broker.host, broker.port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, api, version, value):
        self.socket.sendall(codec.request(api, version, value, client='scripted'))

    def receive(self, api, version):
        size = struct.unpack('>i', probe.read_exactly(self.socket, 4))[0]
        return codec.response(api, version, probe.read_exactly(self.socket, size))

    def call(self, api, version, value):
        self.send(api, version, value)
        return self.receive(api, version)

    def close(self):
        self.socket.close()


class Producer:
    """What a transactional producer remembers."""

    def __init__(self, transactional_id, kit, producer=-1, epoch=-1):
        self.transactional_id, self.kit, self.id, self.epoch = transactional_id, kit, producer, epoch
        self.sequences = {}

    def sequence(self, topic, partition, count):
        at = self.sequences.get((topic, partition), 0)
        self.sequences[topic, partition] = at + count
        return at

    def become(self, producer, epoch):
        if (producer, epoch) != (self.id, self.epoch):
            self.id, self.epoch, self.sequences = producer, epoch, {}

    def copy(self):
        other = Producer(self.transactional_id, self.kit, self.id, self.epoch)
        other.sequences = dict(self.sequences)
        return other


class World:
    """One broker and the trace of one script."""

    def __init__(self, broker, name):
        self.broker, self.name, self.lines = broker, name, []
        self.links, self.producers = {}, {}

    # ---- the trace

    def note(self, text):
        self.lines.append(text)

    def producer_name(self, producer):
        if producer < 0 or producer >= 1 << 40:         # none, or one that a script made up
            return str(producer)
        return self.producers.setdefault(producer, f'P{len(self.producers) + 1}')

    def coordinator_epoch(self, epoch):
        if epoch < 0 or epoch >= OURS:
            return str(epoch)
        return 'C'

    def at(self, producer, epoch):
        return f'{self.producer_name(producer)}/{epoch}'

    def time(self, value):
        return 'T' if value > 0 else str(value)

    # ---- requests

    def link(self, name='main'):
        if name not in self.links:
            self.links[name] = Link(self.broker)
        return self.links[name]

    def forget_links(self):
        for link in self.links.values():
            link.close()
        self.links = {}

    def ask(self, api, version, value, code_of, patient=()):
        """The answer, asked again while its error (by `code_of`) is one of those that pass or of `patient`.

        Returns (errors that were waited out, the answer); waiting for a coordinator that loads is not told.
        """
        end, seen = time.time() + PATIENCE_S, []
        while True:
            answer = self.link().call(api, version, value)
            code = ERRORS.get(code_of(answer))
            if code in patient:
                seen += [code] if code not in seen else []
            elif code not in LOADING:
                return seen, answer
            if time.time() > end:
                raise TimeoutError(f'{api} v{version} of {value}: still {code} after {PATIENCE_S} s')
            time.sleep(0.03)

    def tell(self, what, seen, answer):
        self.note(f'{what} -> {", ".join([*seen, answer])}')

    def init(self, producer, timeout_ms=60000, keep=None, patient=True, version=None):
        """InitProducerId; `keep` is the (id, epoch) that the producer says it has."""
        version = producer.kit.init if version is None else version
        value = {'TransactionalId': producer.transactional_id, 'TransactionTimeoutMs': timeout_ms}
        has = ''
        if keep:
            value.update(ProducerId=keep[0], ProducerEpoch=keep[1])
            has = f' has={self.at(*keep)}'
        seen, r = self.ask('InitProducerId', version, value, lambda a: a['ErrorCode'],
                           ('CONCURRENT_TRANSACTIONS',) if patient else ())
        code = ERRORS[r['ErrorCode']]
        self.tell(f'InitProducerId v{version} {producer.transactional_id} timeout={timeout_ms}{has}', seen,
                  f'{code} {self.at(r["ProducerId"], r["ProducerEpoch"])}')
        if code == 'NONE':
            producer.become(r['ProducerId'], r['ProducerEpoch'])
        return code

    def who(self, p):
        return f'{p.transactional_id} {self.at(p.id, p.epoch)}'

    def add(self, p, topic, partitions=(0,), version=None, verify=False):
        """AddPartitionsToTxn; from version 4 on as brokers send it."""
        version = p.kit.add if version is None else version
        topics = [{'Name': topic, 'Partitions': list(partitions)}]
        what = f'AddPartitionsToTxn v{version} {self.who(p)} {topic}-{",".join(map(str, partitions))}'
        if version < 4:
            value = {'V3AndBelowTransactionalId': p.transactional_id, 'V3AndBelowProducerId': p.id,
                     'V3AndBelowProducerEpoch': p.epoch, 'V3AndBelowTopics': topics}
        else:
            what += ' verify' if verify else ''
            value = {'Transactions': [{'TransactionalId': p.transactional_id, 'ProducerId': p.id, 'ProducerEpoch': p.epoch,
                                       'VerifyOnly': verify, 'Topics': topics}]}

        def results(a):
            if version < 4:
                return a['ResultsByTopicV3AndBelow']
            return [t for r in a['ResultsByTransaction'] for t in r['TopicResults']]

        def codes(a):
            return in_order((q['PartitionIndex'], q['PartitionErrorCode']) for t in results(a) for q in t['ResultsByPartition'])
        seen, r = self.ask('AddPartitionsToTxn', version, value, lambda a: (codes(a) or [0])[0])
        top = ERRORS[r.get('ErrorCode', 0)]
        self.tell(what, seen, ('' if top == 'NONE' else top + ' ') + ' '.join(ERRORS[c] for c in codes(r)))

    def add_offsets(self, p, group, version=None):
        version = p.kit.add_offsets if version is None else version
        value = {'TransactionalId': p.transactional_id, 'ProducerId': p.id, 'ProducerEpoch': p.epoch, 'GroupId': group}
        seen, r = self.ask('AddOffsetsToTxn', version, value, lambda a: a['ErrorCode'])
        self.tell(f'AddOffsetsToTxn v{version} {self.who(p)} {group}', seen, ERRORS[r['ErrorCode']])

    def commit_offsets(self, p, group, topic, offsets, version=None, member=None, metadata=None):
        """TxnOffsetCommit; `offsets` is {partition: offset}, `member` (generation, member id, instance id)."""
        version = p.kit.commit if version is None else version
        value = {'TransactionalId': p.transactional_id, 'ProducerId': p.id, 'ProducerEpoch': p.epoch, 'GroupId': group,
                 'Topics': [{'Name': topic, 'Partitions': [
                     {'PartitionIndex': n, 'CommittedOffset': o, 'CommittedMetadata': metadata} for n, o in offsets.items()]}]}
        if member:
            value.update(GenerationId=member[0], MemberId=member[1], GroupInstanceId=member[2])

        def codes(a):
            return in_order((q['PartitionIndex'], q['ErrorCode']) for t in a['Topics'] for q in t['Partitions'])
        seen, r = self.ask('TxnOffsetCommit', version, value, lambda a: codes(a)[0])
        of = f' generation={member[0]} member={member[1] or "none"}' if member else ''
        told = ' '.join(f'{topic}-{n}={o}' for n, o in offsets.items())
        self.tell(f'TxnOffsetCommit v{version} {self.who(p)} {group} {told}{of}', seen, ' '.join(ERRORS[c] for c in codes(r)))

    def topic_id(self, topic):
        answer = self.link().call('Metadata', 12, {'Topics': [{'Name': topic}], 'AllowAutoTopicCreation': False})
        return answer['Topics'][0]['TopicId']

    def produce(self, p, topic, partition=0, count=1, version=None, sequence=None, values=None, transactional=True):
        version = p.kit.produce if version is None else version
        at = p.sequence(topic, partition, count) if sequence is None else sequence
        values = values or [b'v%d' % (at + n) for n in range(count)]
        now = int(time.time() * 1000)
        data = raw.batch([(now, None, v) for v in values], (p.id, p.epoch, at), TRANSACTIONAL if transactional else 0)
        topics = {'PartitionData': [{'Index': partition, 'Records': data}]}
        topics.update({'TopicId': self.topic_id(topic)} if version >= 13 else {'Name': topic})
        value = {'TransactionalId': p.transactional_id if transactional else None, 'Acks': -1, 'TimeoutMs': 30000, 'TopicData': [topics]}

        def part(a):
            return a['Responses'][0]['PartitionResponses'][0]
        seen, r = self.ask('Produce', version, value, lambda a: part(a)['ErrorCode'], ('CONCURRENT_TRANSACTIONS',))
        kind = '' if transactional else ' plain'
        self.tell(f'Produce v{version} {self.who(p)} {topic}-{partition} seq={at} n={count}{kind}', seen,
                  f'{ERRORS[part(r)["ErrorCode"]]} {part(r)["BaseOffset"]}')

    def end(self, p, commit=True, version=None, settle=True):
        version = p.kit.end if version is None else version
        value = {'TransactionalId': p.transactional_id, 'ProducerId': p.id, 'ProducerEpoch': p.epoch, 'Committed': commit}
        seen, r = self.ask('EndTxn', version, value, lambda a: a['ErrorCode'])
        told = ERRORS[r['ErrorCode']] + (f' {self.at(r["ProducerId"], r["ProducerEpoch"])}' if version >= 5 else '')
        self.tell(f'EndTxn v{version} {self.who(p)} {"commit" if commit else "abort"}', seen, told)
        if version >= 5 and r['ErrorCode'] == 0 and r['ProducerId'] >= 0:
            p.become(r['ProducerId'], r['ProducerEpoch'])
        if settle:
            self.settle(p)
        return ERRORS[r['ErrorCode']]

    def settle(self, p):
        """Waits until no transaction of that id is being completed."""
        self.wait_for(p, lambda state: not state.startswith('Prepare'))

    def wait_for(self, p, wanted, patience_s=PATIENCE_S):
        end = time.time() + patience_s
        while True:
            state = self.describe_quietly(p.transactional_id)['TransactionState']
            if wanted(state):
                return state
            if time.time() > end:
                raise TimeoutError(f'{p.transactional_id} is {state} after {patience_s} s')
            time.sleep(0.03)

    def markers(self, version, topic, partitions, producer, epoch, commit, coordinator_epoch, transaction_version=None):
        """WriteTxnMarkers, as a coordinator sends it."""
        marker = {'ProducerId': producer, 'ProducerEpoch': epoch, 'TransactionResult': commit, 'CoordinatorEpoch': coordinator_epoch,
                  'Topics': [{'Name': topic, 'PartitionIndexes': list(partitions)}]}
        if transaction_version is not None:
            marker['TransactionVersion'] = transaction_version
        r = self.link().call('WriteTxnMarkers', version, {'Markers': [marker]})
        codes = [ERRORS[c] for c in in_order((q['PartitionIndex'], q['ErrorCode'])
                                             for m in r['Markers'] for t in m['Topics'] for q in t['Partitions'])]
        of = '' if transaction_version is None else f' tv={transaction_version}'
        self.note(f'WriteTxnMarkers v{version} {topic}-{",".join(map(str, partitions))} {self.at(producer, epoch)} '
                  f'{"commit" if commit else "abort"} coordinator={self.coordinator_epoch(coordinator_epoch)}{of} -> {" ".join(codes)}')

    # ---- what is told about transactions

    def describe_quietly(self, transactional_id):
        _, r = self.ask('DescribeTransactions', 0, {'TransactionalIds': [transactional_id]},
                        lambda a: a['TransactionStates'][0]['ErrorCode'])
        return r['TransactionStates'][0]

    def describe(self, transactional_id):
        s = self.describe_quietly(transactional_id)
        parts = ' '.join(f'{t["Topic"]}-{n}' for t in sorted(s['Topics'], key=lambda t: t['Topic']) for n in sorted(t['Partitions']))
        parts = ' '.join('offsets' if q.startswith(OFFSETS_TOPIC) else q for q in parts.split())
        self.note(f'DescribeTransactions {transactional_id} -> {ERRORS[s["ErrorCode"]]} {s["TransactionState"]} '
                  f'{self.at(s["ProducerId"], s["ProducerEpoch"])} timeout={s["TransactionTimeoutMs"]} '
                  f'start={self.time(s["TransactionStartTimeMs"])} [{parts}]')

    def list(self, told, only, version=2, **filters):
        """ListTransactions; ids that do not begin with `only` are other scripts'."""
        r = self.link().call('ListTransactions', version, filters)
        found = sorted((t['TransactionalId'], self.producer_name(t['ProducerId']), t['TransactionState'])
                       for t in r['TransactionStates'] if t['TransactionalId'].startswith(only))
        self.note(f'ListTransactions v{version} {told} -> {ERRORS[r["ErrorCode"]]} unknown={r["UnknownStateFilters"]} '
                  + ' '.join('/'.join(f) for f in found))

    def active(self, topic, partition=0):
        """DescribeProducers."""
        r = self.link().call('DescribeProducers', 0, {'Topics': [{'Name': topic, 'PartitionIndexes': [partition]}]})
        part = r['Topics'][0]['Partitions'][0]
        told = []
        for a in sorted(part['ActiveProducers'], key=lambda a: a['ProducerId']):
            told.append(f'{self.at(a["ProducerId"], a["ProducerEpoch"])} seq={a["LastSequence"]} time={self.time(a["LastTimestamp"])} '
                        f'coordinator={self.coordinator_epoch(a["CoordinatorEpoch"])} start={a["CurrentTxnStartOffset"]}')
        self.note(f'DescribeProducers {topic}-{partition} -> {ERRORS[part["ErrorCode"]]} ' + '; '.join(told))

    def fetch_offsets(self, group, topic, partitions=(0,), version=8, stable=False):
        if version >= 8:
            topics = [{'Name': topic, 'PartitionIndexes': list(partitions)}] if version < 10 else \
                [{'TopicId': self.topic_id(topic), 'PartitionIndexes': list(partitions)}]
            value = {'Groups': [{'GroupId': group, 'Topics': topics}], 'RequireStable': stable}
        else:
            value = {'GroupId': group, 'Topics': [{'Name': topic, 'PartitionIndexes': list(partitions)}]}
            if version >= 7:
                value['RequireStable'] = stable

        def answered(a):
            return a['Groups'][0] if version >= 8 else a
        _, r = self.ask('OffsetFetch', version, value, lambda a: answered(a).get('ErrorCode', 0))
        told = ' '.join(f'{q["PartitionIndex"]}={q["CommittedOffset"]} {ERRORS[q["ErrorCode"]]}'
                        for t in answered(r)['Topics'] for q in sorted(t['Partitions'], key=lambda q: q['PartitionIndex']))
        self.note(f'OffsetFetch v{version} {group} {topic}{" stable" if stable else ""} -> {ERRORS[answered(r).get("ErrorCode", 0)]} {told}')

    # ---- topics

    def topic(self, name, partitions=1, settings=None):
        client = raw.Client(self.broker)
        client.create_topic(name, partitions, settings)
        end = time.time() + PATIENCE_S
        while time.time() < end:
            answer = self.link().call('Metadata', 8, {'Topics': [{'Name': name}]})
            parts = answer['Topics'][0]['Partitions']
            if len(parts) == partitions and all(q['LeaderId'] >= 0 for q in parts):
                for n in {0, partitions - 1}:
                    client.offset_for(name, n, raw.LATEST)          # until the partition serves
                client.close()
                return name
            time.sleep(0.03)
        raise TimeoutError(f'{name} has no leaders')

    def delete_topic(self, name):
        client = raw.Client(self.broker)
        client.delete_topic(name)
        client.close()

    def partitions_of(self, topic):
        answer = self.link().call('Metadata', 8, {'Topics': [{'Name': topic}]})
        return sorted(q['PartitionIndex'] for q in answer['Topics'][0]['Partitions'])

    def batches(self, topic, partition, committed=False):
        client = raw.Client(self.broker)
        try:
            bounds, aborted, found = client.read(topic, partition, committed)
        finally:
            client.close()
        return bounds, aborted, [Batch(data) for _, _, data in found]

    def wait_until_stable(self, topic, partition=0):
        """Waits until no transaction is open in a partition: Apache may say that one is complete before its marker shows."""
        end = time.time() + 5
        while True:
            _, stable, mark = self.batches(topic, partition)[0]
            if stable == mark:
                return
            if time.time() > end:
                raise TimeoutError(f'{topic}-{partition} is stable to {stable} of {mark} after 5 s')
            time.sleep(0.03)

    def marker(self, batch):
        key, value = batch.records[0]
        version, kind = struct.unpack('>hh', key)
        value_version, epoch = struct.unpack('>hi', value)
        assert (version, value_version, len(batch.records)) == (0, 0, 1)
        return f'{("abort", "commit")[kind]} coordinator={self.coordinator_epoch(epoch)}'

    def data(self, topic, partition=0):
        """Everything in a partition: batches, markers, and where the log and its stable part end."""
        (start, stable, mark), aborted, batches = self.batches(topic, partition)
        self.note(f'{topic}-{partition}: start={start} stable={stable} end={mark}')
        for b in batches:
            if b.control:
                what = self.marker(b)
            else:
                what = ' '.join(v.decode() for _, v in b.records)
            kind = 'txn ' if b.attributes & TRANSACTIONAL else ''
            self.note(f'  {b.base}-{b.last} {self.at(b.producer, b.epoch)} seq={b.sequence} {kind}{what}')
        _, aborted, _ = self.batches(topic, partition, committed=True)
        if aborted:
            self.note('  aborted ' + ' '.join(f'{self.producer_name(producer)} from {first}' for producer, first in aborted))

    def internal(self, topic, ours, partitions=None):
        """The batches of an internal topic of which `ours(keys, batch)` is true."""
        for partition in partitions or self.partitions_of(topic):
            for b in self.batches(topic, partition)[2]:
                decoded = []
                for key, value in ([] if b.control else b.records):
                    kind = struct.unpack('>h', key[:2])[0]
                    key_message, value_message = SCHEMAS[topic][kind]
                    decoded.append((kind, decode(key_message, key, 0)[1], None if value is None else decode(value_message, value)))
                if ours(decoded, b):
                    yield b, decoded

    def state(self, *transactional_ids):
        """The records of __transaction_state for these ids, in the order of each partition."""
        for transactional_id in transactional_ids:
            self.note(f'{STATE_TOPIC} {transactional_id}:')
            for b, records in self.internal(STATE_TOPIC, lambda r, _: any(k['TransactionalId'] == transactional_id for _, k, _ in r)):
                for kind, key, value in records:
                    if key['TransactionalId'] == transactional_id:
                        attributes = '' if not b.attributes and b.producer == -1 else f' attributes={b.attributes} by {b.producer}'
                        self.note(f'  {kind}: {self.state_value(value)}{attributes}')

    def state_value(self, value):
        if value is None:
            return 'removed'
        version, f = value
        told = [f'v{version}', STATES[f['TransactionStatus']], self.at(f['ProducerId'], f['ProducerEpoch']),
                f'timeout={f["TransactionTimeoutMs"]}',
                f'start={self.time(f["TransactionStartTimestampMs"])} updated={self.time(f["TransactionLastUpdateTimestampMs"])}']
        for name, text in (('PreviousProducerId', 'previous'), ('NextProducerId', 'next'), ('NextProducerEpoch', 'next-epoch'),
                           ('ClientTransactionVersion', 'client-tv')):
            if name in f:
                told.append(f'{text}={self.producer_name(f[name]) if name.endswith("Id") else f[name]}')
        parts = f['TransactionPartitions']
        if parts is None:
            told.append('partitions=null')
        else:
            # The order of both lists is that of a hash table.
            names = sorted(f'{p["Topic"]}-{n}' for p in parts for n in p['PartitionIds'])
            told.append('[' + ' '.join('offsets' if n.startswith(OFFSETS_TOPIC) else n for n in names) + ']')
        return ' '.join(told)

    def group(self, group, *producers):
        """The offset commits of a group in __consumer_offsets, and the markers of these producer ids beside them."""
        def ours(records, batch):
            if batch.control:
                return batch.producer in producers
            return any(k.get('group') == group for _, k, _ in records)
        found = list(self.internal(OFFSETS_TOPIC, ours))
        self.note(f'{OFFSETS_TOPIC} {group}:')
        for b, records in found:
            kind = 'txn ' if b.attributes & TRANSACTIONAL else ''
            who = f'{self.at(b.producer, b.epoch)} seq={b.sequence} {kind}'
            if b.control:
                self.note(f'  {who}{self.marker(b)}')
            for number, key, value in records:
                if number not in (0, 1):
                    continue
                told = 'removed'
                if value:
                    version, f = value
                    told = f'v{version} offset={f["offset"]} leader={f["leaderEpoch"]} metadata={f["metadata"]!r}'
                    told += ' with topic id' if 'topicId' in f else ''
                self.note(f'  {who}{key["topic"]}-{key["partition"]}: {told}')
