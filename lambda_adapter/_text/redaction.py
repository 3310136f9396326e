"""What may be shown of text that somebody else wrote."""

import re

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S*")
_NAME = re.compile(r"[A-Za-z0-9_.$-]{1,80}", re.ASCII)

#: Keys, tokens, signatures and ids: long, without a space, and with a digit in them, which words do not have.
_KEY_LIKE = re.compile(r"(?=[A-Za-z+/=_-]*[0-9])[A-Za-z0-9+/=_-]{16,}")


def without_keys(text: str) -> str:
    """``text`` with all that could be a credential masked."""
    return _KEY_LIKE.sub(_masked, text)


def _masked(key_like: "re.Match[str]") -> str:
    # Http404NotFoundException is long and has digits too, and is what the operator looks for.
    return key_like[0] if key_like[0].endswith(("Error", "Exception")) else "<...>"


def shown(text: object, max_chars: int = 200) -> str:
    """``text`` on one line, without URLs, control characters and terminal escapes, cut to ``max_chars``."""
    # Cut first: the text may have megabytes, and a URL cut in two is still recognised by its scheme.
    line = str(text)[: max_chars + 1]
    if "://" in line:
        line = _URL.sub("<url>", line)
    if not line.isprintable():
        line = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"


def shown_name(text: object) -> str:
    """A code or class name as it is, and "unknown" for anything that does not look like one."""
    return text if isinstance(text, str) and _NAME.fullmatch(text) else "unknown"


def shown_type(text: str) -> str:
    """An error's type as its runtime names it: ``KeyError``, ``Function<RuntimeError>``, ``&alloc::boxed::Box<…>``."""
    return shown(without_keys(text.strip()), 120)


def class_name(value: object) -> str:
    """The name of ``value``'s class, read in a way that no metaclass can interfere with."""
    return shown_name(type.__dict__["__name__"].__get__(type(value)))


_JSON_KINDS = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}


def json_kind(value: object) -> str:
    """A value's shape in JSON's words; never its content."""
    kind = type(value)
    return _JSON_KINDS.get(kind) or ("a number" if kind in (int, float) else shown_name(kind.__name__))
