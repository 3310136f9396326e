"""What a handler prints and logs, copied into its call's log as AWS's runtime does it.

``sys.stdout``, ``sys.stderr`` and the root logger are the process's. While a handler runs they are listened to, and
what does not come from a handler passes as if nobody listened.
"""

import contextlib
import logging
import sys
import threading
import time
from contextvars import ContextVar
from typing import Any, Dict, Iterable, Iterator, List, Optional, Set

import attrs

from .runtime import LambdaContext


@attrs.frozen
class _Listener:
    """Where the words of one call go."""

    request_id: str
    log: List[str]


_listener: "ContextVar[Optional[_Listener]]" = ContextVar("lambda_adapter_local_listener", default=None)


class _Tee:
    """A stream of the process, whose words go into the log of the call that they come from, too."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> Any:
        listener = _listener.get()
        if listener is not None:
            listener.log.append(text)
        return self.stream.write(text)

    def writelines(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def unheard(stream: Any) -> Any:
    """The stream itself, for who hands on what has been listened to already."""
    return stream.stream if isinstance(stream, _Tee) else stream


class _LogOfCalls(logging.Handler):
    """The handler that AWS's runtime gives to the root logger."""

    def __init__(self) -> None:
        super().__init__()
        text = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
        formatter = logging.Formatter(text, "%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        listener = _listener.get()
        if listener is not None:
            record.aws_request_id = listener.request_id
            listener.log.append(self.format(record))
        # A root logger without handlers leaves warnings to this one, which our being there must not silence.
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and not self._is_heard_elsewhere(record):
            token = _listener.set(None)  # it writes to stderr, and would be heard twice
            try:
                last.handle(record)
            finally:
                _listener.reset(token)

    def _is_heard_elsewhere(self, record: logging.LogRecord) -> bool:
        """Whether a handler but this one had it: a library's that does nothing is one too."""
        heard_by: Optional[logging.Logger] = logging.getLogger(record.name)
        while heard_by is not None:
            if any(handler is not self for handler in heard_by.handlers):
                return True
            heard_by = heard_by.parent if heard_by.propagate else None
        return False


_STREAMS = ("stdout", "stderr")


class _Ears:
    """Listens for as long as there are calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards all below
        #: Of each stream that there was, by its id, for good: up to Python 3.13 ``print`` crashes where another thread
        #: frees what it is just printing to.
        self._tees: Dict[int, _Tee] = {}
        self._calls: Set[LambdaContext] = set()
        self._handler = _LogOfCalls()

    def begin(self, call: LambdaContext) -> None:
        with self._lock:
            self._calls.add(call)
            # Not for longer than needed: basicConfig does nothing where there is a handler already.
            logging.root.addHandler(self._handler)
            for name in _STREAMS:
                stream = getattr(sys, name)
                # Others put streams of their own there at any time: pytest does for each phase of a test.
                if stream is not None and not isinstance(stream, _Tee):
                    setattr(sys, name, self._tees.setdefault(id(stream), _Tee(stream)))

    def end(self, call: LambdaContext) -> None:
        with self._lock:
            self._calls.discard(call)
            if self._calls:
                return
            logging.root.removeHandler(self._handler)
            for name in _STREAMS:
                setattr(sys, name, unheard(getattr(sys, name)))


_ears = _Ears()

#: Stops listening to a call that runs on though nobody waits for it any more.
end_output = _ears.end


@contextlib.contextmanager
def output_of(call: LambdaContext, log: List[str]) -> Iterator[None]:
    """Copy what is printed and logged within into ``log``."""
    token = _listener.set(_Listener(call.aws_request_id, log))
    _ears.begin(call)
    try:
        yield
    finally:
        _ears.end(call)
        _listener.reset(token)
