"""mock_lambda beside a LocalLambda, and what it keeps and tells of each call: tenant, type, log tail, report."""

import contextlib
import json

import boto3
import pytest

from lambda_adapter import LambdaAdapter, LocalLambda
from lambda_adapter.testing import mock_lambda
from support.durable import needs_executions

DONE = {"success": True, "message": "Done."}
MOCKED = {"success": True, "message": "mocked"}


@pytest.fixture
def mock():
    with mock_lambda() as made:
        yield made


def served(event, context):
    context.log("a line of the handler's\n")
    return {"success": True, "message": "served"}


# --- A LocalLambda beside it ---


@pytest.fixture
def call(make_request):
    """Calls "dice" of a LocalLambda -> its message, or its error code."""

    def call(local, **settings):
        with LambdaAdapter("dice", module_name="dice", max_retries=0, **{**local.settings, **settings}) as adapter:
            response = adapter.execute(make_request())
        return response.message if response.success else response.error_code

    return call


OTHER_KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


@pytest.mark.parametrize("before", [False, True], ids=["started-within", "started-before"])
@pytest.mark.parametrize(
    ("made", "settings", "told", "arrived"),
    [
        pytest.param([], {}, "served", 1, id="its-settings"),
        pytest.param(["dice"], {}, "served", 1, id="its-settings-and-the-name-is-mocked-too"),
        pytest.param([], OTHER_KEYS, "served", 1, id="its-endpoint"),
        pytest.param(["weather"], OTHER_KEYS, "served", 1, id="its-endpoint-and-another-is-mocked"),
        pytest.param(["dice"], OTHER_KEYS, "mocked", 0, id="its-endpoint-in-the-place-of-AWS"),
    ],
)
def test_a_local_lambda_beside_the_mock_is_called(call, before, made, settings, told, arrived):
    local = LocalLambda({"dice": served})
    if before:
        local.start()
    with mock_lambda() as mock:
        for name in made:
            mock.function(name, MOCKED)
        if not before:
            local.start()
        try:
            assert call(local, **settings) == told
            assert len(local.calls) == arrived
        finally:
            local.close()


def test_each_is_called_by_its_own_adapter(mock, call, make_request):
    mock.function("dice", MOCKED)
    with LocalLambda({"dice": served}) as local, LambdaAdapter("dice", "us-east-1", "dice") as on_aws:
        assert [call(local), on_aws.execute(make_request()).message] == ["served", "mocked"]
        assert (len(local.calls), len(mock.calls("dice"))) == (1, 1)


def test_localhost_is_the_same(mock, call):
    with LocalLambda({"dice": served}) as local:
        there = local.settings["endpoint_url"].replace("127.0.0.1", "localhost")
        assert call(local, endpoint_url=there) == "served"


def test_what_is_closed_or_was_never_there_is_mocked(mock, call):
    mock.function("dice", MOCKED)
    with LocalLambda({"dice": served}) as local:
        gone = local.settings
        port = int(gone["endpoint_url"].rpartition(":")[2])
        assert call(local, endpoint_url=f"http://127.0.0.1:{port - 1 or 2}") == "mocked"
        assert call(local, endpoint_url=f"https://127.0.0.1:{port}") == "mocked"
    with LambdaAdapter("dice", module_name="dice", **gone) as adapter:
        assert adapter.check().success


def test_a_stream_and_other_services_go_where_they_belong(mock, make_request):
    with LocalLambda({"talk": lambda event, context: iter_of("Hel", "lo")}) as local:
        adapter = LambdaAdapter("talk", module_name="talk", **local.settings)
        with adapter, adapter.execute_stream(make_request()) as stream:
            assert "".join(stream) == "Hello"
        assert boto3.client("s3", region_name="us-east-1").list_buckets()["Buckets"] == []


def iter_of(*texts):
    yield from texts


@needs_executions
@pytest.mark.parametrize("before", [False, True], ids=["started-within", "started-before"])
def test_durable_executions_are_asked_for_where_they_run(make_request, before):
    local = LocalLambda({"dice": served}, durable={"dice"})
    if before:
        local.start()
    with mock_lambda():
        if not before:
            local.start()
        try:
            with LambdaAdapter("dice:live", module_name="dice", durable=True, **local.settings) as adapter:
                assert adapter.result(adapter.start(make_request())).message == "served"
        finally:
            local.close()


# --- What is kept of calls ---


