"""JSON of what a handler returned, as AWS's Python runtime writes it: by the rules of simplejson."""

import json
import math
from decimal import Decimal
from typing import Dict, List, Optional, Set, Union

#: UTF-8, as in AWS's Python 3.12 and newer: an escape would make six bytes of a character.
_text = json.JSONEncoder(ensure_ascii=False).encode


def to_json(value: object) -> str:
    """``value`` as JSON text.

    A namedtuple, or whatever else has ``_asdict()``, is an object; a Decimal is a number with all its digits; bytes
    within are UTF-8 text; NaN and infinities are written as such, which is no JSON.

    Raises:
        Exception: It cannot be written; in the words of AWS's runtime, or from the value's own methods.
    """
    parts: List[str] = []
    _write(value, parts, set())
    return "".join(parts)


def _write(value: object, parts: List[str], around: Set[int]) -> None:
    """Write a value; ``around`` are the ids of the containers that it stands in."""
    plain = _plain(value)
    if plain is not None:
        parts.append(plain)
        return
    if id(value) in around:
        raise ValueError("Circular reference detected")
    around.add(id(value))
    fields = _fields(value)
    if fields is not None:
        separator = "{"
        for key, item in fields.items():
            parts.append(f"{separator}{_text(_key(key))}: ")
            _write(item, parts, around)
            separator = ", "
        parts.append("}" if fields else "{}")
    elif isinstance(value, (list, tuple)):
        separator = "["
        for item in value:
            parts.append(separator)
            _write(item, parts, around)
            separator = ", "
        parts.append("]" if value else "[]")
    else:
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    around.discard(id(value))


def _plain(value: object) -> Optional[str]:
    """The text of what holds no other values; None for what does."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bytes):
        return _text(value.decode())
    if value is None or isinstance(value, (bool, int, float)):
        return _number(value)
    if isinstance(value, Decimal):
        return "NaN" if value.is_nan() else str(value)
    return None


def _number(value: Union[bool, int, float, None]) -> str:
    """Also the text of such a key."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    # Subclasses, enumerations among them, may have a str() of their own.
    if isinstance(value, int):
        return str(int(value))
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(float(value))


def _fields(value: object) -> Optional[Dict[object, object]]:
    """What is written as an object: of a dict, or of what can say itself as one."""
    as_dict = getattr(value, "_asdict", None)
    if callable(as_dict):
        try:
            fields = as_dict()
        except TypeError:  # of a class, for example, which has no self to say
            pass
        else:
            if not isinstance(fields, dict):
                raise TypeError(f"_asdict() must return a dict, not {type(fields).__name__}")
            return fields
    return value if isinstance(value, dict) else None


def _key(key: object) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bytes):
        return key.decode()
    if key is None or isinstance(key, (bool, int, float)):
        return _number(key)
    raise TypeError(f"keys must be str, int, float, bool or None, not {type(key).__name__}")
