"""Where this server listens: whether it can, and how people reach it."""

import errno
import json
import socket
import urllib.error
import urllib.request

EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def address_lines(host: str, port: int) -> str:
    address = f"http://{reachable_name(host)}:{port}"
    return f"Darkroom  {address}/\n  admin   {address}/admin/\n  API     {address}/api/docs/"


def reachable_name(host: str) -> str:
    """What a browser on this machine can open."""
    if host in (*EVERYWHERE, *LOOPBACK):
        return "localhost"
    return f"[{host}]" if ":" in host else host


def why_not_to_listen(host: str, port: int) -> str:
    """Why no server can listen there, as a sentence with its cure; '' where one can."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except socket.gaierror:
        return f"HOST {host!r} is no address that this machine knows. Set HOST=127.0.0.1, or HOST=0.0.0.0 for every network."
    except OSError as error:
        return sentence_for_bind(error, host, port)
    return ""


def sentence_for_bind(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        by = "Darkroom itself answers there" if is_darkroom(host, port) else "another program listens there"
        return f"Port {port} of {host} is taken: {by}. Stop it, or set PORT to another number."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"HOST {host} is not an address of this machine. Set HOST=127.0.0.1, or HOST=0.0.0.0 for every network."
    if error.errno == errno.EACCES:
        return f"This account may not listen at port {port}. Set PORT to 1024 or more."
    return f"Port {port} of {host} can't be had: {error.strerror}. Set HOST or PORT to another one."


def is_darkroom(host: str, port: int) -> bool:
    name = f"[{host}]" if ":" in host else host
    try:
        with urllib.request.urlopen(f"http://{name}:{port}/api/health/", timeout=3) as reply:
            return bool(json.load(reply) == {"status": "ok"})
    except (OSError, ValueError, urllib.error.URLError):
        return False
