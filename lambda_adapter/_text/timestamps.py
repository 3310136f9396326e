"""The one form in which this package writes a time."""

import functools
import time


def utc_timestamp() -> str:
    """Now, in UTC, as 27 characters: "2024-01-15T10:30:45.123456Z"."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{_second(seconds)}.{nanoseconds // 1_000:06}Z"


@functools.lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    # Every call writes two times, and most of a second's calls share all but the microseconds.
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
