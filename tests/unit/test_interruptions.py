"""What a signal handler raised is known by its traceback, whatever its class and whatever it is wrapped in."""

import signal
import sys

import pytest
from botocore.exceptions import HTTPClientError

from lambda_adapter._call.interruptions import check_not_interrupted, interruption

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="this platform has no such signals")


class SoftTimeLimitExceeded(Exception):  # noqa: N818
    """Named as Celery's."""


def plain(signum, frame):
    raise SoftTimeLimitExceeded


def deeper(signum, frame):
    def inner():
        raise TimeoutError("frame is not an argument of this one")

    inner()


def translating(signum, frame):
    try:
        {}["missing"]
    except KeyError:
        raise SoftTimeLimitExceeded  # noqa: B904


class Handlers:
    def method(self, signum, frame):
        raise OSError("from a method")

    def __call__(self, *arguments):
        raise SoftTimeLimitExceeded


HANDLERS = {
    "a function": plain,
    "a function that calls another": deeper,
    "a method": Handlers().method,
    "an object": Handlers(),
    "a function of any arguments": lambda *arguments: plain(*arguments),
    "a function that raises something else": translating,
}


@pytest.fixture
def handle():
    before = signal.getsignal(signal.SIGUSR1)
    yield lambda handler: signal.signal(signal.SIGUSR1, handler)
    signal.signal(signal.SIGUSR1, before)


def wait_for_signal():
    signal.raise_signal(signal.SIGUSR1)
    return [0] * 10


def caught(function):
    try:
        function()
    except BaseException as exc:
        return exc


def wrapped_by_cause():
    try:
        wait_for_signal()
    except Exception as exc:
        raise ConnectionError("lost") from exc


def wrapped_by_context():
    try:
        wait_for_signal()
    except Exception:
        raise ConnectionError("lost")  # noqa: B904


def wrapped_by_botocore():
    try:
        wait_for_signal()
    except Exception as exc:
        raise HTTPClientError(error=exc) from None


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS.keys())
@pytest.mark.parametrize("work", [wait_for_signal, wrapped_by_cause, wrapped_by_context, wrapped_by_botocore])
def test_what_a_handler_raised_is_found_and_raised_again(handle, handler, work):
    handle(handler)
    exc = caught(work)
    original = interruption(exc)
    assert type(original) in (SoftTimeLimitExceeded, TimeoutError, OSError)
    assert caught(lambda: check_not_interrupted(exc)) is original
    assert interruption(original) is original, "it is known again further up"


def not_handlers():
    def read_timeout():
        raise TimeoutError("the real one")

    def looks_at_frames():
        frame = sys._getframe(1)
        assert frame is not None
        raise ValueError

    def chained():
        try:
            read_timeout()
        except TimeoutError as exc:
            raise HTTPClientError(error=exc)  # noqa: B904

    this = sys._getframe()

    def given_another_frame(frame=this):
        raise KeyError

    def refers_to_itself():
        exc = ValueError()
        exc.__context__ = caught(read_timeout)
        exc.__context__.__cause__ = exc
        raise exc

    return {f.__name__: f for f in (read_timeout, looks_at_frames, chained, given_another_frame, refers_to_itself)}


@pytest.mark.parametrize("work", not_handlers().values(), ids=not_handlers().keys())
def test_other_exceptions_are_no_interruptions(work):
    exc = caught(work)
    assert interruption(exc) is None
    check_not_interrupted(exc)
