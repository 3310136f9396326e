"""The wire, inwards, piece by piece: bytes of an event stream become its frames.

The encoding (``application/vnd.amazon.eventstream``) is that of https://smithy.io/2.0/aws/amazon-eventstream.html: two
lengths and their checksum, headers, payload, and a checksum of all that.
"""

import json
import struct
from typing import Any, Dict, Iterator, Union
from zlib import crc32

import attrs

from .._text.redaction import shown_name

_LENGTHS = struct.Struct("!III")
_CHECKSUM = struct.Struct("!I")
#: What a frame holds beside its headers and its payload, in bytes.
_FRAMING_BYTES = 16
#: The encoding's own limits, in bytes.
_MAX_HEADER_BYTES = 128 * 1024
_MAX_FRAME_BYTES = 24 * 1024 * 1024

#: The lengths of headers' values by their types; those of bytes and strings are said in front of them.
_VALUE_BYTES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_SAID_LENGTH = (6, 7)
_STRING = 7


class FrameError(Exception):
    """Bytes that are no frame, or a frame that Lambda does not send; the text says what was wrong."""


@attrs.frozen
class Complete:
    """InvokeComplete: the function has ended."""

    #: "" for one that did not fail.
    error_code: str = ""
    error_details: str = attrs.field(default="", repr=False)
    log_result: object = attrs.field(default=None, repr=False)


#: What a frame says: some of the function's answer, or that it has ended.
Frame = Union[bytes, Complete]


class FrameReader:
    """Takes bytes as they come, in whatever pieces, and gives whole frames."""

    def __init__(self) -> None:
        self._held = bytearray()
        # All frames of an answer but the last have the same headers.
        self._last_headers = b""
        self._last_type = ""

    @property
    def is_between_frames(self) -> bool:
        """Whether no part of a frame is held."""
        return not self._held

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole with ``data``. To be read to its end before more is fed.

        Raises:
            FrameError: What came is no frame, or none of Lambda's.
        """
        held = self._held
        held += data
        begin = 0
        try:
            while len(held) - begin >= _LENGTHS.size:
                total, headers_bytes = self._lengths(begin)
                if len(held) - begin < total:
                    break
                message = bytes(held[begin : begin + total])
                begin += total
                frame = self._read(message, headers_bytes)
                if frame is not None:
                    yield frame
        finally:
            del held[:begin]

    def _lengths(self, begin: int) -> "tuple[int, int]":
        total, headers_bytes, checksum = _LENGTHS.unpack_from(self._held, begin)
        if crc32(self._held[begin : begin + 8]) != checksum:
            raise FrameError("the answer is no event stream, or a frame of it is damaged")
        if not _FRAMING_BYTES + headers_bytes <= total <= _MAX_FRAME_BYTES or headers_bytes > _MAX_HEADER_BYTES:
            raise FrameError("a frame of the answer is of no length that a frame may have")
        return total, headers_bytes

    def _read(self, message: bytes, headers_bytes: int) -> "Union[Frame, None]":
        if crc32(message[:-4]) != _CHECKSUM.unpack_from(message, len(message) - 4)[0]:
            raise FrameError("a frame of the answer is damaged")
        end = _LENGTHS.size + headers_bytes
        headers, payload = message[_LENGTHS.size : end], message[end:-4]
        if headers != self._last_headers or not self._last_type:
            self._last_type = _event_type(headers)
            self._last_headers = headers
        return to_frame(self._last_type, payload)


def to_frame(event_type: str, payload: bytes) -> "Union[Frame, None]":
    """What an event of this type says; None of one that says nothing."""
    if event_type == "PayloadChunk":
        return payload
    if event_type == "InvokeComplete":
        return _complete(payload)
    if event_type == "initial-response":
        return None
    raise FrameError(f"the answer holds a frame that Lambda does not send ({shown_name(event_type)})")


def _complete(payload: bytes) -> Complete:
    try:
        told = json.loads(payload or b"{}")
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise FrameError("the answer's last frame is no JSON object")
    return to_complete(told)


def to_complete(told: Dict[str, Any]) -> Complete:
    """InvokeComplete from its members."""
    code, details = told.get("ErrorCode"), told.get("ErrorDetails")
    if not code and not details:
        return Complete(log_result=told.get("LogResult"))
    details = details if isinstance(details, str) else ""
    return Complete(code if isinstance(code, str) and code else "Unhandled", details, told.get("LogResult"))


def _event_type(headers: bytes) -> str:
    """The type of event that a frame's headers say; an error's stands behind a word of its own."""
    said = dict(_headers(headers))
    kind = said.get(":message-type", "event")
    if kind == "event":
        return said.get(":event-type", "")
    return f"{kind}.{said.get(':exception-type') or said.get(':error-code') or 'unknown'}"


def _headers(data: bytes) -> "Iterator[tuple[str, str]]":
    """The headers that are strings."""
    at = 0
    try:
        while at < len(data):
            name = data[at + 1 : at + 1 + data[at]].decode()
            at += 1 + data[at]
            kind = data[at]
            at += 1
            length = _VALUE_BYTES.get(kind, 0)
            if kind in _SAID_LENGTH:
                length = int.from_bytes(data[at : at + 2], "big")
                at += 2
            elif kind not in _VALUE_BYTES:
                raise FrameError("a frame of the answer has a header of no known type")
            value = data[at : at + length]
            at += length
            if at > len(data):
                raise IndexError
            if kind == _STRING:
                yield name, value.decode()
    except (IndexError, UnicodeDecodeError):
        raise FrameError("a frame of the answer has headers that are none") from None
