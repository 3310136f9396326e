"""LocalLambda streams as Lambda does: frames that other people's parsers read, and ends in the middle."""

import asyncio
import gc
import http.client
import json
import threading
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError

from lambda_adapter import LocalLambda
from lambda_adapter.local.emulator import observed
from support.calls import CREDENTIALS
from support.waiting import SOON_S, until

ROUTE = "/2021-11-15/functions/{}/response-streaming-invocations"


def talk(event, context):
    yield "Grü"
    yield "ße".encode()[:2]
    yield "ße".encode()[2:]
    yield {"a": ["ö", None]}
    yield ""
    context.log("said all")


def fails(event, context):
    yield "Hel"
    raise ValueError("no such city")


def waits(event, context):
    yield "Hel"
    threading.Event().wait(SOON_S)
    yield "never"


def exits(event, context):
    yield "Hel"
    raise SystemExit(2)


def unwritable(event, context):
    yield "Hel"
    yield {1, 2}


def plain(event, context):
    return {"success": True, "message": "Größe"}


def nothing(event, context):
    return
    yield


HANDLERS = {
    "talk": talk,
    "fails": fails,
    "waits": waits,
    "exits": exits,
    "unwritable": unwritable,
    "plain": plain,
    "nothing": nothing,
    "broken": lambda event, context: 1 / 0,
}
TALK = ["Grü".encode(), "ße".encode()[:2], "ße".encode()[2:], '{"a": ["ö", null]}'.encode(), b""]


@pytest.fixture(scope="module")
def local():
    with LocalLambda(HANDLERS, timeout=0.5) as running:
        yield running


@pytest.fixture(scope="module")
def client(local):
    made = boto3.client("lambda", "us-east-1", endpoint_url=local.endpoint_url, **CREDENTIALS)
    yield made
    made.close()


def events_of(client, name, **arguments):
    """Read by botocore's own parser."""
    answer = client.invoke_with_response_stream(FunctionName=name, Payload=b"{}", **arguments)
    assert answer["StatusCode"] == 200
    assert answer["ExecutedVersion"] == "$LATEST"
    assert answer["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"
    *chunks, last = list(answer["EventStream"])
    return [chunk["PayloadChunk"]["Payload"] for chunk in chunks], last["InvokeComplete"]


@pytest.mark.parametrize(
    ("name", "payloads", "error_type"),
    [
        ("talk", TALK, None),
        ("plain", ['{"success": true, "message": "Größe"}'.encode()], None),
        ("nothing", [], None),
        ("fails", [b"Hel"], "ValueError"),
        ("waits", [b"Hel"], "Sandbox.Timedout"),
        ("exits", [b"Hel"], "Runtime.ExitError"),
        ("unwritable", [b"Hel"], "TypeError"),
        ("broken", [], "ZeroDivisionError"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_botocore_reads_what_a_handler_yields_and_how_it_ended(client, name, payloads, error_type):
    found, complete = events_of(client, name)
    assert found == payloads
    if error_type is None:
        assert complete == {}
    else:
        assert complete["ErrorCode"] == "Unhandled"
        assert json.loads(complete["ErrorDetails"])["errorType"] == error_type


def test_the_log_comes_with_the_end(client):
    from base64 import b64decode

    _, complete = events_of(client, "talk", LogType="Tail")
    log = b64decode(complete["LogResult"]).decode()
    assert "said all" in log
    assert "REPORT RequestId: " in log


def test_invoke_has_the_whole_of_it(client):
    assert client.invoke(FunctionName="talk", Payload=b"{}")["Payload"].read() == b"".join(TALK)
    answer = client.invoke(FunctionName="fails", Payload=b"{}")
    assert answer["FunctionError"] == "Unhandled"
    assert json.loads(answer["Payload"].read())["errorMessage"] == "no such city"


def test_a_dry_run_runs_nothing(client, local):
    answer = client.invoke_with_response_stream(FunctionName="talk", Payload=b"{}", InvocationType="DryRun")
    assert answer["StatusCode"] == 204
    answer["EventStream"].close()
    assert local.calls[-1].invocation_type == "DryRun"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"FunctionName": "nobody"}, "ResourceNotFoundException"),
        ({"FunctionName": "talk", "InvocationType": "Event"}, "InvalidParameterValueException"),
        ({"FunctionName": "talk", "Payload": b"{"}, "InvalidRequestContentException"),
    ],
    ids=["unknown", "Event", "no JSON"],
)
def test_what_is_refused_is_refused_before_the_head(client, arguments, code):
    with pytest.raises(ClientError) as caught:
        client.invoke_with_response_stream(**{"Payload": b"{}", **arguments})
    assert caught.value.response["Error"]["Code"] == code


