"""The command line: which command, how it ends, and with which exit code."""

import sys
from typing import List, Optional

from .exit_codes import INTERRUPTED, NO_READER


def main(argv: Optional[List[str]] = None) -> int:
    """Run one command.

    Args:
        argv: The arguments without the program's name; ``sys.argv``'s when None.

    Returns:
        The exit code: 0 success, 1 a failure, 2 bad usage, 130 Ctrl-C, 141 nobody reads what is printed.

    Raises:
        SystemExit: ``--help`` was asked for.
    """
    try:
        try:
            return _run(sys.argv[1:] if argv is None else argv)
        except KeyboardInterrupt:
            print("\nInterrupted.", file=sys.stderr)
            return INTERRUPTED
    except BrokenPipeError:
        _drop_unread_output()
        return NO_READER


def _run(argv: List[str]) -> int:
    # Here, so that Ctrl-C is answered from the first moment on.
    from .options import UsageError
    from .parser import parse

    try:
        args = parse(argv)
        code: int = args.run(args)
    except UsageError as error:
        print(f"lambda-adapter: {error}", file=sys.stderr)
        return 2
    sys.stdout.flush()  # while a reader that has gone can still be noticed
    return code


def _drop_unread_output() -> None:
    """Send what is still buffered nowhere, or the interpreter complains about it at exit."""
    from .output import silence

    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            silence(stream)
