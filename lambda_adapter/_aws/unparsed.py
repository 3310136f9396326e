"""Answers before botocore makes something of them: those of which it would make something else than they are."""

import json
from typing import Any, Callable, Dict, Optional, Tuple

from .._wire.head import announced_length
from .sending import ABOUT_EXECUTIONS


def watch(register: Callable[..., object]) -> None:
    """Have a client's answers looked at; its events' ``register`` is given. Watching it twice changes nothing."""
    for event, hook in _LOOKS:
        register(event, hook, unique_id=f"lambda-adapter{hook.__name__}-{event}")


def _end_interim(response_dict: Dict[str, Any], **_: object) -> None:
    """Lose a call whose answer is a 1xx, with its connection: the next call on it would get this one's answer.

    http.client takes every 1xx but 100 for the whole answer, and the real one is still to come.
    """
    if not 100 <= response_dict["status_code"] < 200:
        return
    from botocore.exceptions import ConnectionClosedError

    close = getattr(response_dict["body"], "close", None)
    if close is not None:
        close()
    raise ConnectionClosedError(endpoint_url="")


def _end_cut(response_dict: Dict[str, Any], **_: object) -> None:
    """Lose an answer whose body was cut off: botocore does not count, and makes an empty list of half a one."""
    length = announced_length(response_dict["headers"])
    # An error is told by its head.
    if _is_success(response_dict) and length is not None and len(response_dict["body"]) < length:
        from botocore.exceptions import ConnectionClosedError

        raise ConnectionClosedError(endpoint_url="")


def _refuse_unreadable(response_dict: Dict[str, Any], **_: object) -> None:
    """Refuse an answer that is no object, of which botocore would make one that says nothing."""
    if _is_success(response_dict) and _object(response_dict["body"]) is None:
        from botocore.parsers import ResponseParserError

        raise ResponseParserError("the answer is no JSON object")


def _is_success(response_dict: Dict[str, Any]) -> bool:
    status: int = response_dict["status_code"]
    return 200 <= status < 300


def blank_unreadable_error(response_dict: Dict[str, Any], **_: object) -> None:
    """Let botocore report the status of an error whose body it would choke on: binary, an array, nested too deep."""
    if response_dict["status_code"] >= 300 and not _is_readable_error(response_dict["body"]):
        response_dict["body"] = b""


def _is_readable_error(body: bytes) -> bool:
    """Whether it is an object whose code, if it has one, is a name."""
    error = _object(body)
    return error is not None and all(isinstance(error.get(key, ""), str) for key in ("code", "Code", "__type"))


def _object(body: bytes) -> Optional[Dict[str, Any]]:
    """The JSON object that it is; None for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


#: What answers are looked at for before botocore makes something of them. A function's answer is read and counted by
#: whoever invoked it.
_LOOKS: Tuple[Tuple[str, Callable[..., None]], ...] = (
    ("before-parse.lambda", _end_interim),
    *(
        (f"before-parse.lambda.{operation}", hook)
        for operation in ABOUT_EXECUTIONS
        for hook in (_end_cut, _refuse_unreadable)
    ),
)
