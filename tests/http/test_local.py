"""LocalLambda: the Invoke API over its socket, raw and through boto3."""

import base64
import gc
import http.client
import json
import re
import socket
import sys
import threading
import time
from contextlib import closing
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import attrs
import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from lambda_adapter._process.clock import monotonic_s
from lambda_adapter._rules.limits import MAX_EVENT_BYTES, MAX_REQUEST_RESPONSE_BYTES, MAX_RESULT_BYTES
from lambda_adapter.local import LambdaContext, LocalLambda
from support.local_lambda import WAIT_S, HeldHandler, Reply, address, log_of, post
from support.values import nested
from support.waiting import until

LATEST_ARN = "arn:aws:lambda:us-east-1:123456789012:function:echo"


def echo(event: Any, context: Any) -> Any:
    return event


def describe(event: Any, context: Any) -> Any:
    """What a handler can see in its context."""
    names = ["function_name", "function_version", "invoked_function_arn", "memory_limit_in_mb"]
    names += ["aws_request_id", "tenant_id", "log_group_name", "log_stream_name"]
    seen = {name: getattr(context, name) for name in names}
    client_context = context.client_context
    if client_context is not None:
        client = client_context.client
        seen["client_context"] = [client_context.custom, client_context.env, client and attrs.asdict(client)]
    seen["identity"] = attrs.asdict(context.identity)
    seen["remaining_ms"] = context.get_remaining_time_in_millis()
    return seen


@pytest.fixture
def gate() -> Iterator[HeldHandler]:
    gate = HeldHandler()
    yield gate
    gate.open.set()


@pytest.fixture
def local() -> Iterator[LocalLambda]:
    with LocalLambda({"echo": echo, "describe": describe}) as local:
        yield local


@pytest.fixture
def connect() -> Iterator[Callable[[LocalLambda], Any]]:
    """Makes boto3 clients with one attempt per call, and closes them."""
    clients: List[Any] = []

    def make(local: LocalLambda) -> Any:
        client = boto3.client(
            "lambda",
            region_name="us-east-1",
            endpoint_url=local.endpoint_url,
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="secret",
            config=Config(
                retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=WAIT_S, read_timeout=WAIT_S
            ),
        )
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(local: LocalLambda, connect: Callable[[LocalLambda], Any]) -> Any:
    return connect(local)


def exchange(local: LocalLambda, sent: bytes, half_close: bool = True) -> bytes:
    """Raw bytes out, everything that comes back in."""
    with closing(socket.create_connection(address(local), timeout=WAIT_S)) as connection:
        connection.sendall(sent)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while True:
            piece = connection.recv(65_536)
            if not piece:
                return received
            received += piece


def error_of(reply: Reply) -> Tuple[int, str]:
    """The status and code of an error, whose shape is checked on the way."""
    status, headers, body = reply
    error = json.loads(body)
    assert error["Type"] == ("User" if status < 500 else "Server")
    capital = headers["x-amzn-errortype"] == "ResourceNotFoundException"
    assert error["Message" if capital else "message"]
    assert headers["content-length"] == str(len(body))
    return status, headers["x-amzn-errortype"]


