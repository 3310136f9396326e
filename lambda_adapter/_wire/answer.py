"""The wire, inwards: a function's bytes become an answer."""

import base64
import binascii
import json
import re
from itertools import chain
from math import inf, isinf
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from .._rules.limits import MAX_DEPTH
from .._text.redaction import json_kind, shown, shown_type, without_keys
from ..messages import UNKNOWN_COMMUNITY

#: Backslash escapes of JSON and Python, and what is long enough to be told from common words.
_ESCAPE = re.compile(r"(\\\\)*\\(u[0-9a-f]{4}|x[0-9a-f]{2}|.)")
_WORD = re.compile(r"[^\W_]{8,}")

#: JSON strings within the answer, or within an envelope's body, that are read for the JSON that they hold.
_MAX_STRINGS = 2

#: What runtimes say of an error. Some leave out one or the other.
_ERROR_KEYS = {"errorType", "errorMessage", "requestId", "stackTrace", "trace", "cause", "causes"}
#: AWS's words, which its emulator sends as they are; up to three words (date, request id) may stand in front.
_TIMED_OUT = re.compile(r"\s*(\S{1,60} ){0,3}Task timed out after [0-9]+(\.[0-9]+)? seconds\.?\s*", re.ASCII)
#: An error's type, rather than a sentence in its place: ``KeyError``, ``&alloc::boxed::Box<dyn core::error::Error>``.
_TYPE = r"&?[A-Za-z_][\w.$:]*(<[\w.$:<>& ]*>)?"
_SENTENCE = re.compile(r"[^\W\d_][^\n<>{}\[\]]* [^\n<>{}\[\]]*")
_PAYLOAD_KEYS = {"community", "trigger", "user", "entity", "request_id", "timestamp", "metadata"}
_HTTP_STATUS = re.compile(r"\s*([1-9][0-9]{2})(\.0*)?\s*", re.ASCII)


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
    #: Why this is a failure, where that is not the function's ``success=false``.
    cause: Optional[str] = None


@attrs.frozen
class ToldError:
    """What a function that failed says of itself."""

    #: The error's type and message, for the bot's operator.
    text: str
    #: The type alone, which the log may have; "" when there is none, or when it is withheld.
    kind: str = ""


#: The answer to an Event: there is no function's answer to wait for.
QUEUED = FunctionAnswer(success=True, message="Lambda function queued")
#: The answer to a DryRun: the function exists and may be invoked.
PERMITTED = FunctionAnswer(success=True, message="Lambda function can be invoked")

#: The answer to a StopDurableExecution.
STOPPED = FunctionAnswer(success=True, message="Lambda execution stopped, unless it had ended before")


def to_text(body: bytes) -> str:
    """An answer's bytes as text; what is text in none of JSON's encodings becomes a "\ufffd", which is no JSON either.

    Apart from parsing, so that nobody still holds megabytes of bytes while their text is parsed.
    """
    try:
        # json.loads itself would let halves of surrogate pairs through.
        return body.decode(json.detect_encoding(body)) or ("\ufffd" if body else "")  # a mark alone is not empty
    except ValueError:
        return "\ufffd"


def decode_answer(text: str) -> FunctionAnswer:
    """Read what a function returned: an object with a boolean ``success``, as JSON.

    A JSON string that holds JSON (Node's ``JSON.stringify``) is read too, and API Gateway's envelope (``statusCode``,
    ``body``, ``isBase64Encoded``) is taken off. An envelope with a status of 400 to 599 is a failure whatever its body
    says, ``success`` true included: API Gateway's own callers take it for one.

    Raises:
        InvalidAnswerError: With what was wrong.
    """
    try:
        answer = _within_strings(_parse(text))
    except _NotJsonError:
        raise InvalidAnswerError(_not_json(text)) from None
    if isinstance(answer, dict) and "statusCode" in answer and "success" not in answer:
        status = _failed_status(answer["statusCode"])
        if status is not None:
            return _failed_over_http(answer, status)
        if "body" in answer:
            answer = _body(answer)
    return _to_answer(answer)


def decode_any_json(text: str) -> FunctionAnswer:
    """Read what a function that is no module returned: any JSON, which is the message as it came.

    Raises:
        InvalidAnswerError: It is no JSON.
    """
    try:
        _parse(text)
    except _NotJsonError:
        raise InvalidAnswerError(_not_json(text)) from None
    return FunctionAnswer(success=True, message=text)


