"""LocalLambda beside AWS's own Python runtime: the same handlers, value by value.

What the runtime does is written down in ``support.runtime_cases``, so that LocalLambda is held to it everywhere; where
``awslambdaric`` is installed (the extra ``aws-runtime``), the runtime itself is held to it too.
"""

import base64
import http.client
import json
import re
import sys
from contextlib import closing
from typing import Any, Dict, Iterator, List, Tuple

import attrs
import pytest

from lambda_adapter.local import LocalLambda
from support.aws_runtime import AwsRuntime, RuntimeOutcome
from support.runtime_cases import ENDING, RAISED, RETURNED, handler

WAIT_S = 60.0
HANDLER = "support.runtime_cases.handler"
CLIENT_CONTEXT = {
    "custom": {"a": [1]},
    "client": {"app_title": "bot", "other": 1},
    "else": 2,
    "w3c": {"traceparent": "00-a-b-01", "tracestate": 7, "other": "x"},
}


@attrs.frozen
class Answer:
    """What came of one event, from either side."""

    request_id: str
    body: bytes
    failed: bool
    log: str


class Local:
    """LocalLambda, asked as ``Runtime`` is."""

    def __init__(self, local: LocalLambda) -> None:
        self.port = int(local.endpoint_url.rpartition(":")[2])

    def ask(self, event: Dict[str, Any], **headers: str) -> Answer:
        sent = {"X-Amz-Log-Type": "Tail", **{name.replace("_", "-"): value for name, value in headers.items()}}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)) as connection:
            connection.request("POST", "/2015-03-31/functions/f/invocations", json.dumps(event), sent)
            response = connection.getresponse()
            body = response.read()
        assert response.status == 200
        log = base64.b64decode(response.headers["X-Amz-Log-Result"]).decode()
        said = re.sub(r"\ASTART .*\n|END RequestId: .*\nREPORT .*\n\Z", "", log)
        return Answer(response.headers["x-amzn-RequestId"], body, "X-Amz-Function-Error" in response.headers, said)


