"""The wire, inwards, piece by piece: a streamed answer's bytes become text that can be shown as it comes.

What can be shown only as a whole is held back: an object with a boolean ``success``, as a function answers that does
not stream, and what Lambda Web Adapter, Node and Rust put in front of the text: ``{"statusCode": …, "headers": …}`` and
8 NUL bytes.
"""

import codecs
import json
import re
from typing import Any, Dict, Optional, Union

import attrs

from .._rules.limits import MAX_ANSWER_BYTES, MAX_STREAM_BYTES
from .answer import FunctionAnswer, InvalidAnswerError, ToldError, decode_answer, decode_unmarked_error

_NULS = b"\0" * 8
_SPACE = re.compile(rb"[ \t\r\n]*")
#: Keys of a head, of a module's answer and of a runtime's error: with one of them, half of an object is no text. The
#: error may hold a stack trace.
_KEYS = ("statusCode", "headers", "cookies", "success", "errorType", "errorMessage", "stackTrace", "trace")
_HAS_KEY = re.compile(rf'"({"|".join(_KEYS)})\\*"[ \t\r\n]*:')
#: An object, or a string that holds one, whose first key has come in part.
_HALF_A_KEY = re.compile(r'[ \t\r\n]*"?[ \t\r\n]*\{[ \t\r\n]*\\*"?([^"\\]*)')


@attrs.frozen
class Ended:
    """What a streamed answer comes to at its end."""

    answer: FunctionAnswer
    #: What is still to be shown.
    text: str = ""
    #: What a failed function's answer says, where that is what it is.
    function_error: Optional[ToldError] = None


class TextReader:
    """Takes a streamed answer's bytes as they come, in whatever pieces, and gives whole characters."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._total = 0
        #: What is held back; None once it is known that the text is to be shown as it comes.
        self._held: Optional[bytearray] = bytearray()
        self._start = _Start()
        self._looked = 0
        self._may_have_head = True
        self._head: Optional[Dict[str, Any]] = None
        self._fault: Optional[InvalidAnswerError] = None

    def feed(self, payload: bytes) -> str:
        """The text that can be shown now, "" for none. What is wrong with the bytes behind it is for ``check``.

        Raises:
            InvalidAnswerError: It is larger than any answer.
        """
        self._total += len(payload)
        if self._total > MAX_STREAM_BYTES:
            raise InvalidAnswerError(f"the answer is over {MAX_STREAM_BYTES} bytes")
        if self._held is None:
            return self._text(payload)
        self._held += payload
        self._take_off_head()
        return "" if self._is_held_back() else self._release()

    def check(self) -> None:
        """See whether all that was fed is text.

        Raises:
            InvalidAnswerError: It is no UTF-8.
        """
        if self._fault is not None:
            raise self._fault

    def held_back(self) -> str:
        """What came and was not given, if the answer breaks off here; "" where it is no text but half of an object."""
        held = bytes(self._held or b"")
        if not held or _NULS.startswith(held[: len(_NULS)]) or (self._head is not None and _is_failed(self._head)):
            return ""
        try:
            text = codecs.getincrementaldecoder("utf-8")().decode(held)
        except UnicodeDecodeError as exc:
            text = held[: exc.start].decode()
        half = _HALF_A_KEY.fullmatch(text)
        is_object = any(key.startswith(half[1]) for key in _KEYS) if half else _HAS_KEY.search(text) is not None
        return "" if is_object else text

    def end(self, payload: bytes) -> Ended:
        """What the answer comes to. ``payload`` is the request's, as it was sent.

        Raises:
            InvalidAnswerError: It is no UTF-8, or ends within a character.
        """
        held = self._text(bytes(self._held or b""), final=True)
        self.check()
        if self._held is None:
            return Ended(FunctionAnswer(success=True))
        if self._head is None and not held.strip():
            return Ended(FunctionAnswer(success=True), held)
        return self._judge(held, payload)

    def _text(self, data: bytes, final: bool = False) -> str:
        try:
            return self._decode(data, final)
        except UnicodeDecodeError as exc:
            self._fault = InvalidAnswerError("the answer is no text: it is not UTF-8")
            return bytes(exc.object[: exc.start]).decode()

    def _take_off_head(self) -> None:
        """See whether what is held has a head, which ends with NUL bytes."""
        held = self._held
        if held is None or not self._may_have_head:
            return
        end = held.find(_NULS, max(0, self._looked - len(_NULS)))
        self._looked = len(held)
        if end < 0:
            return
        self._may_have_head = False  # JSON holds no NUL byte
        head = _object(bytes(held[:end])) if end else {}
        if head is not None:
            self._head = head
            del held[: end + len(_NULS)]
            self._start = _Start()

    def _is_held_back(self) -> bool:
        held = self._held
        assert held is not None
        if self._head is not None and _is_failed(self._head):
            if len(held) > MAX_ANSWER_BYTES:
                raise InvalidAnswerError(f"the answer is over {MAX_ANSWER_BYTES} bytes")
            return True
        if self._head is None and _NULS.startswith(bytes(held[: len(_NULS)])):
            return True  # a head without an object, as far as it goes
        return len(held) <= MAX_ANSWER_BYTES and self._start.may_be_object(held)

    def _release(self) -> str:
        held, self._held = bytes(self._held or b""), None
        return self._text(held)

    def _judge(self, held: str, payload: bytes) -> Ended:
        """What was held back to the end: an answer like any other, or text after all.

        Raises:
            InvalidAnswerError: It is an answer with ``success`` that ``execute`` would not take either.
        """
        if self._head is not None and _is_failed(self._head):
            answer = decode_answer(json.dumps({"statusCode": self._head["statusCode"], "body": held}))
            return Ended(answer, answer.message or "")
        try:
            answer = decode_answer(held)
        except InvalidAnswerError:
            if isinstance((_object(held) or {}).get("success"), bool):
                raise
            error = decode_unmarked_error(held, payload)
            if error is not None:
                return Ended(FunctionAnswer(success=False), function_error=error)
            return Ended(FunctionAnswer(success=True), held)
        return Ended(answer, answer.message or "")


class _Start:
    """How an answer begins: like JSON that is held back, an object or a string that holds one, or like text.

    It remembers how far it has looked: an answer may come byte by byte, and begin with any amount of white space.
    """

    def __init__(self) -> None:
        self._at = 0
        self._is_open = False
        self._is_object = False

    def may_be_object(self, held: bytearray) -> bool:
        """Whether it may still be one, now that so much of it is there."""
        if self._is_object or not self._skip_space(held):
            return True
        if not self._is_open and held.startswith(b"{", self._at):
            self._at += 1
            self._is_open = True
            if not self._skip_space(held):
                return True
        if self._is_open:
            self._is_object = held.startswith((b'"', b"}"), self._at)
        elif held.startswith(b'"', self._at):
            self._is_object = held.startswith(b"{", self._at + 1)
            return self._is_object or len(held) == self._at + 1
        return self._is_object

    def _skip_space(self, held: bytearray) -> bool:
        """Whether anything stands behind it."""
        space = _SPACE.match(held, self._at)
        self._at = space.end() if space else self._at
        return self._at < len(held)


def _object(text: Union[bytes, str]) -> Optional[Dict[str, Any]]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _is_failed(head: Dict[str, Any]) -> bool:
    """Whether its status is one of 400 to 599."""
    status = head.get("statusCode")
    return isinstance(status, (int, float, str)) and re.fullmatch(r"[45][0-9]{2}", str(status)) is not None