def encode(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def function_error(reply: Reply) -> Dict[str, Any]:
    status, headers, body = reply
    assert (status, headers.get("x-amz-function-error")) == (200, "Unhandled")
    error: Dict[str, Any] = json.loads(body)
    assert set(error) == {"errorMessage", "errorType", "requestId", "stackTrace"}
    assert error["requestId"] == headers["x-amzn-requestid"]
    assert all(isinstance(line, str) for line in error["stackTrace"])
    return error


def platform_error(reply: Reply) -> Dict[str, Any]:
    """The error object of what the function's runtime did not live to tell, which has no more keys on AWS."""
    status, headers, body = reply
    assert (status, headers.get("x-amz-function-error")) == (200, "Unhandled")
    error: Dict[str, Any] = json.loads(body)
    assert set(error) == {"errorMessage", "errorType"}
    return error


class TestInvocationTypes:
    def test_request_response_is_the_default_and_answers_with_the_result(self, local: LocalLambda) -> None:
        status, headers, body = post(local, body=b'{"text": "\xc3\xa9"}')
        assert (status, json.loads(body)) == (200, {"text": "é"})
        assert headers["x-amz-executed-version"] == "$LATEST"
        assert headers["content-length"] == str(len(body))
        assert "x-amz-function-error" not in headers
        assert re.fullmatch("[0-9a-f-]{36}", headers["x-amzn-requestid"])

    def test_boto3_reads_the_same(self, client: Any) -> None:
        response = client.invoke(FunctionName="echo", Payload=b"[1]", Qualifier="7")
        assert json.loads(response["Payload"].read()) == [1]
        assert (response["StatusCode"], response["ExecutedVersion"]) == (200, "7")
        assert response["ResponseMetadata"]["RequestId"]

    def test_an_event_is_answered_while_its_handler_still_runs(
        self, gate: HeldHandler, connect: Callable[[LocalLambda], Any]
    ) -> None:
        with LocalLambda({"gate": gate}) as local:
            response = connect(local).invoke(FunctionName="gate", InvocationType="Event", Payload=b"{}")
            assert (response["StatusCode"], response["Payload"].read()) == (202, b"")
            assert not gate.left.is_set()
            gate.open.set()
            assert gate.left.wait(WAIT_S)

    def test_a_dry_run_runs_nothing(self, gate: HeldHandler, connect: Callable[[LocalLambda], Any]) -> None:
        with LocalLambda({"gate": gate}, concurrency_limit=0) as local:
            response = connect(local).invoke(FunctionName="gate", InvocationType="DryRun")
            assert (response["StatusCode"], response["Payload"].read()) == (204, b"")
            assert not gate.entered.acquire(blocking=False)

    def test_a_dry_run_has_no_content_length_and_keeps_the_connection(self, local: LocalLambda) -> None:
        with closing(http.client.HTTPConnection(*address(local), timeout=WAIT_S)) as connection:
            for invocation_type, status in [("DryRun", 204), ("Event", 202), ("RequestResponse", 200)]:
                headers = {"X-Amz-Invocation-Type": invocation_type}
                connection.request("POST", "/2015-03-31/functions/echo/invocations", b"{}", headers)
                response = connection.getresponse()
                response.read()
                assert response.status == status
                assert (response.getheader("Content-Length") is None) == (status == 204)

    def test_an_empty_payload_is_an_empty_event(self, local: LocalLambda) -> None:
        assert post(local, body=b"")[2] == b"{}"

    def test_each_handler_gets_an_event_of_its_own(self) -> None:
        def spoil(event: Any, context: Any) -> Any:
            event["spoiled"] = True
            return event

        with LocalLambda({"spoil": spoil}) as local:
            post(local, "spoil", b'{"a": 1}')
            assert local.calls[0].payload == {"a": 1}


class TestFunctionNames:
    @pytest.mark.parametrize(
        ("identifier", "qualifier", "version", "arn"),
        [
            pytest.param("echo", None, "$LATEST", LATEST_ARN, id="name"),
            pytest.param("echo:3", "3", "3", LATEST_ARN + ":3", id="name-version"),
            pytest.param("echo:prod", "prod", "$LATEST", LATEST_ARN + ":prod", id="name-alias"),
            pytest.param("echo:$LATEST", "$LATEST", "$LATEST", LATEST_ARN + ":$LATEST", id="name-latest"),
            pytest.param("echo?Qualifier=12", "12", "12", LATEST_ARN + ":12", id="query"),
            pytest.param("echo:12?Qualifier=12", "12", "12", LATEST_ARN + ":12", id="suffix-and-query"),
            pytest.param("function:echo", None, "$LATEST", LATEST_ARN, id="function-name"),
            pytest.param("function:echo:3", "3", "3", LATEST_ARN + ":3", id="function-name-version"),
            pytest.param("123456789012:function:echo", None, "$LATEST", LATEST_ARN, id="partial-arn"),
            pytest.param("123456789012:function:echo:3", "3", "3", LATEST_ARN + ":3", id="partial-arn-version"),
            pytest.param("999999999999:function:echo", None, "$LATEST", LATEST_ARN, id="any-account"),
            pytest.param(LATEST_ARN, None, "$LATEST", LATEST_ARN, id="arn"),
            pytest.param(
                LATEST_ARN.replace(":", "%3A") + "%3A3", "3", "3", LATEST_ARN + ":3", id="encoded-arn-version"
            ),
        ],
    )
    def test_every_form_finds_the_function(
        self, identifier: str, qualifier: Optional[str], version: str, arn: str
    ) -> None:
        seen = []

        def look(event: Any, context: Any) -> None:
            seen.append((context.function_name, context.function_version, context.invoked_function_arn))

        with LocalLambda({"echo": look}) as local:
            path, _, query = identifier.partition("?")
            target = f"/2015-03-31/functions/{path}/invocations" + (query and f"?{query}")
            reply = exchange(local, f"POST {target} HTTP/1.1\r\nContent-Length: 0\r\n\r\n".encode())
            assert reply.startswith(b"HTTP/1.1 200 ")
            assert f"X-Amz-Executed-Version: {version}\r\n".encode() in reply
            assert seen == [("echo", version, arn)]
            assert [(call.function_name, call.qualifier) for call in local.calls] == [("echo", qualifier)]

    @pytest.mark.parametrize(
        ("identifier", "status", "code"),
        [
            pytest.param("nope", 404, "ResourceNotFoundException", id="unknown"),
            pytest.param("nope:3", 404, "ResourceNotFoundException", id="unknown-version"),
            pytest.param("..", 400, "ValidationException", id="dots"),
            pytest.param(
                LATEST_ARN.replace("us-east-1", "eu-west-1"), 404, "ResourceNotFoundException", id="other-region"
            ),
            pytest.param("a%20b", 400, "ValidationException", id="space"),
            pytest.param("echo%0A", 400, "ValidationException", id="newline"),
            pytest.param("ech%C3%B6", 400, "ValidationException", id="not-ascii"),
            pytest.param("a%2Fb", 400, "ValidationException", id="slash"),
            pytest.param("echo:", 400, "ValidationException", id="empty-qualifier"),
            pytest.param("arn:aws:s3:::echo", 400, "ValidationException", id="other-service"),
        ],
    )
    def test_what_is_no_function_is_refused(self, local: LocalLambda, identifier: str, status: int, code: str) -> None:
        assert error_of(post(local, identifier)) == (status, code)
        assert local.calls == []

    @pytest.mark.parametrize(
        ("target", "code"),
        [
            pytest.param("echo:3/invocations?Qualifier=4", "InvalidParameterValueException", id="mismatch"),
            pytest.param("echo/invocations?Qualifier=a%20b", "ValidationException", id="space"),
            pytest.param(f"echo/invocations?Qualifier={'a' * 129}", "ValidationException", id="too-long"),
        ],
    )
    def test_a_bad_qualifier_is_refused(self, local: LocalLambda, target: str, code: str) -> None:
        sent = f"POST /2015-03-31/functions/{target} HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
        reply = exchange(local, sent.encode())
        assert reply.startswith(b"HTTP/1.1 400 ")
        assert f"x-amzn-ErrorType: {code}\r\n".encode() in reply


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "headers", "status", "code"),
        [
            pytest.param(b"{", {}, 400, "InvalidRequestContentException", id="not-json"),
            pytest.param(b"\xff", {}, 400, "InvalidRequestContentException", id="not-utf8"),
            pytest.param('"x"'.encode("utf-16"), {}, 400, "InvalidRequestContentException", id="utf16"),
            pytest.param(b"NaN", {}, 400, "InvalidRequestContentException", id="nan"),
            pytest.param(b"[" * 100_000, {}, 400, "InvalidRequestContentException", id="too-deep"),
            pytest.param(
                b"9" * 5_000, {"X_Amz_Invocation_Type": "Bogus"}, 400, "InvalidParameterValueException", id="type"
            ),
            pytest.param(b"{}", {"X_Amz_Log_Type": "Head"}, 400, "InvalidParameterValueException", id="log-type"),
            pytest.param(
                b"{}", {"X_Amz_Client_Context": "%"}, 400, "InvalidRequestContentException", id="cc-not-base64"
            ),
            pytest.param(
                b"{}", {"X_Amz_Client_Context": "e%30="}, 400, "InvalidRequestContentException", id="cc-stray"
            ),
            pytest.param(b"{}", {"X_Amz_Client_Context": ""}, 400, "InvalidRequestContentException", id="cc-empty"),
            pytest.param(
                b"{}", {"X_Amz_Client_Context": encode([])}, 400, "InvalidRequestContentException", id="cc-no-object"
            ),
            pytest.param(
                b"{}", {"X_Amz_Client_Context": "/w=="}, 400, "InvalidRequestContentException", id="cc-not-utf8"
            ),
            pytest.param(
                b"{}",
                {"X_Amz_Client_Context": encode({"a": "b" * 2_678})},
                400,
                "InvalidRequestContentException",
                id="cc-3584-bytes",
            ),
            pytest.param(b" " * (MAX_REQUEST_RESPONSE_BYTES + 1), {}, 413, "RequestTooLargeException", id="too-large"),
            pytest.param(
                b" " * (MAX_EVENT_BYTES + 1),
                {"X_Amz_Invocation_Type": "Event"},
                413,
                "RequestTooLargeException",
                id="event-too-large",
            ),
        ],
    )
    def test_a_bad_request_is_refused_and_is_no_call(
        self, local: LocalLambda, body: bytes, headers: Dict[str, str], status: int, code: str
    ) -> None:
        assert error_of(post(local, body=body, **headers)) == (status, code)
        assert local.calls == []
        assert post(local)[0] == 200

    @pytest.mark.parametrize(
        ("headers", "size", "status"),
        [
            pytest.param({}, MAX_REQUEST_RESPONSE_BYTES, 200, id="request-response"),
            pytest.param({"X_Amz_Invocation_Type": "Event"}, MAX_EVENT_BYTES, 202, id="event"),
        ],
    )
    def test_a_payload_of_just_the_limit_is_taken(
        self, local: LocalLambda, headers: Dict[str, str], size: int, status: int
    ) -> None:
        assert post(local, body=b"{}".ljust(size), **headers)[0] == status

    def test_a_client_context_of_just_the_limit_is_taken(self, local: LocalLambda) -> None:
        """3,580 bytes: base64 comes in fours, and 3,584 is over."""
        value = encode({"a": "b" * 2_676})
        assert len(value) == 3_580
        assert post(local, X_Amz_Client_Context=value)[0] == 200

    @pytest.mark.parametrize(
        ("arguments", "code", "status"),
        [
            pytest.param({"FunctionName": "nope"}, "ResourceNotFoundException", 404, id="unknown"),
            pytest.param({"Payload": b"{"}, "InvalidRequestContentException", 400, id="not-json"),
            pytest.param({"InvocationType": "Bogus"}, "InvalidParameterValueException", 400, id="type"),
            pytest.param({"Payload": b" " * 7_000_000}, "RequestTooLargeException", 413, id="too-large"),
        ],
    )
    def test_boto3_raises_the_modelled_exception(
        self, client: Any, arguments: Dict[str, Any], code: str, status: int
    ) -> None:
        with pytest.raises(getattr(client.exceptions, code)) as caught:
            client.invoke(**{"FunctionName": "echo", **arguments})
        response = caught.value.response
        assert response["Error"]["Code"] == code
        assert response["Error"]["Message"]
        assert response["Type"] == "User"
        assert response["ResponseMetadata"]["HTTPStatusCode"] == status

    def test_boto3_raises_a_client_error_for_a_malformed_name(self, client: Any) -> None:
        with pytest.raises(ClientError, match="ValidationException"):
            client.invoke(FunctionName="no such name")


