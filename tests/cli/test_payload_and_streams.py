"""``invoke --payload``, and streams that are full, closed or read by nobody: one line or silence, never a traceback."""

import io
import json
import os
import sys

import pytest

from lambda_adapter import LocalLambda
from lambda_adapter._aws.failures import host_and_port
from lambda_adapter.cli import main
from lambda_adapter.cli.progress import Progress
from support.commands import start
from support.durable import KNOWS_EXECUTIONS


@pytest.fixture(autouse=True)
def _somewhere_and_somebody(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTING")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-tests")
    monkeypatch.setenv("AWS_REGION", "us-east-1")


def handler(event, context):
    if event == "boom":
        raise ValueError("as told")
    return event if not isinstance(event, dict) else {"success": True, "message": "Zürich"}


@pytest.fixture
def local():
    with LocalLambda({"echo": handler}) as served:
        yield served


@pytest.fixture
def payload(local, capsys):
    def payload(*argv):
        code = main(["invoke", "echo", "--endpoint-url", local.endpoint_url, "--payload", *argv])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return payload


@pytest.mark.parametrize("text", ["[1, 2.5]", '"a"', "12", "-1.5", "true", "null", ' ["é"]'])
def test_any_json_is_sent_and_any_json_is_an_answer(text, payload):
    code, out, err = payload(text)
    assert (code, json.loads(out)) == (0, json.loads(text))
    assert err.startswith("ok (echo, 1 attempt, ")


def test_a_functions_error_is_told_on_stderr(payload):
    code, out, err = payload('"boom"')
    assert (code, out) == (1, "")
    assert err.startswith("failed: function_error: ValueError: as told (echo, 1 attempt, ")


