"""The error codes, one row each: what health, circuit and retries make of a code, and what people are told.

A new code is a word of ``ErrorCode``, a row of ``CODES`` and a class in ``lambda_adapter.errors``.
``tests/unit/test_codes.py`` finds a word without a row or without a class.
"""

from typing import Dict, Literal, Tuple

import attrs

ErrorCode = Literal[
    "invalid_request",
    "missing_scopes",
    "payload_too_large",
    "overloaded",
    "circuit_open",
    "closed",
    "throttled",
    "service_error",
    "connection_error",
    "connection_lost",
    "timeout",
    "not_found",
    "access_denied",
    "invalid_parameter",
    "configuration_error",
    "already_started",
    "pending",
    "function_error",
    "function_failed",
    "invalid_response",
    "abandoned",
    "internal_error",
]
"""What ``error_code`` may be, beside None for success."""

#: Whether the function ran; "maybe" where nobody can tell, or where AWS has queued the call.
Executed = Literal["no", "maybe", "yes"]

#: Why no further attempt followed.
WhyEnded = Literal["succeeded", "permanent", "may_have_run", "no_attempts_left", "total_timeout", "ended"]

#: What LambdaAdapter's parameter of this name may be.
InvocationType = Literal["RequestResponse", "Event"]

#: What a circuit breaker makes of a failure.
CircuitEffect = Literal["opens", "closes", "ignores"]


@attrs.frozen(eq=False)
class Code:
    """What an error code means to the parts of this package, and to people."""

    #: What went wrong, for the bot's operator; a more exact cause may take its place.
    cause: str
    #: The same for the chat, as ``ExecuteResponse.user_message`` says it: neutral, and without internals.
    chat: str
    #: What the operator can do; ``doctor`` prints it.
    advice: str
    #: What it may say of whether the function ran; the first unless something else is known.
    executed: Tuple[Executed, ...] = ("no",)
    #: Whether health counts it as a failure. A refusal is not counted: it says nothing about the function.
    counts: bool = True
    #: Whether it counts towards opening the circuit, closes it (the function answered), or says nothing about it.
    circuit: CircuitEffect = "ignores"
    #: Whether the next attempt may succeed. ``executed`` and ``idempotent`` decide whether it may be made.
    transient: bool = False
    #: Whether it lies in the way of every call, not of this one alone, until somebody mends it: a batch stops for it.
    general: bool = False


_LATER = "That did not work just now. Please try again in a moment."
_BUSY = "There is too much going on right now. Please try again in a moment."
_BROKEN = "That command is not working at the moment."
_WAY = "Check --endpoint-url, and what stands between: a proxy, a load balancer, a firewall."

CODES: Dict[ErrorCode, Code] = {
    "invalid_request": Code(
        "the request cannot be sent",
        "That command could not be understood.",
        "Mend the request where the error says.",
        counts=False,
    ),
    "missing_scopes": Code(
        "the caller lacks a permission",
        "You do not have the permission to do that.",
        "Grant the caller the scopes that the error names.",
        counts=False,
    ),
    "payload_too_large": Code(
        "AWS refused the payload as too large",
        "That is too much text for this command.",
        "Send less, or a reference to the data.",
        counts=False,
    ),
    "overloaded": Code(
        "too many calls wait already",
        _BUSY,
        "Make fewer calls at once, or raise max_concurrency and max_pending.",
        counts=False,
    ),
    "circuit_open": Code(
        "the function has failed too often",
        _BROKEN,
        "Wait until the function is tried again; see why it failed before.",
        counts=False,
    ),
    "closed": Code(
        "the adapter is closed",
        _BROKEN,
        "Call before closing the adapter.",
        counts=False,
    ),
    "throttled": Code(
        "AWS is throttling the function",
        _BUSY,
        "Try again in a minute; if it stays so, have the account's limits raised.",
        circuit="opens",
        transient=True,
    ),
    "service_error": Code(
        "the service could not answer or is not ready yet",
        _LATER,
        "Try again in a minute: the service or the function is not ready.",
        circuit="opens",
        transient=True,
        executed=("no", "maybe"),
    ),
    # Nothing was sent: that says nothing about the function.
    "connection_error": Code(
        "the endpoint cannot be reached",
        _LATER,
        "Check the network, the proxy settings, --region and --endpoint-url.",
        transient=True,
        general=True,
    ),
    "connection_lost": Code(
        "the connection broke before the answer",
        _LATER,
        _WAY,
        circuit="opens",
        transient=True,
        executed=("maybe",),
    ),
    "timeout": Code(
        "no answer in time",
        "That took too long. Please try again in a moment.",
        _WAY,
        circuit="opens",
        transient=True,
        executed=("maybe", "no", "yes"),
    ),
    "not_found": Code(
        "no such function, version or alias in this region and account",
        _BROKEN,
        "Deploy it; or check its name, --function-prefix, --qualifier, --region and the credentials' account.",
        executed=("no", "maybe", "yes"),
        general=True,
    ),
    "access_denied": Code(
        "the credentials may not invoke this function, or are not valid",
        _BROKEN,
        "Allow the credentials' user or role the action lambda:InvokeFunction on this function.",
        general=True,
    ),
    "invalid_parameter": Code(
        "AWS refused the request",
        _BROKEN,
        "Check the function's name, --qualifier (a durable function needs one) and --isolate-communities.",
    ),
    "configuration_error": Code(
        "the function, its resources or the endpoint are not set up to be invoked",
        _BROKEN,
        "Mend what it names: the credentials, or the function's state, network or keys.",
        general=True,
    ),
    "already_started": Code(
        "an execution of this name exists with another payload",
        "That is already being done.",
        "Ask for the outcome of the first call; a new one needs a session_id of its own.",
        executed=("yes",),
        counts=False,
    ),
    "pending": Code(
        "the execution still runs",
        "That is still being done. Please ask again in a moment.",
        "Ask for the result again later.",
        executed=("yes",),
        counts=False,
    ),
    "function_error": Code(
        "the function failed",
        "Something went wrong with that command.",
        "Read the function's log.",
        circuit="opens",
        executed=("yes",),
    ),
    # It answered success=false, or with an HTTP status of 4xx or 5xx, of which the cause then names the status.
    "function_failed": Code(
        "the function answered success=false",
        "That did not work.",
        "Read the function's log.",
        circuit="closes",
        executed=("yes",),
    ),
    "invalid_response": Code(
        "the answer does not have the form of a module's answer",
        _BROKEN,
        "Make the function answer with a JSON object whose success is true or false.",
        circuit="opens",
        executed=("yes", "maybe"),
    ),
    "abandoned": Code(
        "its reader has left the stream before its end",
        "That was stopped before it was done.",
        "Read the stream to its end; the function runs on, and is billed, whoever leaves.",
        counts=False,
        executed=("maybe", "yes", "no"),
    ),
    "internal_error": Code(
        "an unexpected error occurred",
        _BROKEN,
        "Report it, with the class that the error names.",
        executed=("maybe", "no", "yes"),
    ),
}
