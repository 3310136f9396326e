"""A recorded stream, cut, stalled, dripped and damaged at every byte: whole, or the response says how it ended."""

import json
from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest

from lambda_adapter._wire import stream
from lambda_adapter.local.event_stream import chunked, frame, invoke_complete, payload_chunk
from lambda_adapter.local.runtime import failed_result
from support import fault_server as fs
from support.calls import REQUEST
from support.event_streams import HEAD, READS, TEXTS, Read, begun, body_of, frames_of, read_sync, streamed

WHOLE = body_of(frames_of(TEXTS))
#: How many bytes of WHOLE it takes until each frame is whole.
FRAME_ENDS = [
    len(HEAD) + sum(len(piece) for piece in list(chunked(frames_of(TEXTS)))[: number + 1]) - len(b"\r\n")
    for number in range(len(TEXTS) + 1)
]
MESSAGE = "".join(TEXTS)

#: What a fault at every byte is tried with; "stall" is a silence, and takes its time.
EVERY = range(len(WHOLE))
SOME = range(0, len(WHOLE), 29)


def texts_within(length):
    return [text for text, end in zip(TEXTS, FRAME_ENDS) if end <= length]


@pytest.fixture
def read_from(serve, make_adapter):
    """Reads what a server answers to one request."""

    def read(reaction, how=read_sync, **settings) -> Read:
        server = serve(reaction)
        given = {"endpoint_url": server.endpoint_url, "max_retries": 0, "read_timeout": 10.0, **settings}
        return how(make_adapter(**given), REQUEST)

    return read


@pytest.fixture(params=READS.values(), ids=READS)
def how(request):
    """One of the two ways to read a stream."""
    return request.param


def assert_lost(read, texts, code):
    assert read.texts == texts
    assert read.response.error_code == code
    assert read.response.success is False
    assert read.response.message == ("".join(texts) or None)
    assert read.response.invocation.executed == ("yes" if texts else "maybe")
    assert read.response.invocation.attempts == 1
    assert (read.response.invocation.first_text_s is not None) is bool(texts)


def assert_whole(read):
    assert "".join(read.texts) == MESSAGE
    assert (read.response.success, read.response.message, read.response.error) == (True, MESSAGE, None)
    assert read.response.invocation.executed == "yes"


@pytest.mark.parametrize("then", ["close", pytest.param("reset", marks=pytest.mark.slow)])
def test_cut_at_every_byte(serve, make_adapter, then):
    server = serve(lambda request: fs.raw(WHOLE[: request.number - 1], then))
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_retries=0, read_timeout=10.0)
    for length in EVERY:
        read = read_sync(adapter, REQUEST)
        if length >= FRAME_ENDS[-1]:
            assert_whole(read)
        elif then == "close":
            assert_lost(read, texts_within(length), "connection_lost")
        else:
            # A reset may overtake what was sent before it.
            assert_lost(read, texts_within(length)[: len(read.texts)], "connection_lost")


def test_cut_at_some_bytes_for_the_loop(serve, make_adapter):
    server = serve(lambda request: fs.raw(WHOLE[: SOME[request.number - 1]], "close"))
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_retries=0, read_timeout=10.0)
    for length in SOME:
        assert_lost(READS["execute_stream_async"](adapter, REQUEST), texts_within(length), "connection_lost")


@pytest.mark.parametrize(
    "lengths", [SOME[::3], pytest.param(EVERY, marks=pytest.mark.slow)], ids=["at some bytes", "at every byte"]
)
def test_stalled(serve, make_adapter, lengths):
    server = serve(lambda request: fs.raw(WHOLE[: json.loads(request.body)["request_id"]], "hang"))
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_retries=0, read_timeout=0.3)
    # Each waits for read_timeout: many at once, each with its length for a session_id.
    with ThreadPoolExecutor(16) as pool:
        reads = pool.map(lambda length: read_sync(adapter, attrs.evolve(REQUEST, session_id=length)), lengths)
    for length, read in zip(lengths, reads):
        if length >= FRAME_ENDS[-1]:
            assert_whole(read)  # the end of HTTP is not the end of the answer
        else:
            assert_lost(read, texts_within(length), "timeout")


