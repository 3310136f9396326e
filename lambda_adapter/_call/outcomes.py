"""How an attempt and a whole call ended, and the response and the log line that say so."""

import logging
from typing import Callable, Dict, List, Optional

import attrs

from .._aws.failures import Failure
from .._process.clock import monotonic_s
from .._text.log_lines import log_line, logger
from .._text.redaction import shown
from .._wire.answer import (
    FunctionAnswer,
    InvalidAnswerError,
    ToldError,
    decode_answer,
    decode_any_json,
    decode_unmarked_error,
)
from .._wire.head import NO_HEAD, Head
from .._wire.log_tail import parse_report
from ..codes import CODES, ErrorCode, Executed, WhyEnded
from ..invocations import Invocation
from ..messages import ExecuteResponse
from .deadline import Deadline


@attrs.frozen
class Outcome:
    """How an attempt ended: with an answer, a failure, or (``success`` false) with both."""

    executed: Executed
    answer: Optional[FunctionAnswer] = None
    failure: Optional[Failure] = None
    head: Head = NO_HEAD
    #: Whether it is that of a durable execution which was there already.
    attached: bool = False
    #: Whether that had ended before the call: it says nothing of the function now.
    is_old: bool = False
    #: Why no further attempt may follow, whatever the failure's code allows: the text has been seen, for example.
    final: Optional[WhyEnded] = None

    @property
    def error_code(self) -> Optional[ErrorCode]:
        return self.failure.error_code if self.failure else None


@attrs.frozen(eq=False)
class Result:
    """How a call ended: its last attempt's outcome, and what it took."""

    outcome: Outcome
    attempts: int = 0
    duration_s: float = 0.0
    #: None when no attempt was made.
    why_ended: Optional[WhyEnded] = None
    #: From the first attempt's start to the first text; None when there was none, or when it was not streamed.
    first_text_s: Optional[float] = None


@attrs.define(eq=False)
class Progress:
    """How far a call has come: what its thread writes and another may read when the time is up."""

    #: Attempts that were begun.
    attempts: int = 0
    #: When the first of them was, by the monotonic clock.
    started_s: Optional[float] = None
    #: Of an answer that is read as it comes: what has been shown of it, and since when.
    texts: List[str] = attrs.field(factory=list)
    first_text_at_s: Optional[float] = None
    #: Gives what came of it beside that and could not be shown, because it may be JSON.
    held_back: Callable[[], str] = str
    head: Head = NO_HEAD

    @property
    def text(self) -> str:
        """All that came of the answer, shown or not."""
        return "".join(self.texts) + self.held_back()

    @property
    def first_text_s(self) -> Optional[float]:
        """Seconds from the first attempt's start to the first text."""
        return None if self.first_text_at_s is None else self.first_text_at_s - (self.started_s or 0.0)


def partial(failure: Failure, progress: Progress, final: Optional[WhyEnded] = None) -> Outcome:
    """The outcome of an attempt that failed while its answer came: with the text so far."""
    text = progress.text
    said = FunctionAnswer(success=False, message=text) if text else None
    return Outcome(failure.executed, said, failure, progress.head, final=final)


def out_of_time(deadline: Deadline, progress: Progress) -> Outcome:
    """The outcome of an attempt whose call's time is up while its answer comes."""
    cause = f"{deadline.cause} in the middle of the answer"
    return partial(Failure("timeout", cause, executed="yes", transient=False), progress, final="total_timeout")


def timed_out(deadline: Deadline, progress: Progress) -> Result:
    """The result of a call whose time is up while an attempt is in flight, or about to be."""
    attempts = max(1, progress.attempts)
    duration_s = 0.0 if progress.started_s is None else monotonic_s() - progress.started_s
    if progress.text:
        outcome = out_of_time(deadline, progress)
        return Result(outcome, attempts, duration_s, "total_timeout", progress.first_text_s)
    cause = f"{deadline.cause} while attempt {attempts} is in flight, which may still finish"
    failure = Failure("timeout", cause, executed="maybe")
    return Result(failed(failure), attempts, duration_s, why_ended="total_timeout")


def failed(failure: Failure, head: Optional[Head] = None) -> Outcome:
    """The outcome of an attempt, or a call, without an answer. ``head`` is what its HTTP head said nevertheless."""
    return Outcome(executed=failure.executed, failure=failure, head=head or failure.head)


def of_function(told: ToldError, ended: str = "") -> Failure:
    """The failure of a function that says so. ``ended`` goes in front of its words, and is ours."""
    cause = f"{ended}{CODES['function_error'].cause}"
    log_cause = f"{cause} ({told.kind})" if told.kind else cause
    return Failure("function_error", f"{ended}{told.text}", log_cause=log_cause)


