"""Ctrl-C where it does most harm: a KeyboardInterrupt raised there leaves a connection in a transaction that is over."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from django.db import connection
from django.db.transaction import Atomic


@contextmanager
def ctrl_c_as_a_transaction_ends(which: int) -> Iterator[None]:
    """Pressed once, at the end of the main thread's `which`-th transaction within this block; checks what is left behind it.

    A shell that runs the tests in the background has them ignore SIGINT; within this block they hear it, as on a terminal.
    """
    leave, ended = Atomic.__exit__, 0

    def interrupted(atomic: Atomic, *error: Any) -> None:
        nonlocal ended
        if threading.current_thread() is threading.main_thread():
            ended += 1
            if ended == which:
                signal.raise_signal(signal.SIGINT)
        leave(atomic, *error)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with mock.patch.object(Atomic, "__exit__", interrupted):
            yield
        assert ended >= which
        assert not connection.in_atomic_block
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
