"""What a fork leaves behind: locks that nobody releases, threads that do not exist, the parent's connections.

Whatever has a lock, a thread or a connection registers itself, and is told once in each child process. Python's own
hook does not hear of forks that C code makes, uWSGI's for example; so each call asks ``check`` as well.
"""

import os
import threading
import weakref
from typing import Dict, Protocol


class Resettable(Protocol):
    """What can begin anew in a child process."""

    def reset_after_fork(self) -> None: ...


_owners: "weakref.WeakSet[Resettable]" = weakref.WeakSet()
_pid = os.getpid()
#: By process: a lock that is made in this process is held by no thread of another.
_locks: Dict[int, threading.Lock] = {}


def register(owner: Resettable) -> None:
    """Call ``owner.reset_after_fork()`` in every child process, as long as ``owner`` lives."""
    _owners.add(owner)


def check() -> None:
    """Notice a fork that Python's hook did not hear of. Costs some 40 ns."""
    if os.getpid() != _pid:
        _reset()


def _reset() -> None:
    global _pid
    pid = os.getpid()
    with _locks.setdefault(pid, threading.Lock()):
        if _pid != pid:
            for owner in list(_owners):
                owner.reset_after_fork()
            # Last: whoever sees this process's id may rely on all being done.
            _pid = pid


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset)
