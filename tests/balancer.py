"""A TCP proxy that gives each connection to the next of several servers, as balancers do that know nothing of HTTP but /api/ready/."""

import asyncio
import threading
from collections.abc import Sequence

CHECK = b"GET /api/ready/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
PIECE = 65_536
CHECK_TIMEOUT_SECONDS = 5.0


class Balancer:
    """`with Balancer(ports) as balancer: balancer.url`. With `check_seconds` a server whose check fails gets no new connections.

    What was begun stays where it is, and nothing is tried again: a connection that a server refuses or cuts is refused or cut here.
    """

    def __init__(self, ports: Sequence[int], check_seconds: float | None = None) -> None:
        self.ports, self.check_seconds = list(ports), check_seconds
        self.healthy = set(ports)
        self.turn = 0
        self.loop = asyncio.new_event_loop()
        self.started = threading.Event()
        self.thread = threading.Thread(target=self.run, name="balancer", daemon=True)
        self.tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> "Balancer":
        self.thread.start()
        self.started.wait()
        return self

    def __exit__(self, *error: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    def run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.listen())
        self.started.set()
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(self.loop), return_exceptions=True))
        self.loop.close()

    async def listen(self) -> None:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        if self.check_seconds is not None:
            for port in self.ports:
                task = self.loop.create_task(self.keep_checking(port, self.check_seconds))
                self.tasks.add(task)

    def next_port(self) -> int:
        ports = [port for port in self.ports if port in self.healthy] or self.ports
        self.turn += 1
        return ports[self.turn % len(ports)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(task := asyncio.current_task())  # type: ignore[arg-type]  # asyncio itself keeps none
        task.add_done_callback(self.tasks.discard)  # type: ignore[union-attr]
        try:
            to_read, to_write = await asyncio.open_connection("127.0.0.1", self.next_port())
        except OSError:
            writer.transport.abort()
            return
        try:
            await asyncio.gather(pump(reader, to_write), pump(to_read, writer))
        except asyncio.CancelledError:
            pass  # the balancer ends; asyncio's own callback would tell of it as an error
        finally:
            to_write.close()
            writer.close()

    # ------------------------------------------------------------ checks

    async def keep_checking(self, port: int, seconds: float) -> None:
        while True:
            match await self.is_ready(port):
                case True:
                    self.healthy.add(port)
                case False:
                    self.healthy.discard(port)
            await asyncio.sleep(seconds)

    async def is_ready(self, port: int) -> bool | None:
        """None: it did not say. On a machine that has too much to do this says nothing of the server."""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(CHECK)
                head = await reader.readline()
                writer.close()
                return b" 200 " in head
        except TimeoutError:
            return None
        except OSError:
            return False


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one side closes; a cut is passed on as one."""
    try:
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.transport.abort()
