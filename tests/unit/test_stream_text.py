"""A streamed answer's bytes become text: whole characters as they come, and what counts only as a whole, whole."""

import random
import time

import pytest

from lambda_adapter._wire import stream
from lambda_adapter._wire.answer import InvalidAnswerError
from lambda_adapter._wire.frames import Complete, FrameReader
from lambda_adapter._wire.stream import TextReader
from lambda_adapter.local.event_stream import invoke_complete, payload_chunk
from support.waiting import SOON_S

NULS = b"\0" * 8
HEAD = b'{"statusCode":200,"headers":{"Content-Type":"text/plain"},"cookies":[]}' + NULS
#: Characters of one to four bytes, and a joined one.
TEXT = "Grüße, 世界 🎲 — e\u0301 {} \0\0 end"


def read(pieces, payload=b"{}"):
    reader = TextReader()
    shown = [reader.feed(piece) for piece in pieces]
    reader.check()
    return shown, reader.end(payload)


def pieces_of(data, rnd, most=9):
    at = 0
    while at < len(data):
        size = rnd.randint(1, most)
        yield data[at : at + size]
        at += size


@pytest.mark.parametrize(
    "head", [b"", HEAD, NULS, b'  {"statusCode": 201}' + NULS], ids=["bare", "head", "NULs", "201"]
)
def test_split_everywhere(head):
    data = head + TEXT.encode()
    for at in range(len(data) + 1):
        shown, ended = read([data[:at], data[at:]])
        assert "".join(shown) + ended.text == TEXT
        assert ended.answer.success is True


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_random_pieces(count):
    rnd = random.Random(14)
    for _ in range(count):
        head = rnd.choice((b"", HEAD, NULS))
        text = "".join(rnd.choices(TEXT, k=rnd.randint(1, 60))) if rnd.random() < 0.5 else TEXT
        shown, ended = read(list(pieces_of(head + b"-" + text.encode(), rnd)))
        assert "".join(shown) + ended.text == "-" + text
        for piece in shown:
            piece.encode()  # no half of anything


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_random_pieces_in_frames_in_random_pieces(count):
    rnd = random.Random(14)
    for _ in range(count):
        frames = map(payload_chunk, pieces_of(rnd.choice((b"", HEAD, NULS)) + TEXT.encode(), rnd))
        stream_bytes = b"".join(frames) + invoke_complete()
        frame_reader, text_reader, shown = FrameReader(), TextReader(), []
        for piece in pieces_of(stream_bytes, rnd, most=rnd.choice((3, 40, 4_000))):
            for found in frame_reader.feed(piece):
                shown.append(text_reader.end(b"{}").text if isinstance(found, Complete) else text_reader.feed(found))
        assert "".join(shown) == TEXT


ANSWER = '{"success": true, "message": "Größe", "extra": 1}'.encode()


@pytest.mark.parametrize("head", [b"", HEAD], ids=["bare", "head"])
def test_a_function_that_does_not_stream_is_judged_as_a_whole(head):
    rnd = random.Random(14)
    for _ in range(200):
        shown, ended = read(list(pieces_of(head + ANSWER, rnd)))
        assert not any(shown)
        assert (ended.text, ended.answer.success, ended.answer.data) == ("Größe", True, {"extra": 1})


@pytest.mark.parametrize(
    ("data", "text", "success", "data_found"),
    [
        (b'{"success": false, "message": "no", "error": "x"}', "no", False, {"error": "x"}),
        (b'{"success": true}', "", True, None),
        (rb'"{\"success\": true, \"message\": \"m\"}"', "m", True, None),
        (b'{"statusCode": 200, "body": "{\\"success\\": true, \\"message\\": \\"m\\"}"}', "m", True, None),
        (b'{"statusCode": 500, "body": "oops"}', "", False, None),
        (b'{"statusCode": 502}' + NULS + b"<html>", "", False, None),
        (b'{"statusCode": "404"}' + NULS + b'{"message": "gone"}', "gone", False, None),
        (b'{"statusCode": 400}' + NULS, "", False, None),
    ],
    ids=["failed", "no message", "JSON in a string", "envelope", "failed envelope", "502", "404 says why", "400 bare"],
)
def test_answers_that_are_judged(data, text, success, data_found):
    shown, ended = read([data])
    assert not any(shown)
    assert (ended.text, ended.answer.success, ended.answer.data) == (text, success, data_found)