def post(local, path, **headers):
    connection = http.client.HTTPConnection(urlsplit(local.endpoint_url).netloc, timeout=SOON_S)
    connection.request("POST", path, b"{}", headers)
    return connection, connection.getresponse()


@pytest.mark.parametrize(
    "path",
    [
        "/2015-03-31/functions/talk/response-streaming-invocations",
        "/2021-11-15/functions/talk/invocations",
        ROUTE.format("talk") + "/x",
    ],
)
def test_paths_that_are_none(local, path):
    connection, answer = post(local, path)
    assert answer.status == 404
    connection.close()


def test_each_frame_is_one_chunk_of_http(local):
    connection, answer = post(local, ROUTE.format("talk"))
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.headers["Content-Type"] == "application/vnd.amazon.eventstream"
    for _ in range(len(TALK) + 1):
        size = int(answer.fp.readline(), 16)
        frame = answer.fp.read(size)
        assert int.from_bytes(frame[:4], "big") == size
        assert answer.fp.readline() == b"\r\n"
    assert answer.fp.readline() == b"0\r\n"
    connection.close()


def test_a_frame_comes_when_it_is_yielded():
    let_go = threading.Event()

    def handler(event, context):
        yield "first"
        assert let_go.wait(SOON_S)
        yield "second"

    with LocalLambda({"f": handler}, timeout=SOON_S) as local:
        client = boto3.client("lambda", "us-east-1", endpoint_url=local.endpoint_url, **CREDENTIALS)
        events = iter(client.invoke_with_response_stream(FunctionName="f", Payload=b"{}")["EventStream"])
        assert next(events) == {"PayloadChunk": {"Payload": b"first"}}
        let_go.set()
        assert len(list(events)) == 2
        client.close()


def test_a_handler_runs_on_when_its_caller_has_gone():
    ended = threading.Event()

    def handler(event, context):
        for _ in range(1_000):
            yield "x" * 10_000
        ended.set()

    observations = []
    with observed({"f": handler}, observations.append, timeout=60.0) as local:
        connection, answer = post(local, ROUTE.format("f"))
        answer.read(10)
        answer.close()
        connection.close()
        del answer, connection
        gc.collect()
        assert ended.wait(SOON_S)
        until(lambda: observations)
    assert (observations[0].streamed, observations[0].result) == (True, None)


ARN = "arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Af%3A1"


@pytest.mark.parametrize(
    ("asked", "name"), [("f", "f"), ("f:live", "f:live"), ("123456789012:f", "f"), (ARN, "f:1")], ids=str
)
def test_who_watches_hears_one_name_of_a_call_and_of_its_end(asked, name):
    observations = []
    invoke = f"/2015-03-31/functions/{asked}/invocations"
    with observed({"f": lambda event, context: "x"}, observations.append, timeout=60.0) as local:
        for path, kind in ((invoke, "Event"), (invoke, "RequestResponse"), (ROUTE.format(asked), "RequestResponse")):
            connection, answer = post(local, path, **{"X-Amz-Invocation-Type": kind})
            answer.read()
            connection.close()
        until(lambda: len(observations) == 4)
    assert {observation.function_name for observation in observations} == {name}


def test_close_cuts_a_stream():
    let_go = threading.Event()

    def handler(event, context):
        yield "first"
        let_go.wait(SOON_S)

    local = LocalLambda({"f": handler}, timeout=SOON_S).start()
    connection, answer = post(local, ROUTE.format("f"))
    local.close()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        answer.read()
    let_go.set()
    connection.close()


def test_awss_own_sdk_reads_it(local):
    """Python 3.12 and newer have it; it is asynchronous, and has a parser of its own."""
    pytest.importorskip("aws_sdk_lambda", reason="aws-sdk-lambda is not installed (it needs Python 3.12)")
    from aws_sdk_lambda.client import AsyncLambdaClient
    from aws_sdk_lambda.config import AsyncLambdaConfig
    from aws_sdk_lambda.models import InvokeWithResponseStreamInput

    async def read(name):
        config = await AsyncLambdaConfig.resolve(region="us-east-1", endpoint_uri=local.endpoint_url, **CREDENTIALS)
        async with AsyncLambdaClient(config) as client:
            answer = await client.invoke_with_response_stream(
                InvokeWithResponseStreamInput(function_name=name, payload=b"{}")
            )
            async with answer as stream:
                return [event.value async for event in stream.output_stream]

    *chunks, last = asyncio.run(read("talk"))
    assert [chunk.payload or b"" for chunk in chunks] == TALK  # it reads an empty payload as none
    assert last.error_code is None
    *chunks, last = asyncio.run(read("fails"))
    assert [chunk.payload for chunk in chunks] == [b"Hel"]
    assert last.error_code == "Unhandled"
    assert json.loads(last.error_details)["errorType"] == "ValueError"
