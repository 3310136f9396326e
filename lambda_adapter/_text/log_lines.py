"""One line of the log, as text and as fields of its record: ids, codes, sizes, durations, causes in our own words."""

import logging
from typing import Dict, Mapping

logger = logging.getLogger("lambda_adapter")

#: Each field that a record may have, and how the text names it. None of them is an attribute of LogRecord's own.
FIELDS: Dict[str, str] = {
    "module_name": "module",
    "function_name": "function",
    "region": "region",
    "invocation_type": "type",
    "max_retries": "retries",
    "session_id": "request",
    "payload_bytes": "bytes",
    "error_code": "code",
    "executed": "executed",
    "attempts": "attempts",
    "why_ended": "why_ended",
    "delay_s": "delay",
    "duration_s": "seconds",
    "status_code": "status",
    "aws_request_id": "aws_request",
    "dropped_targets": "dropped",
    "exception_type": "exception",
    "unknown_key": "key",
    "cause": "cause",
}


def log_line(level: int, head: str, fields: Mapping[str, object], **told: object) -> None:
    """Write one line, if the logger wants it.

    Args:
        head: How the text begins; it says ``told`` itself.
        fields: By their names in FIELDS. They follow the head, in their order, and are the record's attributes.
        told: Further attributes of the record.
    """
    if not logger.isEnabledFor(level):
        return
    text = " ".join([head, *(f"{FIELDS[name]}=%s" for name in fields)])
    values = [f"{value:.3f}" if isinstance(value, float) else value for value in fields.values()]
    extra = {**told, **fields}
    try:
        logger.log(level, text, *values, extra=extra, stacklevel=2)
    except KeyError:  # the program's own record factory has set an attribute of such a name
        logger.log(level, text, *values, extra={f"lambda_adapter_{n}": v for n, v in extra.items()}, stacklevel=2)
