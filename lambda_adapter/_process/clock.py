"""The one clock of deadlines, circuits, attempts and waits, so that none of them ever measures by another.

Libraries that move a test's time reach ``time.monotonic`` in different ways: freezegun replaces each name in each
module behind which it finds it, and gives some threads the frozen time and others the real one; time-machine before 3.0
makes it the wall clock, for good. A deadline of one clock that is judged by another comes at once or never.
"""

import functools
import sys
import time
from typing import Callable


def _unmoved() -> Callable[[], float]:
    # This module may be imported while the time is frozen. What is in a partial is out of freezegun's reach, and
    # perf_counter is out of time-machine's.
    return functools.partial(getattr(sys.modules.get("freezegun.api"), "real_perf_counter", time.perf_counter))


#: lambda_adapter.testing puts one in its place that follows a test's moves.
source: Callable[[], float] = _unmoved()


def monotonic_s() -> float:
    """Seconds, monotonic."""
    return source()
