"""How an attempt and a whole call ended, and the response and the log line that say so."""

import logging
from typing import Any, Optional

import attrs

from .._aws.failures import Failure
from .._text.redaction import shown
from .._wire.answer import FunctionAnswer
from .._wire.log_tail import parse_report
from ..messages import ExecuteResponse, Invocation

logger = logging.getLogger("lambda_adapter")


@attrs.frozen
class Outcome:
    """How an attempt ended: with an answer, a failure, or (``success`` false) with both."""

    executed: str
    answer: Optional[FunctionAnswer] = None
    failure: Optional[Failure] = None
    status_code: Optional[int] = None
    request_id: Optional[str] = None
    executed_version: Optional[str] = None
    function_error: Optional[str] = None
    log_tail: Optional[str] = attrs.field(default=None, repr=False)


@attrs.frozen
class Result:
    """How a call ended: its last attempt's outcome, and what it took."""

    outcome: Outcome
    attempts: int = 0
    duration_s: float = 0.0


def failed(failure: Failure, **head: Any) -> Outcome:
    """The outcome of an attempt, or a call, without an answer. ``head`` is what its HTTP head said nevertheless."""
    known = {"status_code": failure.status_code, "request_id": failure.request_id, **head}
    return Outcome(executed=failure.executed, failure=failure, **known)


def to_response(result: Result, function_name: str) -> ExecuteResponse:
    """The one response of a call."""
    outcome, answer, failure = result.outcome, result.outcome.answer, result.outcome.failure
    return ExecuteResponse(
        success=failure is None,
        message=answer.message if answer else None,
        data=answer.data if answer else None,
        error=_error_text(failure, answer) if failure else None,
        targets=answer.targets if answer else [],
        error_code=failure.error_code if failure else None,
        invocation=Invocation(
            function_name=function_name,
            attempts=result.attempts,
            executed=outcome.executed,
            status_code=outcome.status_code,
            request_id=outcome.request_id,
            executed_version=outcome.executed_version,
            function_error=outcome.function_error,
            duration_s=result.duration_s,
            log_tail=outcome.log_tail,
            report=parse_report(outcome.log_tail),
        ),
    )


def _error_text(failure: Failure, answer: Optional[FunctionAnswer]) -> str:
    """Code and cause; the function's own words where it chose them for the chat."""
    if answer and answer.error:
        return shown(answer.error, 500)
    return f"{failure.error_code}: {failure.cause}"


def log_result(result: Result, function_name: str, request_id: str) -> None:
    """Codes, ids and numbers only: a function's own words may repeat what the user typed."""
    outcome, failure = result.outcome, result.outcome.failure
    if failure is None:
        level, ended = logging.INFO, "Succeeded"
    elif failure.error_code == "function_failed":
        level, ended = logging.WARNING, "The function answered success=false"
    else:
        level, ended = logging.ERROR, "Gave up"
    logger.log(
        level,
        "%s: function=%s request=%s code=%s executed=%s attempts=%d seconds=%.3f status=%s aws_request=%s",
        ended,
        function_name,
        request_id,
        failure.error_code if failure else None,
        outcome.executed,
        result.attempts,
        result.duration_s,
        outcome.status_code,
        outcome.request_id,
    )
    if outcome.answer and outcome.answer.dropped_targets:
        logger.warning(
            "Dropped %d targets that are neither strings nor objects: function=%s request=%s",
            outcome.answer.dropped_targets,
            function_name,
            request_id,
        )
