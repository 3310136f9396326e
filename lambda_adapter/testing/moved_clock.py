"""A clock that goes on as time does, and follows where a test moves it forward: freezegun, time-machine, a patch."""

import calendar
import sys
import threading
import time
from typing import Any, Callable, Optional


class MovedClock:
    """Real seconds, and beside them those by which the test has moved the time forward.

    So what a test moves in one step is over for deadlines, circuits and attempts alike, while a frozen time holds
    nothing up: a wait that is a real one ends. Where a test moves the time back, this clock does not follow.

    Args:
        read: Seconds, monotonic, that no test moves.
        told: What the test says that the time is, in seconds since 1970.
    """

    def __init__(self, read: Callable[[], float], told: Optional[Callable[[], float]] = None) -> None:
        self._read = read
        self._told = told or told_s
        # Reentrant: a signal handler or a finalizer may ask, whatever this thread is at.
        self._lock = threading.RLock()
        # All below is changed under the lock.
        self._moved_s = 0.0
        self._last_read_s, self._last_told_s = self._read(), self._told()

    def __call__(self) -> float:
        with self._lock:
            read_s, now_told_s = self._read(), self._told()
            self._moved_s += max(0.0, (now_told_s - self._last_told_s) - (read_s - self._last_read_s))
            self._last_read_s, self._last_told_s = read_s, now_told_s
            return read_s + self._moved_s


def told_s() -> float:
    """What the test says that the time is, in seconds since 1970, the same in all threads."""
    # freezegun's own functions give some threads the real time, and let a frozen time tick that is asked for.
    freezegun: Any = sys.modules.get("freezegun.api")
    factories = getattr(freezegun, "freeze_factories", None)
    frozen = getattr(factories[-1], "time_to_freeze", None) if factories else None
    if frozen is None:
        return time.time()
    return calendar.timegm(frozen.timetuple()) + float(frozen.microsecond) / 1e6
