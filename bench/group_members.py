"""Members of consumer groups for bench/groups.py: many in one thread, requests packed by hand, so that the broker and not
the client decides how long a rebalance takes. Old versions of the requests are used: they say the same in fewer bytes."""
import errno
import heapq
import itertools
import selectors
import socket
import struct
import time

FETCH, OFFSET_COMMIT, OFFSET_FETCH, JOIN, HEARTBEAT, LEAVE, SYNC = 1, 8, 9, 11, 12, 13, 14
VERSIONS = {FETCH: 4, OFFSET_COMMIT: 2, OFFSET_FETCH: 1, JOIN: 2, HEARTBEAT: 1, LEAVE: 1, SYNC: 1}
RETRY_S = 0.02
INCOMING = memoryview(bytearray(1 << 20))    # one for all: a fresh one each time costs more than the answer
REBALANCE_IN_PROGRESS, ILLEGAL_GENERATION, UNKNOWN_MEMBER = 27, 22, 25
AGAIN = (14, 15, 16)  # the coordinator is loading, not there yet, elsewhere


def text(value):
    data = value.encode() if isinstance(value, str) else value
    return struct.pack('>h', len(data)) + data


def blob(data):
    return struct.pack('>i', len(data)) + data


def frame(api, correlation, body):
    head = struct.pack('>hhi', api, VERSIONS[api], correlation) + text('bench')
    return struct.pack('>i', len(head) + len(body)) + head + body


class Cursor:
    def __init__(self, data, at=4):
        self.data, self.at = data, at

    def number(self, code, size):
        value = struct.unpack_from('>' + code, self.data, self.at)[0]
        self.at += size
        return value

    def int16(self):
        return self.number('h', 2)

    def int32(self):
        return self.number('i', 4)

    def int64(self):
        return self.number('q', 8)

    def text(self):
        size = self.int16()
        self.at += max(size, 0)
        return self.data[self.at - max(size, 0):self.at]

    def blob(self):
        size = self.int32()
        self.at += max(size, 0)
        return self.data[self.at - max(size, 0):self.at]


