"""The body of an HTTP request: of a length that is named, in chunks, or none."""

import io
import re
from email.message import Message
from typing import Callable

from .invoke_api import RefusedError, too_large

_LENGTH = re.compile("[0-9]{1,18}", re.ASCII)
#: A chunk's size, and extensions that mean nothing here.
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(;[^\r\n]*)?\r?\n")
_MAX_LINE_BYTES = 8_192
_MAX_TRAILERS = 100


def read_body(headers: "Message[str, str]", source: io.BufferedIOBase, most: int, go_on: Callable[[], None]) -> bytes:
    """Read all of a request's body.

    Args:
        most: How many bytes it may have.
        go_on: Called before the first byte is read, because a client may wait for leave to send.

    Raises:
        RefusedError: It is too large, ends early, or is announced as no body can be. What follows on the connection is
            no request.
    """
    lengths, codings = (
        [value.strip(" \t") for value in headers.get_all(name, [])] for name in ("Content-Length", "Transfer-Encoding")
    )
    if codings:
        if lengths or [coding.lower() for coding in codings] != ["chunked"]:
            raise _malformed("A request has one Content-Length, or Transfer-Encoding: chunked, and never both")
        go_on()
        return _read_chunks(source, most)
    if not lengths:
        return b""
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        raise _malformed("Content-Length must be one whole number")
    length = int(lengths[0])
    if length > most:
        raise too_large(most)
    go_on()
    return _read(source, length)


def _read(source: io.BufferedIOBase, length: int) -> bytes:
    body = source.read(length)
    if len(body) < length:
        raise _malformed(f"The body ended after {len(body)} of {length} bytes")
    return body


def _read_chunks(source: io.BufferedIOBase, most: int) -> bytes:
    body = b""
    while True:
        announced = _CHUNK.fullmatch(source.readline(_MAX_LINE_BYTES))
        if announced is None:
            raise _malformed("A chunk must begin with its size, in hexadecimal digits")
        length = int(announced[1], 16)
        if length == 0:
            break
        if len(body) + length > most:
            raise too_large(most)
        body += _read(source, length)
        if source.readline(2) not in (b"\r\n", b"\n"):
            raise _malformed("A chunk is longer than its size says")
    for _ in range(_MAX_TRAILERS):
        if source.readline(_MAX_LINE_BYTES) in (b"\r\n", b"\n", b""):
            return body
    raise _malformed("The chunks have too many trailers")


def _malformed(text: str) -> RefusedError:
    return RefusedError(400, "InvalidRequestException", text)