def test_calls_are_kept_with_qualifier_and_type(mock, make_request):
    mock.function("dice", DONE)
    for name, kind in (("dice", "RequestResponse"), ("dice:live", "Event"), ("dice:7", "RequestResponse")):
        with LambdaAdapter(name, "us-east-1", "dice", invocation_type=kind) as adapter:
            adapter.execute(make_request())
    told = [(call.qualifier, call.invocation_type, call.tenant_id) for call in mock.invocations("dice")]
    assert told == [(None, "RequestResponse", None), ("live", "Event", None), ("7", "RequestResponse", None)]
    assert [call.payload for call in mock.invocations("dice")] == mock.calls("dice")


def test_calls_are_kept_with_their_tenant(mock, make_isolating, make_request):
    mock.function("function", DONE)
    make_isolating().execute(make_request(community_id="penguins"))
    assert [call.tenant_id for call in mock.invocations("function")] == ["penguins"]


def test_calls_are_kept_with_their_client_context(mock, make_adapter, make_request):
    mock.function("function", DONE)
    make_adapter(send_client_context=True).execute(make_request())
    (call,) = mock.invocations("function")
    assert call.client_context["custom"]["attempt"] in (1, "1")
    assert "authorization" not in repr(call).lower()


def test_the_invocations_of_a_name_that_nobody_knows_are_an_error(mock):
    mock.function("dice")
    with pytest.raises(LookupError, match="no function 'dcie'"):
        mock.invocations("dcie")


# --- Log tail and report ---


def invoke(mock, make_request, function=None, **settings):
    with LambdaAdapter("dice", "us-east-1", "dice", **{"log_tail": True, "max_retries": 0, **settings}) as adapter:
        return adapter.execute(make_request()).invocation


def test_the_log_tail_has_what_the_handler_logs_between_aws_lines(mock, make_request):
    mock.function("dice", served)
    invocation = invoke(mock, make_request)
    start, line, end, report = invocation.log_tail.splitlines()
    assert start == f"START RequestId: {invocation.request_id} Version: $LATEST"
    assert line == "a line of the handler's"
    assert end == f"END RequestId: {invocation.request_id}"
    assert report.startswith(f"REPORT RequestId: {invocation.request_id}\tDuration: ")


def test_the_report_is_that_of_the_first_run_once(mock, make_request):
    mock.function("dice", DONE)
    reports = [invoke(mock, make_request).report for _ in range(2)]
    assert [report.init_ms for report in reports] == [0.5, None]
    assert [report.memory_mb for report in reports] == [128, 128]
    assert all(report.billed_ms >= report.duration_ms >= 0 for report in reports)


@pytest.mark.parametrize(
    ("steps", "settings", "part"),
    [
        pytest.param(lambda dice: dice.answers(DONE), {}, "REPORT RequestId: ", id="an-answer"),
        pytest.param(lambda dice: dice.fails(), {}, "REPORT RequestId: ", id="a-failure"),
        pytest.param(lambda dice: dice.answers(lambda *_: 1 / 0), {}, "[ERROR] ZeroDivisionError", id="an-exception"),
        pytest.param(lambda dice: dice.streams("a", "b"), {}, "REPORT RequestId: ", id="pieces"),
        pytest.param(lambda dice: dice.answers(DONE), {"log_tail": False}, None, id="not-asked-for"),
        pytest.param(lambda dice: dice.throttles(), {}, None, id="throttled"),
        pytest.param(lambda dice: dice.times_out(), {}, None, id="timed-out"),
        pytest.param(lambda dice: dice.breaks_off(), {}, None, id="broken-off"),
        pytest.param(lambda dice: dice.rejects("AccessDeniedException", 403), {}, None, id="rejected"),
    ],
)
def test_there_is_a_log_where_the_function_ran_and_one_is_asked_for(mock, make_request, steps, settings, part):
    steps(mock.function("dice"))
    log_tail = invoke(mock, make_request, **settings).log_tail
    assert log_tail is None if part is None else part in log_tail


def test_a_long_log_loses_its_beginning(mock, make_request):
    mock.function("dice", lambda event, context: context.log("x" * 10_000))
    log_tail = invoke(mock, make_request).log_tail
    assert len(log_tail) == 4_096
    assert "START" not in log_tail
    assert "REPORT" in log_tail


def test_a_stream_has_its_log_at_its_end(mock, make_request):
    mock.function("dice").streams("Hel", "lo")
    adapter = LambdaAdapter("dice", "us-east-1", "dice", log_tail=True)
    with adapter, adapter.execute_stream(make_request()) as stream:
        assert "".join(stream) == "Hello"
    assert stream.response.invocation.report.init_ms == 0.5


def test_boto3_itself_gets_the_log(mock):
    mock.function("dice", served)
    client = boto3.client("lambda", "us-east-1")
    assert client.invoke(FunctionName="dice", LogType="Tail")["LogResult"]
    assert "LogResult" not in client.invoke(FunctionName="dice")


