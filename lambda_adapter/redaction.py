"""What may be shown of text that somebody else wrote."""

import re

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S*")
_NAME = re.compile(r"[A-Za-z0-9_.$-]{1,80}", re.ASCII)


def shown(text: object, max_chars: int = 200) -> str:
    """``text`` on one line, without URLs, control characters and terminal escapes, cut to ``max_chars``."""
    # Cut first: the text may have megabytes, and a URL cut in two is still recognised by its scheme.
    line = _URL.sub("<url>", str(text)[: max_chars + 1])
    line = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"


def shown_name(text: object) -> str:
    """A code or class name as it is, and "unknown" for anything that does not look like one."""
    return text if isinstance(text, str) and _NAME.fullmatch(text) else "unknown"


_JSON_KINDS = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}


def json_kind(value: object) -> str:
    """A value's shape in JSON's words; never its content."""
    kind = type(value)
    return _JSON_KINDS.get(kind) or ("a number" if kind in (int, float) else shown_name(kind.__name__))
