"""A forwarding proxy on loopback that can be told to misbehave: cut, delay, swallow one direction.

Runs on a thread of its own. A fault holds for all connections until `heal`.
"""
import asyncio
import threading

PIECE = 65536


class Proxy:
    def __init__(self, port, target_port):
        self.port, self.target_port = port, target_port
        self.delay_s, self.swallows, self.refuses = 0.0, None, False
        self.loop, self.pairs = asyncio.new_event_loop(), set()
        ready = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self.thread.start()
        ready.wait(10)

    def _run(self, ready):
        asyncio.set_event_loop(self.loop)
        self.server = self.loop.run_until_complete(asyncio.start_server(self._accept, '127.0.0.1', self.port))
        ready.set()
        self.loop.run_forever()

    async def _accept(self, reader, writer):
        try:
            if self.refuses:
                raise ConnectionError
            other_reader, other_writer = await asyncio.open_connection('127.0.0.1', self.target_port)
        except OSError:
            writer.close()
            return
        pair = (writer, other_writer)
        self.pairs.add(pair)
        await asyncio.gather(self._pump(reader, other_writer, 'up'), self._pump(other_reader, writer, 'down'))
        self.pairs.discard(pair)

    async def _pump(self, reader, writer, way):
        try:
            while data := await reader.read(PIECE):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                # What has been swallowed once cannot be made up for: the connection dies with the fault.
                while self.swallows in (way, 'both'):
                    await asyncio.sleep(0.05)
                    data = b''
                if not data:
                    break
                writer.write(data)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        writer.close()

    def _cut(self):
        for pair in list(self.pairs):
            for writer in pair:
                writer.transport.abort()

    def cut(self, refuses=False):
        """Ends all connections; and, until healed, new ones at once."""
        self.refuses = refuses
        self.loop.call_soon_threadsafe(self._cut)

    def delay(self, seconds):
        self.delay_s = seconds

    def swallow(self, way):
        """'up': requests are lost, 'down': answers, 'both'."""
        self.swallows = way

    def heal(self):
        self.delay_s, self.swallows, self.refuses = 0.0, None, False

    def close(self):
        self.cut()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
