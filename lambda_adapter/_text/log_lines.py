"""One line of the log, as text and as fields of its record: ids, codes, sizes, durations, causes in our own words."""

import contextlib
import logging
import sys
import traceback
from typing import Dict, List, Mapping

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
        _write(level, text, values, extra)
    except Exception:
        # Of the program's own filter, or record factory: it must end no call. logging tells so of a handler's.
        if logging.raiseExceptions and sys.stderr is not None:
            with contextlib.suppress(OSError, ValueError):
                traceback.print_exc()


def _write(level: int, text: str, values: List[object], extra: Dict[str, object]) -> None:
    # The program's own record factory may have set an attribute of such a name, and even of the second.
    for named in (extra, {f"lambda_adapter_{name}": value for name, value in extra.items()}, {}):
        try:
            logger.log(level, text, *values, extra=named, stacklevel=3)
            return
        except KeyError as exc:
            if "Attempt to overwrite" not in str(exc):
                raise
