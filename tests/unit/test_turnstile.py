"""One thread at a time computes, any number wait for answers, and nobody is held up for good."""

import threading
from types import SimpleNamespace

import pytest

from lambda_adapter._aws import clients
from lambda_adapter._aws.turnstile import Turnstile
from lambda_adapter.testing import mock_lambda
from support.turnstiles import is_free


class Events:
    """Stands for a client and its events."""

    def __init__(self):
        self.handlers = {}
        self.meta = SimpleNamespace(events=self)

    def register(self, name, handler):
        self.handlers[name] = handler

    def emit(self, name):
        assert self.handlers[f"{name}.lambda.Invoke"](request=None) is None, (
            "anything else would be taken for an answer"
        )


@pytest.fixture
def events():
    return Events()


def test_it_is_taken_while_a_call_computes_and_free_while_it_waits(events):
    turnstile = Turnstile()
    turnstile.attach(events)
    with turnstile:
        assert not is_free(turnstile)
        events.emit("before-send")
        assert is_free(turnstile)
        events.emit("before-parse")
        assert not is_free(turnstile)
    assert is_free(turnstile)


@pytest.mark.parametrize(
    "steps", [[], ["before-send"], ["before-send", "before-parse"]], ids=["first", "sent", "parsed"]
)
def test_an_exception_at_any_point_leaves_it_free(events, steps):
    turnstile = Turnstile()
    turnstile.attach(events)

    def interrupted():
        with turnstile:
            for step in steps:
                events.emit(step)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert is_free(turnstile)


def test_who_keeps_it_too_long_is_waited_for_once():
    turnstile = Turnstile(patience_s=0.01)
    entered = threading.Event()
    over = threading.Event()

    def stay():
        with turnstile:
            entered.set()
            over.wait(10)

    thread = threading.Thread(target=stay)
    thread.start()
    assert entered.wait(10)
    with turnstile:
        pass
    assert is_free(turnstile), "those who come later do not wait again"
    over.set()
    thread.join()
    assert is_free(turnstile)


def test_handlers_of_a_mock_run_together(make_adapter, make_request, monkeypatch):
    """A mock answers in the place of sending, when the turnstile has been left."""
    monkeypatch.setattr(clients._registry._turnstile, "_patience_s", 60)
    meeting = threading.Barrier(4)

    def meet(event, context):
        meeting.wait(10)
        return {"success": True}

    with mock_lambda() as mock:
        mock.function("function", meet)
        responses = [response for _, response in make_adapter().execute_many([make_request()] * 4)]
    assert [response.success for response in responses] == [True] * 4


def test_a_given_client_knows_nothing_of_it(make_adapter, make_request):
    """Without the events it would be kept until the answer is there, and calls would go one by one."""
    meeting = threading.Barrier(2)

    class Client:
        def invoke(self, **arguments):
            meeting.wait(10)
            raise ConnectionError

    adapter = make_adapter(client=Client(), max_retries=0)
    codes = [response.error_code for _, response in adapter.execute_many([make_request(), make_request()])]
    assert codes == ["connection_lost"] * 2
