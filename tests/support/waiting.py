"""Waiting for what must happen soon: by its condition, never by time alone."""

import asyncio
import threading
import time
from typing import Any, Awaitable, Callable

#: How long a test waits for what must happen at once.
SOON_S = 10
#: A wait that no test sits out.
FOREVER_S = 3_000

_PAUSE_S = 0.001


def until(condition: Callable[[], object], within_s: float = SOON_S) -> None:
    """Wait for ``condition()``; a condition that can come true no more may raise."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {within_s} s"
        threading.Event().wait(_PAUSE_S)


async def until_async(condition: Callable[[], object], within_s: float = SOON_S) -> None:
    """The same without holding the event loop."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {within_s} s"
        await asyncio.sleep(_PAUSE_S)


async def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Run what blocks without holding the event loop."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *args)


async def soon(awaitable: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(awaitable, SOON_S)
