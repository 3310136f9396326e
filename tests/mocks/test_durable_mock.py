"""mock_lambda's durable functions: one run a session_id, runs that take several looks, and no waiting."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lambda_adapter import ExecuteRequest, LambdaAdapter
from lambda_adapter.testing import mock_lambda
from support.durable import needs_executions

pytestmark = needs_executions
DONE = {"success": True, "message": "Done."}


@pytest.fixture
def mock():
    with mock_lambda() as made:
        yield made


@pytest.fixture
def adapter(mock):
    with LambdaAdapter("report:live", "us-east-1", "report", durable=True, idempotent=False) as made:
        yield made


def ask(session_id="one", *args):
    return ExecuteRequest("report", list(args), "u", "e", "c", session_id, "discord")


def counting(runs):
    return lambda event, context: runs.append(event["request_id"]) or {"success": True, "message": str(len(runs))}


def test_a_session_id_runs_once(mock, adapter):
    runs = []
    mock.function("report", counting(runs)).durable()
    responses = [adapter.execute(ask(session_id)) for session_id in ("one", "one", "two", "one")]
    assert [response.message for response in responses] == ["1", "1", "2", "1"]
    assert [response.invocation.attached for response in responses] == [False, True, False, True]
    assert runs == ["one", "two"]


def test_a_run_takes_as_many_looks_as_the_test_says_and_no_time(mock, adapter):
    mock.function("report", DONE).runs_for(polls=3)
    execution = adapter.start(ask())
    began = time.monotonic()
    assert [adapter.result(execution, wait=0).error_code for _ in range(4)] == ["pending"] * 3 + [None]
    execution = adapter.start(ask("two"))
    assert adapter.result(execution, wait=0.5).error_code == "pending"
    assert asyncio.run(adapter.result_async("two", wait=840)).message == "Done."
    assert time.monotonic() - began < 5


def test_a_run_that_never_ends_is_pending_without_waiting(mock, adapter):
    mock.function("report", DONE).runs_for(polls=1_000_000)
    assert adapter.result(adapter.start(ask()), wait=600).error_code == "pending"
    assert adapter.stop("one").success
    assert adapter.result("one").error_code == "function_error"


def test_a_call_that_waits_has_the_answer_of_a_run_that_takes_looks(mock, adapter):
    mock.function("report", DONE).runs_for(polls=3)
    adapter.start(ask())
    assert adapter.execute(ask()).message == "Done."
    assert adapter.execute(ask("two")).message == "Done."


def test_faults_happen_to_calls_and_answers_to_runs(mock, adapter):
    runs = []
    mock.function("report", counting(runs)).durable().times_out(times=2).throttles(times=1)
    response = adapter.execute(ask())
    assert (response.message, response.invocation.attempts) == ("1", 4)
    mock.function("report").durable().answers({"success": True, "message": "a"}, {"success": True, "message": "b"})
    assert [adapter.execute(ask(name)).message for name in ("three", "three", "four")] == ["a", "a", "b"]
    mock.function("report", DONE).fails("ValueError", "no").durable()
    assert [adapter.execute(ask("five")).error_code for _ in range(2)] == ["function_error"] * 2


def test_many_threads_run_it_once(mock, adapter):
    runs = []
    mock.function("report", counting(runs)).durable()
    with ThreadPoolExecutor(16) as pool:
        responses = list(pool.map(lambda _: adapter.execute(ask()), range(64)))
    assert {response.message for response in responses} == {"1"}
    assert runs == ["one"]


def test_a_plain_function_and_one_that_is_called_without_a_version_are_refused(mock, adapter):
    mock.function("report", DONE)
    assert "DurableConfig" in adapter.execute(ask()).error
    mock.function("report", DONE).durable()
    with LambdaAdapter("report", "us-east-1", "report") as plain:
        assert plain.execute(ask()).error_code == "invalid_parameter"


def test_inner_mocks_have_executions_of_their_own(mock, adapter):
    mock.function("report", DONE).durable()
    adapter.execute(ask("outer"))
    with mock_lambda() as inner:
        inner.function("report", {"success": True, "message": "Inner."}).durable()
        adapter.execute(ask("inner"))
        assert adapter.result("inner").message == "Inner."
        assert adapter.result("outer").message == "Done."
    assert adapter.result("inner").error_code == "not_found"


@pytest.mark.parametrize("polls", [-1, True, "1", None, 1.5])
def test_polls_are_a_whole_number(mock, polls):
    with pytest.raises(ValueError, match="polls"):
        mock.function("report").runs_for(polls=polls)
