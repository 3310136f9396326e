"""The one form in which this package writes a time."""

from datetime import datetime, timezone


def utc_timestamp() -> str:
    """Now, in UTC, as 27 characters: "2024-01-15T10:30:45.123456Z"."""
    # isoformat alone would leave the microseconds out once in a million times.
    return datetime.now(timezone.utc).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
