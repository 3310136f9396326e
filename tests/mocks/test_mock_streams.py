"""mock_lambda streams: at once, without a socket, as the test says, and its ends too."""

import socket

import pytest

from lambda_adapter import LambdaAdapter
from support.calls import REQUEST
from support.event_streams import READS


@pytest.fixture(params=READS.values(), ids=READS)
def how(request):
    """One of the two ways to read a stream."""
    return request.param


@pytest.fixture
def read(how, mock_lambda, monkeypatch):
    """Reads a stream of ``talk``; nothing may be connected to."""

    def refuse(*_):
        raise AssertionError("a socket was connected")

    monkeypatch.setattr(socket.socket, "connect", refuse)

    def read(**settings):
        with LambdaAdapter("talk", "us-east-1", "talk", **settings) as adapter:
            return how(adapter, REQUEST)

    return read


def handler(event, context):
    yield event["trigger"]["command"]
    yield b" "
    yield {"n": 1}


def failing(event, context):
    yield "Hel"
    raise KeyError("lo")


ROWS = {
    "texts": (lambda talk: talk.streams("Hel", "lo"), ["Hel", "lo"], None, 1),
    "bytes and JSON": (lambda talk: talk.streams("ö".encode(), {"a": 1}), ["ö", '{"a": 1}'], None, 1),
    "none": (lambda talk: talk.streams(), [], None, 1),
    "breaks off": (lambda talk: talk.streams("Hel", "lo").breaks_off(after=1), ["Hel"], "connection_lost", 1),
    "breaks off later": (lambda talk: talk.streams("Hel").breaks_off(after=9), ["Hel"], "connection_lost", 1),
    "breaks off at once": (lambda talk: talk.breaks_off(), [], "connection_lost", 4),
    "breaks off once": (lambda talk: talk.breaks_off(times=1).streams("Hi"), ["Hi"], None, 2),
    "breaks off before its texts": (
        lambda talk: talk.streams("Hel", times=2).breaks_off(after=0).streams("Hi"),
        ["Hi"],
        None,
        3,
    ),
    "fails": (lambda talk: talk.streams("Hel", "lo").fails("KeyError", "x", after=1), ["Hel"], "function_error", 1),
    "fails at once": (lambda talk: talk.fails("KeyError", "x"), [], "function_error", 1),
    "throttled first": (lambda talk: talk.throttles(times=2).streams("Hi"), ["Hi"], None, 3),
    "times out first": (lambda talk: talk.times_out(times=1).streams("Hi"), ["Hi"], None, 2),
    "an answer": (lambda talk: talk.answers({"success": True, "message": "Hi"}), ["Hi"], None, 1),
    "another step after": (
        lambda talk: talk.streams("a", times=1).streams("b").breaks_off(after=1),
        ["a"],
        None,
        1,
    ),
}


@pytest.mark.parametrize(("steps", "texts", "code", "attempts"), ROWS.values(), ids=ROWS)
def test_a_function_streams_and_ends_as_the_test_says(read, mock_lambda, steps, texts, code, attempts):
    steps(mock_lambda.function("talk"))
    found = read()
    assert (found.texts, found.response.error_code) == (texts, code)
    assert found.response.invocation.attempts == attempts == len(mock_lambda.calls("talk"))


def test_a_handler_that_is_a_generator(read, mock_lambda):
    mock_lambda.function("talk", handler)
    assert read().texts == ["weather", " ", '{"n": 1}']


def test_a_handler_that_fails_in_the_middle(read, mock_lambda):
    mock_lambda.function("talk", failing)
    found = read()
    assert (found.texts, found.response.error) == (["Hel"], "function_error: KeyError: 'lo'")


def test_what_ends_the_test_in_a_generator_ends_it(mock_lambda):
    def ends(event, context):
        yield "Hel"
        raise KeyboardInterrupt

    mock_lambda.function("talk", ends)
    with pytest.raises(KeyboardInterrupt), LambdaAdapter("talk", "us-east-1", "talk") as adapter:
        list(adapter.execute_stream(REQUEST))


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        (lambda talk: talk.streams('{"success": true, ', '"message": "Hi"}'), None),
        (lambda talk: talk.streams("Hi").breaks_off(after=1), "connection_lost"),
        (lambda talk: talk.streams("Hi").fails(after=1), "function_error"),
    ],
    ids=["whole", "breaks off", "fails"],
)
def test_execute_has_the_whole_of_it(mock_lambda, steps, code):
    steps(mock_lambda.function("talk"))
    with LambdaAdapter("talk", "us-east-1", "talk") as adapter:
        response = adapter.execute(REQUEST)
    assert (response.error_code, response.message) == (code, None if code else "Hi")


@pytest.mark.parametrize(
    "steps",
    [
        lambda talk: talk.breaks_off(after=1),
        lambda talk: talk.fails(after=1),
        lambda talk: talk.streams("a").throttles().breaks_off(after=1),
        lambda talk: talk.streams("a").breaks_off(after=1, times=2),
        lambda talk: talk.streams("a").breaks_off(after=-1),
        lambda talk: talk.streams("a").breaks_off(after=True),
        lambda talk: talk.streams("a", times=0),
    ],
    ids=["nothing before", "fails, nothing before", "another step between", "times twice", "-1", "True", "no times"],
)
def test_what_makes_no_sense_is_refused(mock_lambda, steps):
    with pytest.raises(ValueError, match=r"after|times"):
        steps(mock_lambda.function("talk"))
