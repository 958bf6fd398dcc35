"""A RabbitMQ of our own, from Debian's package: ports, folder and Erlang's port mapper are its own."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.live import free_port

RABBITMQ = shutil.which("rabbitmq-server", path="/usr/lib/rabbitmq/bin")
"""The one on PATH insists on its own account and folders."""


class RabbitServer:
    def __init__(self, folder: Path) -> None:
        self.port, mapper = free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        folders = {
            f"RABBITMQ_{name}": folder / name.lower()
            for name in ("MNESIA_BASE", "LOG_BASE", "ENABLED_PLUGINS_FILE", "PID_FILE")
        }
        folders |= {f"RABBITMQ_{name}": folder / "none" for name in ("CONFIG_FILE", "CONF_ENV_FILE")}
        ports = {"RABBITMQ_NODE_PORT": self.port, "RABBITMQ_DIST_PORT": free_port(), "ERL_EPMD_PORT": mapper}
        own = {
            **folders,
            **ports,
            "HOME": folder,
            "ERL_CRASH_DUMP_SECONDS": "0",  # none: it would be written into the checkout
            "RABBITMQ_NODENAME": f"darkroom{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        }
        self.environment = {**os.environ, **{name: str(value) for name, value in own.items()}}
        self.start()

    def start(self) -> None:
        assert RABBITMQ is not None, "CI has to install rabbitmq-server"
        self.process = subprocess.Popen(
            [RABBITMQ], env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + 120
        while not self.answers():
            assert self.process.poll() is None, "RabbitMQ ended as it started"
            assert time.monotonic() < deadline, "RabbitMQ did not start"
            time.sleep(0.2)

    def answers(self) -> bool:
        """With AMQP's greeting: the port is bound before."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return connection.recv(1) == b"\x01"
        except OSError:
            return False

    def stop(self) -> None:
        """Killed with all that it started, the port mapper too."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)
        for _ in range(25):  # it has to notice first that its node is gone
            done = subprocess.run(["epmd", "-kill"], env=self.environment, capture_output=True, text=True)
            if "living nodes" not in done.stdout + done.stderr:
                return
            time.sleep(0.2)
