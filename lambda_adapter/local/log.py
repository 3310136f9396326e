"""The log of one call, as AWS keeps it and returns the end of it."""

import math
from datetime import datetime, timezone
from typing import List, Optional

from .runtime import LambdaContext

#: REPORT carries these two because AWS's does; nothing here measures them.
_INIT_DURATION_MS = 0.5
_MEMORY_USED_MB = 40


def log_of(
    context: LambdaContext, said: List[str], *, duration_ms: float, timed_out_after_s: Optional[float], cold: bool
) -> str:
    """All lines of one call: ``said`` is what its handler and the runtime said."""
    request_id = context.aws_request_id
    late = "" if timed_out_after_s is None else _late(request_id, timed_out_after_s)
    return (
        f"START RequestId: {request_id} Version: {context.function_version}\n"
        f"{''.join(said)}{late}"
        f"END RequestId: {request_id}\n"
        f"{_report(context, duration_ms, cold)}\n"
    )


def _late(request_id: str, timeout_s: float) -> str:
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f"{now} {request_id} Task timed out after {timeout_s:.2f} seconds\n\n"


def _report(context: LambdaContext, duration_ms: float, cold: bool) -> str:
    memory_mb = int(context.memory_limit_in_mb)
    init = f"Init Duration: {_INIT_DURATION_MS:.2f} ms\t" if cold else ""
    return (
        f"REPORT RequestId: {context.aws_request_id}\tDuration: {duration_ms:.2f} ms\t"
        f"Billed Duration: {math.ceil(duration_ms)} ms\tMemory Size: {memory_mb} MB\t"
        f"Max Memory Used: {min(_MEMORY_USED_MB, memory_mb)} MB\t{init}"
    )
