#!/usr/bin/env python3
"""The same as Recorder.java with librdkafka: workers that write down what they asked for and what came of it.

Arguments are name=value, those of Recorder.java. All workers have transactions and assign their partitions themselves.
"""
import json
import random
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

PARTITIONS, WINDOW = 2, 3
settings = dict(word.split('=', 1) for word in sys.argv[1:])
lock = threading.Lock()
out = open(settings['out'], 'a', encoding='utf-8')
began, seconds = int(settings['began']), float(settings['seconds'])


def line(process, kind, f, value, **more):
    with lock:
        out.write(json.dumps({'process': process, 'time': time.monotonic_ns(), 'type': kind, 'f': f, 'value': value, **more}) + '\n')
        out.flush()


def elapsed():
    return (time.monotonic_ns() - began) / 1e9


def partition(key):
    topic, _, number = key.rpartition('-')
    return TopicPartition(topic, int(number))


def window():
    newest = int(elapsed() / float(settings['period']))
    return [f't{t}-{p}' for t in range(max(0, newest - WINDOW + 1), newest + 1) for p in range(PARTITIONS)]


class Worker(threading.Thread):
    def __init__(self, number):
        super().__init__()
        self.number, self.generation, self.written, self.wanted = number, 0, 0, []
        self.random = random.Random(f'{settings["seed"]} {number} {settings["incarnation"]}')

    def open(self):
        self.process = f'r{self.number}.{settings["incarnation"]}.{self.generation}'
        self.generation, self.wanted = self.generation + 1, []
        common = {'bootstrap.servers': settings['bootstrap'], 'client.id': self.process, 'log_level': 0, 'reconnect.backoff.ms': 20,
                  'reconnect.backoff.max.ms': 200, 'socket.timeout.ms': 5000}
        transactional_id = f'txn-r{self.number}' + ('' if self.random.random() < 0.5 else f'-{self.process}')
        # socket.timeout.ms must not pass the transaction's timeout.
        self.producer = Producer({**common, 'transactional.id': transactional_id, 'transaction.timeout.ms': 6000,
                                  'message.timeout.ms': 6000, 'linger.ms': 0})
        self.consumer = Consumer({**common, 'group.id': f'own-r{self.number}', 'isolation.level': 'read_committed',
                                  'auto.offset.reset': 'earliest', 'enable.auto.commit': False, 'session.timeout.ms': 6000,
                                  'topic.metadata.refresh.interval.ms': 1000, 'allow.auto.create.topics': True})
        self.producer.init_transactions(8)

    def choose(self):
        keep = self.wanted if self.random.randrange(3) == 0 else []
        wanted = sorted({*window(), *keep})
        line(self.process, 'invoke', 'assign', wanted)
        # What stays assigned keeps its position.
        self.consumer.incremental_unassign([partition(k) for k in self.wanted if k not in wanted])
        self.consumer.incremental_assign([partition(k) for k in wanted if k not in self.wanted])
        self.wanted = wanted
        line(self.process, 'ok', 'assign', wanted)

    def poll(self, first, after):
        found = {}
        for message in self.consumer.consume(200, 0.1):
            if message.error():
                continue
            key = f'{message.topic()}-{message.partition()}'
            found.setdefault(key, []).append([message.offset(), message.value().decode()])
            first.setdefault(key, message.offset())
            after[key] = message.offset() + 1
        return ['poll', found]

    def send(self, key, value):
        """The step as it was answered; raises what the delivery report says."""
        answer = []
        where = partition(key)
        self.producer.produce(where.topic, value.encode(), partition=where.partition, on_delivery=lambda e, m: answer.append((e, m)))
        end = time.time() + 10
        while not answer and time.time() < end:
            self.producer.poll(0.02)
        if not answer:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, 'no delivery report in 10 s'))
        if answer[0][0]:
            raise KafkaException(answer[0][0])
        return ['send', key, [answer[0][1].offset(), value]]

    def operate(self):
        """One transaction; whether the clients can go on."""
        asked, keys = [], window()
        for _ in range(self.random.randint(1, 4)):
            if self.random.random() < 0.5:
                asked.append(['send', self.random.choice(keys), f'{self.number}.{settings["incarnation"]}.{self.written}'])
                self.written += 1
            else:
                asked.append(['poll'])
        line(self.process, 'invoke', 'txn', asked)
        first, after, done, kind, error, alive, committing = {}, {}, [], 'ok', {}, True, False
        try:
            self.producer.begin_transaction()
            for step in asked:
                done.append(step)
                done[-1] = self.poll(first, after) if step[0] == 'poll' else self.send(*step[1:])
            if after:
                offsets = [TopicPartition(partition(k).topic, partition(k).partition, o) for k, o in after.items()]
                self.producer.send_offsets_to_transaction(offsets, self.consumer.consumer_group_metadata(), 8)
            if self.random.random() < 0.1:
                raise RuntimeError('on purpose')
            committing = True
            self.producer.commit_transaction(8)
        except (KafkaException, RuntimeError, BufferError) as problem:
            kind = 'info' if committing else 'fail'
            what = problem.args[0]
            told = f'{what.name()}: {what.str()}' if isinstance(what, KafkaError) else str(what)
            error = {'error': told.replace(':', ' at commit:' if committing else ':', 1)}
            try:
                self.producer.abort_transaction(8)
                kind = 'fail'
            except KafkaException:
                alive = False
            try:
                for key, offset in first.items():
                    self.consumer.seek(TopicPartition(partition(key).topic, partition(key).partition, offset))
            except KafkaException:
                alive = False
            # One who may not abort what it wanted to commit does not know; every other end is a failure.
            alive = alive and kind != 'info'
        line(self.process, kind, 'txn', done, **error)
        return alive

    def run(self):
        while elapsed() < seconds:
            try:
                self.open()
                dies = elapsed() + float(settings['crash']) * (0.5 + self.random.random())
                self.choose()
                while elapsed() < seconds:
                    if self.random.randrange(64) == 0 or not set(window()) <= set(self.wanted):
                        self.choose()
                    if not self.operate():
                        break
                    if elapsed() > dies:
                        line(self.process, 'invoke', 'crash', None)
                        line(self.process, 'info', 'crash', None)
                        break
                    time.sleep(self.random.random() * 0.02)
            except KafkaException:
                time.sleep(0.05)            # no broker, while clients were being opened
            # Dropped without a word; what librdkafka still holds goes with it.
            self.producer = self.consumer = None


def main():
    workers = [Worker(int(settings['first']) + n) for n in range(len(settings['modes'].split(',')))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == '__main__':
    main()
