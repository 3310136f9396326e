"""One answer that is read as it comes: by ``execute_stream`` and ``execute_stream_async`` alike."""

import json
import os
import socket
import threading
from typing import Any, Callable, Generator, Mapping, Optional

import attrs

from .._aws import failures
from .._aws.failures import Failure
from .._aws.raw_stream import RawStream, shut_down
from .._process.clock import monotonic_s
from .._wire.answer import InvalidAnswerError, ToldError, decode_function_error
from .._wire.frames import Complete, FrameError
from .._wire.head import Head, known_function_error
from .._wire.log_tail import decode_log_tail
from .._wire.stream import TextReader
from ..codes import Executed, WhyEnded
from .deadline import Deadline
from .interruptions import check_not_interrupted
from .outcomes import Outcome, Progress, Result, of_function, out_of_time, partial

#: An attempt in steps: yields the text as it comes, is sent whether to go on, and returns how it ended.
Texts = Generator[str, bool, Outcome]


class _TimeIsUpError(Exception):
    """The call's deadline has come in the middle of its answer."""


class StreamReader:
    """Reads one call's answer in the thread that makes its attempts; any thread may end that with ``leave``."""

    def __init__(self, progress: Progress, clock: Callable[[], float] = monotonic_s) -> None:
        self._progress = progress
        self._clock = clock
        self._lock = threading.RLock()  # a finalizer may leave, whatever this thread is at
        self._pid = os.getpid()
        # All below is changed under the lock.
        #: The connection, while the answer's head is waited for.
        self._socket: Optional[socket.socket] = None
        self._raw: Optional[RawStream] = None
        self._left = False

    @property
    def was_left(self) -> bool:
        """Whether nobody wants the rest of the answer."""
        return self._left

    def leave(self) -> None:
        """Read no further; a read that waits ends within a millisecond."""
        with self._lock:
            self._left = True
            raw = self._raw
            self._cut_head()
        if raw is not None:
            raw.cut()

    def hold(self, waited_on: Optional[socket.socket]) -> None:
        """The answer's head is waited for on this socket, or (None) it has come."""
        with self._lock:
            self._socket = waited_on
            self._cut_head()

    def _cut_head(self) -> None:
        # Under the lock: once the head has come, the socket may be another call's. In a child it is the parent's.
        if self._left and self._socket is not None and self._pid == os.getpid():
            shut_down(self._socket)

    def left_before_head(self) -> Outcome:
        """The outcome of an attempt whose reader has left while its head was waited for."""
        return _abandoned(self._progress)

    def abandoned(self) -> Result:
        """The result of a call whose reader has left."""
        progress = self._progress
        duration_s = 0.0 if progress.started_s is None else self._clock() - progress.started_s
        outcome = _abandoned(progress)
        why_ended: Optional[WhyEnded] = "ended" if progress.attempts else None
        return Result(outcome, progress.attempts, duration_s, why_ended, progress.first_text_s)

    def read(self, response: Mapping[str, Any], head: Head, payload: bytes, deadline: Optional[Deadline]) -> Texts:
        """One attempt's answer, from its head to its end. ``payload`` is the request's."""
        progress = self._progress
        progress.head = head
        raw = RawStream(response.get("EventStream") or ())
        with self._lock:
            self._raw = raw
        texts, complete = TextReader(), None
        progress.held_back = texts.held_back
        given_back = False
        try:
            for frame in () if self._left else raw.frames(self._limit(deadline)):
                if isinstance(frame, Complete):
                    complete = frame
                    break
                text = texts.feed(frame)
                if text:
                    self._note(text)
                    if not (yield text) or self._left:
                        return _abandoned(progress)
                texts.check()
            if complete is not None:
                given_back = True
                raw.give_back()
                progress.head = head = _with_end(head, complete)
                if complete.error_code:
                    return partial(of_function(_told(complete, payload)), progress)
                ended = texts.end(payload)
                if ended.text:
                    self._note(ended.text)
                    yield ended.text
                if ended.function_error is not None:
                    return partial(of_function(ended.function_error), progress)
                answer, failure = ended.answer, None
                if not answer.success:
                    failure = Failure("function_failed", answer.cause or "the function answered success=false")
                elif answer.message is None and answer.data is None:
                    answer = attrs.evolve(answer, message="".join(progress.texts))
                return Outcome(executed="yes", answer=answer, failure=failure, head=head)
        except (FrameError, InvalidAnswerError) as exc:
            return partial(Failure("invalid_response", str(exc), executed="yes"), progress)
        except Exception as exc:
            check_not_interrupted(exc)
            return self._lost(exc, deadline)
        finally:
            if not given_back:
                raw.drop()
            with self._lock:
                self._raw = None
        return self._lost(None, deadline)

    def _limit(self, deadline: Optional[Deadline]) -> Optional[Callable[[], float]]:
        """Gives the seconds that a read may take; None without a deadline."""
        if deadline is None:
            return None
        at_s = deadline.at_s

        def remaining_s() -> float:
            left_s = at_s - self._clock()
            if left_s <= 0:
                raise _TimeIsUpError
            return left_s

        return remaining_s

    def _note(self, text: str) -> None:
        if not self._progress.texts:
            self._progress.first_text_at_s = self._clock()
        self._progress.texts.append(text)

    def _lost(self, exc: Optional[Exception], deadline: Optional[Deadline]) -> Outcome:
        """An answer that broke off, or did not go on: with ``exc``, or without any where it just ended."""
        progress = self._progress
        if self._left:
            return _abandoned(progress)
        if deadline is not None and deadline.is_up(self._clock()):
            return out_of_time(deadline, progress) if progress.text else Outcome("maybe", None, Failure("timeout"))
        if exc is None:
            failure = Failure("connection_lost", "the answer ended before the function had")
        else:
            failure = failures.from_lost_answer(exc)
            if failure.error_code == "timeout":
                failure = attrs.evolve(failure, cause="nothing came within read_timeout")
        if not progress.texts:
            executed: Executed = "yes" if progress.text else failure.executed
            outcome = partial(attrs.evolve(failure, executed=executed), progress)
            progress.held_back = str  # another attempt begins anew
            return outcome
        # Its reader has seen the beginning: another attempt would begin anew.
        return partial(attrs.evolve(failure, executed="yes", transient=False), progress, final="may_have_run")


def _abandoned(progress: Progress) -> Outcome:
    executed: Executed = "yes" if progress.text else "maybe" if progress.attempts else "no"
    return partial(Failure("abandoned", executed=executed), progress, final="ended")


def _with_end(head: Head, complete: Complete) -> Head:
    """What the answer's last frame says beside how it ended."""
    error = known_function_error(complete.error_code or None)
    return attrs.evolve(head, function_error=error, log_tail=decode_log_tail(complete.log_result))


def _told(complete: Complete, payload: bytes) -> ToldError:
    """What a failed function says of itself; redacted, as what ``execute`` is told."""
    details = complete.error_details
    error = {"errorMessage": details}
    if details.lstrip().startswith("{"):
        try:
            error = json.loads(details)
        except (ValueError, RecursionError):
            error = {}  # a stack trace may be in it
    if complete.error_code not in ("Handled", "Unhandled"):
        error.setdefault("errorType", complete.error_code)
    return decode_function_error(json.dumps(error), payload)
