"""durable=True over sockets: one run a session_id, whatever breaks, and an answer that can be fetched later."""

import asyncio
import json
import pickle
import random
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import attrs
import boto3
import pytest

from lambda_adapter import CircuitBreaker, ExecuteRequest, Execution, LambdaAdapter, LocalLambda
from lambda_adapter.errors import AlreadyStartedError, PendingError
from support import fault_server as fs
from support.durable import KNOWS_EXECUTIONS, WAIT_S, Shop, cutting, needs_executions, shop_adapter
from support.paths import PROJECT
from support.waiting import until, until_async

FOREIGN = "arn:aws:lambda:us-east-1:123456789012:function:dice:1/durable-execution/{name}/0f4e"


@pytest.fixture
def shop():
    handler = Shop()
    yield handler
    handler.let_go.set()


@pytest.fixture
def local(shop):
    with LocalLambda({"shop": shop, "plain": shop}, durable={"shop"}, timeout=60) as local:
        yield local


@pytest.fixture
def adapter(local):
    with shop_adapter(local.endpoint_url) as adapter:
        yield adapter


def ask(session_id="purchase-1", *args, **more):
    return ExecuteRequest("buy", list(args), "user", "lobby", "community", session_id, "discord", **more)


def run(adapter, name, *args, **more):
    """A method of the adapter's, or its twin for event loops."""
    called = getattr(adapter, name)(*args, **more)
    if not name.endswith("_async"):
        return called

    async def main():
        return await called

    return asyncio.run(main())


TWINS = pytest.mark.parametrize("suffix", ["", "_async"])


