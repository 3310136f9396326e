"""What is printed: JSON for a terminal, a pipe and a file."""

import json
import sys
from typing import Optional


def to_json(value: object, indent: Optional[int] = None) -> str:
    """``value`` as JSON that is readable, and holds nothing that could move a cursor or break a line."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    if text.isprintable():
        return text
    # What is not printable can only stand within a string, where its escape means the same.
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)


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