class TestHandlerFailures:
    def test_an_exception_is_described_as_awss_runtime_does(self, connect: Callable[[LocalLambda], Any]) -> None:
        def fail(event: Any, context: Any) -> None:
            raise LookupError("no such city")

        with LocalLambda({"fail": fail}) as local:
            error = function_error(post(local, "fail"))
            assert (error["errorMessage"], error["errorType"]) == ("no such city", "LookupError")
            assert len(error["stackTrace"]) == 1
            assert 'raise LookupError("no such city")' in error["stackTrace"][0]
            assert connect(local).invoke(FunctionName="fail")["FunctionError"] == "Unhandled"

    @pytest.mark.parametrize(
        "raised",
        [
            pytest.param(SystemExit(3), id="exit"),
            pytest.param(KeyboardInterrupt(), id="interrupt"),
            pytest.param(GeneratorExit("x"), id="generator-exit"),
            pytest.param(ValueError("\ud800"), id="surrogate"),
        ],
    )
    def test_what_ends_awss_runtime_is_an_answer_each_time(self, raised: BaseException) -> None:
        """``test_aws_runtime`` has all that ends it, and AWS's words."""

        def fail(event: Any, context: Any) -> None:
            raise raised

        with LocalLambda({"fail": fail}) as local:
            for _ in range(2):
                assert platform_error(post(local, "fail"))["errorType"] == "Runtime.ExitError"

    @pytest.mark.parametrize(
        "make",
        [
            pytest.param(lambda: {1, 2}, id="set"),
            pytest.param(lambda: {(1, 2): 3}, id="tuple-key"),
            pytest.param(lambda: circular(), id="circular"),
            pytest.param(lambda: nested(100_000), id="too-deep"),
        ],
    )
    def test_a_result_that_json_cannot_hold_is_a_marshal_error(self, make: Callable[[], Any]) -> None:
        # 100,000 levels take Python 3.8 some seconds on a busy machine.
        with LocalLambda({"make": lambda event, context: make()}, timeout=60) as local:
            error = function_error(post(local, "make"))
            assert error["errorType"] == "Runtime.MarshalError"
            assert error["errorMessage"].startswith("Unable to marshal response: ")

    @pytest.mark.parametrize(
        ("text", "extra", "fits"),
        [
            pytest.param("x", 0, True, id="limit"),
            pytest.param("x", 1, False, id="limit-and-one"),
            pytest.param("é", 0, True, id="utf8-limit"),
        ],
    )
    def test_a_result_over_the_limit_is_an_error(self, text: str, extra: int, fits: bool) -> None:
        assert MAX_RESULT_BYTES == 6_291_556  # AWS's own words name this number
        room = (MAX_RESULT_BYTES - len('""')) // len(text.encode())
        result = text * room + "x" * extra
        with LocalLambda({"big": lambda event, context: result}) as local:
            reply = post(local, "big")
            if fits:
                assert len(reply[2]) == MAX_RESULT_BYTES
            else:
                assert platform_error(reply) == {
                    "errorType": "Function.ResponseSizeTooLarge",
                    "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
                }

    def test_an_error_over_the_limit_is_replaced_too(self) -> None:
        def fail(event: Any, context: Any) -> None:
            raise ValueError("x" * MAX_RESULT_BYTES)

        with LocalLambda({"fail": fail}) as local:
            assert platform_error(post(local, "fail"))["errorType"] == "Function.ResponseSizeTooLarge"

    def test_a_handler_past_its_timeout_is_answered_for(self, gate: HeldHandler) -> None:
        with LocalLambda({"gate": gate}, timeout=0.05) as local:
            reply = post(local, "gate", X_Amz_Log_Type="Tail")
            error = platform_error(reply)
            assert error["errorType"] == "Sandbox.Timedout"
            request_id = reply[1]["x-amzn-requestid"]
            expected = f"RequestId: {request_id} Error: Task timed out after 0.05 seconds"
            assert error["errorMessage"] == expected
            moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
            assert re.search(f"\n{moment} {request_id} Task timed out after 0.05 seconds\n\nEND ", log_of(reply))

    def test_an_event_whose_handler_fails_says_nothing(self, capfd: pytest.CaptureFixture[str]) -> None:
        """Nor is anything printed."""
        failed = threading.Event()

        def fail(event: Any, context: Any) -> None:
            failed.set()
            raise ValueError

        with LocalLambda({"fail": fail}, concurrency_limit=1) as local:
            assert post(local, "fail", X_Amz_Invocation_Type="Event")[0] == 202
            assert failed.wait(WAIT_S)
        assert capfd.readouterr() == ("", "")