@needs_executions
class TestExecute:
    @TWINS
    def test_asked_twice_it_runs_once_and_both_have_the_answer(self, adapter, shop, suffix):
        first, second = (run(adapter, "execute" + suffix, ask()) for _ in range(2))
        assert first.message == second.message == "Receipt for purchase-1"
        assert first.invocation.execution_arn == second.invocation.execution_arn
        assert (first.invocation.attached, second.invocation.attached) == (False, True)
        assert shop.runs == ["purchase-1"]
        assert adapter.health.total_requests == 2
        assert adapter.health.total_failures == 0

    def test_a_stored_failure_comes_back(self, adapter, shop):
        for words, code in (("raise", "function_error"), ("refuse", "function_failed"), ("babble", "invalid_response")):
            first, second = (adapter.execute(ask(words, words)) for _ in range(2))
            assert first.error_code == second.error_code == code
            assert first.error == second.error
            assert second.invocation.executed == "yes"
        assert shop.runs == ["raise", "refuse", "babble"]

    @TWINS
    def test_other_words_under_the_same_session_id_are_already_started(self, adapter, shop, suffix):
        adapter.execute(ask())
        before = adapter.health
        response = run(adapter, "execute" + suffix, ask("purchase-1", "shield"))
        assert (response.error_code, response.invocation.executed) == ("already_started", "yes")
        assert response.invocation.execution_arn
        assert shop.runs == ["purchase-1"]
        assert adapter.health == before
        with pytest.raises(AlreadyStartedError):
            response.raise_for_error()

    @pytest.mark.parametrize("first", [1, "1"])
    def test_a_number_and_its_digits_are_two(self, adapter, shop, first):
        second = 1 if first == "1" else "1"
        assert [adapter.execute(ask(each)).data["id"] for each in (first, second)] == [first, second]
        assert shop.runs == [first, second]

    def test_what_opentelemetry_adds_to_each_attempt_is_no_other_word(self, local, shop):
        """And it is not idempotent, so that a retry would be refused without durable."""
        client = boto3.client(
            "lambda",
            "us-east-1",
            endpoint_url=local.endpoint_url,
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )
        number = iter(range(10))

        def add_headers(params, **_):
            params["Payload"] = json.dumps({**json.loads(params["Payload"]), "headers": {"trace": next(number)}})

        client.meta.events.register("provide-client-params.lambda.Invoke", add_headers)
        with LambdaAdapter("shop:live", "us-east-1", "shop", durable=True, client=client) as adapter:
            responses = [adapter.execute(ask()) for _ in range(2)]
        client.close()
        assert [response.message for response in responses] == ["Receipt for purchase-1"] * 2
        assert shop.runs == ["purchase-1"]

    @TWINS
    def test_it_attaches_to_a_run_that_goes_on_and_polls(self, adapter, shop, suffix):
        shop.let_go.clear()
        execution = adapter.start(ask())
        assert shop.begun.wait(WAIT_S)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(run, adapter, "execute" + suffix, ask())
            until(lambda: adapter.health.total_requests == 1)
            shop.let_go.set()
            response = waiting.result(WAIT_S)
        assert (response.message, response.invocation.attached) == ("Receipt for purchase-1", True)
        assert response.invocation.execution_arn == execution.arn
        assert shop.runs == ["purchase-1"]

    @TWINS
    def test_total_timeout_ends_the_wait_for_another_run(self, local, shop, suffix):
        shop.let_go.clear()
        with shop_adapter(local.endpoint_url, total_timeout=0.4) as adapter:
            adapter.start(ask())
            response = run(adapter, "execute" + suffix, ask())
        assert response.error_code == "timeout"
        assert shop.runs == ["purchase-1"]

    def test_read_timeout_is_the_limit_of_one_wait_and_retries_begin_nothing(self, local, shop):
        shop.let_go.clear()
        with shop_adapter(local.endpoint_url, read_timeout=0.2, max_retries=2) as adapter:
            adapter.start(ask())
            response = adapter.execute(ask())
        assert (response.error_code, response.invocation.attempts) == ("timeout", 3)
        assert (response.invocation.executed, response.invocation.attached) == ("yes", True)
        assert shop.runs == ["purchase-1"]

    def test_closing_ends_a_wait(self, adapter, shop):
        shop.let_go.clear()
        adapter.start(ask())
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(adapter.execute, ask())
            until(lambda: adapter.health.total_requests == 1)
            adapter.close()
            response = waiting.result(WAIT_S)
        assert response.error_code in ("pending", "closed")

    def test_on_attempt_hears_of_one_attempt_and_its_outcome(self, local):
        heard = []
        with shop_adapter(local.endpoint_url, on_attempt=heard.append) as adapter:
            for _ in range(2):
                adapter.execute(ask())
            adapter.execute(ask("purchase-1", "shield"))
        assert [(each.number, each.error_code, each.executed, each.why_ended) for each in heard] == [
            (1, None, "yes", "succeeded"),
            (1, None, "yes", "succeeded"),
            (1, "already_started", "yes", "permanent"),
        ]

    def test_a_circuit_counts_runs_and_neither_old_outcomes_nor_other_words(self, local):
        breaker = CircuitBreaker(failure_threshold=2, reset_timeout=60)
        with shop_adapter(local.endpoint_url, circuit_breaker=breaker) as adapter:
            adapter.execute(ask("one", "raise"))
            for _ in range(3):
                assert adapter.execute(ask("one", "other")).error_code == "already_started"
                # One run has failed, however often its outcome is asked for.
                assert adapter.execute(ask("one", "raise")).error_code == "function_error"
            assert adapter.get_module_info()["circuit_breaker"]["consecutive_failures"] == 1
            adapter.execute(ask("two", "raise"))
            assert adapter.execute(ask("three")).error_code == "circuit_open"
            assert adapter.result("one").error_code == "function_error"

    def test_an_empty_session_id_names_no_run(self, adapter, shop):
        for response in (adapter.execute(ask("")), adapter.execute(ask(""))):
            assert (response.error_code, response.invocation.executed) == ("invalid_request", "no")
            assert "session_id must not be empty" in response.error
        assert adapter.start(ask("")).error_code == "invalid_request"

    def test_what_to_dict_gave_is_no_execution_yet(self, adapter):
        kept = adapter.start(ask()).to_dict()
        for method in (adapter.result, adapter.stop):
            response = method(kept)
            assert response.error_code == "invalid_request"
            assert "Execution.from_dict makes one" in response.error

    def test_an_old_outcome_says_nothing_of_the_present_to_a_circuit(self, local):
        breaker = CircuitBreaker(failure_threshold=2, reset_timeout=60)
        with shop_adapter(local.endpoint_url, circuit_breaker=breaker) as adapter:
            adapter.start(ask("one", "raise"))
            assert [adapter.result("one").error_code for _ in range(3)] == ["function_error"] * 3
            assert adapter.execute(ask("two")).success

    def test_an_event_is_queued_once(self, local, shop):
        with shop_adapter(local.endpoint_url, invocation_type="Event") as adapter:
            first, second = (adapter.execute(ask()) for _ in range(2))
            assert first.message == second.message == "Lambda function queued"
            assert first.invocation.execution_arn == second.invocation.execution_arn
            assert adapter.result("purchase-1").message == "Receipt for purchase-1"
        assert shop.runs == ["purchase-1"]

    def test_a_plain_function_is_refused_with_what_must_be_deployed(self, local, shop):
        with shop_adapter(local.endpoint_url, function="plain:live") as adapter:
            for response in (adapter.execute(ask()), adapter.start(ask())):
                assert response.error_code == "invalid_parameter"
                assert "DurableConfig" in response.error
        assert shop.runs == []

    def test_an_endpoint_that_ignores_the_name_is_warned_of(self, caplog):
        with fs.FaultServer(fs.answer({"success": True})) as server, shop_adapter(server.endpoint_url) as adapter:
            response = adapter.execute(ask())
        assert (response.success, response.invocation.execution_arn) == (True, None)
        assert "no durable execution" in caplog.text


