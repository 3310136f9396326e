"""Tells whoever blocks an event loop, where asyncio's debug mode asks for such news."""

import sys


def warn_of_blocking(method: str) -> None:
    """Warn the caller's caller that ``method`` blocks the event loop that runs in this thread, if it is debugged."""
    # Whoever has a loop has imported it; a script that has none does not wait for the import.
    running_loop = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    loop = running_loop() if running_loop is not None else None
    if loop is not None and loop.get_debug():
        import warnings

        text = f"{method} blocks the running event loop until the answer is there; await {method}_async instead"
        warnings.warn(text, RuntimeWarning, stacklevel=3)
