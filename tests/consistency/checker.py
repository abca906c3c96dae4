"""Looks for what must never happen in a history of operations: lost, doubled, torn, aborted and reordered records.

`check(lines)` takes the history as README.md describes it and returns {anomaly: [what was found]}; `FORBIDDEN` says which of them are
wrong for whom. The order of the analysis: operations, version orders, then everything that needs these.
"""
import collections

# Anomalies that are always wrong. Others are wrong for consumers that assign; rebalances excuse those that subscribe.
ALWAYS = ('inconsistent-offsets', 'duplicate', 'G1a', 'precommitted-read', 'lost-write', 'unseen', 'int-poll-skip',
          'int-nonmonotonic-poll', 'int-nonmonotonic-send', 'nonmonotonic-send', 'delivered-twice', 'passed-over', 'G1c', 'G1c-process', 'G1c-realtime')
ASSIGNED = ('poll-skip', 'nonmonotonic-poll')
FORBIDDEN = ALWAYS + ASSIGNED

Read = collections.namedtuple('Read', 'key offset value')


class Op:
    """One operation: from its invocation to its completion, or to the end of the history."""

    def __init__(self, number, asked, answer):
        self.number, self.process, self.f, self.start = number, asked['process'], asked['f'], asked['time']
        self.type = answer['type'] if answer else 'info'
        self.end = answer['time'] if answer else float('inf')
        self.error = (answer or {}).get('error')
        self.value = answer['value'] if answer else asked['value']
        self.moved = {key for _, keys in (answer or {}).get('rebalances', ()) for key in keys}
        self.sends, self.polls = [], []
        if self.f in ('send', 'txn', 'poll'):
            for step in self.value:
                if step[0] == 'send':
                    offset, value = step[2] if isinstance(step[2], list) else (None, step[2])
                    self.sends.append((step[1], value, offset, isinstance(step[2], list)))
                elif len(step) > 1:
                    self.polls.append([Read(key, o, v) for key, pairs in step[1].items() for o, v in pairs])
        self.happened = self.type == 'ok'

    @property
    def reads(self):
        return [read for poll in self.polls for read in poll]

    def __str__(self):
        return f'{self.f} of {self.process} (line {self.number}, {self.type}{": " + self.error if self.error else ""})'


def pair(lines):
    """The operations, in the order of their invocations."""
    open_, ops = {}, []
    for number, line in enumerate(lines, 1):
        process = line['process']
        if line['type'] == 'invoke':
            assert process not in open_, f'line {number}: {process} has an operation already'
            open_[process] = (len(ops), number, line)
            ops.append(None)
        else:
            at, asked_at, asked = open_.pop(process)
            assert asked['f'] == line['f'], f'line {number}: completes another operation'
            ops[at] = Op(asked_at, asked, line)
    for at, number, asked in open_.values():
        ops[at] = Op(number, asked, None)
    return ops


