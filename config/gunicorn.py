"""gunicorn's configuration, in start.sh and in the container alike. One process serves hundreds of clients that wait: it is all async."""

from config.descriptors import most_connections, raise_limit
from config.settings import HOST, PORT

raise_limit()

bind = f"[{HOST}]:{PORT}" if ":" in HOST else f"{HOST}:{PORT}"
worker_class = "config.web_worker.WebWorker"
workers = 1
worker_connections = most_connections()
graceful_timeout = 20
keepalive = 30
timeout = 60
accesslog = None  # our own log line carries the request's id
loglevel = "warning"
proc_name = "darkroom"
