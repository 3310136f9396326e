"""Whether an attempt sent anything: what botocore's events and an exception's traceback say.

The class of an exception does not say it: a silent TLS handshake is a ReadTimeoutError, and so is a function that
takes its time.
"""

import socket
import sys
import threading
from types import TracebackType
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple

import attrs

#: What this package asks of Lambda, by botocore's names, which are part of its events' names.
ABOUT_EXECUTIONS = ("GetDurableExecution", "ListDurableExecutionsByFunction", "StopDurableExecution")
OPERATIONS = ("Invoke", "InvokeWithResponseStream", *ABOUT_EXECUTIONS)

#: Is given a socket, or None for none.
Hold = Callable[[Optional[socket.socket]], None]

_mine = threading.local()

#: More exceptions than this behind one another are a circle that somebody made by hand.
_MAX_CHAINED = 50


class Sending:
    """What is known of one attempt while it is made: ``with sending: client.invoke(…)``.

    The hooks of a watched client mark it, in the thread that invokes.

    Args:
        client: What makes the attempt.
        deadline_s: When nobody waits for its answer any more, by ``monotonic_s``.
        hold: Is given the socket on which the answer's head is waited for, and None when it has come.
    """

    def __init__(self, client: object = None, deadline_s: Optional[float] = None, hold: Optional[Hold] = None) -> None:
        self.client = client
        self.deadline_s = deadline_s
        self.hold = hold
        #: Whether the call was seen at all: a mocked client, or one that nobody watches, marks nothing.
        self.begun = False
        #: Whether the request left botocore's hands.
        self.reached = False
        #: What came back for earlier requests that were sent, where a given client retries by itself: AWS's error
        #: answers, and None for one that got none.
        self.earlier: List[Optional[Mapping[str, Any]]] = []
        self._connected = True
        self._answer: Optional[Mapping[str, Any]] = None
        # What the caller of ``execute`` is handling at the moment is chained to whatever is raised here.
        self._outer = sys.exc_info()[1]

    def __enter__(self) -> None:
        self._previous = getattr(_mine, "sending", None)
        _mine.sending = self

    def __exit__(self, *_: object) -> None:
        _mine.sending = self._previous

    def trace(self, exc: BaseException) -> "Trace":
        """Where this attempt failed."""
        return trace_of(exc, self._outer)

    def begin(self) -> None:
        self.begun = True

    def begin_request(self) -> None:
        """A request begins, the first or one of botocore's own retries."""
        if self.reached and self._connected:
            self.earlier.append(self._answer)
        self.reached = False

    def send(self) -> None:
        self.reached, self._connected, self._answer = True, True, None

    def end_request(self, answer: Optional[Mapping[str, Any]], exc: Optional[BaseException]) -> None:
        self._answer = answer
        self._connected = exc is None or not self.trace(exc).is_connecting


def watch(client: object, retries: bool = False) -> None:
    """Have a boto3 client mark the Sending of whoever invokes it. Watching it twice changes nothing.

    Args:
        retries: The client may send several requests for one call.
    """
    events = getattr(getattr(client, "meta", None), "events", None)
    hooks: Dict[str, Callable[..., None]] = {"provide-client-params": _on_call, "before-send": _on_send}
    if retries:
        hooks["request-created"] = _on_request
        hooks["needs-retry"] = _on_end
    try:
        for operation in OPERATIONS:
            for event, hook in hooks.items():
                name = f"{event}.lambda.{operation}"
                # First: a hook that answers in AWS's place keeps those behind it from being called.
                events.register_first(name, hook, unique_id=f"lambda-adapter-{name}")  # type: ignore[union-attr]
    except Exception:
        # It is none of boto3's clients. What its exceptions mean is then told by their classes.
        return


def begin() -> None:
    """A call begins that botocore has not seen yet; what fails now has sent nothing."""
    _on_call()


def current() -> Optional[Sending]:
    """The attempt that this thread makes at this moment."""
    return getattr(_mine, "sending", None)


def wait_on(waited_on: Optional[socket.socket]) -> None:
    """This thread's attempt waits for its answer's head on this socket, or (None) no longer."""
    sending = current()
    if sending is not None and sending.hold is not None:
        sending.hold(waited_on)


def _on_call(**_: object) -> None:
    sending = current()
    if sending is not None:
        sending.begin()


def _on_request(**_: object) -> None:
    sending = current()
    if sending is not None:
        sending.begin_request()


def _on_send(**_: object) -> None:
    sending = current()
    if sending is not None:
        sending.send()


def _on_end(
    response: Optional[Tuple[Any, Mapping[str, Any]]] = None,
    caught_exception: Optional[BaseException] = None,
    **_: object,
) -> None:
    sending = current()
    if sending is not None:
        sending.end_request(response[1] if response else None, caught_exception)


@attrs.frozen(eq=False)
class Trace:
    """An exception and those behind it: their classes, and the functions through which they came."""

    chain: Tuple[BaseException, ...]
    #: Module, function and local variables, of each frame.
    frames: Tuple[Tuple[str, str, Any], ...] = attrs.field(repr=False)

    @property
    def is_connecting(self) -> bool:
        """Whether the connection was still being made."""
        return self.passes("connect")

    def passes(self, function: str, module: str = "") -> bool:
        """Whether it came through this function, of a module whose name begins so."""
        return any(function == name and where.startswith(module) for where, name, _ in self.frames)

    def is_within(self, *modules: str) -> bool:
        """Whether it came through one of these modules."""
        return any(where in modules for where, _, _ in self.frames)

    def is_within_package(self, *packages: str) -> bool:
        """Whether it came through a module of one of these packages."""
        return any(where.partition(".")[0] in packages for where, _, _ in self.frames)

    def local(self, module: str, function: str, variable: str) -> Any:
        """A local variable of a function that it came through; None without."""
        for where, name, frame in self.frames:
            if where == module and name == function:
                return frame.f_locals.get(variable)
        return None

    def has_class(self, *names: str) -> bool:
        """Whether an exception of it has a class, or a base of it, of one of these names."""
        return any(base.__name__ in names for exc in self.chain for base in type(exc).__mro__)


def trace_of(exc: BaseException, outer: Optional[BaseException] = None) -> Trace:
    """Where an exception came from, along ``__cause__`` and ``__context__``, but not from before ``outer``."""
    chain = tuple(_chained(exc, outer))
    return Trace(chain, tuple(frame for each in chain for frame in _frames(each.__traceback__)))


def _chained(exc: BaseException, outer: Optional[BaseException]) -> Iterator[BaseException]:
    waiting: List[Optional[BaseException]] = [exc]
    seen: Dict[int, BaseException] = {}
    while waiting and len(seen) < _MAX_CHAINED:
        each = waiting.pop(0)
        if each is not None and each is not outer and id(each) not in seen:
            seen[id(each)] = each
            waiting += [each.__cause__, each.__context__, _wrapped(each)]
            yield each


def _wrapped(exc: BaseException) -> Optional[BaseException]:
    """What a botocore exception stands for. Its context is another one where our caller handles an exception."""
    kwargs = getattr(exc, "kwargs", None)
    error = kwargs.get("error") if isinstance(kwargs, dict) else None
    return error if isinstance(error, BaseException) else None


def _frames(traceback: Optional[TracebackType]) -> Iterator[Tuple[str, str, Any]]:
    while traceback is not None:
        frame = traceback.tb_frame
        yield str(frame.f_globals.get("__name__", "")), frame.f_code.co_name, frame
        traceback = traceback.tb_next
