"""``invoke --stream`` prints text as it is written; ``serve`` shows streamed invocations."""

import re
import subprocess
import textwrap

import pytest

from lambda_adapter.cli import main
from lambda_adapter.local.event_stream import payload_chunk
from support import fault_server as fs
from support.calls import CREDENTIALS
from support.commands import on_terminal, start
from support.durable import needs_executions
from support.event_streams import body_of, frames_of

HANDLERS = """
def handler(event, context):
    yield "Hel"
    yield "lo"
    if event["trigger"]["context_text"] == "boom":
        raise ZeroDivisionError("no such city")

def plain(event, context):
    return {"success": True, "message": "Sunny"}
"""


@pytest.fixture(autouse=True)
def _set_up(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS["aws_access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS["aws_secret_access_key"])
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talk.py").write_text(textwrap.dedent(HANDLERS))


@pytest.fixture
def run(capsys):
    """Runs a command in this process: its exit code, stdout and stderr."""

    def run(*argv):
        code = main([str(argument) for argument in argv])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


TIMES = r"\d+\.\d{3} s"


def test_the_text_goes_to_stdout_and_how_it_went_to_stderr(run):
    code, out, err = run("invoke", "talk", "--local", "talk.py:handler", "--command", "talk", "--stream")
    assert (code, out) == (0, "Hello\n")
    assert re.fullmatch(rf"ok \(talk, 1 attempt, {TIMES}, first text after {TIMES}\)\n", err)


def test_a_failure_in_the_middle_follows_the_text(run):
    code, out, err = run("invoke", "talk", "--local", "talk.py:handler", "--command", "talk", "boom", "--stream")
    assert (code, out) == (1, "Hello\n")
    assert err.startswith("talk: Traceback (most recent call last):\n")
    assert "\nfailed: function_error: ZeroDivisionError: no such city (talk, 1 attempt, " in err


def test_a_function_that_does_not_stream_is_read_all_the_same(run):
    code, out, _ = run("invoke", "talk", "--local", "talk.py:plain", "--command", "talk", "--stream")
    assert (code, out) == (0, "Sunny\n")


def test_no_text_is_no_line(run, serve):
    server = serve(fs.raw(body_of(frames_of([]))))
    assert run("invoke", "f", "--command", "x", "--stream", "--endpoint-url", server.endpoint_url)[:2] == (0, "")


def test_an_event_is_not_streamed(run):
    code, out, err = run("invoke", "f", "--command", "x", "--stream", "--invocation-type", "Event")
    assert (code, out) == (2, "")
    assert err == "lambda-adapter: --stream goes without --invocation-type Event, which has no answer\n"


@needs_executions
def test_a_durable_call_is_not_streamed(run):
    code, out, err = run("invoke", "f:1", "--command", "x", "--stream", "--durable")
    assert (code, out) == (2, "")
    assert err == "lambda-adapter: --stream goes without --durable: a call is durable or streamed\n"


def test_each_text_is_printed_when_it_comes(serve):
    """The process is still reading when its first text can be read."""
    begun = body_of([payload_chunk(b"first")])[: -len(b"0\r\n\r\n")]
    server = serve(fs.raw(begun, "hang"))
    process = start("invoke", "f", "--command", "x", "--stream", "--endpoint-url", server.endpoint_url)
    try:
        assert process.stdout.read(5) == "first"
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


def test_nothing_on_a_terminal_moves_its_cursor(serve):
    server = serve(fs.raw(body_of(frames_of(["a\x1b[2Jb\tc\n"]))))
    _, shown = on_terminal("invoke", "f", "--command", "x", "--stream", "--endpoint-url", server.endpoint_url)
    assert "a\\u001b[2Jb\tc\r\n" in shown


def test_serve_shows_streamed_invocations(make_adapter, make_request):
    process = start("serve", "talk=talk.py:handler", stderr=subprocess.STDOUT)
    try:
        url = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
        while "LambdaAdapter(" not in process.stdout.readline():
            pass
        process.stdout.readline()
        process.stdout.readline()
        adapter = make_adapter(function_identifier="talk", endpoint_url=url)
        list(adapter.execute_stream(make_request(args=["x"])))
        assert process.stdout.readline().endswith("  talk  streamed\n")
        list(adapter.execute_stream(make_request(args=["boom"])))
        assert process.stdout.readline().endswith("  talk  streamed, failed: ZeroDivisionError\n")
    finally:
        process.kill()
        process.communicate()