def circular() -> List[Any]:
    value: List[Any] = []
    value.append(value)
    return value


class TestConcurrency:
    def test_one_more_than_the_limit_is_throttled_as_boto3_models_it(
        self, gate: HeldHandler, connect: Callable[[LocalLambda], Any]
    ) -> None:
        with LocalLambda({"gate": gate, "echo": echo}, concurrency_limit=1, retry_after=7) as local:
            client = connect(local)
            client.invoke(FunctionName="gate", InvocationType="Event")["Payload"].read()
            with pytest.raises(client.exceptions.TooManyRequestsException) as caught:
                client.invoke(FunctionName="echo")
            response = caught.value.response
            assert response["retryAfterSeconds"] == "7"
            assert response["Reason"] == "ConcurrentInvocationLimitExceeded"
            assert (response["Type"], response["message"]) == ("User", "Rate Exceeded.")
            assert [call.function_name for call in local.calls] == ["gate"]

    def test_a_place_is_free_again_as_soon_as_the_answer_is_there(self) -> None:
        def fail(event: Any, context: Any) -> None:
            raise ValueError

        with LocalLambda({"echo": echo, "fail": fail}, concurrency_limit=1) as local:
            statuses = [post(local, name)[0] for name in ["echo", "fail"] * 50]
        assert statuses == [200] * 100

    def test_a_handler_past_its_timeout_gives_up_its_place(self, gate: HeldHandler) -> None:
        with LocalLambda({"gate": gate, "echo": echo}, timeout=0.05, concurrency_limit=1) as local:
            platform_error(post(local, "gate"))
            assert not gate.left.is_set()
            assert post(local)[0] == 200

    def test_a_limit_of_0_throttles_everything(self) -> None:
        with LocalLambda({"echo": echo}, concurrency_limit=0) as local:
            assert error_of(post(local)) == (429, "TooManyRequestsException")

    def test_no_burst_gets_more_places_than_there_are(self, gate: HeldHandler) -> None:
        replies: List[Reply] = []
        with LocalLambda({"gate": gate}, concurrency_limit=5, timeout=WAIT_S) as local:
            threads = [threading.Thread(target=lambda: replies.append(post(local, "gate"))) for _ in range(40)]
            for thread in threads:
                thread.start()
            for _ in range(5):
                assert gate.entered.acquire(timeout=WAIT_S)
            until(lambda: len(replies) == 35)
            gate.open.set()
            for thread in threads:
                thread.join(WAIT_S)
            assert sorted(status for status, _, _ in replies) == [200] * 5 + [429] * 35
            assert len(local.calls) == 5

    def test_200_connections_are_served_at_once(self, gate: HeldHandler) -> None:
        replies: List[Reply] = []
        with LocalLambda({"gate": gate}, timeout=WAIT_S) as local:
            threads = [threading.Thread(target=lambda: replies.append(post(local, "gate"))) for _ in range(200)]
            for thread in threads:
                thread.start()
            for _ in threads:
                assert gate.entered.acquire(timeout=WAIT_S)
            gate.open.set()
            for thread in threads:
                thread.join(WAIT_S)
            assert [status for status, _, _ in replies] == [200] * 200

    def test_500_connections_wait_in_the_backlog(self, local: LocalLambda) -> None:
        """With the usual backlog of 5, connects beyond it would be delayed by a second or more."""
        begun = time.monotonic()
        connections = [socket.create_connection(address(local), timeout=WAIT_S) for _ in range(500)]
        took_s = time.monotonic() - begun
        for connection in connections:
            connection.close()
        assert took_s < 5.0


