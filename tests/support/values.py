"""Values that several tests hand in."""

from typing import Any


def nested(depth: int, innermost: Any = 1) -> Any:
    """``innermost`` within ``depth`` lists."""
    value = innermost
    for _ in range(depth):
        value = [value]
    return value