@pytest.mark.parametrize(
    "flipped", [0xFF, *(pytest.param(bit, marks=pytest.mark.slow) for bit in (0x01, 0x20))], ids=hex
)
def test_damaged_at_every_byte(serve, make_adapter, flipped):
    def damaged(request):
        at = request.number - 1
        return fs.raw(WHOLE[:at] + bytes((WHOLE[at] ^ flipped,)) + WHOLE[at + 1 :], "close")

    server = serve(damaged)
    adapter = make_adapter(endpoint_url=server.endpoint_url, max_retries=0, read_timeout=10.0)
    codes = set()
    for at in EVERY:
        read = read_sync(adapter, REQUEST)
        codes.add(read.response.error_code)
        assert read.texts == list(TEXTS)[: len(read.texts)], at
        if read.response.success:
            assert_whole(read)
        else:
            assert read.response.error_code is not None, at
            assert read.response.message == ("".join(read.texts) or None), at
    assert codes >= {None, "invalid_response", "connection_lost"}


def test_every_byte_alone(read_from, how):
    assert_whole(read_from(fs.Reaction(tuple(WHOLE[at : at + 1] for at in EVERY)), how))


def test_not_chunked(read_from, how):
    """Text comes as it is written though no chunk says where it ends."""
    head = HEAD.replace(b"Transfer-Encoding: chunked\r\n", b"")
    assert_whole(read_from(fs.raw(head + b"".join(frames_of(TEXTS))), how))


def test_a_length_in_place_of_chunks(serve, make_adapter, how):
    body = b"".join(frames_of(TEXTS))
    head = HEAD.replace(b"Transfer-Encoding: chunked", f"Content-Length: {len(body)}".encode())
    server = serve(fs.raw(head + body, "keep"))
    adapter = make_adapter(endpoint_url=server.endpoint_url)
    assert_whole(how(adapter, REQUEST))
    assert_whole(how(adapter, REQUEST))
    assert server.connections == 1


FAILED = failed_result("ValueError", "no such city", "")
ENDINGS = {
    "a failure at once": ([invoke_complete(FAILED)], [], "function_error"),
    "a failure in the middle": ([payload_chunk(b"Hel"), invoke_complete(FAILED)], ["Hel"], "function_error"),
    "no end": ([payload_chunk(b"Hel")], ["Hel"], "connection_lost"),
    "nothing at all": ([], [], "connection_lost"),
    "an unknown frame": (
        [payload_chunk(b"Hel"), frame({":event-type": "Odd", ":message-type": "event"}, b""), invoke_complete()],
        ["Hel"],
        "invalid_response",
    ),
    "an exception's frame": (
        [frame({":exception-type": "InternalFailure", ":message-type": "exception"}, b"{}")],
        [],
        "invalid_response",
    ),
    "half a character at the end": ([payload_chunk("Hü".encode()[:2]), invoke_complete()], ["H"], "invalid_response"),
    "no UTF-8": ([payload_chunk(b"H\xff"), invoke_complete()], ["H"], "invalid_response"),
    "no UTF-8 and no end": ([payload_chunk(b"H\xff")], ["H"], "invalid_response"),
    "an end that is no JSON": (
        [payload_chunk(b"H"), frame({":event-type": "InvokeComplete", ":message-type": "event"}, b"[")],
        ["H"],
        "invalid_response",
    ),
    "no text": ([invoke_complete()], [], None),
    "a frame that says nothing": (
        [frame({":event-type": "initial-response", ":message-type": "event"}, b"{}"), *frames_of(["Hi"])],
        ["Hi"],
        None,
    ),
}


@pytest.mark.parametrize(("frames", "texts", "code"), ENDINGS.values(), ids=ENDINGS)
def test_how_an_answer_ends(read_from, how, frames, texts, code):
    read = read_from(fs.raw(body_of(frames), "close"), how)
    assert (read.texts, read.response.error_code) == (texts, code)
    assert read.response.message == ("".join(texts) or (None if code else ""))
    if code == "function_error":
        assert read.response.error == "function_error: ValueError: no such city"
        assert read.response.invocation.function_error == "Unhandled"


@pytest.mark.parametrize(
    ("code", "details", "told"),
    [
        ("Unhandled", '{"errorType": "KeyError", "errorMessage": "city"}', "KeyError: city"),
        ("Function.Odd", '{"errorMessage": "city"}', "Function.Odd: city"),
        ("Unhandled", "Task timed out after 3.00 seconds", "Task timed out after 3.00 seconds"),
        ("Unhandled", '{"errorMessage": "cut off, "stackTrace": ["secret', "without saying why"),
        ("Unhandled", "", "without saying why"),
        ("Unhandled", "token AKIAIOSFODNN7EXAMPLE0", "token <...>"),
        ("", '{"errorType": "KeyError"}', "KeyError"),
    ],
    ids=["JSON", "a code of its own", "a sentence", "half of JSON", "nothing", "a key", "details alone"],
)
def test_what_a_failure_says(read_from, code, details, told):
    payload = json.dumps({"ErrorCode": code, "ErrorDetails": details}).encode()
    last = frame({":event-type": "InvokeComplete", ":message-type": "event"}, payload)
    assert read_from(fs.raw(body_of([last]), "close")).response.error == f"function_error: {told}"


