"""A proxy of bytes before any server: slow, or away as a server is that was stopped; all in one thread."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any

from tests.live import free_port


class TcpProxy:
    """Clients connect to `port`. Each piece of what they send waits `delay` seconds; after `stop` they are refused, and cut off."""

    def __init__(self, target: int) -> None:
        self.target, self.port, self.delay = target, free_port(), 0.0
        self.server: asyncio.Server | None = None
        self.writers: set[asyncio.StreamWriter] = set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.start()

    def start(self) -> None:
        self.run(self.listen())

    def stop(self) -> None:
        """Those that are connected lose their connection at once, whatever they wait for."""
        self.run(self.cut())

    def close(self) -> None:
        self.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    async def listen(self) -> None:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)

    async def cut(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None
        for writer in list(self.writers):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            their_reader, their_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            self.forget(writer)
            return
        self.writers.add(their_writer)
        await asyncio.gather(self.pass_on(reader, their_writer, is_sent=True), self.pass_on(their_reader, writer))

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_sent: bool = False) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if is_sent and self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()
        self.forget(writer)

    def forget(self, writer: asyncio.StreamWriter) -> None:
        self.writers.discard(writer)
        writer.close()