def _to_answer(answer: object) -> FunctionAnswer:
    if not isinstance(answer, dict):
        raise InvalidAnswerError(f"the answer must be a JSON object, not {json_kind(answer)}")
    if "success" not in answer:
        raise InvalidAnswerError("the answer has no `success`; it must be true or false")
    error = None if answer["success"] is True else answer.get("error")
    read = {**answer, "error": error, "data": answer, "dropped_targets": answer.get("targets")}
    return _structure(read, FunctionAnswer)


def decode_function_error(text: str, payload: bytes) -> ToldError:
    """What a failed function's answer tells a chat: the error's type and message, without its stack trace.

    A message that repeats what the user typed is withheld, and what could be a credential in it is masked.
    """
    error = _read_error(text)
    if not isinstance(error, dict):
        return ToldError("without saying why")
    kind, message = error.get("errorType"), error.get("errorMessage")
    told = shown_type(kind) if isinstance(kind, str) and not _repeats(kind, payload) else ""
    if isinstance(message, str) and message:
        withheld = "its message repeats the request and is withheld"
        said = withheld if _repeats(message, payload) else shown(without_keys(message[:1000]))
        return ToldError(f"{told}: {said}" if told else said, _type_of(told, message))
    return ToldError(told or "without saying why", _type_of(told, message))


def _type_of(told: str, message: object) -> str:
    if told:
        return told if re.fullmatch(_TYPE, told, re.ASCII) else ""
    return "Task timed out" if isinstance(message, str) and _TIMED_OUT.fullmatch(message) else ""


def decode_unmarked_error(text: str, payload: bytes) -> Optional[ToldError]:
    """The same of an answer without X-Amz-Function-Error, as AWS's emulator in container images sends it.

    Returns:
        None for an answer that is no runtime's error: one with a ``success``, or with keys of a module's own.
    """
    return decode_function_error(text, payload) if _is_error(_read_error(text)) else None


def _read_error(text: str) -> Any:
    """The object in which a runtime tells of an error; anything else that the answer may be, or None."""
    if _TIMED_OUT.fullmatch(text):
        return {"errorMessage": text.strip()}
    try:
        return _parse(text)
    except InvalidAnswerError:
        return None


def _is_error(answer: object) -> bool:
    if not isinstance(answer, dict) or "success" in answer:
        return False
    told = [isinstance(answer.get(key), str) and answer[key] != "" for key in ("errorType", "errorMessage")]
    # With both, other keys are an exception's own attributes; one alone may stand in a module's mistaken answer.
    return all(told) or (any(told) and answer.keys() <= _ERROR_KEYS)


def _parse(text: str) -> Any:
    """Strict JSON: what Python's parser lets through and a later reader cannot write is refused here."""
    try:
        value = _json.decode(text)
        _check_levels(value)
        if "\\u" in text and _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise InvalidAnswerError("the answer is nested too deep") from None
    except UnicodeEncodeError:
        raise InvalidAnswerError("the answer holds half a surrogate pair, which is no text") from None
    except ValueError:
        raise _NotJsonError("the answer is not JSON") from None
    return value


def _check_levels(value: Any) -> None:
    """Refuse what the parser, which is written in C, lets pass: too many levels, and numbers beyond all floats.

    What was read here, on an almost empty stack, must be writable from deep within a bot's.
    """
    values: Iterable[Any] = (value,)
    for _ in range(MAX_DEPTH + 1):
        level = [item for item in values if (kind := type(item)) not in _PLAIN and (kind is not float or isinf(item))]
        if not level:
            return
        if inf in level or -inf in level:
            raise ValueError
        values = chain.from_iterable(holder.values() if type(holder) is dict else holder for holder in level)
    raise RecursionError


def _refuse_constant(_name: str) -> None:
    raise ValueError


_json = json.JSONDecoder(parse_constant=_refuse_constant)
#: Values that need no second look, as nearly all are.
_PLAIN = frozenset({str, int, bool, type(None)})
#: An escape that is half of a pair, or a half alone.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _not_json(text: str) -> str:
    """What the text is in place of JSON, without quoting it."""
    if not text.strip():
        return "the answer is empty, not JSON: the function's process may have died"
    if _SENTENCE.fullmatch(text[:1000].strip()):
        return "the answer is a bare sentence, not JSON"
    return "the answer is not JSON"


