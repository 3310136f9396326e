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


def tell(text: str) -> None:
    """Say something on stderr; a stderr that is closed, full or read by nobody hears nothing more."""
    if sys.stderr is not None:
        try:
            print(text, file=sys.stderr, flush=True)
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
    if sys.stdout.isatty() and not text.isprintable():
        text = "".join(char if char.isprintable() or char in "\n\t" else json.dumps(char)[1:-1] for char in text)
    encoding = sys.stdout.encoding or "ascii"
    print(text.encode(encoding, "replace").decode(encoding), end="", flush=True)


def print_json(value: object) -> None:
    """Print to stdout: indented on a terminal, one line anywhere else."""
    text = to_json(value, indent=2 if sys.stdout.isatty() else None)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        text = "".join(char if char.isascii() else json.dumps(char)[1:-1] for char in text)
    print(text)
