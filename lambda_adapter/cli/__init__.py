"""The command line: which command, how it ends, and with which exit code."""

import sys
from typing import List, Optional

from .exit_codes import INTERRUPTED, NO_READER


def main(argv: Optional[List[str]] = None) -> int:
    """Run one command.

    Args:
        argv: The arguments without the program's name; ``sys.argv``'s when None.

    Returns:
        The exit code: 0 success, 1 a failure or a full stdout, 2 bad usage, 130 Ctrl-C, 141 nobody reads stdout.

    Raises:
        SystemExit: ``--help`` was asked for.
    """
    try:
        try:
            return _run(sys.argv[1:] if argv is None else argv)
        except KeyboardInterrupt:
            _tell("\nInterrupted.")
            return INTERRUPTED
    except BrokenPipeError:
        _drop_unread_output()
        return NO_READER


def _run(argv: List[str]) -> int:
    # Here, so that Ctrl-C is answered from the first moment on.
    from .options import UsageError
    from .output import OutputError
    from .parser import parse

    try:
        args = parse(argv)
        if sys.stdout is None and args.name != "batch":  # which may write to a file
            raise UsageError("stdout is closed; nothing was called")
        code: int = args.run(args)
    except UsageError as error:
        _tell(f"lambda-adapter: {error}")
        return 2
    except OutputError as error:
        _tell(f"lambda-adapter: {error}")
        return 1
    return code


def _tell(text: str) -> None:
    from .output import tell

    tell(text)


def _drop_unread_output() -> None:
    """Send what is still buffered nowhere, or the interpreter complains about it at exit."""
    from .output import silence

    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except OSError:
                silence(stream)
