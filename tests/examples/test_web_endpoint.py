"""examples/web_endpoint.py: an answer in time, an answer later, and what a caller may not do."""

import runpy
import threading
import time
from importlib.util import find_spec

import pytest

pytest.importorskip("starlette")
if not (find_spec("httpx") or find_spec("httpx2")):
    pytest.skip("could not import httpx", allow_module_level=True)

from starlette.testclient import TestClient

from lambda_adapter import LocalLambda
from support import example_scripts
from support.waiting import SOON_S, until

EXAMPLE = runpy.run_path(str(example_scripts.EXAMPLES / "web_endpoint.py"))
ROLL = {"command": "roll", "args": ["2d6"], "user": "pingu"}
REPORT = {"command": "report", "user": "pingu"}


class Slow:
    """Answers when it is told to."""

    def __init__(self):
        self.let_go = threading.Event()

    def __call__(self, event, context):
        assert self.let_go.wait(SOON_S)
        return {"success": True, "message": f"Slowly, {event['user']['id']}."}


def roll(event, context):
    if event["trigger"]["context_text"] == "fail":
        raise ConnectionError("could not connect to db-internal-17")
    return {"success": True, "message": "You rolled 4."}


@pytest.fixture
def slow():
    handler = Slow()
    yield handler
    handler.let_go.set()


@pytest.fixture
def local(slow):
    with LocalLambda({"roll": roll, "report": slow}, timeout=60) as local:
        yield local


@pytest.fixture
def serve(local):
    """Makes an app of the test's functions, and a client of it."""
    return lambda **settings: TestClient(EXAMPLE["make_app"](dict(local.settings), **settings))


def test_a_quick_answer_comes_with_the_request(serve, local):
    with serve(patience_s=SOON_S) as client:
        answer = client.post("/commands", json=ROLL)
        assert answer.status_code == 200
        assert (answer.json()["success"], answer.json()["message"]) == (True, "You rolled 4.")
        assert client.get(f"/commands/{answer.json()['id']}").json() == answer.json()
    (call,) = local.calls
    assert call.payload["trigger"]["context_text"] == "2d6"


def test_a_slow_answer_is_fetched_later_from_the_same_invocation(serve, slow, local):
    with serve(patience_s=0.01) as client:
        first = client.post("/commands", json=REPORT)
        assert first.status_code == 202
        where = first.headers["Location"]
        assert client.get(where).status_code == 202
        slow.let_go.set()
        until(lambda: client.get(where).status_code == 200)
        assert client.get(where).json()["message"] == "Slowly, pingu."
    assert len(local.calls) == 1


def test_a_failure_is_told_without_its_cause_and_shows_in_health(serve):
    with serve(patience_s=SOON_S) as client:
        assert client.get("/health").status_code == 200
        for _ in range(3):
            answer = client.post("/commands", json={**ROLL, "args": ["fail"]})
            assert answer.json()["message"] == "Something went wrong with that command."
            assert answer.json()["success"] is False
        health = client.get("/health")
        assert health.status_code == 503
        assert health.json()["roll"]["health"]["is_healthy"] is False
        assert health.json()["report"]["health"]["is_healthy"] is True


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"no JSON", 400, id="no-json"),
        pytest.param(b"\xff", 400, id="no-text"),
        pytest.param(b"[]", 400, id="no-object"),
        pytest.param(b'{"command": "roll"}', 400, id="no-user"),
        pytest.param(b'{"command": "roll", "user": "u", "args": "2d6"}', 400, id="args-that-are-no-list"),
        pytest.param(b'{"command": "roll", "user": "u", "args": [1]}', 400, id="an-argument-that-is-no-text"),
        pytest.param(b'{"command": "sing", "user": "u"}', 404, id="unknown-command"),
        pytest.param(b" " * 10_001, 413, id="too-large"),
    ],
)
def test_what_is_no_command_calls_nothing(serve, local, body, status):
    with serve() as client:
        answer = client.post("/commands", content=body)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert local.calls == []


def test_an_unknown_call_is_not_found(serve):
    with serve() as client:
        assert client.get("/commands/unknown").status_code == 404


def test_an_app_that_ends_waits_for_no_function(serve, local):
    with serve(patience_s=0.01) as client:
        assert client.post("/commands", json=REPORT).status_code == 202
        until(lambda: local.calls)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < SOON_S / 2


def test_without_settings_local_lambda_serves_the_examples_own_functions():
    with TestClient(EXAMPLE["app"]) as client:
        assert client.post("/commands", json=ROLL).json()["message"] == "pingu rolled 4."
