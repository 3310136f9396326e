"""What is printed: JSON for a terminal, a pipe and a file."""

import contextlib
import json
import os
import sys
from typing import Optional, TextIO


def to_json(value: object, indent: Optional[int] = None) -> str:
    """``value`` as JSON that is readable, and holds nothing that could move a cursor or break a line."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    if text.isprintable():
        return text
    # What is not printable can only stand within a string, where its escape means the same.
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)


class OutputError(Exception):
    """stdout cannot be written; the text says why."""


def put(text: str, end: str = "\n") -> None:
    """Write to stdout at once, escaping what it cannot hold.

    Raises:
        BrokenPipeError: Its reader has gone.
        OutputError: It is full, or closed.
    """
    if sys.stdout is None:
        raise OutputError("stdout is closed")
    encoding = sys.stdout.encoding or "ascii"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + end)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        silence(sys.stdout)
        why = (isinstance(error, OSError) and error.strerror) or type(error).__name__
        raise OutputError(f"stdout cannot be written: {why}") from None


def tell(text: str, end: str = "\n") -> None:
    """Say something on stderr; a stderr that is closed, full or read by nobody hears nothing more."""
    if sys.stderr is not None:
        try:
            print(text, end=end, file=sys.stderr, flush=True)
        except (OSError, ValueError):
            silence(sys.stderr)


def silence(stream: TextIO) -> None:
    """Send what is still buffered nowhere, or the interpreter fails with it at exit."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def print_text(text: str) -> None:
    """Print a piece of text to stdout at once: as it is, but for what could move a terminal's cursor."""
    if _on_terminal() and not text.isprintable():
        text = "".join(char if char.isprintable() or char in "\n\t" else json.dumps(char)[1:-1] for char in text)
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    put(text.encode(encoding, "replace").decode(encoding), end="")


def print_json(value: object) -> None:
    """Print to stdout: indented on a terminal, one line anywhere else."""
    text = to_json(value, indent=2 if _on_terminal() else None)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        text = "".join(char if char.isascii() else json.dumps(char)[1:-1] for char in text)
    put(text)


def _on_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()
