"""What goes in and what comes out: frozen values without behaviour beyond themselves."""

from typing import Any, Dict, List, Optional, Union

import attrs

from .errors import error_for

#: An id as the platform gives it; it is sent to the function as it is.
Id = Union[str, int]


def _counted(value: Any) -> str:
    """What people type may be private, so a repr says only how much of it there is."""
    return f"<{len(value)} items>" if isinstance(value, (list, tuple, dict)) else f"<{type(value).__name__}>"


@attrs.frozen
class ExecuteRequest:
    """One chat command or event for a module.

    Nothing is checked here: the adapter checks each request and answers ``invalid_request`` with the path to what is
    wrong, so that a bad request becomes a response like any other.
    """

    #: The command's name, without the bot's prefix character.
    command: str
    #: The words after the command.
    args: List[str] = attrs.field(repr=_counted)
    user_id: Id
    entity_id: Id
    community_id: Id
    #: Becomes the payload's ``request_id``: the same in every attempt, so that a function can deduplicate.
    session_id: Id
    #: "discord", "twitch", …
    platform: str
    #: JSON-able; the keys "community", "user", "entity", "is_event", "event_type" and "event_data" reach the function.
    metadata: Dict[str, Any] = attrs.field(factory=dict, repr=_counted)
    #: The permissions that the caller was granted.
    scopes: List[str] = attrs.field(factory=list)


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
    executed: str = "no"
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


@attrs.frozen
class Attempt:
    """How one attempt of a call ended, for ``on_attempt``."""

    module_name: str
    function_name: str
    #: From 1.
    number: int
    #: One of LAMBDA_ADAPTER_USAGE.md's error codes; None on success.
    error_code: Optional[str]
    #: Whether the function ran: "no", "maybe" or "yes".
    executed: str
    #: The HTTP status, None when there was no answer.
    status_code: Optional[int]
    duration_s: float
    #: Seconds until the next attempt; None when there is none.
    next_delay_s: Optional[float]


@attrs.frozen
class ExecuteResponse:
    """The one answer to a request."""

    success: bool
    message: Optional[str] = None
    #: Every key of the function's answer except ``success`` and ``message``; None when there is none.
    data: Optional[Dict[str, Any]] = None
    #: Why the call failed, fit to be shown in a chat; None on success.
    error: Optional[str] = None
    #: Where the message should go, one object a target: ``{"type": "discord"}``.
    targets: List[Dict[str, Any]] = attrs.field(factory=list)
    #: One of LAMBDA_ADAPTER_USAGE.md's error codes; None on success.
    error_code: Optional[str] = None
    invocation: Optional[Invocation] = None

    def raise_for_error(self) -> "ExecuteResponse":
        """The response itself when it succeeded.

        Raises:
            LambdaAdapterError: The call failed; its subclass in ``lambda_adapter.errors`` stands for the error code.
        """
        if self.success:
            return self
        raise error_for(self)

    def to_dict(self) -> Dict[str, Any]:
        """The response as plain values, ready for ``json.dumps``; ``data`` and ``targets`` are not copied."""
        response = {field.name: getattr(self, field.name) for field in attrs.fields(ExecuteResponse)}
        response["invocation"] = attrs.asdict(self.invocation) if self.invocation else None
        return response