@needs_executions
class TestStartAndResult:
    @TWINS
    def test_start_returns_at_once_and_result_has_the_answer(self, adapter, shop, suffix):
        shop.let_go.clear()
        execution = run(adapter, "start" + suffix, ask())
        assert (execution.session_id, execution.error_code, execution.error) == ("purchase-1", None, None)
        assert execution.name in execution.arn
        pending = run(adapter, "result" + suffix, execution, wait=0)
        assert (pending.error_code, pending.success, pending.invocation.executed) == ("pending", False, "yes")
        with pytest.raises(PendingError):
            pending.raise_for_error()
        before = adapter.health
        assert run(adapter, "result" + suffix, "purchase-1", wait=0.3).error_code == "pending"
        assert adapter.health == before
        shop.let_go.set()
        kept = Execution.from_dict(json.loads(json.dumps(execution.to_dict())))
        for each in (kept, pickle.loads(pickle.dumps(execution)), "purchase-1"):
            response = run(adapter, "result" + suffix, each, wait=WAIT_S)
            assert (response.message, response.invocation.executed) == ("Receipt for purchase-1", "yes")
            assert response.invocation.execution_arn == execution.arn
        assert shop.runs == ["purchase-1"]

    @TWINS
    def test_beginning_twice_begins_once(self, adapter, shop, suffix):
        first, second = (run(adapter, "start" + suffix, ask()) for _ in range(2))
        assert first == second
        assert adapter.result(second).success
        assert shop.runs == ["purchase-1"]

    def test_other_words_are_already_started(self, adapter):
        adapter.start(ask())
        execution = adapter.start(ask("purchase-1", "shield"))
        assert execution.error_code == "already_started"
        assert adapter.result("purchase-1").success

    def test_a_thousand_waits_hold_no_thread(self, adapter, shop):
        shop.let_go.clear()
        executions = [adapter.start(ask(f"purchase-{number}")) for number in range(5)]

        async def main():
            results = [asyncio.ensure_future(adapter.result_async(executions[n % 5], wait=WAIT_S)) for n in range(100)]
            await until_async(lambda: adapter._workers.parked == 100)
            shop.let_go.set()
            return await asyncio.gather(*results)

        assert {response.message for response in asyncio.run(main())} == {f"Receipt for purchase-{n}" for n in range(5)}

    @pytest.mark.parametrize(
        ("words", "code", "told"),
        [
            pytest.param("raise", "function_error", "ConnectionError: the till is broken", id="raised"),
            pytest.param("refuse", "function_failed", "success=false", id="said no"),
            pytest.param("babble", "invalid_response", "no `success`", id="no module's answer"),
        ],
    )
    def test_a_result_is_judged_as_any_answer(self, adapter, words, code, told):
        adapter.start(ask("one", words))
        response = adapter.result("one", wait=WAIT_S)
        assert (response.error_code, response.invocation.executed) == (code, "yes")
        assert told in response.error
        assert adapter.health.total_failures == 1

    def test_a_run_past_its_timeout_is_a_function_error(self, shop):
        shop.let_go.clear()
        local = LocalLambda({"shop": shop}, durable={"shop"}, timeout=0.05)
        with local, shop_adapter(local.endpoint_url) as adapter:
            response = adapter.result(adapter.start(ask()), wait=WAIT_S)
        assert response.error_code == "function_error"
        assert "timed out" in response.error

    @TWINS
    def test_stop_ends_a_run(self, adapter, shop, suffix):
        shop.let_go.clear()
        execution = adapter.start(ask())
        stopped = run(adapter, "stop" + suffix, execution)
        assert (stopped.success, stopped.message) == (True, "Lambda execution stopped, unless it had ended before")
        response = run(adapter, "result" + suffix, "purchase-1")
        assert response.error_code == "function_error"
        assert "stopped" in response.error
        assert run(adapter, "stop" + suffix, "purchase-1").success
        assert run(adapter, "stop" + suffix, "none").error_code == "not_found"

    def test_what_starts_nothing_says_so(self, local, adapter):
        execution = adapter.start(ask("one", metadata={"community": b"no JSON"}))
        assert (execution.session_id, execution.error_code, execution.arn) == ("one", "invalid_request", None)
        execution = adapter.start(ask(["no id"]))
        assert (execution.name, execution.session_id, execution.error_code) == ("", "", "invalid_request")
        assert adapter.start(ask("one", "x" * 1_100_000)).error_code == "payload_too_large"
        local.close()
        execution = adapter.start(ask("one"))
        assert (execution.error_code, execution.arn) == ("connection_error", None)
        assert adapter.result(execution, wait=0).error_code == "connection_error"

    def test_an_unknown_session_id_is_not_found(self, adapter):
        response = adapter.result("nobody's", wait=WAIT_S)
        assert (response.error_code, response.invocation.executed) == ("not_found", "maybe")

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param({"arn": FOREIGN}, id="arn of another function"),
            pytest.param({"arn": FOREIGN.replace("dice", "shop").replace("us-east-1", "eu-west-1")}, id="of a region"),
            pytest.param({"arn": FOREIGN.replace("dice", "shop").replace("{name}", "other")}, id="of another name"),
            pytest.param({"arn": "no arn"}, id="no arn"),
            pytest.param({"name": "other"}, id="another name"),
            pytest.param({"session_id": "other"}, id="another session_id"),
            pytest.param({"session_id": True}, id="a boolean"),
        ],
    )
    @pytest.mark.parametrize("method", ["result", "stop"])
    def test_what_is_no_execution_of_this_function_is_refused_before_anything_is_sent(self, change, method):
        with fs.FaultServer(fs.answer({})) as server, shop_adapter(server.endpoint_url) as adapter:
            name = adapter._arguments.execution_name("one")
            kept = Execution(name, "one", "shop:live")
            change = {key: value.replace("{name}", name) if key == "arn" else value for key, value in change.items()}
            response = getattr(adapter, method)(attrs.evolve(kept, **change))
            assert response.error_code == "invalid_request"
            assert not server.requests

    @pytest.mark.parametrize("wait", [-1, True, "5", float("nan"), float("inf"), 31_622_401, [1]])
    def test_a_wait_that_is_none_is_a_value_error(self, adapter, wait):
        with pytest.raises(ValueError, match="wait"):
            adapter.result("one", wait=wait)

    def test_what_nobody_has_begun_says_nothing_about_the_function(self, adapter):
        for number in range(5):
            assert adapter.result(f"nobody's {number}", wait=0).error_code == "not_found"
        assert (adapter.is_healthy(), adapter.health.total_requests) == (True, 0)

    @pytest.mark.parametrize("suffix", ["", "_async"])
    def test_total_timeout_limits_stop(self, suffix):
        with fs.FaultServer(fs.hang()) as server, shop_adapter(server.endpoint_url, total_timeout=0.2) as adapter:
            response = run(adapter, "stop" + suffix, "one")
        assert (response.error_code, response.invocation.executed) == ("timeout", "maybe")
        assert "total_timeout" in response.error

    @pytest.mark.parametrize("method", ["result", "stop"])
    @TWINS
    def test_a_late_answer_was_no_attempt(self, method, suffix):
        with fs.FaultServer(fs.hang()) as server, shop_adapter(server.endpoint_url, total_timeout=0.2) as adapter:
            given = {"wait": 0} if method == "result" else {}
            response = run(adapter, method + suffix, "one", **given)
        assert (response.error_code, response.invocation.attempts) == ("timeout", 0)
        assert "attempt" not in response.error

    def test_a_closed_adapter_says_so(self, adapter):
        adapter.close()
        assert adapter.start(ask()).error_code == "closed"
        assert adapter.result("one").error_code == "closed"
        assert adapter.stop("one").error_code == "closed"


