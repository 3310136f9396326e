"""The wire, inwards: a function's bytes become an answer."""

import base64
import binascii
import json
import math
import re
from typing import Any, Dict, List, Mapping, Optional, Set

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from .._rules.limits import MAX_DEPTH
from .._text.redaction import json_kind, shown, shown_name, without_keys

#: Backslash escapes of JSON and Python, and what is long enough to be told from common words.
_ESCAPE = re.compile(r"(\\\\)*\\(u[0-9a-f]{4}|x[0-9a-f]{2}|.)")
_WORD = re.compile(r"[a-z0-9]{8,}")


class InvalidAnswerError(Exception):
    """A function's answer that is none; the text says what was wrong."""


class _NotJsonError(InvalidAnswerError):
    pass


@attrs.frozen
class FunctionAnswer:
    """What a function said, in the response's shape."""

    success: bool
    message: Optional[str] = None
    data: Optional[Dict[str, Any]] = None
    #: The function's own word on why it failed.
    error: Optional[str] = None
    targets: List[Dict[str, Any]] = attrs.field(factory=list)
    #: How many targets were of no known form.
    dropped_targets: int = 0


#: The answer to an Event: there is no function's answer to wait for.
QUEUED = FunctionAnswer(success=True, message="Lambda function queued")
#: The answer to a DryRun: the function exists and may be invoked.
PERMITTED = FunctionAnswer(success=True, message="Lambda function can be invoked")


def to_text(body: bytes) -> str:
    """An answer's bytes as text; what is text in none of JSON's encodings becomes "", which is no JSON either.

    Apart from parsing, so that nobody still holds megabytes of bytes while their text is parsed.
    """
    try:
        # json.loads itself would let halves of surrogate pairs through.
        return body.decode(json.detect_encoding(body))
    except ValueError:
        return ""


def decode_answer(text: str) -> FunctionAnswer:
    """Read what a function returned: an object with a boolean ``success``, as JSON.

    A JSON string that holds JSON (Node's ``JSON.stringify``) is parsed once more, and API Gateway's envelope
    (``statusCode``, ``body``, ``isBase64Encoded``) is taken off.

    Raises:
        InvalidAnswerError: With what was wrong.
    """
    answer = _unwrap(_parse(text))
    if not isinstance(answer, dict):
        raise InvalidAnswerError(f"the answer must be a JSON object, not {json_kind(answer)}")
    if "success" not in answer:
        raise InvalidAnswerError("the answer has no `success`; it must be true or false")
    error = None if answer["success"] is True else answer.get("error")
    read = {**answer, "error": error, "data": answer, "dropped_targets": answer.get("targets")}
    return _structure(read, FunctionAnswer)


def decode_function_error(text: str, payload: bytes) -> str:
    """What a failed function's answer tells a chat: the error's type and message, without its stack trace.

    A message that repeats what the user typed is withheld, and what could be a credential in it is masked.
    """
    try:
        error = _parse(text)
    except InvalidAnswerError:
        return "without saying why"
    if not isinstance(error, dict):
        return "without saying why"
    kind, message = error.get("errorType"), error.get("errorMessage")
    told = shown_name(without_keys(kind)) if isinstance(kind, str) and kind and not _repeats(kind, payload) else ""
    if isinstance(message, str) and message:
        withheld = "its message repeats the request and is withheld"
        said = withheld if _repeats(message, payload) else shown(without_keys(message[:1000]))
        told = f"{told}: {said}" if told else said
    return told or "without saying why"


def _parse(text: str) -> Any:
    """Strict JSON: what Python's parser lets through and a later reader cannot write is refused here."""
    try:
        value = _json.decode(text)
        _check_depth(value)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise InvalidAnswerError("the answer is nested too deep") from None
    except UnicodeEncodeError:
        raise InvalidAnswerError("the answer holds half a surrogate pair, which is no text") from None
    except ValueError:
        raise _NotJsonError("the answer is not JSON") from None
    return value


def _check_depth(value: Any) -> None:
    """What was read here, on an almost empty stack, must be writable from deep within a bot's."""
    level = [value] if type(value) in (dict, list) else []
    for _ in range(MAX_DEPTH):
        level = [
            item
            for holder in level
            for item in (holder.values() if type(holder) is dict else holder)
            if type(item) is dict or type(item) is list
        ]
        if not level:
            return
    raise RecursionError


def _refuse_constant(_name: str) -> None:
    raise ValueError


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError
    return number


_json = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
#: An escape that is half of a pair, or a half alone.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _unwrap(answer: Any) -> Any:
    if isinstance(answer, str):
        try:
            answer = _parse(answer)
        except _NotJsonError:
            return answer  # a plain string, not JSON within JSON
    if not (isinstance(answer, dict) and "statusCode" in answer and "body" in answer and "success" not in answer):
        return answer
    body = answer["body"]
    if isinstance(body, str) and answer.get("isBase64Encoded") is True:
        try:
            body = base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidAnswerError("the answer's body is not base64, though isBase64Encoded says so") from None
        body = to_text(body)
    return _parse(body) if isinstance(body, str) else body


def _strict_bool(value: object, _: object) -> bool:
    # cattrs' own hook would take "false" for True.
    if not isinstance(value, bool):
        raise InvalidAnswerError(f"`success` must be true or false, not {json_kind(value)}")
    return value


def _as_text(value: object, _: object) -> Optional[str]:
    """A message as text: a string as it is, other JSON as JSON, so that nothing a function says is lost."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _rest(answer: Mapping[str, Any], _: object) -> Optional[Dict[str, Any]]:
    return {key: value for key, value in answer.items() if key not in ("success", "message")} or None


def _normalised(targets: object, _: object) -> List[Dict[str, Any]]:
    """``"discord"`` becomes ``{"type": "discord"}``, objects stay, anything else is dropped."""
    known = (item for item in _listed(targets) if isinstance(item, (str, dict)))
    return [{"type": item} if isinstance(item, str) else item for item in known]


def _dropped(targets: object, _: object) -> int:
    return sum(not isinstance(item, (str, dict)) for item in _listed(targets))


def _listed(targets: object) -> List[Any]:
    return targets if isinstance(targets, list) else [] if targets is None else [targets]


_structure = make_dict_structure_fn(
    FunctionAnswer,
    cattrs.Converter(detailed_validation=False),
    success=override(struct_hook=_strict_bool),
    message=override(struct_hook=_as_text),
    error=override(struct_hook=_as_text),
    data=override(struct_hook=_rest),
    targets=override(struct_hook=_normalised),
    dropped_targets=override(struct_hook=_dropped),
)


def _repeats(text: str, payload: bytes) -> bool:
    """Whether ``text`` quotes the request: 8 letters or digits in a row, in whatever quoting or escaping."""
    return not _runs(text).isdisjoint(run for string in _strings_in(json.loads(payload)) for run in _runs(string))


def _runs(text: str) -> Set[str]:
    plain = _ESCAPE.sub(" ", text.casefold())
    words = _WORD.findall(plain)
    return {word[start : start + 8] for word in words for start in range(len(word) - 7)}


def _strings_in(value: Any) -> List[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in items for text in _strings_in(item)]