class TestContext:
    def test_it_says_what_awss_runtime_says(self) -> None:
        with LocalLambda({"describe": describe}, region="eu-west-1", timeout=60, memory_mb=512) as local:
            _, headers, body = post(local, "describe:prod", X_Amz_Tenant_Id="guild 7")
        seen = json.loads(body)
        assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", seen.pop("log_stream_name"))
        assert 50_000 < seen.pop("remaining_ms") <= 60_000
        assert seen == {
            "function_name": "describe",
            "function_version": "$LATEST",
            "invoked_function_arn": "arn:aws:lambda:eu-west-1:123456789012:function:describe:prod",
            "memory_limit_in_mb": "512",
            "aws_request_id": headers["x-amzn-requestid"],
            "log_group_name": "/aws/lambda/describe",
            "tenant_id": "guild 7",
            "identity": {"cognito_identity_id": None, "cognito_identity_pool_id": None},
        }

    def test_a_client_context_arrives_in_awss_shape(self, client: Any) -> None:
        sent = {"custom": {"a": [1]}, "env": {"b": 2}, "client": {"app_title": "bot", "other": 1}, "else": 3}
        response = client.invoke(FunctionName="describe", ClientContext=encode(sent))
        custom, env, app = json.loads(response["Payload"].read())["client_context"]
        assert (custom, env) == ({"a": [1]}, {"b": 2})
        assert app.pop("app_title") == "bot"
        assert set(app) == {"installation_id", "app_version_name", "app_version_code", "app_package_name"}
        assert set(app.values()) == {None}

    def test_what_a_client_context_leaves_out_is_none(self, local: LocalLambda) -> None:
        body = post(local, "describe", X_Amz_Client_Context=encode({}))[2]
        assert json.loads(body)["client_context"] == [None, None, None]

    def test_neither_client_context_nor_tenant_is_none(self, local: LocalLambda) -> None:
        seen = json.loads(post(local, "describe")[2])
        assert "client_context" not in seen
        assert seen["tenant_id"] is None

    def test_an_event_gets_no_client_context(self) -> None:
        seen: List[Any] = []
        ran = threading.Event()

        def look(event: Any, context: Any) -> None:
            seen.append(context.client_context)
            ran.set()

        with LocalLambda({"look": look}) as local:
            post(local, "look", X_Amz_Invocation_Type="Event", X_Amz_Client_Context=encode({"custom": {}}))
            assert ran.wait(WAIT_S)
        assert seen == [None]

    def test_the_remaining_time_is_never_negative(self) -> None:
        texts = {field.name: "" for field in attrs.fields(LambdaContext) if field.default is attrs.NOTHING}
        del texts["_deadline_s"]
        context = LambdaContext(**texts, deadline_s=monotonic_s() - 5)  # type: ignore[arg-type]
        assert context.get_remaining_time_in_millis() == 0


class TestLogTail:
    def test_it_is_start_what_was_logged_end_and_report(self, local: LocalLambda) -> None:
        def speak(event: Any, context: Any) -> None:
            context.log("héllo\n")
            context.log(7)

        with LocalLambda({"speak": speak}, memory_mb=256) as local:
            for init in (r"Init Duration: \d+\.\d\d ms\t", ""):
                _, headers, _ = post(local, "speak:5", X_Amz_Log_Type="Tail")
                request_id = headers["x-amzn-requestid"]
                log = base64.b64decode(headers["x-amz-log-result"]).decode()
                assert re.fullmatch(
                    f"START RequestId: {request_id} Version: 5\n"
                    "héllo\n7"
                    f"END RequestId: {request_id}\n"
                    rf"REPORT RequestId: {request_id}\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\t"
                    rf"Memory Size: 256 MB\tMax Memory Used: \d+ MB\t{init}" + "\n",
                    log,
                )

    def test_it_is_there_for_boto3_and_only_when_asked_for(self, client: Any) -> None:
        for log_type, present in [("Tail", True), ("None", False)]:
            response = client.invoke(FunctionName="echo", LogType=log_type)
            response["Payload"].read()
            assert ("LogResult" in response) is present

    def test_each_function_starts_cold_once(self, local: LocalLambda) -> None:
        cold = []
        for name in ("echo", "describe", "echo"):
            log = base64.b64decode(post(local, name, X_Amz_Log_Type="Tail")[1]["x-amz-log-result"])
            cold.append(b"Init Duration" in log)
        assert cold == [True, True, False]

    def test_only_the_last_4096_bytes_are_kept(self) -> None:
        with LocalLambda({"speak": lambda event, context: context.log("é" * 10_000 + "\ud800")}) as local:
            log = base64.b64decode(post(local, "speak", X_Amz_Log_Type="Tail")[1]["x-amz-log-result"])
        assert len(log) == 4_096
        assert b"REPORT" in log
        assert b"START" not in log

    def test_a_failure_is_logged(self) -> None:
        def fail(event: Any, context: Any) -> None:
            raise LookupError("no such city")

        with LocalLambda({"fail": fail}) as local:
            log = base64.b64decode(post(local, "fail", X_Amz_Log_Type="Tail")[1]["x-amz-log-result"])
        assert b"[ERROR] LookupError: no such city\nTraceback (most recent call last):\n" in log

    def test_a_timeout_still_has_a_report(self, gate: HeldHandler) -> None:
        with LocalLambda({"gate": gate}, timeout=0.05) as local:
            log = base64.b64decode(post(local, "gate", X_Amz_Log_Type="Tail")[1]["x-amz-log-result"]).decode()
        duration = re.search(r"Billed Duration: (\d+) ms", log)
        assert duration is not None
        assert int(duration.group(1)) >= 50


class TestCalls:
    def test_they_are_what_arrived_in_order(self, local: LocalLambda) -> None:
        context = encode({"custom": {"a": 1}})
        replies = [
            post(local, "echo:3", b'{"n": 1}', X_Amz_Tenant_Id="t", X_Amz_Client_Context=context),
            post(local, "nope"),
            post(local, "describe", b"", X_Amz_Invocation_Type="Event"),
            post(local, "echo", b"[2]", X_Amz_Invocation_Type="DryRun"),
        ]
        first, second, third = local.calls
        assert (first.function_name, first.qualifier, first.invocation_type) == ("echo", "3", "RequestResponse")
        assert (first.payload, first.raw, first.tenant_id) == ({"n": 1}, b'{"n": 1}', "t")
        assert first.client_context == {"custom": {"a": 1}}
        assert first.headers["content-length"] == "8"
        assert (second.function_name, second.invocation_type, second.payload) == ("describe", "Event", {})
        assert (second.qualifier, second.tenant_id, second.client_context) == (None, None, None)
        assert (third.invocation_type, third.payload) == ("DryRun", [2])
        accepted = [replies[0], replies[2], replies[3]]
        assert [call.request_id for call in local.calls] == [reply[1]["x-amzn-requestid"] for reply in accepted]

    def test_a_record_and_the_list_are_beyond_change(self, local: LocalLambda) -> None:
        post(local, body=b'{"a": 1}', X_Amz_Client_Context=encode({"custom": {}}))
        call = local.calls[0]
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            call.function_name = "other"  # type: ignore[misc]
        with pytest.raises(TypeError):
            call.headers["a"] = "b"  # type: ignore[index]
        call.payload["a"] = 2
        local.calls.clear()
        assert local.calls[0].payload == {"a": 1}

    def test_a_record_shows_neither_payload_nor_headers(self, client: Any, local: LocalLambda) -> None:
        client.invoke(FunctionName="echo", Payload=b'{"a": "confidential"}')["Payload"].read()
        assert "authorization" in local.calls[0].headers
        assert not re.search("confidential|AWS4", repr(local.calls[0]))