class History:
    def __init__(self, lines):
        self.ops = pair(lines)
        self.found = collections.defaultdict(list)
        self.readers = collections.defaultdict(list)            # (key, value) -> operations that read it
        for op in self.ops:
            for read in op.reads:
                self.readers[read.key, read.value].append(op)
        self._writers()
        self._versions()

    def add(self, name, what):
        self.found[name].append(what)

    # ---- who wrote what, and did it happen?

    def _writers(self):
        """`writer`: (key, value) -> operation; `fate`: (key, value) -> ok, fail or info, by what was answered and read."""
        self.writer, self.fate = {}, {}
        for op in self.ops:
            if op.f == 'txn' and op.type == 'info':
                op.happened = any(self.readers[k, v] for k, v, _, _ in op.sends)
            for key, value, _, acked in op.sends:
                assert (key, value) not in self.writer, f'{value} is sent to {key} twice'
                self.writer[key, value] = op
                if op.f == 'txn':
                    fate = 'ok' if op.happened else op.type
                elif acked or op.type == 'ok' or (op.type == 'info' and self.readers[key, value]):
                    fate = 'ok'                 # outside a transaction every record stands for itself
                else:
                    fate = op.type
                self.fate[key, value] = fate

    # ---- version orders

    def _versions(self):
        """`index`: key -> {value: its first place among the values that are in the log}."""
        at = collections.defaultdict(lambda: collections.defaultdict(set))          # key -> offset -> values
        claims = collections.defaultdict(lambda: collections.defaultdict(set))      # the same with those of aborted transactions
        for op in self.ops:
            for key, offset, value in op.reads:
                at[key][offset].add(value)
                claims[key][offset].add(value)
            for key, value, offset, acked in op.sends:
                if acked and offset is not None:
                    claims[key][offset].add(value)
                    if self.fate[key, value] == 'ok':
                        at[key][offset].add(value)
        for key, offsets in claims.items():
            for offset, values in sorted(offsets.items()):
                if len(values) > 1:
                    self.add('inconsistent-offsets', f'{key} at {offset}: {", ".join(sorted(values))}')
        self.index, self.values = {}, {}
        for key, offsets in at.items():
            places, order = collections.defaultdict(list), []
            for offset in sorted(offsets):
                for value in offsets[offset]:
                    places[value].append((len(order), offset))
                order.append(offsets[offset])
            self.index[key] = {value: where[0][0] for value, where in places.items()}
            self.values[key] = order
            for value, where in places.items():
                if len(where) > 1:
                    self.add('duplicate', f'{value} of {key} at {", ".join(str(offset) for _, offset in where)}')

    # ---- anomalies of reads and writes

    def aborted_and_early_reads(self):
        # Whatever became of an operation: a consumer is only given what is committed.
        for op in self.ops:
            own = {(key, value) for key, value, _, _ in op.sends}
            for key, offset, value in op.reads:
                if self.fate.get((key, value)) == 'fail':
                    self.add('G1a', f'{op} read {value} of {key} at {offset}, written by {self.writer[key, value]}')
                if op.f == 'txn' and (key, value) in own:
                    self.add('precommitted-read', f'{op} read its own {value} of {key} at {offset}')

    def lost_and_unseen(self, final):
        for key, index in self.index.items():
            seen = [index[v] for v in index if self.readers[key, v]]
            bound = max(seen, default=-1)
            for value, at in sorted(index.items(), key=lambda i: i[1]):
                if at <= bound and self.fate.get((key, value)) == 'ok' and not self.readers[key, value]:
                    self.add('lost-write', f'{value} of {key}, written by {self.writer[key, value]}; later ones were read')
        # An acknowledged value without an offset (acks=0) has no place until it is read, and shows only here.
        if final:
            for (key, value), fate in self.fate.items():
                if fate == 'ok' and not self.readers[key, value]:
                    self.add('unseen', f'{value} of {key}, written by {self.writer[key, value]}')

    # ---- orders within and between operations

    def within_operations(self):
        for op in self.ops:
            last = {}
            for key, _, value in op.reads:
                at = self.index[key][value]
                if key in last and key not in op.moved:
                    if at <= last[key]:
                        self.add('int-nonmonotonic-poll', f'{op}: {key} {value} after what comes later or is the same')
                    elif at > last[key] + 1:
                        self.add('int-poll-skip', f'{op}: {key} from {last[key]} to {at}')
                last[key] = at
            self._sends_in_order(op, {}, 'int-nonmonotonic-send')

    def _sends_in_order(self, op, last, name):
        """`last`: key -> the place of the last value sent; of those that are in the log."""
        for key, value, _, _ in op.sends:
            at = self.index.get(key, {}).get(value)
            if at is None or self.fate[key, value] != 'ok':
                continue
            if at < last.get(key, -1):
                self.add(name, f'{op}: {value} of {key} lies before what was sent earlier')
            last[key] = at

    def between_operations(self):
        reads, sends, subscribed = collections.defaultdict(dict), collections.defaultdict(dict), set()
        for op in self.ops:
            if op.f in ('subscribe', 'assign') and op.type == 'ok':
                if op.f == 'subscribe':
                    subscribed.add(op.process)
                reads[op.process] = {k: v for k, v in reads[op.process].items() if k in op.value}
            if op.type != 'ok':
                continue
            last = reads[op.process]
            for key in {r.key for r in op.reads}:
                places = [self.index[key][r.value] for r in op.reads if r.key == key]
                if key in last and key not in op.moved and op.process not in subscribed:
                    if places[0] <= last[key]:
                        self.add('nonmonotonic-poll', f'{op}: {key} back from {last[key]} to {places[0]}')
                    elif places[0] > last[key] + 1:
                        self.add('poll-skip', f'{op}: {key} from {last[key]} to {places[0]}')
                last[key] = places[-1]
            mine = sends[op.process]
            first = {}
            for key, value, _, _ in op.sends:
                first.setdefault(key, value)
            for key, value in first.items():
                at = self.index.get(key, {}).get(value)
                if at is not None and self.fate[key, value] == 'ok' and at < mine.get(key, -1):
                    self.add('nonmonotonic-send', f'{op}: {value} of {key} lies before what was sent earlier')
            for key, value, _, _ in op.sends:
                at = self.index.get(key, {}).get(value)
                if at is not None and self.fate[key, value] == 'ok':
                    mine[key] = max(mine.get(key, -1), at)

    def delivered_twice(self):
        """A record that two transactions of one group consumed; each committed its offset with what it wrote."""
        subscribers = {op.process for op in self.ops if op.f == 'subscribe'}
        consumed = collections.defaultdict(list)
        for op in self.ops:
            if op.f == 'txn' and op.happened and op.process in subscribers:
                for key, offset, _ in set(op.reads):
                    consumed[key, offset].append(op)
        for (key, offset), by in sorted(consumed.items()):
            if len(by) > 1:
                self.add('delivered-twice', f'{key} at {offset} to ' + ' and '.join(map(str, by)))

    def passed_over(self):
        """A record that no transaction of a group consumed, while one that committed consumed a later one of the key: the
        group's offset was moved by one that was aborted. Only of groups all of whose members have transactions."""
        subscribers = {op.process for op in self.ops if op.f == 'subscribe'}
        by_others = {r.key for op in self.ops if op.f == 'poll' and op.process in subscribers for r in op.reads}
        consumed, reached = collections.defaultdict(set), collections.defaultdict(int)
        for op in self.ops:
            if op.f == 'txn' and op.type != 'fail' and op.process in subscribers:
                for key, _, value in op.reads:
                    consumed[key].add(value)
                    if op.happened:
                        reached[key] = max(reached[key], self.index[key][value])
        for key, last in sorted(reached.items()):
            for value, at in self.index[key].items():
                if at < last and value not in consumed[key] and key not in by_others:
                    self.add('passed-over', f'{value} of {key}; later ones were consumed')

    # ---- cycles

    def cycles(self):
        """Circular flow of information: of reads alone, with the order of a process, with the order of time."""
        happened = [op for op in self.ops if op.happened and (op.sends or op.reads)]
        reads = collections.defaultdict(set)
        for op in happened:
            for key, _, value in op.reads:
                writer = self.writer.get((key, value))
                if writer is not None and writer is not op and writer.happened:
                    reads[writer].add(op)
        process = collections.defaultdict(set)
        last = {}
        for op in happened:
            if op.process in last:
                process[last[op.process]].add(op)
            last[op.process] = op
        for name, extra in (('G1c', None), ('G1c-process', process), ('G1c-realtime', self._time(happened))):
            graph = {node: set(after) for node, after in reads.items()}
            for node, after in (extra or {}).items():
                graph.setdefault(node, set()).update(after)
            rings = [sorted(op.number for op in ring if isinstance(op, Op)) for ring in components(graph)]
            if rings:
                self.found[name] += [f'operations of lines {", ".join(map(str, ring))}' for ring in rings]
                return              # with more edges the same rings would be found again

    @staticmethod
    def _time(ops):
        """Edges from every operation that has ended to those that begin later, through a chain of moments."""
        edges, moment = collections.defaultdict(set), 0
        events = sorted([(op.end, 1, op.number, op) for op in ops if op.end != float('inf')] + [(op.start, 0, op.number, op) for op in ops],
                        key=lambda e: e[:3])
        for _, ends, _, op in events:
            if ends:
                edges[moment].add(moment + 1)
                moment += 1
                edges[op].add(moment)
            else:
                edges[moment].add(op)
        return edges


