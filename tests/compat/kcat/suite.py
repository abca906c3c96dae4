"""kcat, the command line client on librdkafka, against the broker under test."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))

from harness import BROKER, CODECS, case, equal, eventually, large_value, main, topic_name, true


def kcat(*args, stdin=b''):
    done = subprocess.run(['kcat', '-b', BROKER, '-q', *args], input=stdin, capture_output=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f'kcat {" ".join(args)} ended with {done.returncode}: {done.stderr.decode()[-300:]}')
    return done.stdout


def consume(topic, *args):
    return kcat('-C', '-t', topic, '-p', '0', '-o', 'beginning', '-e', *args)


def make(topic):
    """kcat cannot create a topic; asking for one does, where the broker creates topics by itself."""
    def exists():
        found = json.loads(kcat('-L', '-J', '-t', topic))['topics'][0]
        return 'error' not in found and len(found['partitions']) > 0
    eventually(exists, f'topic {topic}')
    return topic


@case
def metadata():
    topic = make(topic_name('kcat-meta'))
    shown = json.loads(kcat('-L', '-J'))
    equal(shown['brokers'], [{'id': 1, 'name': BROKER}], 'brokers')
    equal(shown['controllerid'], 1, 'controller')
    partitions = [t for t in shown['topics'] if t['topic'] == topic][0]['partitions']
    equal(partitions, [{'partition': 0, 'leader': 1, 'replicas': [{'id': 1}], 'isrs': [{'id': 1}]}], 'partitions')
    equal(kcat('-Q', '-t', f'{topic}:0:-1').decode().strip(), f'{topic} [0] offset 0', 'offset query')


@case
def produce_and_consume():
    topic = make(topic_name('kcat-basic'))
    kcat('-P', '-t', topic, '-K', ':', '-X', 'acks=all', stdin=b''.join(b'k%d:v%d\n' % (i, i) for i in range(1000)))
    shown = consume(topic, '-f', '%o %k %s\n').decode().splitlines()
    equal(shown, [f'{i} k{i} v{i}' for i in range(1000)], 'records')
    equal(kcat('-C', '-t', topic, '-p', '0', '-o', '-3', '-e', '-f', '%o ').decode(), '997 998 999 ', 'from the end')


@case
def codecs():
    for codec in CODECS:
        topic = make(topic_name('kcat-codec'))
        lines = [b'%d' % i + b'x' * 200 for i in range(300)]
        kcat('-P', '-t', topic, '-z', codec, stdin=b'\n'.join(lines))
        equal(consume(topic).splitlines(), lines, codec)


@case
def headers_and_nulls():
    topic = make(topic_name('kcat-headers'))
    kcat('-P', '-t', topic, '-K', ':', '-Z', '-H', 'a=1', '-H', 'a=2', '-H', 'b=', stdin=b'k:\n:v\n')
    shown = consume(topic, '-f', '%h %K %k %S %s\n').decode().splitlines()
    equal(shown, ['a=1,a=2,b= 1 k -1 ', 'a=1,a=2,b= -1  1 v'], 'records')


@case
def one_large_record():
    topic = make(topic_name('kcat-large'))
    size = 900 * 1000
    value = large_value(size).replace(b'\n', b' ')
    kcat('-P', '-t', topic, '-D', '\x01\x02no', stdin=value)
    true(consume(topic, '-f', '%s') == value, 'the value came back changed')


@case
def timestamps():
    topic = make(topic_name('kcat-time'))
    kcat('-P', '-t', topic, stdin=b'a\nb\n')
    shown = [int(t) for t in consume(topic, '-f', '%T\n').split()]
    equal(kcat('-Q', '-t', f'{topic}:0:{shown[0]}').decode().strip(), f'{topic} [0] offset 0', 'offset for a time')
    equal(kcat('-C', '-t', topic, '-p', '0', '-o', f's@{shown[1] + 1}', '-e').decode(), '', 'from a time after all')


@case
def idempotence():
    topic = make(topic_name('kcat-idem'))
    kcat('-P', '-t', topic, '-X', 'enable.idempotence=true', stdin=b'a\nb\nc\n')
    equal(consume(topic), b'a\nb\nc\n', 'records')


if __name__ == '__main__':
    main()