BEFORE_THE_TEXT = {
    "cut": (begun(then="close"), "connection_lost"),
    "cut within a character": (begun("ü".encode()[:1], then="close"), "connection_lost"),
    "cut within an object": (begun('{"succ', then="close"), "connection_lost"),
    "silence": (begun(then="hang"), "timeout"),
    "no answer": (fs.close_before(), "connection_lost"),
    "throttled": (fs.aws_error("TooManyRequestsException", 429), "throttled"),
}


@pytest.mark.parametrize(("reaction", "code"), BEFORE_THE_TEXT.values(), ids=BEFORE_THE_TEXT)
def test_what_nobody_has_seen_is_tried_again(serve, make_adapter, how, reaction, code):
    attempts = []
    server = serve([reaction, streamed(*TEXTS)])
    adapter = make_adapter(
        endpoint_url=server.endpoint_url, initial_retry_delay=0.001, read_timeout=0.2, on_attempt=attempts.append
    )
    read = how(adapter, REQUEST)
    assert_whole(read)
    assert [attempt.error_code for attempt in attempts] == [code, None]
    assert [attempt.first_text_s is None for attempt in attempts] == [True, False]


@pytest.mark.parametrize(("reaction", "code"), BEFORE_THE_TEXT.values(), ids=BEFORE_THE_TEXT)
def test_what_may_not_run_twice_is_not(serve, make_adapter, reaction, code):
    server = serve([reaction, streamed(*TEXTS)])
    adapter = make_adapter(
        endpoint_url=server.endpoint_url, initial_retry_delay=0.001, read_timeout=0.2, idempotent=False
    )
    read = read_sync(adapter, REQUEST)
    assert read.response.invocation.attempts == (2 if code == "throttled" else 1)


@pytest.mark.parametrize("then", ["close", "reset", "hang"])
def test_what_was_seen_is_never_tried_again(serve, make_adapter, how, then):
    server = serve([begun("Hel", steps=(0.05,), then=then), streamed(*TEXTS)])
    read = how(make_adapter(endpoint_url=server.endpoint_url, read_timeout=0.5), REQUEST)
    assert read.texts == ["Hel"]
    assert read.response.invocation.why_ended == "may_have_run"
    assert len(server.requests) == 1


#: Held back until the end, for it may be an object with ``success``.
HELD = '{"city": "Tromsø", "days": ['
HELD_BACK = {
    "cut": (begun(HELD, then="close"), "connection_lost"),
    "reset": (begun(HELD, steps=(0.05,), then="reset"), "connection_lost"),
    "silence": (begun(HELD), "timeout"),
    "failure": (fs.raw(body_of([payload_chunk(HELD.encode()), invoke_complete(FAILED)]), "close"), "function_error"),
    "no UTF-8": (fs.raw(body_of(frames_of([HELD.encode() + b"\xff"])), "close"), "invalid_response"),
    "no frame": (begun(HELD, steps=(b"c\r\nno frame, is it",), then="close"), "invalid_response"),
}


@pytest.mark.parametrize(("reaction", "code"), HELD_BACK.values(), ids=HELD_BACK)
def test_what_was_held_back_is_in_the_message(read_from, how, reaction, code):
    read = read_from(reaction, how, read_timeout=0.3)
    assert (read.texts, read.response.error_code, read.response.message) == ([], code, HELD)
    assert read.response.invocation.executed == "yes"
    assert read.response.invocation.first_text_s is None


def test_what_was_held_back_is_in_the_message_of_who_is_out_of_time(read_from, how):
    read = read_from(begun(HELD), how, total_timeout=0.3)
    assert (read.texts, read.response.error_code, read.response.message) == ([], "timeout", HELD)


def test_what_was_held_back_is_tried_again(serve, make_adapter, how):
    server = serve([HELD_BACK["cut"][0], fs.aws_error("AccessDeniedException", 403)])
    adapter = make_adapter(endpoint_url=server.endpoint_url, initial_retry_delay=0.001)
    response = how(adapter, REQUEST).response
    assert (response.error_code, response.message, response.invocation.attempts) == ("access_denied", None, 2)
    assert response.invocation.executed == "maybe"


def test_more_than_any_function_streams(read_from, monkeypatch, how):
    monkeypatch.setattr(stream, "MAX_STREAM_BYTES", 10)
    read = read_from(fs.raw(body_of(frames_of(["12345", "67890", "x"])), "close"), how)
    assert (read.texts, read.response.error_code) == (["12345", "67890"], "invalid_response")
