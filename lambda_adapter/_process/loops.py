"""Tells whoever blocks an event loop, where asyncio's debug mode asks for such news."""

import sys


def warn_of_blocking(method: str, instead: str = "await {}_async") -> None:
    """Warn the caller's caller that ``method`` blocks the event loop that runs in this thread, if it is debugged.

    Args:
        instead: What to do; ``{}`` stands for the method.
    """
    # Whoever has a loop has imported it; a script that has none does not wait for the import.
    running_loop = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    loop = running_loop() if running_loop is not None else None
    if loop is not None and loop.get_debug():
        import warnings

        text = f"{method} blocks the running event loop until the answer is there; {instead.format(method)} instead"
        warnings.warn(text, RuntimeWarning, stacklevel=3)
