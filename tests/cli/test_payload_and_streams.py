"""``invoke --payload``, and streams that are full, closed or read by nobody: one line or silence, never a traceback."""

import io
import json
import os
import re
import struct
import sys

import pytest

from lambda_adapter import LambdaAdapter, LocalLambda
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
    "a directory": (["."], "--payload: . cannot be read: Is a directory"),
    "no name": (["a\0b"], "cannot be read"),
    "endless": (["/dev/zero"], "--payload: /dev/zero is too large: a payload has 6291456 bytes at most"),
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


@pytest.mark.parametrize(
    ("given", "told"),
    [
        pytest.param(b'\xef\xbb\xbf {"a": 1, "a": 2}', None, id="mark, key twice"),
        pytest.param(b"12", None, id="number"),
        pytest.param(b"\xff", "--payload: stdin is not UTF-8", id="no text"),
        pytest.param(b" \n", "--payload: stdin is empty, and must be JSON", id="blank"),
        pytest.param(b"[" * 100_000, "--payload: stdin: the JSON is too deep or has too large a number", id="deep"),
        pytest.param(b"1" * 6_291_470, "--payload: stdin is too large", id="too large"),
        pytest.param(None, "--payload: stdin is closed", id="no stdin"),
    ],
)
def test_a_payload_comes_from_stdin(given, told, payload, local, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None if given is None else io.TextIOWrapper(io.BytesIO(given)))
    code, out, err = payload("-")
    assert (code, len(local.calls), "Traceback" in err) == ((0, 1, False) if told is None else (2, 0, False))
    if told is None:
        assert local.calls[0].raw == given.replace(b"\xef\xbb\xbf", b"")
        assert out
    else:
        assert told in err


def test_a_stdin_that_was_closed_is_told(payload, monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO())
    stdin.close()
    monkeypatch.setattr(sys, "stdin", stdin)
    code, _, err = payload("-")
    assert (code, "--payload: stdin cannot be read" in err) == (2, True)


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


@pytest.mark.parametrize("name", ["invoke", "payload", "doctor", "start", "result", "stop"])
def test_ctrl_c_ends_each_command_with_130_and_a_word(name, run, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    for method in ("execute", "_invoke_payload", "check", "start", "result", "stop"):
        monkeypatch.setattr(LambdaAdapter, method, interrupt)
    assert run(name, True) == (130, "", "\nInterrupted.\n")


@pytest.mark.parametrize("more", [["--command", "x"], ["--payload", '{"a": 1}'], ["--command", "x", "--stream"]])
def test_what_an_ascii_terminal_cannot_show_is_replaced(more, local, monkeypatch):
    stdout = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    assert main(["invoke", "echo", "--endpoint-url", local.endpoint_url, *more]) == 0
    stdout.seek(0)
    assert re.search(r"Z(\\xfc|\\u00fc|\?)rich", stdout.read())


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


class Terminal(io.StringIO):
    """A terminal, of which a pty knows the size."""

    def __init__(self, number):
        super().__init__()
        self.fileno = lambda: number

    def isatty(self):
        return True


@pytest.fixture
def terminal():
    pty = pytest.importorskip("pty")
    leader, follower = pty.openpty()
    yield Terminal(follower)
    os.close(leader)
    os.close(follower)


def drawn(terminal):
    progress = Progress(terminal, 1_000_000, 123_456, 4_567)
    progress.count(False)
    progress.clear()
    return max(map(len, terminal.getvalue().split("\r")))


@pytest.mark.parametrize("columns", [1, 20, 40])
def test_the_progress_bar_fits_the_terminal_that_it_is_drawn_on(columns, terminal, monkeypatch):
    """Standard output, which may be a pipe, is not asked."""
    termios, fcntl = pytest.importorskip("termios"), pytest.importorskip("fcntl")
    monkeypatch.delenv("COLUMNS", raising=False)
    fcntl.ioctl(terminal.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    assert drawn(terminal) == columns - 1


@pytest.mark.parametrize(("said", "width"), [("30", 29), ("0", 79), ("", 79), ("wide", 79), ("²", 79)])
def test_the_bar_is_as_wide_as_columns_says_or_80(said, width, terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", said)
    assert drawn(terminal) == width