def _within_strings(value: object) -> Any:
    """The JSON that a JSON string holds; a plain string stays one."""
    for _ in range(_MAX_STRINGS):
        if not isinstance(value, str):
            break
        try:
            value = _parse(value)
        except _NotJsonError:
            break
    return value


def _body(envelope: Mapping[str, Any]) -> Any:
    body = envelope["body"]
    if isinstance(body, str) and envelope.get("isBase64Encoded") is True:
        try:
            body = base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidAnswerError("the answer's body is not base64, though isBase64Encoded says so") from None
        body = to_text(body)
    return _within_strings(_parse(body)) if isinstance(body, str) else body


def _failed_status(status: object) -> Optional[int]:
    """A status of 400 to 599, written as 404, 404.0 or "404"; None for any other."""
    known = _HTTP_STATUS.fullmatch(str(status)) if isinstance(status, (int, float, str)) else None
    number = int(known[1]) if known else 0
    return number if 400 <= number <= 599 else None


def _failed_over_http(envelope: Mapping[str, Any], status: int) -> FunctionAnswer:
    """The failure that a 4xx or 5xx is, with what its body says for the chat and as data."""
    cause = f"the function answered with HTTP status {status}"
    try:
        body = _body(envelope) if "body" in envelope else None
        success = body.get("success") if isinstance(body, dict) else None
        answer = _to_answer({**body, "success": False} if isinstance(body, dict) else body)
    except InvalidAnswerError:
        return FunctionAnswer(success=False, cause=cause)  # an error page, for example
    if success is True:
        cause += ", though with success=true"
    # Only beside success=false is `error` a module's word for the operator.
    return attrs.evolve(answer, error=answer.error if success is False else None, cause=cause)


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
    if targets is None:
        return []
    known = (item for item in _listed(targets) if isinstance(item, (str, dict)))
    return [{"type": item} if isinstance(item, str) else item for item in known]


def _dropped(targets: object, _: object) -> int:
    return 0 if targets is None else sum(not isinstance(item, (str, dict)) for item in _listed(targets))


def _listed(targets: object) -> List[Any]:
    return targets if isinstance(targets, list) else [targets]


_structure = make_dict_structure_fn(
    FunctionAnswer,
    cattrs.Converter(detailed_validation=False),
    success=override(struct_hook=_strict_bool),
    message=override(struct_hook=_as_text),
    error=override(struct_hook=_as_text),
    data=override(struct_hook=_rest),
    targets=override(struct_hook=_normalised),
    dropped_targets=override(struct_hook=_dropped),
    cause=override(omit=True),  # ours; a key of that name is the function's data
)


def _repeats(text: str, payload: bytes) -> bool:
    """Whether ``text`` quotes what a user typed: 8 letters or digits in a row, in whatever quoting or escaping."""
    return not set(_runs(text)).isdisjoint(_typed_runs(json.loads(payload)))


def _typed_runs(sent: Any) -> Iterator[str]:
    """The runs of what people wrote: arguments, an event's data, their name and their community's.

    Of a payload that is none of this package's it is all values.

    Not what the bot says in its own words and what its operator needs to find the cause: the command, the event's
    type, the platform, ids (masked where they look like keys), this package's keys and defaults. ``community`` is part
    of a default, so it does not count in a community's real name either.
    """
    if not _is_modules(sent):
        for string in _strings_in(sent):
            yield from _runs(string)
        return
    trigger, user, community = (sent.get(section) or {} for section in ("trigger", "user", "community"))
    written = [trigger.get("context_text"), trigger.get("event_data"), user.get("username"), sent.get("metadata")]
    for string in _strings_in(written):
        yield from _runs(string)
    our_own = set(_runs(UNKNOWN_COMMUNITY))
    yield from (run for run in _runs(str(community.get("name") or "")) if run not in our_own)


def _is_modules(sent: object) -> bool:
    """Whether a payload has the form in which this package sends a module's requests, and nothing beside it."""
    if not isinstance(sent, dict) or not sent.keys() <= _PAYLOAD_KEYS:
        return False
    return all(isinstance(sent.get(section) or {}, dict) for section in ("trigger", "user", "community"))


def _runs(text: str) -> Iterator[str]:
    for word in _WORD.findall(_ESCAPE.sub(" ", text.casefold())):
        yield from (word[start : start + 8] for start in range(len(word) - 7))


def _strings_in(value: object) -> List[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in items for text in _strings_in(item)]
