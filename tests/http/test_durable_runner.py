"""AWS's own local runner of durable functions reads what it ran to ``result``: a handler with a real step and a wait.

Needs the extra ``durable-test``. The runner calls the handler through LocalLambda, and the handler's SDK reports its
steps to the runner; both are on loopback. The runner has no Invoke route, so that the execution is begun as its own
command line begins one.
"""

import json
import pathlib
import socket
import subprocess
import sys
import urllib.request

import pytest

from lambda_adapter import ExecuteRequest, LocalLambda
from lambda_adapter._wire.payload import encode_request
from support.durable import shop_adapter
from support.waiting import until

pytestmark = pytest.mark.slow
pytest.importorskip("aws_durable_execution_sdk_python_testing", reason="needs the extra durable-test")

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_DEFAULT_REGION": "us-east-1"}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def runner(monkeypatch):
    """The runner's URL, with a function that steps, waits and answers; and how often its step has run."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    for name, value in {**CREDENTIALS, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_LAMBDA": url}.items():
        monkeypatch.setenv(name, value)
    from aws_durable_execution_sdk_python.config import Duration
    from aws_durable_execution_sdk_python.execution import durable_execution

    steps = []

    @durable_execution
    def handler(event, context):
        bought = context.step(lambda _: steps.append(event["request_id"]) or "sword", name="buy")
        context.wait(Duration.from_seconds(1))
        if event["trigger"]["context_text"] == "fail":
            raise ValueError("out of stock")
        return {"success": True, "message": f"You bought a {bought}."}

    with LocalLambda({"shop": handler}, timeout=60) as local:
        command = [pathlib.Path(sys.executable).with_name("dex-local-runner"), "start-server", "--host", "127.0.0.1"]
        command += ["--port", port, "--lambda-endpoint", local.endpoint_url, "--local-runner-endpoint", url]
        process = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(lambda: answers(port), within_s=30)
            yield url, steps
        finally:
            process.kill()
            process.wait()


def begin(url, name, payload):
    """As ``dex-local-runner invoke`` does it."""
    body = {
        "AccountId": "123456789012",
        "FunctionName": "shop",
        "FunctionQualifier": "$LATEST",
        "ExecutionName": name,
        "ExecutionTimeoutSeconds": 60,
        "ExecutionRetentionPeriodDays": 1,
        "Input": payload,
    }
    request = urllib.request.Request(
        f"{url}/start-durable-execution", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answered:
        assert answered.status == 201


def test_an_execution_with_a_step_and_a_wait_is_read_by_its_session_id(runner):
    url, steps = runner
    with shop_adapter(url, function="shop:$LATEST") as adapter:
        for session_id, words in (("purchase-1", ["sword"]), ("purchase-2", ["fail"])):
            call = encode_request(ExecuteRequest("buy", words, "u", "e", "c", session_id, "discord"))
            begin(url, adapter._arguments.execution_name(session_id), call.payload.decode())
        assert adapter.result("purchase-1", wait=0).error_code == "pending"
        bought = adapter.result("purchase-1", wait=30)
        failed = adapter.result("purchase-2", wait=30)
        assert adapter.result("purchase-3").error_code == "not_found"
    assert (bought.message, bought.invocation.executed) == ("You bought a sword.", "yes")
    assert (failed.error_code, failed.invocation.executed) == ("function_error", "yes")
    assert "ValueError: out of stock" in failed.error
    assert sorted(steps) == ["purchase-1", "purchase-2"]