@needs_executions
def test_nobody_gets_the_answer_of_another_look_after_an_interim_answer():
    """http.client takes a 103 for the whole answer, and would read the real one as the next look's."""
    names = iter("abcdef")

    def react(request):
        name = next(names)
        told = {"Status": "SUCCEEDED", "Result": json.dumps({"success": True, "message": name})}
        body = json.dumps({**told, "InputPayload": "{}"}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        interim = b"HTTP/1.1 103 Early Hints\r\n\r\n" if name == "a" else b""
        return fs.raw(interim + head.encode() + body, then="keep")

    arn = FOREIGN.replace("dice", "shop")
    with fs.FaultServer(react) as server, shop_adapter(server.endpoint_url, max_retries=0) as adapter:
        name = adapter._arguments.execution_name("one")
        execution = Execution(name, "one", "shop:live", arn.replace("{name}", name))
        first, second = (adapter.result(execution, wait=0) for _ in range(2))
    assert first.error_code == "connection_lost"
    assert second.message == "b"


@needs_executions
class TestExactlyOnce:
    @pytest.mark.parametrize("suffix", ["", "_async"])
    def test_connections_that_break_after_sending_buy_once(self, local, shop, suffix):
        left = [True] * 3
        proxied = cutting(local.endpoint_url, lambda: bool(left and left.pop()))
        with proxied as proxy, shop_adapter(proxy.endpoint_url, max_retries=3) as adapter:
            response = run(adapter, "execute" + suffix, ask())
        assert (response.message, response.invocation.attempts) == ("Receipt for purchase-1", 4)
        assert proxy.cut == 3
        assert shop.runs == ["purchase-1"]

    def test_a_lost_answer_is_asked_for_again(self, local, shop):
        """read_timeout comes long before the answer; the run is not begun anew."""
        shop.let_go.clear()
        threading.Timer(0.5, shop.let_go.set).start()
        with shop_adapter(local.endpoint_url, read_timeout=0.2, max_retries=20) as adapter:
            response = adapter.execute(ask())
        assert response.success
        assert shop.runs == ["purchase-1"]

    @pytest.mark.slow
    def test_a_thousand_hostile_session_ids_through_connections_cut_at_random(self, local, shop):
        chance = random.Random(7)
        session_ids = [*range(300), *(f"{n}{char}" for n in range(100) for char in '/ ä😀\t\\"')][:1_000]
        assert len(set(map(repr, session_ids))) == 1_000
        proxied = cutting(local.endpoint_url, lambda: chance.random() < 0.2)
        with proxied as proxy, shop_adapter(proxy.endpoint_url, max_retries=50) as adapter:
            pairs = list(adapter.execute_many(map(ask, session_ids)))
            again = list(adapter.execute_many(map(ask, session_ids[::50])))
        assert proxy.cut > 100
        for request, response in pairs + again:
            assert response.success, response.error
            assert response.data["id"] == request.session_id
        assert sorted(map(repr, shop.runs)) == sorted(map(repr, session_ids))

    @pytest.mark.slow
    def test_three_processes_ask_at_once_and_one_is_killed(self, local, shop, tmp_path):
        shop.let_go.clear()
        script = textwrap.dedent(
            """
            import sys
            from support.durable import shop_adapter
            from lambda_adapter import ExecuteRequest
            print("ready", flush=True)
            with shop_adapter(sys.argv[1]) as adapter:
                request = ExecuteRequest("buy", [], "user", "lobby", "community", "purchase-1", "discord")
                print(adapter.execute(request).message)
            """
        )
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", script, local.endpoint_url],
                stdout=subprocess.PIPE,
                text=True,
                cwd=str(PROJECT / "tests"),
                env={"PYTHONPATH": f"{PROJECT}:{PROJECT / 'tests'}", "AWS_EC2_METADATA_DISABLED": "true"},
            )
            for _ in range(3)
        ]
        try:
            for process in processes:
                assert process.stdout.readline() == "ready\n"
            assert shop.begun.wait(WAIT_S)
            processes[0].kill()
            shop.let_go.set()
            told = [process.communicate(timeout=WAIT_S)[0] for process in processes[1:]]
        finally:
            for process in processes:
                process.kill()
                process.communicate()
        assert told == ["Receipt for purchase-1\n"] * 2
        assert shop.runs == ["purchase-1"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        pytest.param({}, "durable needs a version or an alias", id="no qualifier"),
        pytest.param({"durable": None}, "durable must be True or False", id="no flag"),
        pytest.param({"qualifier": "1", "client": object()}, "client must be", id="no client"),
    ],
)
def test_what_durable_needs_is_a_value_error(settings, told):
    with pytest.raises(ValueError, match=told):
        LambdaAdapter("shop", "us-east-1", "shop", **{"durable": True, **settings})


@pytest.mark.skipif(KNOWS_EXECUTIONS, reason="this botocore knows durable executions")
def test_a_botocore_without_the_name_is_a_value_error():
    with pytest.raises(ValueError, match="does not know DurableExecutionName"):
        shop_adapter("http://127.0.0.1:1")


def test_a_client_that_does_not_know_the_name_is_a_value_error():
    class Client:
        def invoke(self, **arguments):
            raise AssertionError

    with pytest.raises(ValueError, match="does not know DurableExecutionName"):
        LambdaAdapter("shop:1", "us-east-1", "shop", durable=True, client=Client())


@pytest.mark.parametrize("call", [("start", ask()), ("result", "one"), ("stop", "one")], ids=lambda call: call[0])
@TWINS
def test_an_adapter_that_is_not_durable_has_no_executions(call, suffix, make_adapter):
    name, argument = call
    with pytest.raises(ValueError, match="durable must be True"):
        run(make_adapter(), name + suffix, argument)
