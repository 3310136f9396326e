"""How a call went: frozen values, which responses and ``on_attempt`` carry."""

from typing import Optional

import attrs

from .codes import ErrorCode, Executed, WhyEnded


@attrs.frozen
class Report:
    """What Lambda's REPORT line says of an invocation."""

    duration_ms: float
    billed_ms: int
    #: The function's memory, and the most that it used of it.
    memory_mb: int
    max_memory_mb: int
    #: How long a cold start took; None for a warm one.
    init_ms: Optional[float] = None


@attrs.frozen
class Invocation:
    """How a call went: which function, how often, and what AWS said of it."""

    function_name: str
    #: Attempts made, the first included; 0 when the call was refused before any.
    attempts: int = 0
    #: Whether the function ran: "no", "maybe" (nobody can tell, or it is queued) or "yes".
    executed: Executed = "no"
    #: The last attempt's HTTP status, None when there was no answer.
    status_code: Optional[int] = None
    #: AWS's own id of the last attempt, as its logs show it.
    request_id: Optional[str] = None
    #: The version that ran; "$LATEST", a number, or None when AWS did not say.
    executed_version: Optional[str] = None
    #: X-Amz-Function-Error: "Unhandled", "Handled", or None when the function did not fail.
    function_error: Optional[str] = None
    #: Seconds from the first attempt's start to the outcome, waits included.
    duration_s: float = 0.0
    #: The end of the function's log, up to 4 KB, with ``log_tail=True``. Not in the repr: it may be private.
    log_tail: Optional[str] = attrs.field(default=None, repr=False)
    #: The log tail's REPORT line.
    report: Optional[Report] = None
    #: Why no further attempt followed; None when none was made.
    why_ended: Optional[WhyEnded] = None
    #: Of a streamed call: seconds from the first attempt's start to the first text; None when none came.
    first_text_s: Optional[float] = None


@attrs.frozen
class Attempt:
    """How one attempt of a call ended, for ``on_attempt``."""

    module_name: str
    function_name: str
    #: From 1.
    number: int
    #: A code of lambda_adapter.codes; None on success.
    error_code: Optional[ErrorCode]
    #: Whether the function ran: "no", "maybe" or "yes".
    executed: Executed
    #: The HTTP status, None when there was no answer.
    status_code: Optional[int]
    duration_s: float
    #: Seconds until the next attempt; None when there is none.
    next_delay_s: Optional[float]
    #: Why no further attempt follows; None when one does.
    why_ended: Optional[WhyEnded]
    #: Of a streamed call: seconds from this attempt's start to the first text; None when none came.
    first_text_s: Optional[float] = None
