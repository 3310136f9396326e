"""Frames of an event stream, read from whatever pieces they come in."""

import struct
from zlib import crc32

import pytest

from lambda_adapter._wire.frames import Complete, FrameError, FrameReader, to_complete
from lambda_adapter.local.event_stream import frame, invoke_complete, payload_chunk
from lambda_adapter.local.runtime import failed_result

PAYLOADS = [b"Hel", b"", b"l" * 70_000, "ö".encode()]
DATA = b"".join(map(payload_chunk, PAYLOADS)) + invoke_complete(log_result="TEVPRg==")
LAST = Complete(log_result="TEVPRg==")


def read(data, step):
    reader = FrameReader()
    frames = [found for at in range(0, len(data), step) for found in reader.feed(data[at : at + step])]
    return frames, reader.is_between_frames


@pytest.mark.parametrize("step", [1, 7, 4_096, len(DATA)])
def test_frames_are_whole_whatever_they_come_in(step):
    assert read(DATA, step) == ([*PAYLOADS, LAST], True)


def test_a_frame_that_is_not_whole_is_none():
    assert read(payload_chunk(b"Hel")[:-1], 5) == ([], False)


@pytest.mark.parametrize("at", range(len(payload_chunk(b"Hel"))))
def test_a_damaged_byte_is_noticed(at):
    data = bytearray(payload_chunk(b"Hel"))
    data[at] ^= 1
    with pytest.raises(FrameError):
        list(FrameReader().feed(bytes(data)))


def signed(headers, total=None):
    """A frame with these bytes as headers, and right checksums."""
    prelude = struct.pack("!II", 16 + len(headers) if total is None else total, len(headers))
    message = prelude + struct.pack("!I", crc32(prelude)) + headers
    return message + struct.pack("!I", crc32(message))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"<html>Bad Gateway</html>", "no event stream"),
        (signed(b"", 15), "of no length"),
        (signed(b"", 25 * 1024 * 1024), "of no length"),
        (signed(b"\x01a\x0a"), "no known type"),
        (signed(b"\x05:even"), "headers that are none"),
        (signed(b"\x01a\x07\x00\x05abc"), "headers that are none"),
        (signed(b"\x01a\x07\x00\x01\xff"), "headers that are none"),
        (signed(b""), "that Lambda does not send"),
        (frame({":event-type": "Odd", ":message-type": "event"}, b""), "(Odd)"),
        (frame({":error-code": "500", ":message-type": "error"}, b""), "(error.500)"),
        (frame({":exception-type": "Throttled", ":message-type": "exception"}, b""), "(exception.Throttled)"),
        (frame({":event-type": "InvokeComplete", ":message-type": "event"}, b"[1]"), "no JSON object"),
        (frame({":event-type": "InvokeComplete", ":message-type": "event"}, b"{"), "no JSON object"),
    ],
    ids=[
        "HTML",
        "too short",
        "too long",
        "odd type",
        "half a header",
        "half a value",
        "no UTF-8",
        "no headers",
        "odd event",
        "error",
        "exception",
        "an array at the end",
        "half of JSON at the end",
    ],
)
def test_what_is_no_frame_of_lambdas_is_refused(data, told):
    with pytest.raises(FrameError, match=told.replace("(", r"\(").replace(")", r"\)")):
        list(FrameReader().feed(data))


def test_headers_of_all_types_are_passed_over():
    values = {
        0: b"",
        1: b"",
        2: b"1",
        3: b"12",
        4: b"1234",
        5: b"12345678",
        6: b"\x00\x01x",
        8: b"12345678",
        9: b"1" * 16,
    }
    others = b"".join(b"\x01" + bytes((97 + kind, kind)) + value for kind, value in values.items())
    name = b"\x0b:event-type\x07\x00\x0cPayloadChunk"
    assert list(FrameReader().feed(signed(others + name))) == [b""]


@pytest.mark.parametrize(
    ("told", "complete"),
    [
        ({}, Complete()),
        ({"ErrorCode": None, "ErrorDetails": ""}, Complete()),
        ({"ErrorCode": "Unhandled"}, Complete("Unhandled")),
        ({"ErrorDetails": "x"}, Complete("Unhandled", "x")),
        ({"ErrorCode": 5, "ErrorDetails": 6}, Complete("Unhandled", "")),
    ],
    ids=["success", "nothing said", "a code", "details alone", "no strings"],
)
def test_how_a_function_ended(told, complete):
    assert to_complete(told) == complete


def test_a_failures_words_are_in_no_repr():
    data = invoke_complete(failed_result("ValueError", "my secret", ""))
    (complete,) = FrameReader().feed(data)
    assert complete.error_code == "Unhandled"
    assert "secret" not in repr(complete)
