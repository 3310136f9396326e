"""The wire, inwards, piece by piece: a streamed answer's bytes become text that can be shown as it comes.

What can be shown only as a whole is held back: an object with a boolean ``success``, as a function answers that does
not stream, and what Lambda Web Adapter, Node and Rust put in front of the text: ``{"statusCode": …, "headers": …}`` and
8 NUL bytes.
"""

import codecs
import json
import re
from typing import Any, Dict, Optional

import attrs

from .._rules.limits import MAX_ANSWER_BYTES, MAX_STREAM_BYTES
from .answer import FunctionAnswer, InvalidAnswerError, ToldError, decode_answer, decode_unmarked_error

_NULS = b"\0" * 8
#: How JSON may begin that is held back: an object, or a string that holds one. Anything else is text at once.
_OBJECT = re.compile(rb'[ \t\r\n]*(\{[ \t\r\n]*(["}]|\Z)|"(\{|\Z)|\Z)')


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
        self._looked = 0
        self._head: Optional[Dict[str, Any]] = None

    def feed(self, payload: bytes) -> str:
        """The text that can be shown now, "" for none.

        Raises:
            InvalidAnswerError: It is no UTF-8, or larger than any answer.
        """
        self._total += len(payload)
        if self._total > MAX_STREAM_BYTES:
            raise InvalidAnswerError(f"the answer is over {MAX_STREAM_BYTES} bytes")
        if self._held is None:
            return self._text(payload)
        self._held += payload
        self._take_off_head()
        return "" if self._is_held_back() else self._release()

    def end(self, payload: bytes) -> Ended:
        """What the answer comes to. ``payload`` is the request's, as it was sent.

        Raises:
            InvalidAnswerError: It ends within a character.
        """
        if self._held is None:
            return Ended(FunctionAnswer(success=True), self._text(b"", final=True))
        held = self._text(bytes(self._held), final=True)
        if self._head is None and not held.strip():
            return Ended(FunctionAnswer(success=True), held)
        return self._judge(held, payload)

    def _text(self, data: bytes, final: bool = False) -> str:
        try:
            return self._decode(data, final)
        except UnicodeDecodeError:
            raise InvalidAnswerError("the answer is no text: it is not UTF-8") from None

    def _take_off_head(self) -> None:
        """See whether what is held has a head, which ends with NUL bytes."""
        held = self._held
        if held is None or self._head is not None:
            return
        end = held.find(_NULS, max(0, self._looked - len(_NULS)))
        self._looked = len(held)
        if end < 0:
            return
        head = _object(bytes(held[:end])) if end else {}
        if head is not None:
            self._head = head
            del held[: end + len(_NULS)]

    def _is_held_back(self) -> bool:
        held = self._held
        assert held is not None
        if self._head is not None and _is_failed(self._head):
            if len(held) > MAX_ANSWER_BYTES:
                raise InvalidAnswerError(f"the answer is over {MAX_ANSWER_BYTES} bytes")
            return True
        if self._head is None and _NULS.startswith(bytes(held[: len(_NULS)])):
            return True  # a head without an object, as far as it goes
        return len(held) <= MAX_ANSWER_BYTES and _OBJECT.match(held) is not None

    def _release(self) -> str:
        held, self._held = bytes(self._held or b""), None
        return self._text(held)

    def _judge(self, held: str, payload: bytes) -> Ended:
        """What was held back to the end: an answer like any other, or text after all."""
        if self._head is not None and _is_failed(self._head):
            answer = decode_answer(json.dumps({"statusCode": self._head["statusCode"], "body": held}))
            return Ended(answer, answer.message or "")
        try:
            answer = decode_answer(held)
        except InvalidAnswerError:
            error = decode_unmarked_error(held, payload)
            if error is not None:
                return Ended(FunctionAnswer(success=False), function_error=error)
            return Ended(FunctionAnswer(success=True), held)
        return Ended(answer, answer.message or "")


def _object(text: bytes) -> Optional[Dict[str, Any]]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _is_failed(head: Dict[str, Any]) -> bool:
    """Whether its status is one of 400 to 599."""
    status = head.get("statusCode")
    return isinstance(status, (int, float, str)) and re.fullmatch(r"[45][0-9]{2}", str(status)) is not None
