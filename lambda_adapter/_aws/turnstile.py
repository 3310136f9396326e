"""Lets one thread at a time do botocore's computing, while any number of them wait for answers.

Threads that want to compute all at once spend their time handing Python's global lock to each other: each wakes up
every 5 ms to ask for it. Those that wait at a turnstile sleep until it is their turn.
"""

import threading
from typing import Any, Optional


class Turnstile:
    """``with turnstile: client.invoke(…)``: computes alone, but does not keep the turnstile while it waits for AWS.

    Args:
        patience_s: Who has it for longer, fetching credentials for example, is not waited for any more.
    """

    def __init__(self, patience_s: float = 1.0) -> None:
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._mine = threading.local()

    def attach(self, client: Any) -> None:
        """Let requests of ``client`` go out, and their answers come in, without holding others up."""
        client.meta.events.register("before-send.lambda.Invoke", self._leave)
        client.meta.events.register("before-parse.lambda.Invoke", self._enter)

    def _enter(self, **_: Any) -> None:
        lock = self._lock
        if lock.acquire(timeout=self._patience_s):
            self._mine.lock = lock
        else:
            self._lock = threading.Lock()

    def _leave(self, **_: Any) -> None:
        held: Optional[threading.Lock] = getattr(self._mine, "lock", None)
        if held is not None:
            self._mine.lock = None
            held.release()

    def __enter__(self) -> None:
        self._enter()

    def __exit__(self, *_: object) -> None:
        self._leave()
