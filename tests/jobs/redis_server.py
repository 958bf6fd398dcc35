"""A Redis of our own, which keeps nothing on disk: what it held is gone with it."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.live import free_port

REDIS = shutil.which("redis-server")


class RedisServer:
    def __init__(self, folder: Path, *, password: str = "") -> None:
        self.folder, self.port, self.password = folder, free_port(), password
        self.url = f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}/0"
        self.environment = dict(os.environ)  # as it is now, whatever a benchmark adds to it
        self.start()

    def start(self) -> None:
        assert REDIS is not None, "CI has to install redis-server"
        command = [REDIS, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        command += ["--requirepass", self.password] if self.password else []
        self.process = subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 30
        while not self.answers():
            assert self.process.poll() is None, "Redis ended as it started"
            assert time.monotonic() < deadline, "Redis did not start"
            time.sleep(0.02)

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return bool(connection.recv(1))
        except OSError:
            return False

    def stop(self) -> None:
        """As SIGKILL does it."""
        self.process.kill()
        self.process.wait(20)
