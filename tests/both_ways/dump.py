"""kafka-dump-log on everything that the brokers left, in one JVM."""
import glob
import os
import re
import tempfile

import compare as tools

METADATA = '__cluster_metadata-0'
# What the tool prints when something does not fit.
MISMATCH = re.compile(r'Mismatches|mismatch|not found|isvalid: false|invalid|Found timestamp|Corrupt|Exception|Error|'
                      r'Failed|uncaught', re.I)

# "-1 is followed by N": the tool takes the beginning of a later segment for a gap.
GAP = re.compile(r'^ *(?!-1 )-?\d+ is followed by \d+', re.M)


def lines_for(stage, directory, killed):
    """(name, words) of the steps for one copy of the directories."""
    for logs in sorted(glob.glob(os.path.join(directory, '*', ''))):
        for folder in sorted(glob.glob(os.path.join(logs, '*-*[0-9]', ''))):
            topic = os.path.basename(folder.rstrip('/'))
            segments = sorted(glob.glob(os.path.join(folder, '*.log')))
            if not segments:
                continue
            decoder = ('--cluster-metadata-decoder' if topic == METADATA else
                       '--transaction-log-decoder' if topic.startswith('__transaction_state') else
                       '--offsets-decoder' if topic.startswith('__consumer_offsets') else '--print-data-log')
            yield f'{topic} batches', f'--deep-iteration {decoder} --files ' + ','.join(segments)
            for kind in ('index', 'timeindex'):
                found = sorted(glob.glob(os.path.join(folder, '*.' + kind)))
                if found and not killed:
                    yield f'{topic} {kind} sanity', '--index-sanity-check --files ' + ','.join(found)
                    yield f'{topic} {kind} entries', '--verify-index-only --files ' + ','.join(found)
            for kind, words in (('txnindex', ''), ('snapshot', '')):
                found = sorted(glob.glob(os.path.join(folder, '*.' + kind)))
                if found:
                    yield f'{topic} {kind}', f'{words}--files ' + ','.join(found)
            found = sorted(glob.glob(os.path.join(folder, '*.checkpoint')))
            if found and topic == METADATA:
                yield f'{topic} snapshots', '--cluster-metadata-decoder --files ' + ','.join(found)


def check(kept):
    """(name, breaches) for each copy. `kept` is {stage: directory}."""
    steps = []
    for stage, directory in kept.items():
        for name, words in lines_for(stage, directory, 'kill' in stage or not marked(directory)):
            steps.append((stage, name, words))
    with tempfile.NamedTemporaryFile('w', suffix='.txt', delete=False) as f:
        f.writelines(f'{n}: kafka-dump-log {words}\n' for n, (_, _, words) in enumerate(steps))
    printed = tools.Driver().tools(f.name)
    os.unlink(f.name)
    for stage, directory in kept.items():
        breaches, count = [], 0
        for n, (at, name, _) in enumerate(steps):
            if at != stage:
                continue
            text, count = printed.get(str(n), 'status missing'), count + 1
            if not text.startswith('status 0'):
                breaches.append(f'{name}: {text[:300]}')
            breaches += [f'{name}: {line[:200]}' for line in text.splitlines()[1:]
                         if 'payload' not in line and MISMATCH.search(line)]
            if not name.startswith('compacted'):
                breaches += [f'{name}: {line}' for line in GAP.findall(text)]
        yield f'{stage}: no mismatch ({count} calls)', breaches + broker_epoch(printed, steps, stage, directory)


def marked(directory):
    return bool(glob.glob(os.path.join(directory, '*', '.kafka_cleanshutdown')))


def broker_epoch(printed, steps, stage, directory):
    """The clean marker holds the epoch of the last registration."""
    epochs = {open(m, encoding='utf-8').read() for m in glob.glob(os.path.join(directory, '*', '.kafka_cleanshutdown'))}
    texts = [printed.get(str(n), '') for n, (at, name, _) in enumerate(steps) if at == stage and name == f'{METADATA} batches']
    registered = re.findall(r'"REGISTER_BROKER_RECORD".*?"brokerEpoch":(\d+)', texts[0]) if texts else []
    if epochs and registered and epochs != {f'{{"version":0,"brokerEpoch":{registered[-1]}}}'}:
        return [f'clean markers {epochs}, the last registration has epoch {registered[-1]}']
    return []
