"""When a call's ``total_timeout`` is up, by the clock of this process and by that of the function."""

import time

import attrs

from .._process.clock import monotonic_s


@attrs.frozen(eq=False)
class Deadline:
    """The end of one call's time."""

    total_timeout_s: float
    #: By the monotonic clock, in seconds.
    at_s: float
    #: By the wall clock, in milliseconds since 1970: what a function can compare with its own.
    epoch_ms: int

    @classmethod
    def after(cls, total_timeout_s: float) -> "Deadline":
        return cls(total_timeout_s, monotonic_s() + total_timeout_s, int((time.time() + total_timeout_s) * 1_000))

    @property
    def cause(self) -> str:
        """What a call says that ended because of it."""
        return f"the total_timeout of {self.total_timeout_s:g} s is up"

    def is_up(self, now_s: float) -> bool:
        """Whether nothing may begin any more."""
        return now_s >= self.at_s