@pytest.mark.parametrize(
    "data",
    [
        b"{hello}",
        b'{"a": 1}',
        b'{"success": "yes"}',
        b'{"success": true',
        b'"quoted" he said',
        b'"{',
        b"null",
        b"3",
        b" \n",
        b"{",
        b'{"statusCode": 200, "body": "no JSON"}',
        b"[1]",
        b'{"a": 1}' + b"\0" * 7,
        b'{"a" 1}' + NULS + b"x",
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_only_looks_like_one_is_text(data):
    shown, ended = read([data[:1], data[1:]])
    assert "".join(shown) + ended.text == data.decode()
    assert ended.answer.success is True
    assert ended.function_error is None


@pytest.mark.parametrize(
    "data",
    [rb'{"success": true, "message": "\ud800"}', b'{"success": true, "a": NaN}', b'{"success":false,"a":1e999}'],
    ids=repr,
)
def test_an_answer_that_execute_would_not_take_is_none_here(data):
    with pytest.raises(InvalidAnswerError):
        read([data])


def test_an_emulators_error_object_is_an_error():
    shown, ended = read([b'{"errorType": "KeyError", "errorMessage": "city"}'])
    assert (shown, ended.text, ended.function_error.text) == ([""], "", "KeyError: city")


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        ([b"Hel", b"lo"], ["Hel", "lo"]),
        (["Hü".encode()[:2], "ü".encode()[1:]], ["H", "ü"]),
        ([b"\n", b"\n", b"Hi"], ["", "", "\n\nHi"]),
        ([b"{", b"name}", b"!"], ["", "{name}", "!"]),
        ([b'"', b"Hi"], ["", '"Hi']),
        ([HEAD[:9], HEAD[9:-1], HEAD[-1:], b"Hi"], ["", "", "", "Hi"]),
        ([b"\0", b"x"], ["", "\0x"]),
        ([b""], [""]),
    ],
    ids=["as it comes", "half a character", "white space", "a brace", "a quote", "a head", "one NUL", "nothing"],
)
def test_what_is_shown_when(pieces, shown):
    assert read(pieces)[0] == shown


@pytest.mark.parametrize(
    "pieces", [[b"\xff"], [b"a", b"\xc3("], [b'{"a": "\xff"}']], ids=["at once", "later", "held back"]
)
def test_no_utf8_is_no_text(pieces):
    with pytest.raises(InvalidAnswerError, match="not UTF-8"):
        read(pieces)


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (["Grüße".encode("latin-1")], ["Gr"]),
        ([b"Hel\xfflo"], ["Hel"]),
        (["Hü".encode()[:2], b"(!"], ["H", ""]),
        ([b"a", "ü".encode() + b"b\xff"], ["a", "üb"]),
        ([b"{", b"name}\xff"], ["", "{name}"]),
    ],
    ids=["at once", "in the middle", "half a character", "in a later piece", "was held back"],
)
def test_what_stands_before_bytes_that_are_no_text_is_shown(pieces, shown):
    reader = TextReader()
    assert [reader.feed(piece) for piece in pieces] == shown
    with pytest.raises(InvalidAnswerError, match="not UTF-8"):
        reader.check()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'{"a": 1, "b', '{"a": 1, "b'),
        (b"\n\n", "\n\n"),
        (b'"', '"'),
        ('{"a": "ü'.encode()[:-1], '{"a": "'),
        (b'{"a": "x\xff"', '{"a": "x'),
        (NULS + b'{"a": 1', '{"a": 1'),
        (b"Hi", ""),
        (b"{", ""),
        (b'{"stat', ""),
        (b'{"statusCode": 200, "he', ""),
        (b'{"success": true, "mess', ""),
        (b'{"message": "m", "success": tr', ""),
        (b'{"errorMessage": "secret", "st', ""),
        (b'"{\\"succ', ""),
        (b'"{\\"success\\": tr', ""),
        (b"\0\0", ""),
        (b'{"statusCode": 502}' + NULS + b"<html>", ""),
    ],
    ids=repr,
)
def test_what_was_held_back_when_an_answer_breaks_off(data, told):
    reader = TextReader()
    reader.feed(data)
    assert reader.held_back() == told


@pytest.mark.parametrize("begin", [b"", b"{"], ids=["bare", "a brace"])
def test_white_space_is_looked_at_once(begin):
    """It takes a fraction of a second, and half a minute if each byte has all before it looked at again."""
    reader = TextReader()
    began = time.process_time()
    assert not any(reader.feed(byte) for byte in (begin, *[b" "] * 200_000))
    assert time.process_time() - began < SOON_S
    assert reader.feed(b"x") == (begin + b" " * 200_000 + b"x").decode()


def test_a_head_is_looked_for_once():
    """What is no head before the first NUL bytes is none before later ones: JSON holds no NUL byte."""
    shown, ended = read([b'{"a": "' + NULS, *[NULS] * 3, b'"}'])
    assert not any(shown)
    assert ended.text == '{"a": "' + "\0" * 32 + '"}'


def test_an_end_within_a_character_is_none():
    with pytest.raises(InvalidAnswerError, match="not UTF-8"):
        read(["Hü".encode()[:2]])


def test_an_object_larger_than_any_answer_is_shown_as_it_comes(monkeypatch):
    monkeypatch.setattr(stream, "MAX_ANSWER_BYTES", 10)
    assert read([b'{"a": "', b"12345678", b"9"])[0] == ["", '{"a": "12345678', "9"]


def test_more_than_any_function_streams_is_refused(monkeypatch):
    monkeypatch.setattr(stream, "MAX_STREAM_BYTES", 3)
    with pytest.raises(InvalidAnswerError, match="over 3 bytes"):
        read([b"12", b"34"])


def test_what_stands_behind_a_failed_head_is_limited_too():
    pieces = [b'{"statusCode":500}' + bytes(8), *[b"x" * 1_000_000] * 10]
    with pytest.raises(InvalidAnswerError, match="the answer is over"):
        read(pieces)