def cause_for_log(failure: Optional[Failure]) -> Optional[str]:
    """Why it failed, in this package's words; a function's own may repeat what the user typed."""
    return None if failure is None else shown(failure.log_cause or failure.cause, 400)


def judge_answer(answer_text: str, payload: bytes, head: Head) -> Outcome:
    """What a function says that has run to its end.

    Raises:
        InvalidAnswerError: It is no answer that a module may give.
    """
    try:
        answer = decode_answer(answer_text)
    except InvalidAnswerError:
        error = decode_unmarked_error(answer_text, payload)
        if error is None:
            raise
        return failed(of_function(error), head)
    failure = None if answer.success else Failure("function_failed", answer.cause or CODES["function_failed"].cause)
    return Outcome(executed="yes", answer=answer, failure=failure, head=head)


def judge_any_json(answer_text: str, payload: bytes, head: Head) -> Outcome:
    """What a function that is no module says: any JSON, unless it is a runtime's error without its header.

    Raises:
        InvalidAnswerError: It is no JSON.
    """
    error = decode_unmarked_error(answer_text, payload)
    if error is not None:
        return failed(of_function(error), head)
    return Outcome(executed="yes", answer=decode_any_json(answer_text), head=head)


def refused(failure: Failure) -> Result:
    """The result of a call that made no attempt."""
    return Result(failed(failure))


def refuse(failure: Failure, function_name: str, module_name: str) -> ExecuteResponse:
    """The answer to a call that makes no attempt."""
    log_line(
        logging.WARNING,
        "Refused:",
        {
            "module_name": module_name,
            "function_name": function_name,
            "error_code": failure.error_code,
            "executed": failure.executed,
            "cause": cause_for_log(failure),
        },
    )
    return to_response(refused(failure), function_name)


def to_response(result: Result, function_name: str) -> ExecuteResponse:
    """The one response of a call."""
    outcome, answer, head = result.outcome, result.outcome.answer, result.outcome.head
    return ExecuteResponse(
        success=outcome.failure is None,
        message=answer.message if answer else None,
        data=answer.data if answer else None,
        error=_error_text(outcome.failure, answer) if outcome.failure else None,
        targets=answer.targets if answer else [],
        error_code=outcome.error_code,
        invocation=Invocation(
            function_name=function_name,
            attempts=result.attempts,
            executed=outcome.executed,
            status_code=head.status_code,
            request_id=head.request_id,
            executed_version=head.executed_version,
            function_error=head.function_error,
            duration_s=result.duration_s,
            why_ended=result.why_ended,
            execution_arn=head.execution_arn,
            attached=outcome.attached,
            first_text_s=result.first_text_s,
            log_tail=head.log_tail,
            report=parse_report(head.log_tail) if head.log_tail else None,
        ),
    )


def _error_text(failure: Failure, answer: Optional[FunctionAnswer]) -> str:
    """Code and cause; or the function's own words, unchanged, where it answered success=false with some."""
    if answer and answer.error:
        return answer.error
    return f"{failure.error_code}: {failure.cause}"


def log_end(result: Result, function_name: str, request_id: str) -> None:
    """Codes, ids and numbers only: a function's own words may repeat what the user typed."""
    outcome = result.outcome
    if outcome.failure is None:
        level, ended = logging.INFO, "Succeeded"
    elif outcome.error_code == "pending":
        level, ended = logging.INFO, "Still running"
    elif outcome.error_code == "abandoned":
        level, ended = logging.INFO, "Left by its reader"
    elif outcome.error_code == "function_failed":
        level, ended = logging.WARNING, "The function answered success=false"
        if outcome.answer and outcome.answer.cause:
            ended = "The function answered with an HTTP status of 4xx or 5xx"
    else:
        level, ended = logging.ERROR, "Gave up"
    if logger.isEnabledFor(level):
        fields: Dict[str, object] = {
            "function_name": function_name,
            "session_id": request_id,
            "error_code": outcome.error_code,
            "executed": outcome.executed,
            "attempts": result.attempts,
            "why_ended": result.why_ended,
            "duration_s": result.duration_s,
            "status_code": outcome.head.status_code,
            "aws_request_id": outcome.head.request_id,
        }
        if outcome.failure is not None:
            fields["cause"] = cause_for_log(outcome.failure)
        log_line(level, f"{ended}:", fields)
    dropped = outcome.answer.dropped_targets if outcome.answer else 0
    if dropped:
        log_line(
            logging.WARNING,
            f"Dropped {dropped} target{'' if dropped == 1 else 's'} of a type other than string and object:",
            {"function_name": function_name, "session_id": request_id},
            dropped_targets=dropped,
        )
