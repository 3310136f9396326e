"""The one clock of deadlines, circuits, attempts and waits, so that none of them ever measures by another.

Libraries that move a test's time reach ``time.monotonic`` in different ways: freezegun replaces each name in each
module behind which it finds it, and gives some threads the frozen time and others the real one; time-machine before 3.0
makes it the wall clock, for good. A deadline of one clock that is judged by another comes at once or never.
"""

import sys
import time
from typing import Any, Callable


def _unmoved() -> Callable[[], float]:
    # This module may be imported while the time is frozen.
    freezegun: Any = sys.modules.get("freezegun.api")
    read: Callable[[], float] = getattr(freezegun, "real_perf_counter", time.perf_counter)
    return read


# An argument's default is out of freezegun's reach, and perf_counter is out of time-machine's.
def _seconds(read: Callable[[], float] = _unmoved()) -> float:
    return read()


#: lambda_adapter.testing puts one in its place that follows a test's moves.
source: Callable[[], float] = _seconds


def monotonic_s() -> float:
    """Seconds, monotonic."""
    return source()
