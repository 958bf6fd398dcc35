"""Which process a worker is, so that others of its machine can tell that it has died. Only on Linux: elsewhere the lease's end tells it.

A pid alone says nothing: containers repeat them, and so does a machine that was started again. `identity` names the kernel that runs
(boot_id is drawn at each start), the namespaces in which the pid and the moment of the start are meant, and that moment. So what is said
here of another machine's worker, or of one in another pid namespace, is always that nothing is known.
"""

import os
from functools import cache
from pathlib import Path

PROC = Path("/proc")
ENDED = "ZXx"
"""States of a process that runs nothing any more, though its parent has not asked for it yet."""


@cache
def place(pid: int) -> str:
    """The running kernel with this process's namespaces. Empty where /proc doesn't tell, or is another namespace's. `pid`: ours, since a
    fork may have its own namespace.
    """
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        spaces = [os.readlink(PROC / f"self/ns/{name}") for name in ("pid", "time")]
        return " ".join([boot, *spaces]) if os.readlink(PROC / "self") == str(pid) else ""
    except OSError:
        return ""


def identity(pid: int) -> str:
    """Of a process of this namespace, to be compared with `is_dead` later. Empty where it can't be known."""
    here, status = place(os.getpid()), state_and_start(pid)
    return f"{here} {status[1]}" if here and status else ""


def is_dead(pid: int, known_as: str) -> bool:
    """Whether the process of this identity has ended. False wherever that isn't certain."""
    here, _, start = known_as.rpartition(" ")
    if not here or here != place(os.getpid()):
        return False
    if not exists(pid):
        return True
    status = state_and_start(pid)
    return status is not None and (status[0] in ENDED or status[1] != start)


def exists(pid: int) -> bool:
    """Asked of the kernel: /proc may hide what others own."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it is somebody else's
    return True


def state_and_start(pid: int) -> tuple[str, str] | None:
    """The letter of its state, and when it was started, in ticks since the kernel was."""
    try:
        fields = (PROC / f"{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return None
