"""start, result and stop; invoke, serve and doctor with --durable."""

import json

import pytest

from lambda_adapter import Execution, LocalLambda
from lambda_adapter.cli import main
from support import fault_server as fs
from support.commands import start, wait_until
from support.durable import Shop, needs_executions

pytestmark = needs_executions
REQUEST = ["--command", "buy", "sword", "--session-id", "july"]


@pytest.fixture(autouse=True)
def _credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("AWS_REGION", "us-east-1")


@pytest.fixture
def shop():
    handler = Shop()
    yield handler
    handler.let_go.set()


@pytest.fixture
def run(capsys, shop):
    """Runs a command on the durable function "shop": its exit code, what it printed as JSON, and stderr."""
    with LocalLambda({"shop": shop}, durable={"shop"}, timeout=60) as local:

        def run(command, *argv):
            code = main([command, "shop:live", *map(str, argv), "--endpoint-url", local.endpoint_url])
            captured = capsys.readouterr()
            return code, json.loads(captured.out or "null"), captured.err

        yield run


def test_what_start_begins_is_fetched_by_result(run, shop, tmp_path):
    shop.let_go.clear()
    code, execution, err = run("start", *REQUEST)
    assert (code, err) == (0, "begun (shop:live)\n")
    assert Execution.from_dict(execution).session_id == "july"
    code, response, err = run("result", "july", "--wait", 0)
    assert (code, response["error_code"]) == (1, "pending")
    assert err.startswith("failed: pending (shop:live, ")
    shop.let_go.set()
    (tmp_path / "july.json").write_text(json.dumps(execution))
    for wanted in (["july"], ["--execution", json.dumps(execution)], ["--execution", tmp_path / "july.json"]):
        code, response, err = run("result", *wanted)
        assert (code, response["message"]) == (0, "Receipt for july")
        assert err.startswith("ok (shop:live, ")
    assert run("start", *REQUEST)[:2] == (0, execution)
    assert shop.runs == ["july"]


def test_stop_ends_it(run, shop):
    shop.let_go.clear()
    run("start", *REQUEST)
    code, response, _ = run("stop", "july")
    assert (code, response["message"]) == (0, "Lambda execution stopped, unless it had ended before")
    assert run("result", "july")[1]["error_code"] == "function_error"
    assert run("stop", "june")[:2][0] == 1


def test_invoke_runs_once(run, shop):
    answers = [run("invoke", *REQUEST, "--durable")[1] for _ in range(2)]
    assert [answer["invocation"]["attached"] for answer in answers] == [False, True]
    assert shop.runs == ["july"]


def test_a_local_handler_can_be_durable(capsys, tmp_path, monkeypatch):
    (tmp_path / "durable_bot.py").write_text("def handler(event, context):\n    return {'success': True}\n")
    monkeypatch.chdir(tmp_path)
    argv = ["invoke", "bot:live", "--local", "durable_bot.py:handler", "--command", "x", "--durable"]
    assert main(argv) == 0
    assert json.loads(capsys.readouterr().out)["invocation"]["execution_arn"]


def test_serve_can_be_durable(tmp_path):
    (tmp_path / "bot.py").write_text("def handler(event, context):\n    return {'success': True}\n")
    process = start("serve", "bot.py:handler", "--durable", cwd=str(tmp_path))
    try:
        line = process.stdout.readline()
        url = line.split(" on ")[1].split(" ")[0]
        argv = ["invoke", "bot:live", "--command", "x", "--durable", "--endpoint-url", url]
        assert main(argv) == 0
        wait_until(lambda: process.stdout.readline().endswith("ok\n"), process)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        pytest.param(["start", "shop", "--command", "x"], "durable needs a version or an alias", id="unqualified"),
        pytest.param(["start", "shop:1"], "--command is missing", id="no command"),
        pytest.param(["result", "shop:1"], "one of SESSION_ID and --execution", id="nothing wanted"),
        pytest.param(["stop", "shop:1", "a", "--execution", "{}"], "one of SESSION_ID and --execution", id="both"),
        pytest.param(["result", "shop:1", "--execution", "{}"], "name of an Execution is missing", id="no execution"),
        pytest.param(["result", "shop:1", "--execution", "nowhere.json"], "nowhere.json cannot be read", id="no file"),
        pytest.param(["result", "shop:1", "a", "--wait", "-1"], "--wait must be from 0", id="a wait before now"),
        pytest.param(["result", "shop:1", "a", "--wait", "nan"], "--wait must be from 0", id="no wait"),
        pytest.param(["result", "shop:1", "a", "--", "b"], "takes nothing after --", id="more"),
    ],
)
def test_bad_usage_is_told_and_nothing_is_called(capsys, argv, told):
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert told in captured.err
    assert captured.out == ""


LISTED = {
    "DurableExecutions": [
        {
            "DurableExecutionArn": "arn:aws:lambda:us-east-1:123456789012:function:shop:1/durable-execution/a/b",
            "DurableExecutionName": "a",
            "FunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:shop:1",
            "Status": "RUNNING",
            "StartTimestamp": 1.0,
        }
    ]
}
MISSING = {
    "none": [],
    "Get": ["GetDurableExecution"],
    "List": ["ListDurableExecutionsByFunction"],
    "Stop": ["StopDurableExecution"],
    "all": ["ListDurableExecutionsByFunction", "GetDurableExecution", "StopDurableExecution"],
}


def operation(request):
    if request.path.endswith("/stop"):
        return "StopDurableExecution"
    if "/invocations" in request.path:
        return "Invoke"
    return "ListDurableExecutionsByFunction" if "/functions/" in request.path else "GetDurableExecution"


@pytest.mark.parametrize("missing", MISSING.values(), ids=list(MISSING))
@pytest.mark.parametrize("name", ["shop:live", "arn:aws:lambda:us-east-1:123456789012:function:shop:live"])
def test_doctor_says_which_permission_is_missing(capsys, missing, name):
    def react(request):
        asked = operation(request)
        if asked in missing:
            return fs.aws_error("AccessDeniedException", 403)
        if asked == "Invoke":
            return fs.respond(204)
        return fs.answer(LISTED) if asked.startswith("List") else fs.aws_error("ResourceNotFoundException", 404)

    # Without an ARN, and without the list, the account is not known, and two are not asked about.
    expected = missing if name != "shop:live" or "ListDurableExecutionsByFunction" not in missing else missing[:1]
    with fs.FaultServer(react) as server:
        code = main(["doctor", name, "--durable", "--endpoint-url", server.endpoint_url])
        # Whoever is checked has no execution that is ended.
        assert not [each for each in server.requests if operation(each)[:4] == "Stop" and "%2Fa%2Fb" in each.path]
    out = capsys.readouterr().out
    assert code == (1 if missing else 0)
    assert [each for each in MISSING["all"] if f"lambda:{each}" in out] == expected
    assert "invocation permitted" in out
    assert ("Allow the credentials" in out) == bool(missing)
