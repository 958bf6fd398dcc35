"""How long a worker that is told to stop lets its jobs go on, before it hands them back."""

import threading

GRACE_SECONDS = 20.0


def interrupt_after(seconds: float, interrupted: threading.Event) -> None:
    """`interrupted` is what running jobs look at between two steps."""
    timer = threading.Timer(seconds, interrupted.set)
    timer.daemon = True
    timer.start()
