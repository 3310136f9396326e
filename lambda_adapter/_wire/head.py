"""What an answer of the Invoke API says beside its body; anything that does not look like AWS's is not repeated."""

import re
from typing import Any, Mapping, Optional

import attrs

from .log_tail import decode_log_tail

_REQUEST_ID = re.compile(r"[0-9a-fA-F-]{8,64}")
#: https://docs.aws.amazon.com/lambda/latest/api/API_GetDurableExecution.html, with the dots of a function's name.
_EXECUTION_ARN = re.compile(
    r"arn:[a-zA-Z0-9-]+:lambda:(?P<region>[a-zA-Z0-9-]+):(?P<account>[0-9]{12}):function:(?P<function>[a-zA-Z0-9_.-]+)"
    r":(?P<version>\$LATEST(?:\.PUBLISHED)?|[0-9]+)/durable-execution/(?P<name>[a-zA-Z0-9_-]+)/[a-zA-Z0-9_-]+"
)
_MAX_EXECUTION_ARN_CHARS = 1_024

_VERSION = re.compile(r"\$LATEST(\.PUBLISHED)?|[0-9]{1,10}", re.ASCII)


@attrs.frozen
class Head:
    """Known before the body is read, and still when that is lost."""

    status_code: Optional[int] = None
    #: AWS's id of the attempt.
    request_id: Optional[str] = None
    executed_version: Optional[str] = None
    function_error: Optional[str] = None
    log_tail: Optional[str] = attrs.field(default=None, repr=False)
    execution_arn: Optional[str] = None


#: Of an attempt that had no answer.
NO_HEAD = Head()


def read_head(response: Mapping[str, Any]) -> Head:
    """The head of what ``client.invoke`` returned."""
    return Head(
        status_code=response.get("StatusCode"),
        request_id=known_request_id(response.get("ResponseMetadata") or {}),
        executed_version=known_version(response.get("ExecutedVersion")),
        function_error=known_function_error(response.get("FunctionError")),
        log_tail=decode_log_tail(response.get("LogResult")),
        execution_arn=known_execution_arn(response.get("DurableExecutionArn")),
    )


@attrs.frozen
class ExecutionArn:
    """The parts of a durable execution's ARN."""

    region: str
    account: str
    function: str
    version: str
    name: str


def parse_execution_arn(arn: object) -> Optional[ExecutionArn]:
    """The parts of ``arn``; None where it is no durable execution's."""
    if not isinstance(arn, str) or len(arn) > _MAX_EXECUTION_ARN_CHARS:
        return None
    parts = _EXECUTION_ARN.fullmatch(arn)
    return ExecutionArn(**parts.groupdict()) if parts else None


def announced_length(headers: Mapping[str, Any]) -> Optional[int]:
    """How many bytes the body has, by its head; None where that does not say.

    With a transfer encoding http.client ignores the length, and so must we.
    """
    length = "" if "transfer-encoding" in headers else str(headers.get("content-length", ""))
    return int(length) if length.isascii() and length.isdigit() and len(length) < 10 else None


def known_execution_arn(arn: object) -> Optional[str]:
    """A durable execution's ARN as AWS writes it; None for anything else."""
    return arn if isinstance(arn, str) and parse_execution_arn(arn) else None


def known_request_id(metadata: Mapping[str, Any]) -> Optional[str]:
    """AWS's request id, None when there is none or when it cannot be one."""
    request_id = metadata.get("RequestId")
    return request_id if isinstance(request_id, str) and _REQUEST_ID.fullmatch(request_id) else None


def known_version(version: object) -> Optional[str]:
    """The executed version as AWS writes it: $LATEST or a number."""
    return version if isinstance(version, str) and _VERSION.fullmatch(version) else None


def known_function_error(kind: object) -> Optional[str]:
    """X-Amz-Function-Error: any value means that the function failed; only AWS's own are repeated."""
    if kind is None:
        return None
    return kind if isinstance(kind, str) and kind in ("Handled", "Unhandled") else "unknown"
