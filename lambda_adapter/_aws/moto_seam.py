"""The one module that touches moto's private names: whether a mock is on, and who answers a mocked request.

It stands here and not in ``testing``, because a bot's tests may use moto without this package's test kit, and a client
that was made under a mock must not reach AWS later, nor the reverse.
"""

import contextlib
import sys
from typing import Any, Callable, Iterator, Optional

#: Given an event's name and the request: its answer, or None to let moto answer.
Respond = Callable[[str, Any], Optional[Any]]


def is_active() -> bool:
    """Whether a moto mock is on. Imports nothing: without moto there is none."""
    moto = sys.modules.get("moto.core.models")
    return bool(getattr(getattr(moto, "botocore_stubber", None), "enabled", False))


@contextlib.contextmanager
def answering(respond: Respond) -> Iterator[None]:
    """Let ``respond`` answer requests before moto does, in all clients, whoever made them and when.

    Handlers of botocore's own events reach only clients that are made after them, and adapters share clients.

    Raises:
        ImportError: moto is not installed, or too old.
    """
    from unittest.mock import patch

    from moto.core.botocore_stubber import BotocoreStubber

    before_send = BotocoreStubber.__call__

    def answer(stubber: BotocoreStubber, event_name: str, request: object, **kwargs: object) -> Optional[Any]:
        answered = respond(event_name, request)
        return before_send(stubber, event_name, request, **kwargs) if answered is None else answered

    with patch.object(BotocoreStubber, "__call__", answer):
        yield
