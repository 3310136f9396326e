"""The end of a function's log that an answer may carry, and the REPORT line in it."""

import base64
import re
from typing import Optional

from ..invocations import Report

# https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html; the fields are separated by tabs.
_REPORT = re.compile(
    r"REPORT RequestId: [^\s]+\s+"
    r"Duration: (?P<duration>[0-9]{1,12}(?:\.[0-9]{1,6})?) ms\s+"
    r"Billed Duration: (?P<billed>[0-9]{1,12}) ms\s+"
    r"Memory Size: (?P<memory>[0-9]{1,9}) MB\s+"
    r"Max Memory Used: (?P<used>[0-9]{1,9}) MB"
    r"(?:\s+Init Duration: (?P<init>[0-9]{1,12}(?:\.[0-9]{1,6})?) ms)?"
)


def decode_log_tail(log_result: object) -> Optional[str]:
    """X-Amz-Log-Result as text; None when there is none, or when it is no base64."""
    if not isinstance(log_result, str):
        return None
    try:
        # The tail is the last 4 KB, and may begin in the middle of a character.
        return base64.b64decode(log_result, validate=True).decode(errors="replace")
    except ValueError:
        return None


def parse_report(log_tail: Optional[str]) -> Optional[Report]:
    """What the REPORT line says; None without one, or when it has another shape."""
    # The last one is Lambda's: whatever the function printed came before it.
    begin = (log_tail or "").rfind("REPORT RequestId: ")
    report = _REPORT.match(log_tail or "", begin) if begin >= 0 else None
    if report is None:
        return None
    return Report(
        duration_ms=float(report["duration"]),
        billed_ms=int(report["billed"]),
        memory_mb=int(report["memory"]),
        max_memory_mb=int(report["used"]),
        init_ms=float(report["init"]) if report["init"] else None,
    )
