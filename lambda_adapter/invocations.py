"""How a call went: frozen values, which responses and ``on_attempt`` carry."""

from typing import Optional

import attrs

from .codes import ErrorCode, Executed, WhyEnded


@attrs.frozen
class Report:
    """What Lambda's REPORT line says of an invocation.

    Attributes:
        duration_ms: How long the function ran.
        billed_ms: The part of it that is paid for.
        memory_mb: The function's memory.
        max_memory_mb: The most that it used of it.
        init_ms: How long a cold start took; None for a warm one.
    """

    duration_ms: float
    """How long the function ran."""
    billed_ms: int
    """The part of it that is paid for."""
    memory_mb: int
    """The function's memory."""
    max_memory_mb: int
    """The most that it used of it."""
    init_ms: Optional[float] = None
    """How long a cold start took; None for a warm one."""


@attrs.frozen
class Invocation:
    """How a call went: which function, how often, and what AWS said of it.

    Attributes:
        function_name: The function, with its prefix.
        attempts: Attempts made, the first included; 0 when the call was refused before any.
        executed: Whether the function ran: "no", "maybe" (nobody can tell, or it is queued) or "yes".
        status_code: The last attempt's HTTP status, None when there was no answer.
        request_id: AWS's own id of the last attempt, as its logs show it; not the payload's ``request_id``.
        executed_version: The version that ran; "$LATEST", a number, or None when AWS did not say.
        function_error: X-Amz-Function-Error: "Unhandled", "Handled", or None when the function did not fail.
        duration_s: Seconds from the first attempt's start to the outcome, waits included.
        log_tail: The end of the function's log, up to 4 KB, with ``log_tail=True``. Not in the repr: it may be private.
        report: The log tail's REPORT line.
        why_ended: Why no further attempt followed; None when none was made.
        execution_arn: The durable execution's ARN, with ``durable=True``.
        attached: Whether AWS said that the execution was there before this call, which then got its outcome. A further
            attempt of the same call gets it too, and AWS does not say so.
        first_text_s: Of a streamed call: seconds from the first attempt's start to the first text; None without any.
    """

    function_name: str
    """The function, with its prefix."""
    attempts: int = 0
    """Attempts made, the first included; 0 when the call was refused before any."""
    executed: Executed = "no"
    """Whether the function ran: "no", "maybe" (nobody can tell, or it is queued) or "yes"."""
    status_code: Optional[int] = None
    """The last attempt's HTTP status, None when there was no answer."""
    request_id: Optional[str] = None
    """AWS's own id of the last attempt, as its logs show it; not the payload's ``request_id``."""
    executed_version: Optional[str] = None
    """The version that ran; "$LATEST", a number, or None when AWS did not say."""
    function_error: Optional[str] = None
    """X-Amz-Function-Error: "Unhandled", "Handled", or None when the function did not fail."""
    duration_s: float = 0.0
    """Seconds from the first attempt's start to the outcome, waits included."""
    log_tail: Optional[str] = attrs.field(default=None, repr=False)
    """The end of the function's log, up to 4 KB, with ``log_tail=True``. Not in the repr: it may be private."""
    report: Optional[Report] = None
    """The log tail's REPORT line."""
    why_ended: Optional[WhyEnded] = None
    """Why no further attempt followed; None when none was made."""
    execution_arn: Optional[str] = None
    """The durable execution's ARN, with ``durable=True``."""
    attached: bool = False
    """Whether AWS said that the execution was there before this call, which then got its outcome. A further attempt of
    the same call gets it too, and AWS does not say so.
    """
    first_text_s: Optional[float] = None
    """Of a streamed call: seconds from the first attempt's start to the first text; None without any."""


@attrs.frozen
class Attempt:
    """How one attempt of a call ended, for ``on_attempt``.

    Attributes:
        module_name: The adapter's ``module_name``.
        function_name: The function, with its prefix.
        number: Which attempt of its call it was, from 1.
        error_code: One of the error codes that LAMBDA_ADAPTER_USAGE.md lists; None on success.
        executed: Whether the function ran: "no", "maybe" or "yes".
        status_code: The HTTP status, None when there was no answer.
        duration_s: Seconds that it took.
        next_delay_s: Seconds until the next attempt; None when there is none.
        why_ended: Why no further attempt follows; None when one does.
        first_text_s: Of a streamed call: seconds from this attempt's start to the first text; None without any.
    """

    module_name: str
    """The adapter's ``module_name``."""
    function_name: str
    """The function, with its prefix."""
    number: int
    """Which attempt of its call it was, from 1."""
    error_code: Optional[ErrorCode]
    """One of the error codes that LAMBDA_ADAPTER_USAGE.md lists; None on success."""
    executed: Executed
    """Whether the function ran: "no", "maybe" or "yes"."""
    status_code: Optional[int]
    """The HTTP status, None when there was no answer."""
    duration_s: float
    """Seconds that it took."""
    next_delay_s: Optional[float]
    """Seconds until the next attempt; None when there is none."""
    why_ended: Optional[WhyEnded] = None
    """Why no further attempt follows; None when one does."""
    first_text_s: Optional[float] = None
    """Of a streamed call: seconds from this attempt's start to the first text; None without any."""
