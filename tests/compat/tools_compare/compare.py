#!/usr/bin/env python3
"""Apache Kafka's command line tools, and raw requests of every version, against both brokers, and what differs.

    compare.py [--port N] [--keep DIR] [--only odradek|apache]

Runs steps.txt and requests.txt against Apache Kafka and against Odradek, then kafka-dump-log on the files that each left behind, makes
what changes from run to run alike (ids, times, paths), and compares step by step. Every line that differs must be named
in expected.txt with its reason. The last line is `N passed, N failed`: one for each step.
"""
import argparse
import difflib
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', '..', 'tools'))

import broker as brokers

# What must not be compared: (steps, pattern, replacement).
ALIKE = (
    (r'.*', r'^\s+at .*\n|^\s*\.\.\. \d+ more\n|^Caused by: .*\n', ''),
    (r'topics-describe.*', r'TopicId: \S+', 'TopicId: ID'),
    (r'features', r'Epoch: \d+', 'Epoch: N'),
    (r'quorum-.*', r'[\w-]{22}(?=\s|"|$)', 'ID'),
    (r'quorum-.*', r'"?directoryId"?: ?"?[\w-]{22}"?', 'directoryId: ID'),
    (r'quorum-.*', r'\b\d{13}\b', 'TIME'),
    (r'quorum-.*', r'(HighWatermark: +|LeaderEpoch: +|ID\s+)\d+', r'\1N'),
    (r'perf-.*', r'records sent, .*', 'records sent, ...'),
    (r'offsets-max-timestamp', r'\d{13}', 'TIME'),
    (r'log-dirs-all', r'"size": \d+', '"size": N'),
    (r'log-dirs.*', r'"(total|usable)Bytes": \d+', r'"\1Bytes": N'),
    (r'wire-.*', r'"(errorMessage|documentation)": ".*"', r'"\1": "TEXT"'),
    (r'wire-.*', r'"(topicId|replicaDirectoryId|voterDirectoryId)": "[^"]*"', r'"\1": "ID"'),
    (r'wire-.*', r'"(producerId|finalizedFeaturesEpoch|highWatermark|logEndOffset|leaderEpoch|totalBytes|usableBytes|'
                 r'lastFetchTimestamp|lastCaughtUpTimestamp|lastTimestamp|sessionId)": -?[1-9]\d*', r'"\1": N'),
    (r'wire-.*', r'"(memberId|leader)": "(wire|one)-[0-9a-f-]{36}"', r'"\1": "\2-ID"'),
    (r'dump-.*', r'(CreateTime|LogAppendTime|maxTimestamp|timestamp): ?-?\d+', r'\1: TIME'),
    (r'dump-.*', r'"(incarnationId|topicId|id|directoryId|voterDirectoryId|clusterId)":"[^"]*"', r'"\1":"ID"'),
    (r'dump-.*', r'"(directories|logDirs)":\[[^\]]*\]', r'"\1":["ID"]'),
    (r'dump-.*', r'"(brokerEpoch|lastContainedLogTimestamp)":-?\d+', r'"\1":N'),
)
# Steps whose lines have no order: the tools print what they find in hash order.
UNORDERED = re.compile(r'topics-describe.*|configs-topics-every|offsets-all|election-all')
# Arrays in answers whose order means nothing and follows a hash map at Apache Kafka.
HASHED = ('supportedFeatures', 'finalizedFeatures', 'configs', 'configResources', 'results', 'responses', 'apiKeys', 'partitions',
          'topics', 'groups')