@needs_executions
def test_a_call_that_attaches_gets_the_log_of_the_run(mock, make_request):
    ran_as = []
    mock.function("dice", lambda _, context: ran_as.append(context.aws_request_id)).breaks_off().durable()
    with LambdaAdapter("dice:live", "us-east-1", "dice", durable=True, log_tail=True) as adapter:
        invocation = adapter.execute(make_request()).invocation
    assert invocation.log_tail.startswith(f"START RequestId: {ran_as[0]} ")
    assert invocation.request_id != ran_as[0]


# --- Durable functions ---


@pytest.fixture
def report(mock):
    with LambdaAdapter("report:live", "us-east-1", "report", durable=True, idempotent=False) as made:
        yield made


@needs_executions
@pytest.mark.parametrize(
    ("steps", "attempts", "told"),
    [
        pytest.param(lambda report: report.breaks_off(), [2, 1], ["1", "1"], id="once"),
        pytest.param(lambda report: report.breaks_off(times=3), [4, 1], ["1", "1"], id="three-times"),
        pytest.param(lambda report: report.throttles(times=1).breaks_off(), [3, 1], ["1", "1"], id="after-a-429"),
        pytest.param(lambda report: report.breaks_off().throttles(times=1), [3, 1], ["1", "1"], id="and-then-a-429"),
        pytest.param(lambda report: report.breaks_off().times_out(times=1), [3, 1], ["1", "1"], id="and-then-silence"),
    ],
)
def test_a_call_that_breaks_off_has_begun_its_run(mock, report, make_request, steps, attempts, told):
    runs = []
    steps(mock.function("report", lambda *_: runs.append(1) or {"success": True, "message": str(len(runs))}).durable())
    responses = [report.execute(make_request()) for _ in told]
    assert [response.message for response in responses] == told
    assert [response.invocation.attempts for response in responses] == attempts
    assert runs == [1]


@needs_executions
def test_the_answer_of_a_call_that_broke_off_can_be_fetched(mock, report, make_request):
    mock.function("report").answers(DONE).breaks_off().durable()
    assert report.execute(make_request(session_id="one")).message == "Done."
    lost = report.execute(make_request(session_id="two"))
    assert (lost.error_code, lost.invocation.executed) == ("connection_lost", "maybe")
    assert report.result("two").success


@needs_executions
def test_the_run_is_the_next_answer_and_takes_it(mock, report, make_request):
    mock.function("report").breaks_off(times=1).answers(DONE, MOCKED).durable()
    told = [report.execute(make_request(session_id=session_id)).message for session_id in ("one", "two", "one")]
    assert told == ["Done.", "mocked", "Done."]


@needs_executions
@pytest.mark.parametrize("operation", ["invoke", "invoke_with_response_stream"])
@pytest.mark.parametrize("qualifier", [None, "live"])
@pytest.mark.parametrize("kit", ["LocalLambda", "mock_lambda"])
def test_an_unqualified_durable_function_is_refused_by_both_and_streamed_too(kit, operation, qualifier):
    with LocalLambda({"dice": served}, durable={"dice"}) as local, mock_lambda() as mock:
        settings = local.settings
        if kit == "mock_lambda":
            mock.function("dice", served).durable()
        client = boto3.client(
            "lambda",
            settings["region"],
            endpoint_url=settings["endpoint_url"] if kit == "LocalLambda" else None,
        )
        with contextlib.closing(client):
            if qualifier:
                answer = getattr(client, operation)(FunctionName="dice", Qualifier=qualifier)
                assert answer["StatusCode"] == 200
                answer.get("Payload", answer.get("EventStream")).close()
            else:
                with pytest.raises(client.exceptions.InvalidParameterValueException, match="unqualified ARN"):
                    getattr(client, operation)(FunctionName="dice")
                assert local.calls == []


@needs_executions
@pytest.mark.parametrize("kit", ["LocalLambda", "mock_lambda"])
def test_where_durable_was_forgotten_the_error_says_what_to_write(kit, make_request):
    with LocalLambda({"dice": served}) as local, mock_lambda() as mock:
        settings = dict(local.settings) if kit == "LocalLambda" else {"region": "us-east-1"}
        if kit == "mock_lambda":
            mock.function("dice", DONE)
        with LambdaAdapter("dice:live", module_name="dice", durable=True, **settings) as adapter:
            response = adapter.execute(make_request())
    assert response.error_code == "invalid_parameter"
    assert "durable=" in response.error
    assert ".durable()" in response.error
    assert json.dumps(response.error).isascii()
