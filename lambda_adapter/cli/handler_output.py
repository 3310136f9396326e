"""What handlers print, and where they raise: on stderr, so that stdout is the command's own."""

import contextlib
import io
import json
import sys
import threading
from typing import Any, Iterator, List

from .._text.redaction import shown, shown_type
from ..local.emulator import Observation
from ..local.output import unheard


class _Nowhere(io.TextIOBase):
    """Stands in for a stderr that is closed: a handler that prints must not fail for that."""

    def write(self, text: str) -> int:
        return len(text)


_NOWHERE = _Nowhere()


class _OneThreads:
    """A stdout for the thread that makes it; what others write goes to stderr."""

    def __init__(self, stdout: Any) -> None:
        self._stdout = stdout
        self._owner = threading.current_thread()

    def __getattr__(self, name: str) -> Any:
        if threading.current_thread() is self._owner:
            return getattr(self._stdout, name)
        # A call's log has it from stdout; from stderr it would have it once more.
        return getattr(unheard(sys.stderr) or _NOWHERE, name)


_kept: List[object] = []


@contextlib.contextmanager
def handlers_print_to_stderr() -> Iterator[None]:
    """While it lasts, stdout is this thread's alone; handlers run in others."""
    before = sys.stdout
    sys.stdout = _OneThreads(before)
    # Up to Python 3.13 print crashes where another thread frees the stream to which it is just printing.
    _kept.append(sys.stdout)
    try:
        yield
    finally:
        sys.stdout = before


def traceback_of(observation: Observation) -> str:
    """Where a handler raised, as Python prints it, or why there was none to run; "" where it ended well."""
    error = _error(observation)
    kind, message = shown_type(error.get("errorType", "")), shown(error.get("errorMessage", ""), 1_000)
    name = shown(observation.function_name, 64)
    if not error.get("stackTrace"):
        return f"{name}: {kind}: {message}\n" if kind.startswith("Runtime.") else ""
    lines: List[str] = [f"{name}: Traceback (most recent call last):\n"]
    lines += [f"{shown(line, 500)}\n" for frame in error["stackTrace"] for line in str(frame).splitlines()]
    return "".join([*lines, f"{kind}: {message}\n" if message else f"{kind}\n"])


def _error(observation: Observation) -> Any:
    """The error object that a handler ended with."""
    if observation.result is not None:
        body = observation.result.body if observation.result.failed else b"{}"
    else:
        answer = observation.answer
        body = answer.body if answer is not None and "X-Amz-Function-Error" in answer.headers else b"{}"
    return json.loads(body)