def components(graph):
    """Strongly connected components of two nodes or more (Tarjan's algorithm, without recursion)."""
    index, low, on, stack, found = {}, {}, set(), [], []
    for root in list(graph):
        if root in index:
            continue
        work = [(root, iter(graph.get(root, ())))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on.add(root)
        while work:
            node, after = work[-1]
            for child in after:
                if child not in index:
                    index[child] = low[child] = len(index)
                    stack.append(child)
                    on.add(child)
                    work.append((child, iter(graph.get(child, ()))))
                    break
                if child in on:
                    low[node] = min(low[node], index[child])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    ring = []
                    while True:
                        ring.append(stack.pop())
                        on.discard(ring[-1])
                        if ring[-1] == node:
                            break
                    if len(ring) > 1:
                        found.append(ring)
    return found


def check(lines, final=True):
    """{anomaly: [what was found]}; `final` says that at the end everything was read from the beginning."""
    history = History(lines)
    history.aborted_and_early_reads()
    history.lost_and_unseen(final)
    history.within_operations()
    history.between_operations()
    history.delivered_twice()
    history.passed_over()
    history.cycles()
    return {name: history.found[name] for name in FORBIDDEN if history.found[name]}


def summary(lines):
    """What the history holds, in a line or two."""
    ops = pair(lines)
    counts = collections.Counter((op.f, op.type) for op in ops)
    sent = sum(len(op.sends) for op in ops if op.happened)
    read = sum(len(op.reads) for op in ops)
    told = ', '.join(f'{n} {f} {kind}' for (f, kind), n in sorted(counts.items()))
    causes = collections.Counter((op.error or 'no answer').split(':')[0] for op in ops if op.type == 'info' and op.f != 'crash')
    why = ', '.join(f'{n} {cause}' for cause, n in causes.most_common(6))
    return f'{told}; {sent} values written, {read} read; unknown for: {why or "nothing"}'