class Member:
    """Joins, is assigned a range by whoever leads, and fetches all it has again and again; rejoins when told to."""

    def __init__(self, crowd, group, topic, partitions, session_ms):
        self.crowd, self.group, self.topic, self.partitions, self.session_ms = crowd, group, topic, partitions, session_ms
        self.id, self.generation, self.owned = b'', -1, []
        self.subscription = struct.pack('>hi', 0, 1) + text(topic) + struct.pack('>i', -1)
        self.socket, self.correlation, self.waits_for = None, 0, None
        self.unread, self.next, self.next_at = b'', None, 0.0
        self.last_beat = 0.0
        self.alive = True
        self.then(self.join)

    # -- what to do next
    def then(self, what, after_s=0.0):
        self.next, self.next_at = what, time.time() + after_s
        heapq.heappush(self.crowd.due, (self.next_at, next(self.crowd.counter), self))

    def connect(self):
        try:
            self.socket = socket.create_connection(self.crowd.address, 5)
        except OSError:
            self.socket = None
            return self.then(self.next, RETRY_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.crowd.selector.register(self.socket, selectors.EVENT_READ, self)

    def disconnect(self):
        if self.socket is not None:
            self.crowd.selector.unregister(self.socket)
            self.socket.close()
        self.socket, self.unread, self.waits_for = None, b'', None

    def turn(self, now):
        if self.next is None or now < self.next_at or not self.alive:
            return
        if self.socket is None:
            self.connect()
        if self.socket is not None:
            what, self.next = self.next, None
            what()

    def send(self, api, body, answer):
        self.correlation += 1
        self.waits_for = (answer, self.next_if_lost(answer))
        try:
            self.socket.sendall(frame(api, self.correlation, body))
        except OSError:
            self.lost()

    def next_if_lost(self, answer):
        return self.join if answer in (self.joined, self.synced) else self.beat

    def lost(self):
        again = self.waits_for[1] if self.waits_for else self.beat
        self.disconnect()
        self.then(again, RETRY_S)

    def readable(self):
        try:
            size = self.socket.recv_into(INCOMING)
        except OSError as problem:
            if problem.errno in (errno.EAGAIN, errno.EINTR):
                return
            size = 0
        if not size:
            return self.lost()
        self.unread += INCOMING[:size]
        while len(self.unread) >= 4:
            size = struct.unpack_from('>i', self.unread)[0]
            if len(self.unread) < 4 + size:
                return
            payload, self.unread = self.unread[4:4 + size], self.unread[4 + size:]
            answer, self.waits_for = self.waits_for[0], None
            answer(Cursor(payload))

    # -- the protocol
    def join(self):
        self.send(JOIN, text(self.group) + struct.pack('>ii', self.session_ms, 60000) + text(self.id) + text('consumer') +
                  struct.pack('>i', 1) + text('range') + blob(self.subscription), self.joined)

    def joined(self, c):
        c.int32()
        error, generation = c.int16(), c.int32()
        c.text()
        leader, mine = c.text(), c.text()
        if error:
            return self.refused(error, self.join)
        self.generation, self.id = generation, mine
        members = [(c.text(), c.blob())[0] for _ in range(c.int32())]
        body = text(self.group) + struct.pack('>i', generation) + text(mine)
        body += struct.pack('>i', len(members) if leader == mine else 0)
        if leader == mine:
            share, rest = divmod(self.partitions, len(members))
            first = 0
            for i, m in enumerate(sorted(members)):
                n = share + (i < rest)
                body += text(m) + blob(struct.pack('>hi', 0, 1) + text(self.topic) + struct.pack(f'>i{n}i', n, *range(first, first + n)) +
                                       struct.pack('>i', -1))
                first += n
        self.send(SYNC, body, self.synced)

    def synced(self, c):
        c.int32()
        error = c.int16()
        if error:
            return self.refused(error, self.join)
        a = Cursor(c.blob(), 2)
        self.owned = []
        for _ in range(a.int32()):
            a.text()
            self.owned = [a.int32() for _ in range(a.int32())]
        self.last_beat = time.time()
        if not self.owned:
            return self.then(self.beat, self.crowd.beat_s)
        self.send(OFFSET_FETCH, text(self.group) + struct.pack('>i', 1) + text(self.topic) +
                  struct.pack(f'>i{len(self.owned)}i', len(self.owned), *self.owned), self.offsets)

    def offsets(self, c):
        c.int32()
        c.text()
        for _ in range(c.int32()):
            c.int32(), c.int64(), c.text()
            error = c.int16()
            if error:
                return self.refused(error, self.beat)
        self.fetch()

    def fetch(self):
        body = struct.pack('>iiiib', -1, 0, 1, 1 << 20, 0) + struct.pack('>i', 1) + text(self.topic)
        body += struct.pack('>i', len(self.owned)) + b''.join(struct.pack('>iqi', p, 0, 1000) for p in self.owned)
        self.send(FETCH, body, self.fetched)

    def fetched(self, c):
        now = time.time()
        c.int32()
        for _ in range(c.int32()):
            c.text()
            for _ in range(c.int32()):
                partition, error = c.int32(), c.int16()
                c.int64(), c.int64()
                for _ in range(max(c.int32(), 0)):
                    c.int64(), c.int64()
                if c.blob() and error == 0:
                    self.crowd.consumed[self.group, partition] = (now, self.generation)
        self.then(self.beat, self.crowd.beat_s)

    def beat(self):
        self.last_beat = time.time()
        self.send(HEARTBEAT, text(self.group) + struct.pack('>i', self.generation) + text(self.id), self.beaten)

    def beaten(self, c):
        c.int32()
        error = c.int16()
        if error:
            return self.refused(error, self.beat)
        if self.owned:
            return self.fetch()
        self.then(self.beat, self.crowd.beat_s)

    def refused(self, error, again):
        if error in AGAIN:
            return self.then(again, RETRY_S)
        if error in (ILLEGAL_GENERATION, UNKNOWN_MEMBER):
            self.id = self.id if error == ILLEGAL_GENERATION else b''
            return self.then(self.join)
        if error == REBALANCE_IN_PROGRESS:
            return self.then(self.join)
        raise RuntimeError(f'group {self.group}: error {error}')

    # -- ends
    def die(self):
        """As after kill -9: the connection goes, and nothing is said."""
        self.alive = False
        self.disconnect()

    def leave(self):
        """Waits for the answer to what was asked last, and leaves."""
        def go():
            self.send(LEAVE, text(self.group) + text(self.id), lambda c: self.die())
        if self.waits_for is None:
            self.then(go)
            return
        answer, again = self.waits_for
        self.waits_for = (lambda c: self.then(go), again)


class Crowd:
    """Members, and when each partition was consumed last, under which generation."""

    def __init__(self, address, beat_s=0.002):
        """`beat_s`: between heartbeats. Real clients take seconds: what they wait for is not the broker."""
        host, port = address.rsplit(':', 1)
        self.beat_s = beat_s
        self.address, self.selector, self.members, self.consumed = (host, int(port)), selectors.DefaultSelector(), [], {}
        self.due, self.counter = [], itertools.count()     # members that have something to do, by when

    def add(self, group, topic, partitions, session_ms=6000):
        self.members.append(Member(self, group, topic, partitions, session_ms))
        return self.members[-1]

    def run_until(self, done, limit_s=120.0):
        """Seconds since the epoch when `done()` came true."""
        end = time.time() + limit_s
        while not done():
            now = time.time()
            if now > end:
                raise RuntimeError('the members did not get there')
            wait = self.due[0][0] - now if self.due else 0.01
            for key, _ in self.selector.select(max(0.0, min(wait, 0.01))):
                key.data.readable()
            now = time.time()
            while self.due and self.due[0][0] <= now:
                heapq.heappop(self.due)[2].turn(now)
        return time.time()

    def run_for(self, seconds):
        end = time.time() + seconds
        self.run_until(lambda: time.time() >= end, seconds + 10)

    def all_consumed(self, groups, partitions, since, above=-1):
        """Every partition of the groups was consumed after `since`, in a generation above that one."""
        return all(self.consumed.get((g, p), (0, 0))[0] >= since and self.consumed[g, p][1] > above
                   for g in groups for p in range(partitions))

    def close(self):
        for m in self.members:
            m.die()
