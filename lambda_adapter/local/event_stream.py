"""Frames of ``application/vnd.amazon.eventstream``, as Lambda's response stream sends them.

https://docs.aws.amazon.com/lambda/latest/api/API_InvokeWithResponseStream.html; the encoding is that of
https://smithy.io/2.0/aws/amazon-eventstream.html.
"""

import json
import struct
from typing import Dict, Iterable, Iterator, Optional
from zlib import crc32

from .runtime import HandlerResult

CONTENT_TYPE = "application/vnd.amazon.eventstream"

#: A string, as headers of this encoding say it.
_STRING = 7


def frame(headers: Dict[str, str], payload: bytes) -> bytes:
    """One frame: lengths, their checksum, headers, payload, and the checksum of all that."""
    encoded = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack("!II", 16 + len(encoded) + len(payload), len(encoded))
    message = b"".join((prelude, struct.pack("!I", crc32(prelude)), encoded, payload))
    return message + struct.pack("!I", crc32(message))


def _header(name: str, value: str) -> bytes:
    text = value.encode()
    return b"".join((bytes((len(name),)), name.encode(), bytes((_STRING,)), struct.pack("!H", len(text)), text))


def payload_chunk(payload: bytes) -> bytes:
    """The frame of some of the function's answer."""
    return _event("PayloadChunk", "application/octet-stream", payload)


def invoke_complete(failed: Optional[HandlerResult] = None, log_result: Optional[str] = None) -> bytes:
    """The last frame: that the function has ended, how if it ``failed``, and the end of its log."""
    told: Dict[str, str] = {}
    if failed is not None:
        told = {"ErrorCode": "Unhandled", "ErrorDetails": failed.body.decode()}
    if log_result is not None:
        told["LogResult"] = log_result
    return _event("InvokeComplete", "application/json", json.dumps(told).encode())


def _event(event_type: str, content_type: str, payload: bytes) -> bytes:
    headers = {":event-type": event_type, ":content-type": content_type, ":message-type": "event"}
    return frame(headers, payload)


def chunked(frames: Iterable[bytes]) -> Iterator[bytes]:
    """``frames`` as a body of HTTP/1.1's chunked transfer encoding: a chunk each, and the end."""
    for each in frames:
        yield b"%x\r\n%b\r\n" % (len(each), each)
    yield b"0\r\n\r\n"
