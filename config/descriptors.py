"""How much one process may hold open: threads and connections, by its limit of file descriptors.

A thread has a connection to the database (two files on SQLite); a client's connection is a socket and at times a file: a large body, a
picture that is sent.
"""

import os
import resource

ENOUGH = 10_240
OWN = 24  # what a web process has open by itself: standard streams, sockets, the event loop's, the supervisor's
MOST_THREADS = min(32, (os.cpu_count() or 1) + 4)  # asyncio's own rule
MOST_CONNECTIONS = 4_096


def raise_limit() -> None:
    """The soft limit to the hard one, or to what is enough here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ENOUGH if soft == resource.RLIM_INFINITY else soft


def most_threads() -> int:
    """In each of the two pools of a web process."""
    return max(2, min(MOST_THREADS, limit() // 32))


def most_connections() -> int:
    return max(4, min(MOST_CONNECTIONS, (limit() - OWN - 4 * most_threads()) // 2))
