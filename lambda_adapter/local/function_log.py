"""The lines that Lambda itself writes into a function's log."""

import math

#: REPORT carries these two because AWS's does; nothing here measures them.
_INIT_DURATION_MS = 0.5
_MEMORY_USED_MB = 40


def start_line(request_id: str, version: str) -> str:
    """What comes before a function's own lines."""
    return f"START RequestId: {request_id} Version: {version}\n"


def end_lines(request_id: str, duration_ms: float, memory_mb: int, cold: bool) -> str:
    """What comes after them. ``cold``: the function had not run before."""
    init = f"Init Duration: {_INIT_DURATION_MS:.2f} ms\t" if cold else ""
    return (
        f"END RequestId: {request_id}\n"
        f"REPORT RequestId: {request_id}\tDuration: {duration_ms:.2f} ms\t"
        f"Billed Duration: {math.ceil(duration_ms)} ms\tMemory Size: {memory_mb} MB\t"
        f"Max Memory Used: {min(_MEMORY_USED_MB, memory_mb)} MB\t{init}\n"
    )
