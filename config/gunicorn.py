"""gunicorn's configuration, in start.sh and in the container alike. One process serves hundreds of clients that wait: it is all async.

SIGHUP to gunicorn starts new web processes on the same listening socket, and then stops the old ones as SIGTERM does. The new ones have
the code and the settings of that moment (reloading.py).
"""

import sys
from typing import Any

from config.reloading import read_settings

try:
    settings = read_settings()
except Exception as error:
    from config.failures import sentence_for

    sentence = sentence_for(error)
    if sentence is None:
        raise
    sys.exit(sentence)

from config.descriptors import most_connections, raise_limit

raise_limit()

bind = f"[{settings.HOST}]:{settings.PORT}" if ":" in settings.HOST else f"{settings.HOST}:{settings.PORT}"
worker_class = "config.web_worker.WebWorker"
workers = settings.WEB_PROCESSES
worker_connections = most_connections()
graceful_timeout = settings.STOP_DELAY_SECONDS + settings.STOP_SECONDS
keepalive = 30
timeout = 60
accesslog = None  # our own log line carries the request's id
loglevel = "warning"
proc_name = "darkroom"


def when_ready(server: Any) -> None:
    """The port is bound: from now on the addresses are true."""
    from api.system.addresses import address_lines

    for host, port in server.cfg.address:
        print(address_lines(host, port), flush=True)
