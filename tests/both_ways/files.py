"""The files of log directories, and how those of two brokers that did the same work differ."""
import os
import re

# Lines of these have no order, and each broker has its own of the metadata log.
CHECKPOINTS = ('recovery-point-offset-checkpoint', 'log-start-offset-checkpoint', 'replication-offset-checkpoint',
               'cleaner-offset-checkpoint')
# What tells of a moment, not of the data.
MOMENT = ('.kafka_cleanshutdown', 'meta.properties', 'bootstrap.checkpoint')
METADATA = '__cluster_metadata-0'
# Apache removes its lock file when it stops, and what it is to delete a minute later than we do.
APART = re.compile(r'/\.lock$|-delete/')


def read(directories):
    """{path below the directory's number: (mode, content)}."""
    found = {}
    for number, directory in enumerate(directories):
        for where, _, names in os.walk(directory):
            for name in names:
                path = os.path.join(where, name)
                with open(path, 'rb') as f:
                    content = f.read()
                found[f'{number}/{os.path.relpath(path, directory)}'] = (os.stat(path).st_mode & 0o777, content)
    return found


def checkpoint(content):
    """The lines of a checkpoint in order; the broken rule if it breaks one."""
    lines = content.decode().split('\n')
    if lines[0] != '0' or lines[-1] != '' or int(lines[1]) != len(lines) - 3:
        return [f'malformed: {lines}']
    return sorted(lines[2:-1])


def below_start(found, path):
    """A producer snapshot at or below a log start offset: Apache drops it, we may use it."""
    number, folder, name = (path + '//').split('/')[:3]
    topic, _, partition = folder.rpartition('-')
    starts = dict(line.rsplit(' ', 1) for line in checkpoint(found[f'{number}/log-start-offset-checkpoint'][1]))
    return name.endswith('.snapshot') and int(name[:20]) <= int(starts.get(f'{topic} {partition}', -1))


def differences(theirs, ours):
    found = []
    for path in sorted({*theirs, *ours}):
        name = os.path.basename(path)
        if METADATA in path or APART.search(path):
            continue
        if path not in theirs and below_start(ours, path):
            continue
        if path not in theirs or path not in ours:
            found.append(f'{path}: only {"Odradek" if path in ours else "Apache"} has it '
                         f'({len((ours.get(path) or theirs.get(path))[1])} bytes)')
            continue
        (mode, a), (our_mode, b) = theirs[path], ours[path]
        if mode != our_mode:
            found.append(f'{path}: mode {mode:o} at Apache, {our_mode:o} here')
        if name in CHECKPOINTS:
            a, b = checkpoint(a), checkpoint(b)
            if a != b:
                found.append(f'{path}: {sorted(set(a) - set(b))} / {sorted(set(b) - set(a))}')
        elif name in MOMENT:
            form = [re.sub(rb'brokerEpoch":\d+', b'brokerEpoch":N', c) for c in (a, b)]
            if name == '.kafka_cleanshutdown' and form[0] != form[1]:
                found.append(f'{path}: {a} / {b}')
        elif a != b:
            at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
            found.append(f'{path}: {len(a)} bytes at Apache, {len(b)} here, apart from byte {at}: '
                         f'{a[at:at + 24].hex()} / {b[at:at + 24].hex()}')
    return found
