"""Whether an exception came from a signal handler: then it is not about the call, and belongs to the caller."""

from types import FrameType, TracebackType
from typing import Iterator, Optional


def interruption(exc: BaseException) -> Optional[BaseException]:
    """What a signal handler raised while ``exc`` came about, wrapped in other exceptions or not; None: nothing.

    Python calls a handler with the frame that the signal interrupted, and so does nothing else: an exception whose
    traceback goes through a function that was given its caller's frame was raised by a handler. Its class says nothing,
    for a handler may raise a TimeoutError, and botocore wraps what it does not know.
    """
    found = [inner for inner in _chain(exc) if _left_handler(inner.__traceback__)]
    # The last: urllib3 gives the traceback of what it wraps to the wrapping exception too.
    return found[-1] if found else None


def check_not_interrupted(exc: BaseException) -> None:
    """Let through what a signal handler raised.

    Raises:
        BaseException: The handler's own exception.
    """
    original = interruption(exc)
    if original is not None:
        raise original from None


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """``exc`` and the exceptions that it came from; botocore keeps one of them as an argument."""
    seen = set()
    todo = [exc]
    while todo:
        inner = todo.pop()
        if id(inner) in seen:
            continue
        seen.add(id(inner))
        yield inner
        kept = getattr(inner, "kwargs", None)
        # What check_not_interrupted has raised again is not looked behind.
        context = None if inner.__suppress_context__ else inner.__context__
        others = (inner.__cause__, context, kept.get("error") if isinstance(kept, dict) else None)
        todo += [other for other in others if isinstance(other, BaseException)]


def _left_handler(traceback: Optional[TracebackType]) -> bool:
    # Where a handler's frame is the first, the handler caught the exception itself.
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
        if _was_given_its_caller(traceback.tb_frame):
            return True
    return False


def _was_given_its_caller(frame: FrameType) -> bool:
    code, caller = frame.f_code, frame.f_back
    if caller is None or (code.co_argcount == 0 and not code.co_flags & _VARARGS):
        return False
    names = code.co_varnames[: code.co_argcount]
    rest = code.co_varnames[code.co_argcount + code.co_kwonlyargcount :][:1] if code.co_flags & _VARARGS else ()
    values = frame.f_locals
    return any(values.get(name) is caller for name in names) or any(
        value is caller for name in rest for value in values.get(name, ())
    )


#: ``inspect.CO_VARARGS``; importing inspect takes longer than the first call should.
_VARARGS = 0x04