class Runtime:
    """AWS's runtime."""

    def __init__(self, runtime: AwsRuntime) -> None:
        self._runtime = runtime

    def ask(self, event: Dict[str, Any], **headers: str) -> Answer:
        outcome = self.outcome(event, **headers)
        assert outcome.exit_status is None, outcome.log
        # Beside AWS's log stream, which frames what the runtime says, it joins a failure's lines by \r.
        return Answer(outcome.request_id, outcome.body, outcome.failed, outcome.log.replace("\r", "\n"))

    def outcome(self, event: Dict[str, Any], **headers: str) -> RuntimeOutcome:
        named = {
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:f",
            "Lambda-Runtime-Trace-Id": "Root=1-0-0",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return self._runtime.invoke(json.dumps(event).encode(), **named)


def new_runtime() -> AwsRuntime:
    installed = pytest.importorskip("awslambdaric", reason="awslambdaric, of the extra aws-runtime, is not installed")
    if tuple(map(int, installed.__version__.split(".")[:2])) < (4, 2):
        pytest.skip(f"awslambdaric {installed.__version__} is older than 4.2, of which this is written down")
    variables = {
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "AWS_LAMBDA_FUNCTION_NAME": "f",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
        "AWS_LAMBDA_LOG_STREAM_NAME": "stream",
    }
    return AwsRuntime(HANDLER, variables)


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    with new_runtime() as running:
        yield Runtime(running)


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    with LocalLambda({"f": handler}, timeout=WAIT_S) as running:
        yield Local(running)


#: The tests that need no second side run on each side that there is.
SIDES = pytest.mark.parametrize("side_name", ["local", "runtime"])


@pytest.fixture
def side(side_name: str, request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(side_name)


def plain(answer: Answer) -> Tuple[bytes, bool, str]:
    """What must be equal on both sides."""
    request_id = answer.request_id.encode()
    log = answer.log.replace(answer.request_id, "REQUEST-ID")
    return (
        answer.body.replace(request_id, b"REQUEST-ID"),
        answer.failed,
        re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME", log),
    )


@SIDES
@pytest.mark.parametrize("case", RETURNED)
def test_a_result_is_written_as_written_down(side: Any, case: str) -> None:
    answer = side.ask({"do": "return", "case": case})
    expected = RETURNED[case][1]
    if isinstance(expected, bytes):
        assert (answer.body, answer.failed, answer.log) == (expected, False, "")
        return
    text = f"Unable to marshal response: {expected}"
    assert answer.failed
    assert json.loads(answer.body) == {
        "errorMessage": text,
        "errorType": "Runtime.MarshalError",
        "requestId": answer.request_id,
        "stackTrace": [],
    }
    assert answer.log == f"[ERROR] Runtime.MarshalError: {text}\nTraceback (most recent call last):\n"


@pytest.mark.parametrize("case", RAISED)
def test_a_failure_is_told_and_logged_as_the_runtime_does(local: Local, runtime: Runtime, case: str) -> None:
    event = {"do": "raise", "case": case}
    answer = local.ask(event)
    assert plain(answer) == plain(runtime.ask(event))
    assert answer.failed


@pytest.mark.parametrize("case", ENDING)
def test_what_the_runtime_does_not_survive_is_an_exit(local: Local, case: str) -> None:
    answer = local.ask({"do": "end", "case": case})
    text = f"RequestId: {answer.request_id} Error: Runtime exited {ENDING[case][2]}"
    assert (answer.body, answer.failed) == (
        json.dumps({"errorType": "Runtime.ExitError", "errorMessage": text}).encode(),
        True,
    )
    assert answer.log.endswith(f"{text}\nRuntime.ExitError\n")


@pytest.mark.parametrize("case", ENDING)
def test_the_runtime_does_not_survive_it(local: Local, case: str) -> None:
    event = {"do": "end", "case": case}
    with new_runtime() as running:
        outcome = Runtime(running).outcome(event)
    assert outcome.exit_status == ENDING[case][1]
    # What sys.exit was given, or a traceback; which place of a text cannot be encoded is another there.
    last_line = "".join(outcome.log.splitlines()[-1:])
    assert last_line.partition(" in position")[0] in local.ask(event).log


def test_half_a_character_ends_the_runtime(local: Local) -> None:
    event = {"do": "return_surrogate"}
    assert json.loads(local.ask(event).body)["errorType"] == "Runtime.ExitError"
    with new_runtime() as running:
        assert Runtime(running).outcome(event).exit_status == 1


class TestContext:
    def test_it_shows_what_the_runtimes_shows(self, local: Local, runtime: Runtime) -> None:
        encoded = base64.b64encode(json.dumps(CLIENT_CONTEXT).encode()).decode()
        ours = local.ask({"do": "look"}, X_Amz_Client_Context=encoded, X_Amz_Tenant_Id="guild 7")
        theirs = runtime.ask(
            {"do": "look"},
            Lambda_Runtime_Client_Context=json.dumps(CLIENT_CONTEXT),
            Lambda_Runtime_Aws_Tenant_Id="guild 7",
        )
        seen, expected = json.loads(ours.body), json.loads(theirs.body)
        for each in (seen, expected):
            assert re.fullmatch("[0-9a-f-]{36}", each["vars"].pop("aws_request_id"))
            assert each["vars"].pop("log_stream_name")
        assert seen == expected
        assert seen["w3c"] == {"traceparent": "00-a-b-01"}

    def test_without_a_client_context_too(self, local: Local, runtime: Runtime) -> None:
        seen, expected = (json.loads(side.ask({"do": "look"}).body) for side in (local, runtime))
        assert seen["vars"]["client_context"] is None
        assert seen["vars"]["identity"] == {"cognito_identity_id": None, "cognito_identity_pool_id": None}
        assert (seen["w3c"], seen["types"], seen["public"]) == (expected["w3c"], expected["types"], expected["public"])

    @SIDES
    def test_it_takes_attributes_and_what_is_in_it_does_not(self, side: Any, side_name: str) -> None:
        sent = json.dumps({"client": {}})
        name = "X_Amz_Client_Context" if side_name == "local" else "Lambda_Runtime_Client_Context"
        encoded = base64.b64encode(sent.encode()).decode() if side_name == "local" else sent
        answer = side.ask({"do": "change_context"}, **{name: encoded})
        assert json.loads(answer.body) == [1, "other", 1, ["CognitoIdentity", "ClientContext", "Client"]]


class TestEventLoop:
    @pytest.mark.skipif(sys.version_info >= (3, 14), reason="a main thread has no event loop any more")
    @SIDES
    @pytest.mark.parametrize(
        ("calls", "expected"),
        [
            pytest.param([["run"], ["run"]], [["answer"], ["answer"]], id="run-until-complete"),
            pytest.param([["get", "same"], ["same"]], [[None, True], [True]], id="one-for-all-calls"),
            pytest.param([["running"]], [[False]], id="not-running"),
            pytest.param([["executor"]], [[0]], id="executor"),
            pytest.param([["close", "run"], ["run"]], [[None, "RuntimeError"], ["RuntimeError"]], id="closed"),
            pytest.param(
                [["asyncio.run", "asyncio.run"], ["asyncio.run"]], [["answer", "answer"], ["answer"]], id="asyncio-run"
            ),
            pytest.param([["asyncio.run", "get"], ["get"]], [["answer", "RuntimeError"], ["RuntimeError"]], id="gone"),
            pytest.param(
                [["asyncio.run", "set", "run"], ["run"]], [["answer", None, "answer"], ["answer"]], id="set-anew"
            ),
        ],
    )
    def test_a_handler_finds_it_as_its_last_call_left_it(
        self, side_name: str, calls: List[List[str]], expected: List[List[Any]]
    ) -> None:
        with LocalLambda({"f": handler}) if side_name == "local" else new_runtime() as running:
            side: Any = Local(running) if isinstance(running, LocalLambda) else Runtime(running)
            side.ask({"do": "loop", "steps": ["forget"]})
            assert [json.loads(side.ask({"do": "loop", "steps": steps}).body) for steps in calls] == expected

    @SIDES
    def test_mangum_serves_an_asgi_application(self, side: Any) -> None:
        pytest.importorskip("mangum", reason="mangum is not installed (the extra aws-runtime)")
        http_event = {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": "/weather",
            "rawQueryString": "",
            "headers": {"host": "example.org"},
            "requestContext": {"http": {"method": "GET", "path": "/weather", "sourceIp": "127.0.0.1"}},
            "isBase64Encoded": False,
        }
        for _ in range(2):
            answer = json.loads(side.ask({"do": "asgi", "http": http_event}).body)
            assert (answer["statusCode"], answer["body"]) == (200, "/weather of f")


def test_what_a_handler_prints_and_logs_is_in_its_log(local: Local, runtime: Runtime) -> None:
    event = {"do": "speak"}
    ours = local.ask(event)
    assert plain(ours)[2] == plain(runtime.ask(event))[2]


def test_its_log_is_as_written_down(local: Local) -> None:
    said = plain(local.ask({"do": "speak"}))[2]
    assert said.startswith(
        "printed 7\nto stderr\nab\nlogged by the context\n[WARNING]\tTIME\tREQUEST-ID\ta warning\n"
        "[ERROR]\tTIME\tREQUEST-ID\tit failed\nTraceback (most recent call last):\n"
    )
    assert said.endswith("\nValueError: x")