class Driver:
    """ToolDriver and WireDriver, compiled on first use."""

    def __init__(self):
        self.kafka = brokers.kafka_dir()
        self.classes = os.path.join(brokers.BUILD, 'tool-driver')
        for name in ('ToolDriver', 'WireDriver'):
            source, target = os.path.join(HERE, name + '.java'), os.path.join(self.classes, name + '.class')
            if not os.path.exists(target) or os.path.getmtime(source) > os.path.getmtime(target):
                subprocess.run(['javac', '-cp', f'{self.kafka}/libs/*', '-d', self.classes, source], check=True)

    def tools(self, steps, **values):
        return self._run('ToolDriver', steps, *(f'{k}={v}' for k, v in values.items()))

    def wire(self, requests, host, port):
        return self._run('WireDriver', requests, host, str(port))

    def _run(self, *words):
        """{step: output}; the first line of an output is the status."""
        command = ['java', '-Xmx256m', '-XX:TieredStopAtLevel=1', f'-Dlog4j2.configurationFile={self.kafka}/log4j2.properties',
                   '-Dtest.loglevel=OFF', '-cp', f'{self.classes}:{self.kafka}/libs/*', *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        if done.returncode:
            raise RuntimeError(f'the tool driver ended with {done.returncode}: {done.stderr[-2000:]}')
        found = {}
        for part in re.split(r'(?m)^### ', done.stdout)[1:]:
            head, _, body = part.partition('\n')
            name, _, status = head.rpartition(': ')
            found[name] = f'status {status}\n{body}'
        return found


def dump_steps(logs):
    """kafka-dump-log on what a broker left: the metadata log, its snapshots, and the segments of the topics."""
    lines, metadata = [], os.path.join(logs, '__cluster_metadata-0')
    decode = 'kafka-dump-log --cluster-metadata-decoder --skip-record-metadata --files'
    lines.append(f'dump-metadata-log: {decode} {metadata}/{"0" * 20}.log')
    lines.append(f'dump-metadata-bootstrap: {decode} {metadata}/{"0" * 20}-{"0" * 10}.checkpoint')
    for topic in ('plain-0', 'tuned-0', 'first-0'):
        segments = sorted(glob.glob(os.path.join(logs, topic, '*.log')))
        lines.append(f'dump-{topic}: kafka-dump-log --deep-iteration --print-data-log --files {",".join(segments)}')
        for kind in ('index', 'timeindex'):
            files = ','.join(sorted(glob.glob(os.path.join(logs, topic, '*.' + kind))))
            lines.append(f'dump-{topic}-{kind}: kafka-dump-log --index-sanity-check --files {files}')
    return '\n'.join(lines) + '\n'


def metadata_records(text):
    """One line for each record of a metadata log up to the controlled shutdown.

    Left out: no-ops, changes of leader, and the topic of the group offsets, which only a broker with groups makes.
    """
    lines, hidden = [], None
    for line in text.splitlines():
        if 'payload:' in line:
            record = json.loads(line.split('payload:', 1)[1])
            data = record['data']
            if data.get('inControlledShutdown'):
                break
            if data.get('name') == '__consumer_offsets':
                hidden = data['topicId']
            if 'features' in data:
                data['features'].sort(key=lambda f: f['name'])
            of_offsets = hidden and data.get('topicId') == hidden or data.get('resourceName') == '__consumer_offsets'
            if record['type'] != 'NO_OP_RECORD' and not of_offsets:
                lines.append(json.dumps(record, separators=(',', ':')))
        elif not re.match(r'baseOffset:|Snapshot end offset|Log starting|\| .*(LeaderChange|SnapshotHeader|SnapshotFooter)', line):
            lines.append(line)
    return '\n'.join(lines) + '\n'


def segment_records(text):
    """The records of a segment, without the batches that held them, and without those of the load tools."""
    kept = [re.sub(r' keySize.*?headerKeys', ' headerKeys', re.sub(r'(sequence|CreateTime): -?\d+', r'\1: N', line))
            for line in text.splitlines() if not re.search(r'^baseOffset:|payload: [A-Z]{100,}$', line)]
    return '\n'.join(kept) + '\n'


def wire_answer(text):
    """The JSON of an answer with the arrays that have no order sorted."""
    head, brace, rest = text.partition('{')
    if not brace:
        return text
    node, end = json.JSONDecoder().raw_decode(brace + rest)

    def walk(value, name):
        if isinstance(value, dict):
            return {k: walk(v, k) for k, v in value.items()}
        if isinstance(value, list):
            value = [walk(v, name) for v in value]
            return sorted(value, key=json.dumps) if name in HASHED else value
        return value

    return head + json.dumps(walk(node, ''), indent=1, ensure_ascii=False) + '\n' + (brace + rest)[end:]


def alike(step, text, directory):
    text = text.replace(directory, 'DIR')
    if step.startswith(('wire-', 'log-dirs')):
        text = wire_answer(text)
    if step.startswith('dump-metadata'):
        text = metadata_records(text)
    elif step.startswith('dump-') and not step.endswith('index'):
        text = segment_records(text)
    for steps, pattern, replacement in ALIKE:
        if re.fullmatch(steps, step):
            text = re.sub(pattern, replacement, text, flags=re.M)
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return sorted(lines) if UNORDERED.fullmatch(step) else lines


def ask(kind, port, driver):
    """{step: lines} for one broker."""
    work = tempfile.mkdtemp(prefix='odradek-test-tools-')
    for name in os.listdir(os.path.join(HERE, 'files')):
        shutil.copy(os.path.join(HERE, 'files', name), work)
    broker = brokers.Broker(kind, port).start()
    try:
        found = driver.tools(os.path.join(HERE, 'steps.txt'), B=broker.address, C=f'{broker.host}:{port + 1}', WORK=work)
        found.update(driver.wire(os.path.join(HERE, 'requests.txt'), broker.host, port))
        died = not broker.alive()
        broker.stop()
        if died:
            found['broker'] = 'status died\n' + broker.log_tail()
        offline = os.path.join(work, 'dump-steps.txt')
        with open(offline, 'w', encoding='utf-8') as f:
            f.write(dump_steps(broker.logs))
        found.update(driver.tools(offline))
        return {step: alike(step, text, broker.directory) for step, text in found.items()}
    finally:
        broker.kill()
        broker.remove()
        shutil.rmtree(work, ignore_errors=True)


class Expected:
    """expected.txt: a reason in comment lines, then `STEPS SIGN PATTERN` lines that it explains.

    STEPS and PATTERN are regular expressions for the whole name and the whole line; SIGN is - for a line that only
    Apache Kafka prints and + for one that only Odradek prints.
    """

    def __init__(self, path):
        self.entries = []
        with open(path, encoding='utf-8') as f:
            for number, line in enumerate(f, 1):
                line = line.rstrip('\n')
                if line.strip() and not line.startswith('#'):
                    steps, sign, pattern = line.split(' ', 2)
                    self.entries.append([re.compile(steps), sign, re.compile(pattern), number, False])

    def explains(self, step, sign, line):
        for entry in self.entries:
            if entry[0].fullmatch(step) and entry[1] == sign and entry[2].fullmatch(line):
                entry[4] = True
                return True
        return False

    def unused(self):
        return [entry[3] for entry in self.entries if not entry[4]]


def differences(step, theirs, ours, expected):
    """The lines that differ and are not explained, and how many are."""
    found, explained = [], 0
    for kind, a, b, c, d in difflib.SequenceMatcher(None, theirs, ours, autojunk=False).get_opcodes():
        if kind == 'equal':
            continue
        for sign, lines in (('-', theirs[a:b]), ('+', ours[c:d])):
            for line in lines:
                if expected.explains(step, sign, line):
                    explained += 1
                else:
                    found.append(sign + line)
    return found, explained


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--port', type=int, default=21300)
    parser.add_argument('--keep', metavar='DIR', help='write what each broker gave to DIR/apache.json and odradek.json')
    parser.add_argument('--only', choices=(*brokers.KINDS, 'none'),
                        help='ask one broker, or none; the others are read from --keep')
    args = parser.parse_args()
    expected = Expected(os.path.join(HERE, 'expected.txt'))
    driver, answers = Driver(), {}
    for kind in ('apache', 'odradek'):
        saved = os.path.join(args.keep, kind + '.json') if args.keep else None
        if args.only in (None, kind):
            answers[kind] = ask(kind, args.port, driver)
            if saved:
                os.makedirs(args.keep, exist_ok=True)
                with open(saved, 'w', encoding='utf-8') as f:
                    json.dump(answers[kind], f, indent=1)
        elif saved and os.path.exists(saved):
            with open(saved, encoding='utf-8') as f:
                answers[kind] = json.load(f)
        else:
            answers[kind] = {}
    passed = failed = explained = 0
    for step in dict.fromkeys([*answers['apache'], *answers['odradek']]):
        lines, known = differences(step, answers['apache'].get(step, []), answers['odradek'].get(step, []), expected)
        explained += known
        passed, failed = passed + (not lines), failed + bool(lines)
        if lines:
            print(f'FAIL {step}: - Apache Kafka, + Odradek')
            print('\n'.join('     ' + line[:400] for line in lines[:40]))
    print(f'{explained} lines differ as expected.txt says; its lines that explained nothing: {expected.unused() or "none"}')
    print(f'{passed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