POST = b"POST /2015-03-31/functions/echo/invocations HTTP/1.1\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


class TestHttp:
    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            pytest.param(b"\r\n", 400, id="blank"),
            pytest.param(b"\x1c\n", 400, id="separator"),
            pytest.param(b"\x00\xff\x16\x03\r\n\r\n", 400, id="binary"),
            pytest.param(b"hello\r\n\r\n", 400, id="one-word"),
            pytest.param(b"POST /x HTTP/banana\r\n\r\n", 400, id="bad-version"),
            pytest.param(b"POST / HTTP/2.0\r\n\r\n", 505, id="http2"),
            pytest.param(b"GET " + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414, id="long-target"),
            pytest.param(POST + b"A: " + b"a" * 70_000 + b"\r\n\r\n", 431, id="long-header"),
            pytest.param(POST + b"A: b\r\n" * 200 + b"\r\n", 431, id="many-headers"),
            pytest.param(POST + b"nonsense\r\nContent-Length: 0\r\n\r\n", 400, id="bad-header"),
            pytest.param(POST + b"Content-Length: 0\r\nnonsense\r\n\r\n", 400, id="bad-last-header"),
            pytest.param(POST + b"Content-Length: banana\r\n\r\n", 400, id="length-banana"),
            pytest.param(POST + b"Content-Length: -1\r\n\r\n", 400, id="length-negative"),
            pytest.param(POST + b"Content-Length: +2\r\n\r\n{}", 400, id="length-plus"),
            pytest.param(POST + b"Content-Length: \xb2\r\n\r\n{}", 400, id="length-superscript"),
            pytest.param(POST + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n", 400, id="length-endless"),
            pytest.param(POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400, id="two-lengths"),
            pytest.param(POST + b"Transfer-Encoding: gzip\r\n\r\n", 400, id="gzip"),
            pytest.param(POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400, id="gzip-chunked"),
            pytest.param(CHUNKED + b"z\r\n{}\r\n0\r\n\r\n", 400, id="chunk-no-size"),
            pytest.param(CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n", 400, id="chunk-negative"),
            pytest.param(CHUNKED + b"1\r\n{}\r\n0\r\n\r\n", 400, id="chunk-longer-than-said"),
            pytest.param(CHUNKED + b"5\r\n{}", 400, id="chunk-cut"),
            pytest.param(CHUNKED + b"2\r\n{}", 400, id="chunk-without-end"),
            pytest.param(CHUNKED + b"2\r\n{}\r\n", 400, id="chunks-without-end"),
            pytest.param(CHUNKED + b"0\r\n" + b"a: b\r\n" * 200 + b"\r\n", 400, id="chunk-trailers"),
            pytest.param(CHUNKED + b"ffffffff\r\n", 413, id="chunk-huge"),
            pytest.param(CHUNKED + b"5b8d80\r\n" + b" " * 6_000_000 + b"\r\n5b8d80\r\n", 413, id="chunks-huge"),
            pytest.param(
                POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400, id="chunked-and-length"
            ),
            pytest.param(POST + b"Content-Length: 5\r\n\r\n{}", 400, id="short-body"),
            pytest.param(POST + b"Content-Length: 99999999999\r\n\r\n", 413, id="length-huge"),
            pytest.param(b"GET /2015-03-31/functions/echo/invocations HTTP/1.1\r\n\r\n", 404, id="get"),
            pytest.param(b"DELETE / HTTP/1.1\r\n\r\n", 404, id="delete"),
            pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 404, id="root"),
            pytest.param(b"POST http://[ HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 404, id="bad-url"),
            pytest.param(
                b"POST /2014-11-13/functions/echo/invoke-async/ HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
                404,
                id="other-operation",
            ),
        ],
    )
    def test_what_is_no_invoke_gets_an_error_and_harms_nothing(
        self, local: LocalLambda, sent: bytes, status: int, capfd: pytest.CaptureFixture[str]
    ) -> None:
        head, _, body = exchange(local, sent).partition(b"\r\n\r\n")
        assert head.startswith(f"HTTP/1.1 {status} ".encode())
        assert b"\r\nx-amzn-ErrorType: " in head
        assert json.loads(body)["Type"] == ("Server" if status >= 500 else "User")
        assert local.calls == []
        assert post(local)[0] == 200
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize(
        "sent",
        [
            pytest.param(b"", id="nothing"),
            pytest.param(b"POS", id="in-request-line"),
            pytest.param(POST + b"Content-Le", id="in-header"),
            pytest.param(POST + b"Content-Length: 50\r\n\r\n{", id="in-body"),
            pytest.param(POST + b"Content-Length: 2\r\n\r\n{}", id="before-answer"),
        ],
    )
    def test_a_client_that_resets_harms_nothing(
        self, local: LocalLambda, sent: bytes, capfd: pytest.CaptureFixture[str]
    ) -> None:
        for _ in range(20):
            connection = socket.create_connection(address(local), timeout=WAIT_S)
            # Closing with a linger of 0 seconds sends RST.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            connection.sendall(sent)
            connection.close()
        assert post(local)[0] == 200
        local.close()
        assert capfd.readouterr() == ("", "")

    def test_a_too_large_request_is_refused_before_it_is_sent(self, local: LocalLambda) -> None:
        with closing(socket.create_connection(address(local), timeout=WAIT_S)) as connection:
            connection.sendall(POST + b"Content-Length: 7000000\r\n\r\n")
            assert connection.recv(13) == b"HTTP/1.1 413 "

    def test_one_connection_serves_request_after_request(self, local: LocalLambda) -> None:
        once = POST + b"Content-Length: 2\r\n\r\n{}"
        last = POST + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}"
        received = exchange(local, once + once + last, half_close=False)
        assert received.count(b"HTTP/1.1 200 OK") == 3
        assert received.count(b"Connection: close") == 1

    def test_a_refusal_keeps_the_connection_when_the_body_was_read(self, local: LocalLambda) -> None:
        bad = POST + b"Content-Length: 1\r\n\r\n{"
        last = POST + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}"
        received = exchange(local, bad + last, half_close=False)
        assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"400", b"200"]

    def test_a_client_may_ask_before_it_sends(self, local: LocalLambda) -> None:
        with closing(socket.create_connection(address(local), timeout=WAIT_S)) as connection:
            connection.sendall(POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(b"{}")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")

    @pytest.mark.parametrize(
        "head", [b"Content-Length: 7000000\r\n", b"Content-Length: 2\r\nContent-Length: 2\r\n", b"Host: x.example\r\n"]
    )
    def test_a_body_that_would_be_refused_is_not_asked_for(self, local: LocalLambda, head: bytes) -> None:
        assert b"100 Continue" not in exchange(local, POST + head + b"Expect: 100-continue\r\n\r\n")

    @pytest.mark.parametrize(
        ("body", "why"),
        [
            pytest.param(b"", None, id="empty"),
            pytest.param(b"nonsense", "Expecting value: line 1 column 1 (char 0)", id="no-json"),
            pytest.param(b"1" * 5_000, "a number has too many digits", id="digits"),
            pytest.param(b"[" * 200_000, "it is nested too deep", id="deep"),
            pytest.param(b"[NaN]", "NaN is not JSON", id="nan"),
            pytest.param(b"[-Infinity]", "-Infinity is not JSON", id="infinity"),
            pytest.param(b'["\xff"]', "byte 2 is not UTF-8", id="latin-1"),
            pytest.param("\ufeff{}".encode(), "it begins with a byte order mark", id="mark"),
        ],
    )
    def test_a_payload_that_is_no_json_is_refused_in_our_words(
        self, local: LocalLambda, body: bytes, why: "str | None"
    ) -> None:
        if why == "a number has too many digits" and not hasattr(sys, "get_int_max_str_digits"):
            why = None
        answer = exchange(local, POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        head, _, told = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 " if why is None else b"HTTP/1.1 400 ")
        if why is not None:
            assert json.loads(told)["message"] == f"Could not parse request body into json: {why}"

    @pytest.mark.parametrize(
        ("sent", "event"),
        [
            pytest.param(POST + b"\r\n", {}, id="no-body"),
            pytest.param(POST + b"Content-Length: 2 \t\r\n\r\n{}", {}, id="length-spaces"),
            pytest.param(CHUNKED + b"0\r\n\r\n", {}, id="no-chunk"),
            pytest.param(CHUNKED + b"2\r\n[1\r\n2\r\n2]\r\n0\r\n\r\n", [12], id="chunks"),
            pytest.param(CHUNKED + b'0A;name="x"\r\n{"a":"bc"}\r\n0\r\nSum: 5\r\n\r\n', {"a": "bc"}, id="trailer"),
            pytest.param(CHUNKED.replace(b"chunked", b"Chunked") + b"1\r\n7\r\n0\r\n\r\n", 7, id="upper-case"),
        ],
    )
    def test_a_body_comes_in_chunks_or_not_at_all(self, local: LocalLambda, sent: bytes, event: object) -> None:
        last = POST + b"Connection: close\r\nContent-Length: 1\r\n\r\n3"
        received = exchange(local, sent + last, half_close=False)
        assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"200"]
        assert [call.payload for call in local.calls] == [event, 3]

    def test_http_1_0_is_answered_and_closed(self, local: LocalLambda) -> None:
        received = exchange(local, POST.replace(b"1.1", b"1.0") + b"Content-Length: 2\r\n\r\n{}", half_close=False)
        assert received.startswith(b"HTTP/1.1 200 OK")
        assert received.endswith(b"\r\n\r\n{}")

    def test_an_answer_waits_for_no_delayed_ack(self, client: Any) -> None:
        """Written in two pieces with Nagle on, each answer would take 40 ms: 8 s for these."""
        begun = time.monotonic()
        for _ in range(200):
            client.invoke(FunctionName="echo", Payload=b"{}")["Payload"].read()
        assert time.monotonic() - begun < 6.0


class TestLifecycle:
    def test_start_and_close_do_what_with_does(self) -> None:
        local = LocalLambda({"echo": echo})
        assert local.start() is local
        assert post(local)[0] == 200
        local.close()
        local.close()
        assert len(local.calls) == 1

    def test_the_port_can_be_chosen_and_used_again(self, local: LocalLambda) -> None:
        post(local)
        port = address(local)[1]
        local.close()
        with LocalLambda({"echo": echo}, port=port) as again:
            assert again.endpoint_url == f"http://127.0.0.1:{port}"
            assert post(again)[0] == 200

    def test_a_port_in_use_is_an_error_that_leaves_nothing_open(self, local: LocalLambda) -> None:
        other = LocalLambda({}, port=address(local)[1])
        with pytest.raises(OSError, match="in use"):
            other.start()
        other.close()

    def test_it_can_be_started_only_once(self, local: LocalLambda) -> None:
        with pytest.raises(RuntimeError, match="once"):
            local.start()
        local.close()
        with pytest.raises(RuntimeError, match="once"):
            local.start()

    def test_there_is_no_endpoint_before_start_and_after_close(self) -> None:
        local = LocalLambda({"echo": echo})
        with pytest.raises(RuntimeError, match="endpoint_url"):
            local.endpoint_url  # noqa: B018
        with local:
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+", local.endpoint_url)
        with pytest.raises(RuntimeError, match="endpoint_url"):
            local.endpoint_url  # noqa: B018

    def test_closing_before_starting_is_fine(self) -> None:
        local = LocalLambda({})
        local.close()
        with pytest.raises(RuntimeError):
            local.start()

    def test_close_ends_idle_connections_and_every_thread(self) -> None:
        before = set(threading.enumerate())
        with LocalLambda({"echo": echo}) as local:
            idle = [socket.create_connection(address(local), timeout=WAIT_S) for _ in range(20)]
            post(local)
            half_sent = socket.create_connection(address(local), timeout=WAIT_S)
            half_sent.sendall(POST + b"Content-Length: 50\r\n\r\n{")
            port = address(local)[1]
        assert set(threading.enumerate()) <= before
        for connection in [*idle, half_sent]:
            with closing(connection):
                read_to_end(connection)
        with closing(socket.socket()) as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0

    def test_a_connection_that_has_ended_is_forgotten(self, local: LocalLambda) -> None:
        before = connection_threads()
        for _ in range(50):
            post(local)
        assert connection_threads() - before < 25

    def test_close_waits_for_no_handler(self, gate: HeldHandler) -> None:
        local = LocalLambda({"gate": gate}, timeout=900).start()
        failures: List[BaseException] = []

        def call() -> None:
            try:
                post(local, "gate")
            except (OSError, http.client.HTTPException) as error:
                failures.append(error)

        caller = threading.Thread(target=call)
        caller.start()
        assert gate.entered.acquire(timeout=WAIT_S)
        post(local, "gate", X_Amz_Invocation_Type="Event")
        assert gate.entered.acquire(timeout=WAIT_S)
        begun = time.monotonic()
        local.close()
        assert time.monotonic() - begun < 2.0
        caller.join(WAIT_S)
        assert len(failures) == 1
        left = [thread for thread in threading.enumerate() if thread.name.startswith("local-lambda")]
        assert [(thread.name, thread.daemon) for thread in left] == [("local-lambda-gate", True)] * 2
        gate.open.set()
        for thread in left:
            thread.join(WAIT_S)
            assert not thread.is_alive()

    def test_a_handler_may_close_it(self) -> None:
        closed = threading.Event()

        def close(event: Any, context: Any) -> None:
            closing_itself.close()
            closed.set()

        with LocalLambda({"close": close}) as closing_itself:
            post(closing_itself, "close", X_Amz_Invocation_Type="Event")
            assert closed.wait(WAIT_S)


def connection_threads() -> int:
    """How many of the objects are still referenced, running or not."""
    gc.collect()
    threads = [thing for thing in gc.get_objects() if isinstance(thing, threading.Thread)]
    return sum(thread.name == "local-lambda-connection" for thread in threads)


def read_to_end(connection: socket.socket) -> None:
    """Until the peer has closed, or reset, the connection."""
    try:
        while connection.recv(65_536):
            pass
    except ConnectionResetError:
        pass


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            pytest.param({"functions": None}, "functions", id="functions-none"),
            pytest.param({"functions": [echo]}, "functions", id="functions-list"),
            pytest.param({"functions": {"a b": echo}}, "functions", id="name-space"),
            pytest.param({"functions": {"": echo}}, "functions", id="name-empty"),
            pytest.param({"functions": {"echo\n": echo}}, "functions", id="name-newline"),
            pytest.param({"functions": {"a" * 65: echo}}, "functions", id="name-long"),
            pytest.param({"functions": {1: echo}}, "functions", id="name-int"),
            pytest.param({"functions": {"echo": "echo"}}, "functions", id="handler-text"),
            pytest.param({"port": -1}, "port", id="port-negative"),
            pytest.param({"port": 65_536}, "port", id="port-high"),
            pytest.param({"port": "80"}, "port", id="port-text"),
            pytest.param({"port": True}, "port", id="port-bool"),
            pytest.param({"region": ""}, "region", id="region-empty"),
            pytest.param({"region": "us east"}, "region", id="region-space"),
            pytest.param({"region": None}, "region", id="region-none"),
            pytest.param({"timeout": 0}, "timeout", id="timeout-0"),
            pytest.param({"timeout": 1800.1}, "timeout", id="timeout-high"),
            pytest.param({"timeout": float("nan")}, "timeout", id="timeout-nan"),
            pytest.param({"timeout": float("inf")}, "timeout", id="timeout-infinite"),
            pytest.param({"timeout": True}, "timeout", id="timeout-bool"),
            pytest.param({"timeout": "3"}, "timeout", id="timeout-text"),
            pytest.param({"memory_mb": 127}, "memory_mb", id="memory-low"),
            pytest.param({"memory_mb": 32769}, "memory_mb", id="memory-high"),
            pytest.param({"memory_mb": 128.0}, "memory_mb", id="memory-float"),
            pytest.param({"concurrency_limit": -1}, "concurrency_limit", id="limit-negative"),
            pytest.param({"concurrency_limit": False}, "concurrency_limit", id="limit-bool"),
            pytest.param({"retry_after": -1}, "retry_after", id="retry-after-negative"),
            pytest.param({"retry_after": 0.5}, "retry_after", id="retry-after-float"),
            pytest.param({"retry_after": None}, "retry_after", id="retry-after-none"),
        ],
    )
    def test_a_bad_argument_is_named(self, arguments: Dict[str, Any], named: str) -> None:
        with pytest.raises(ValueError, match=f"^{named}\\b"):
            LocalLambda(**{"functions": {"echo": echo}, **arguments})

    def test_functions_added_to_the_mapping_later_are_not_served(self) -> None:
        functions = {"echo": echo}
        with LocalLambda(functions) as local:
            functions["late"] = echo
            assert error_of(post(local, "late")) == (404, "ResourceNotFoundException")


def test_its_repr_says_what_it_serves_and_where():
    local = LocalLambda({"roll": lambda *_: None, "shop": lambda *_: None})
    assert repr(local) == "<LocalLambda 'roll', 'shop' not started>"
    with local:
        assert repr(local) == f"<LocalLambda 'roll', 'shop' at {local.endpoint_url}>"
    assert repr(local) == "<LocalLambda 'roll', 'shop' closed>"