BAD = {
    "NaN": (["NaN"], "--payload is not JSON: it holds NaN"),
    "NaN within": (["[NaN]"], "it holds NaN"),
    "broken": (['{"a": '], "line 1 column 7"),
    "too large a number": (["[1e999]"], "payload[0] must be a finite number"),
    "no such file": (["nowhere"], "nowhere cannot be read: No such file"),
    "empty": ([""], "--payload is empty"),
    "no UTF-8": (["latin"], "latin is not UTF-8"),
    "too large": (["large"], "--payload is too large: 6291458 bytes, and RequestResponse takes 6291456"),
    "a command": (["1", "--command", "x"], "--payload goes without --command"),
    "a scope": (["1", "--scope", "x"], "--payload goes without --scope"),
    "a flag": (["1", "--no-enforce-scopes"], "--payload goes without --no-enforce-scopes"),
    "a stream": (["1", "--stream"], "--payload goes without --stream"),
    "arguments": (["1", "--", "x"], "--payload goes without arguments after --"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_payload_that_cannot_be_sent_is_one_line_and_2(case, payload, local, tmp_path):
    (tmp_path / "latin").write_bytes(b'"\xff"')
    (tmp_path / "large").write_text(json.dumps("x" * 6_291_456))
    argv, told = BAD[case]
    code, out, err = payload(*argv)
    assert (code, out, err.count("\n"), local.calls) == (2, "", 1, [])
    assert told in err


# -- Streams ---------------------------------------------------------------------------------------

COMMANDS = {
    "help": ["--help"],
    "help of a command": ["invoke", "--help"],
    "version": ["--version"],
    "invoke": ["invoke", "echo", "--command", "x"],
    "payload": ["invoke", "echo", "--payload", "1"],
    "doctor": ["doctor", "echo"],
    "start": ["start", "echo:live", "--command", "x"],
    "result": ["result", "echo:live", "x", "--wait", "0"],
    "stop": ["stop", "echo:live", "x"],
    "batch": ["batch", "echo", os.devnull, "-o", "out.jsonl"],
    "batch to stdout": ["batch", "echo", "requests.jsonl", "-o", "-"],
}
SAY_NOTHING = {"batch"}
PRINT_BEFORE_A_CALL = {"help", "help of a command", "version"}
#: All within this process, which is quick; and some in a process of their own, which has to end without a word, too.
WAYS = [
    (name, inside) for name in COMMANDS for inside in (True, False) if inside or name in ("help", "invoke", "batch")
]


@pytest.fixture
def run(local, tmp_path, monkeypatch):
    """Run a command with these streams; those that are not given are caught."""

    def run(name, inside, **streams):
        if name in ("start", "result", "stop") and not KNOWS_EXECUTIONS:
            pytest.skip("this botocore knows no durable executions")
        (tmp_path / "requests.jsonl").write_text('{"command": "x"}\n')
        argv = COMMANDS[name]
        if name not in PRINT_BEFORE_A_CALL:
            argv = [*argv, "--endpoint-url", local.endpoint_url]
        code, out, err = (run_inside if inside else run_process)(argv, **streams)
        assert "Traceback" not in out + err
        assert "Exception ignored" not in err
        return code, out, err

    def run_inside(argv, **streams):
        caught = {stream: io.TextIOWrapper(io.BytesIO(), "utf-8") for stream in ("stdout", "stderr")}
        with monkeypatch.context() as patch:
            for stream, catcher in caught.items():
                patch.setattr(sys, stream, streams.get(stream, catcher))
            try:
                code = main(argv)
            except SystemExit as end:
                code = end.code or 0
        for catcher in caught.values():
            catcher.seek(0)
        return (code, *(catcher.read() for catcher in caught.values()))

    def run_process(argv, **streams):
        closed = [number for number, stream in ((1, "stdout"), (2, "stderr")) if streams.get(stream, 0) is None]
        process = start(*argv, **streams, preexec_fn=lambda: [os.close(number) for number in closed])
        out, err = process.communicate(timeout=60)
        return process.returncode, out or "", err or ""

    return run


needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")


@needs_full
@pytest.mark.parametrize(("name", "inside"), WAYS)
def test_a_full_stdout_is_told_and_exits_with_1(name, inside, run):
    with open("/dev/full", "w") as full:
        code, _, err = run(name, inside, stdout=full)
    expected = {"batch": (0, False), "batch to stdout": (2, True)}.get(name, (1, True))  # it looks before any call
    assert (code, "No space left on device" in err) == expected


@pytest.mark.parametrize(("name", "inside"), WAYS)
def test_a_closed_stdout_is_told_before_any_call(name, inside, run, local):
    code, _, err = run(name, inside, stdout=None)
    if name in PRINT_BEFORE_A_CALL | SAY_NOTHING:
        assert code == 0
    else:
        assert (code, "stdout is closed" in err, err.count("\n"), local.calls) == (2, True, 1, [])


@pytest.mark.parametrize(("name", "inside"), WAYS)
def test_a_reader_that_has_gone_is_silence_and_141(name, inside, run):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as stdout:
        code, _, _ = run(name, inside, stdout=stdout)
    assert code == (0 if name in SAY_NOTHING else 141)


@pytest.mark.parametrize("how", ["closed", pytest.param("full", marks=needs_full)])
@pytest.mark.parametrize(("name", "inside"), WAYS)
def test_a_stderr_that_takes_nothing_changes_neither_answer_nor_code(name, inside, how, run):
    code, out, _ = run(name, True)
    if how == "closed":
        deaf = run(name, inside, stderr=None)
    else:
        with open("/dev/full", "w") as full:
            deaf = run(name, inside, stderr=full)
    assert (deaf[0], deaf[1].count("\n")) == (code, out.count("\n"))


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://lambda.example", "lambda.example:443"),
        ("http://u:hush@[::1]/path", "[::1]:80"),
        ("http://127.0.0.1:9001/x?y", "127.0.0.1:9001"),
        ("http://host:port", ""),
        ("", ""),
    ],
)
def test_an_endpoint_is_named_by_host_and_port_alone(url, named):
    assert host_and_port(url) == named


@pytest.mark.parametrize("columns", [1, 20, 40])
def test_the_progress_bar_fits_the_terminal(columns, monkeypatch):
    class Terminal:
        text = ""

        def isatty(self):
            return True

        def write(self, text):
            self.text += text

        def flush(self):
            pass

    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = Terminal()
    progress = Progress(terminal, 1_000_000, 123_456, 4_567)
    progress.count(False)
    progress.clear()
    assert max(map(len, terminal.text.split("\r"))) < max(columns, 1) + (columns == 1)
