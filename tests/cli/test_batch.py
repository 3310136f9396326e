"""``batch``: order, going on, retrying, signals, broken lines, what ends it early, and what it shows meanwhile."""

import contextlib
import errno
import io
import itertools
import json
import os
import pathlib
import signal
import stat
import subprocess
import sys
import threading

import pytest

from lambda_adapter import LocalLambda
from lambda_adapter.cli import main
from lambda_adapter.cli.options import UsageError
from lambda_adapter.cli.progress import Progress, duration
from lambda_adapter.cli.request_lines import parse_line
from lambda_adapter.cli.responses import ResponseFile, WriteError
from lambda_adapter.cli.stopping import SAME_S, StoppedError, Stopping
from support.clocks import Clock
from support.commands import on_terminal, start, wait_until
from support.fault_server import FaultServer, aws_error, reset_mid_body
from support.waiting import until


@pytest.fixture(autouse=True)
def _somewhere_and_somebody(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTING")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-tests")
    monkeypatch.setenv("AWS_REGION", "us-east-1")


def handler(event, context):
    """Says what it was asked, and does as it is told."""
    text = event["trigger"]["context_text"]
    if text == "raise":
        raise ValueError("as told")
    return {"success": text != "fail", "message": text}


@pytest.fixture
def stack():
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def local():
    with LocalLambda({"echo": handler}) as served:
        yield served


@pytest.fixture
def batch(local, capsys):
    """Runs ``batch`` in this process, from requests.jsonl to responses.jsonl: its exit code, stdout and stderr."""

    def batch(*options, requests="requests.jsonl", output="responses.jsonl", url=local.endpoint_url):
        code = main(["batch", "echo", requests, "-o", output, "--endpoint-url", url, *options])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return batch


def line(text, **more):
    return json.dumps({"command": "say", "args": [str(text)], "session_id": f"session {text}", **more})


def write_requests(*texts):
    write("requests.jsonl", *(line(text) for text in texts))


def write(path, *lines):
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{text}\n" for text in lines)


def read(path="responses.jsonl"):
    with open(path, encoding="utf-8") as file:
        return [json.loads(text) for text in file]


def messages(path="responses.jsonl"):
    return [response["message"] for response in read(path)]


def asked(local):
    return [call.payload["trigger"]["context_text"] for call in local.calls]


def lines_written(path="responses.jsonl"):
    return pathlib.Path(path).read_bytes().count(b"\n") if os.path.exists(path) else 0


def response_of(number, asked, message=None, error_code=None, executed="yes", session_id=None):
    """A line of a file of responses: the answer to the request ``asked`` in line ``number``."""
    request = parse_line(number, asked.encode())
    said = {"line": number, "session_id": session_id or request.session_id, "digest": request.digest}
    said.update(success=error_code is None, message=message, error_code=error_code)
    return json.dumps({**said, "invocation": {"executed": executed}})


def write_responses(*numbers):
    """Old answers to some of write_requests's range from 1 on."""
    write("responses.jsonl", *(response_of(number, line(number), f"old {number}") for number in numbers))


# -- Order and content -----------------------------------------------------------------------------


def test_each_line_gets_a_response_in_the_same_order(batch):
    write_requests(*range(200))
    code, out, err = batch()
    assert (code, out) == (0, "")
    assert messages() == [str(number) for number in range(200)]
    assert err.startswith("200 requests done (200 in ")
    assert err.endswith("): 200 succeeded, 0 failed\n")


def test_a_call_that_is_slow_holds_no_response_up_and_the_file_has_their_order_in_the_end(batch):
    """The first request is answered only when all the others have their responses in the file."""
    seen = []

    def last_first(event, context):
        text = event["trigger"]["context_text"]
        if text == "1":
            until(lambda: lines_written() == 99)
            seen.extend(response["line"] for response in read())
        return {"success": True, "message": text}

    write_requests(*range(1, 101))
    with LocalLambda({"echo": last_first}, timeout=60) as local:
        assert batch("--max-concurrency", "2", url=local.endpoint_url)[0] == 0
    assert sorted(seen) == list(range(2, 101))
    assert messages() == [str(number) for number in range(1, 101)]
    assert sorted(os.listdir()) == ["requests.jsonl", "responses.jsonl"]


def test_a_response_is_in_the_file_when_its_call_has_finished(batch):
    seen = []

    def look(event, context):
        seen.append(lines_written())
        return {"success": True}

    write_requests(*range(4))
    with LocalLambda({"echo": look}) as local:
        batch("--max-concurrency", "1", url=local.endpoint_url)
    assert seen == [0, 1, 2, 3]


def test_a_response_says_of_which_request_it_is(batch, local):
    write("requests.jsonl", line("a"), '{"command": "x"}', "broken")
    batch("--max-concurrency", "1")
    first, second, third = read()
    assert [response["line"] for response in (first, second, third)] == [1, 2, 3]
    assert (first["session_id"], third["session_id"]) == ("session a", None)
    assert second["session_id"] == local.calls[1].payload["request_id"]
    digests = {response["digest"] for response in (first, second, third)}
    assert len(digests) == 3
    assert all(len(digest) == 16 for digest in digests)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"command": "x", "args": []}', '{"args":[],  "command":"x"}\r', True),
        ('{"command": "x"}', '\ufeff{"command": "\\u0078"}', True),
        ('{"command": "x"}', '{"command": "y"}', False),
        ('{"command": "x"}', '{"command": "x", "session_id": "s"}', False),
        ('{"command": "x"}', '["x"]', False),
        ("broken", "broken ", True),
        ("broken", "broken too", False),
    ],
)
def test_requests_are_told_apart_by_what_they_say_and_not_by_how_it_is_written(one, other, same):
    assert (parse_line(1, one.encode()).digest == parse_line(1, other.encode()).digest) is same


def test_what_a_line_leaves_out_is_as_in_invoke_and_what_it_says_is_sent(batch, local):
    fields = {"user_id": 7, "entity_id": "e", "community_id": "c", "platform": "irc", "scopes": ["a"]}
    write("requests.jsonl", '{"command": "x"}', line("hi", metadata={"user": {"username": "ann"}}, **fields))
    batch("--max-concurrency", "1", "--required-scopes", "a", "--no-enforce-scopes")
    plain, full = (call.payload for call in local.calls)
    assert (plain["user"]["id"], plain["user"]["platform"], plain["trigger"]["context_text"]) == ("cli", "cli", None)
    assert (full["user"]["id"], full["user"]["username"], full["community"]["id"]) == (7, "ann", "c")
    assert full["request_id"] == "session hi"


def test_an_event_is_sent_as_one(batch, local):
    write("requests.jsonl", '{"metadata": {"is_event": true, "event_type": "follow"}}')
    assert batch()[0] == 0
    assert local.calls[0].payload["trigger"]["event_type"] == "follow"


def test_a_response_takes_one_line_whatever_is_in_it(batch):
    write_requests("two\nlines \u2028 \x85 \U0001f427")
    batch()
    with open("responses.jsonl", encoding="utf-8") as file:
        assert len(file.read().splitlines()) == 1  # splitlines knows more line ends than readers of JSON lines should
    assert messages() == ["two\nlines \u2028 \x85 \U0001f427"]


def test_requests_come_from_stdin_too(batch, monkeypatch):
    text = "".join(f"{line(number)}\n" for number in range(3))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert batch(requests="-")[0] == 0
    assert messages() == ["0", "1", "2"]


def test_no_requests_are_no_failure(batch):
    write("requests.jsonl")
    code, _, err = batch()
    assert (code, err) == (0, "0 requests done (0 in 0 s): 0 succeeded, 0 failed\n")
    assert read() == []


# -- Broken lines ----------------------------------------------------------------------------------

BROKEN = {
    "no JSON": (b'{"command": hush}', "it is not JSON (Expecting value, column 13)"),
    "half a line": (b'{"command":', "it is not JSON (Expecting value, column 1"),
    "no UTF-8": (b'{"command": "\xff"}', "it is not UTF-8"),
    "too deep": (b"[" * 100_000, "the JSON is too deep or has too large a number"),
    "no object": (b'["hush"]', "it must be an object, not an array"),
    "a typing error": (b'{"comand": "hush"}', "a request has no comand; it has command, args, user_id"),
    "a line number": (b'{"command": "x", "line": 3}', "a request has no line"),
    "a wrong type": (b'{"command": "x", "args": "hush"}', "args must be a list of strings, not a string"),
    "no command": (b'{"args": ["hush"]}', "command must be a string, not null"),
    "no finite number": (b'{"command": "x", "metadata": {"a": NaN}}', "metadata.a must be a finite number"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_line_is_answered_with_its_number_and_the_others_run(case, batch, local):
    broken, told = BROKEN[case]
    lines = [line(number).encode() for number in range(1, 7)]
    lines[4] = broken
    with open("requests.jsonl", "wb") as file:
        file.write(b"\n".join(lines))
    code, _, err = batch()
    responses = read()
    assert code == 1
    assert messages() == ["1", "2", "3", "4", None, "6"]
    assert responses[4]["error_code"] == "invalid_request"
    assert responses[4]["error"].startswith(f"invalid_request: line 5: {told}")
    assert responses[4]["invocation"]["function_name"] == "echo"
    assert "hush" not in responses[4]["error"]
    assert err.endswith("5 succeeded, 1 failed\n        1  invalid_request\n")
    assert len(local.calls) == 5


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("NaN", None),
        ("Infinity", None),
        ('["s"]', None),
        ("true", None),
        ("null", None),
        ("1.5", None),
        ("7", 7),
        ('"s"', "s"),
    ],
)
def test_a_response_is_json_whatever_the_session_id_is(given, told, batch):
    def refuse(constant):
        raise AssertionError(constant)

    write("requests.jsonl", f'{{"command": "x", "session_id": {given}}}')
    batch()
    response = json.loads(pathlib.Path("responses.jsonl").read_text(), parse_constant=refuse)
    assert response["session_id"] == told
    assert (response["error_code"] == "invalid_request") is (told is None)


def test_a_byte_order_mark_and_windows_line_ends_are_no_broken_lines(batch):
    with open("requests.jsonl", "wb") as file:
        file.write(b"\xef\xbb\xbf" + line(1).encode() + b"\r\n" + line(2).encode() + b"\r\n")
    assert batch()[0] == 0
    assert messages() == ["1", "2"]


def test_blank_lines_are_no_requests_but_count_as_lines(batch, local):
    with open("requests.jsonl", "wb") as file:
        file.write(b"\xef\xbb\xbf\n" + line(2).encode() + b"\n \t\r\n\n" + line(5).encode() + b"\n\n\n  ")
    code, _, err = batch()
    assert (code, len(local.calls)) == (0, 2)
    assert err.startswith("2 requests done ")
    assert [(response["line"], response["message"]) for response in read()] == [(2, "2"), (5, "5")]
    assert batch()[0] == 0
    assert len(local.calls) == 2


def test_a_file_of_broken_lines_alone_comes_to_an_end(batch):
    write("requests.jsonl", *["nonsense"] * 100)
    assert batch("--max-concurrency", "1")[0] == 1
    assert [response["error"].split(":")[1] for response in read()] == [f" line {number}" for number in range(1, 101)]


# -- The summary -----------------------------------------------------------------------------------


def test_the_summary_counts_by_error_code_the_most_frequent_first(batch):
    write_requests("fail", "raise", "hello", "fail")
    with open("requests.jsonl", "a") as file:
        file.write("broken\n" * 3)
    code, _, err = batch()
    assert code == 1
    assert err.splitlines()[0].endswith(": 1 succeeded, 6 failed")
    assert [text.split() for text in err.splitlines()[1:]] == [
        ["3", "invalid_request"],
        ["2", "function_failed"],
        ["1", "function_error"],
    ]


def test_the_summary_and_the_exit_code_are_those_of_all_runs(batch):
    write_requests("fail", "a", "b")
    assert batch()[0] == 1
    with open("requests.jsonl", "a") as file:
        file.write(line("c") + "\n")
    code, _, err = batch()
    assert code == 1
    assert err.startswith("4 requests done (1 in ")
    assert ", 3 in earlier runs): 3 succeeded, 1 failed\n        1  function_failed\n" in err


# -- Going on --------------------------------------------------------------------------------------


def test_a_request_whose_response_is_there_is_not_sent_again(batch, local):
    write_requests(*range(1, 11))
    write_responses(4, 1, 9, 2)
    assert batch()[0] == 0
    assert sorted(map(int, asked(local))) == [3, 5, 6, 7, 8, 10]
    assert messages() == [f"old {n}" if n in (1, 2, 4, 9) else str(n) for n in range(1, 11)]
    assert batch()[0] == 0
    assert len(local.calls) == 6


def test_requests_that_were_added_at_the_end_are_answered_too(batch, local):
    write_requests(*range(1, 5))
    assert batch()[0] == 0
    with open("requests.jsonl", "a") as file:
        file.write(line(5) + "\n")
    assert batch()[0] == 0
    assert messages() == ["1", "2", "3", "4", "5"]
    assert len(local.calls) == 5


@pytest.mark.parametrize("part", [1, 3, 12, 60, -1])
def test_half_a_last_line_is_cut_off_and_its_request_sent_again(part, batch, local):
    write_requests(1, 2, 3)
    write_responses(1)
    with open("responses.jsonl", "a") as file:
        file.write(response_of(2, line(2), "half")[:part])
    assert batch()[0] == 0
    assert messages() == ["old 1", "2", "3"]
    assert sorted(asked(local)) == ["2", "3"]


def test_a_last_line_that_lacks_only_its_end_counts(batch, local):
    write_requests(1, 2, 3)
    with open("responses.jsonl", "w") as file:
        file.write(response_of(2, line(2), "old 2"))
    assert batch()[0] == 0
    assert messages() == ["1", "old 2", "3"]
    assert sorted(asked(local)) == ["1", "3"]


def test_stdin_goes_on_too(batch, local, monkeypatch):
    write_responses(1, 3)
    text = "".join(f"{line(number)}\n" for number in (1, 2, 3, 4))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert batch(requests="-")[0] == 0
    assert sorted(asked(local)) == ["2", "4"]


def test_of_two_responses_for_one_line_the_later_counts_and_stays(batch, local):
    """A run that retried was killed before it could put the file in order."""
    write_requests(1, 2)
    failed = response_of(1, line(1), "failed", error_code="timeout")
    write("responses.jsonl", failed, response_of(2, line(2), "old 2"), response_of(1, line(1), "later"))
    code, _, err = batch()
    assert code == 0
    assert err.startswith("2 requests done (0 in 0 s, 2 in earlier runs): 2 succeeded, 0 failed\n")
    assert (messages(), local.calls) == (["later", "old 2"], [])


CHANGED = {
    "a new first line": (["NEW", 1, 2], [1, 2], "line 1 of requests.jsonl is another request than the one that"),
    "a new first line of a file with gaps": (["NEW", 1, 2], [2], "line 2 of requests.jsonl is another request"),
    "a line in the middle": ([1, "NEW", 3], [1, 2, 3], "line 2 of requests.jsonl is another request"),
    "a line is missing": ([2, 3], [1, 2, 3], "line 1 of requests.jsonl is another request"),
    "lines are missing at the end": ([1], [1, 2], "responses.jsonl answers line 2, and requests.jsonl has no request"),
    "no line is left": ([], [1], "responses.jsonl answers line 1, and requests.jsonl has no request there"),
}


@pytest.mark.parametrize("source", ["file", "stdin"])
@pytest.mark.parametrize("case", CHANGED)
def test_requests_that_were_changed_are_refused_by_name_before_any_call(case, source, batch, local, monkeypatch, stack):
    requests, answered, told = CHANGED[case]
    write_requests(*requests)
    write_responses(*answered)
    before = read()
    if source == "stdin":
        reader, writer = os.pipe()
        os.write(writer, pathlib.Path("requests.jsonl").read_bytes())
        os.close(writer)
        monkeypatch.setattr(sys, "stdin", stack.enter_context(os.fdopen(reader)))
        told = told.replace("requests.jsonl", "stdin")
    code, _, err = batch(requests="-" if source == "stdin" else "requests.jsonl")
    assert (code, local.calls, read()) == (2, [], before)
    assert err.startswith(f"lambda-adapter: {told}")
    assert err.endswith("; name another output to begin anew\n")
    assert err.count("\n") == 1


# -- Retrying what failed --------------------------------------------------------------------------


def test_what_failed_is_sent_again_only_if_asked_for_and_has_one_response_then(batch, local):
    write_requests(1, 2, 3)
    failed = response_of(2, line(2), error_code="timeout", executed="maybe")
    write("responses.jsonl", response_of(1, line(1), "old 1"), failed, response_of(3, line(3), "old 3"))
    code, _, err = batch()
    assert (code, local.calls) == (1, [])
    assert ": 2 succeeded, 1 failed\n        1  timeout\n" in err
    code, _, err = batch("--retry-failed")
    assert (code, asked(local)) == (0, ["2"])
    assert err.endswith(", 2 in earlier runs): 3 succeeded, 0 failed\n")
    assert messages() == ["old 1", "2", "old 3"]


def test_what_fails_again_stays_failed(batch, local):
    write_requests("fail", "raise")
    batch()
    assert batch("--retry-failed")[0] == 1
    assert len(local.calls) == 4
    assert [response["error_code"] for response in read()] == ["function_failed", "function_error"]


def test_a_retried_request_has_the_session_it_had_so_that_functions_can_tell(batch, local):
    write("requests.jsonl", '{"command": "x", "args": ["fail"]}', '{"command": "x", "args": ["b"]}')
    batch("--max-concurrency", "1")
    batch("--retry-failed")
    first, _, again = (call.payload["request_id"] for call in local.calls)
    assert first == again
    assert first.startswith("cli-")


def test_a_line_that_was_mended_is_sent_as_it_is_now(batch, local):
    write("requests.jsonl", line(1), "broken", line(3))
    assert batch()[0] == 1
    write_requests(1, "mended", 3)
    assert "line 2 of requests.jsonl is another request" in batch()[2]
    assert batch("--retry-failed")[0] == 0
    assert messages() == ["1", "mended", "3"]


def test_what_may_have_run_is_not_retried_for_a_function_that_must_not_run_twice(batch, local):
    write_requests(1, 2, 3)
    cases = enumerate(("no", "maybe", "yes"), 1)
    write("responses.jsonl", *(response_of(n, line(n), error_code="timeout", executed=ran) for n, ran in cases))
    code, _, err = batch("--retry-failed", "--no-idempotent")
    assert (code, asked(local)) == (1, ["1"])
    assert err.startswith("2 failed requests may have run and will not be sent again.\n3 requests done ")


# -- Failures that every call meets ----------------------------------------------------------------


@pytest.fixture
def denied():
    with FaultServer(aws_error("AccessDeniedException", 403)) as server:
        yield server


def test_failures_that_every_call_meets_end_the_batch_with_advice(batch, local, denied):
    write_requests(*range(200))
    code, _, err = batch("--max-concurrency", "4", url=denied.endpoint_url)
    told = err.splitlines()
    assert code == 1
    assert told[0].startswith("Stopped after 10 failures in a row, access_denied: the credentials may not invoke")
    assert "lambda:InvokeFunction" in told[0]
    assert told[1].endswith("left; with --retry-failed the same command goes on, and sends again what failed")
    assert 10 <= len(denied.requests) <= 14
    assert len(read()) == len(denied.requests)
    assert told[2].split() == [str(len(denied.requests)), "access_denied"]
    assert batch("--retry-failed")[0] == 0
    assert messages() == [str(number) for number in range(200)]


@pytest.mark.parametrize(("number", "sent"), [("1", 1), ("3", 3), ("0", 20)])
def test_how_many_such_failures_end_it_can_be_said(number, sent, batch, denied):
    write_requests(*range(20))
    assert batch("--max-concurrency", "1", "--stop-after", number, url=denied.endpoint_url)[0] == 1
    assert len(denied.requests) == sent


@pytest.mark.parametrize(
    ("reactions", "ended"),
    [
        ([aws_error("AccessDeniedException", 403)], True),
        ([aws_error("ResourceNotFoundException", 404)], True),
        ([aws_error("AccessDeniedException", 403), aws_error("ResourceNotFoundException", 404)], True),
        ([aws_error("InvalidParameterValueException", 400)], False),
        ([aws_error("AccessDeniedException", 403), aws_error("InvalidParameterValueException", 400)], False),
    ],
    ids=["denied", "not found", "both by turns", "one call's own", "by turns with one call's own"],
)
def test_only_such_failures_without_another_in_between_end_it(reactions, ended, batch):
    write_requests(*range(12))
    with FaultServer(lambda request: reactions[request.number % len(reactions)]) as server:
        batch("--max-concurrency", "1", "--stop-after", "4", url=server.endpoint_url)
        assert len(server.requests) == (4 if ended else 12)


def test_an_endpoint_that_nobody_can_reach_ends_it(batch, denied):
    write_requests(*range(50))
    url = denied.endpoint_url
    denied.close()
    code, _, err = batch("--max-concurrency", "1", "--max-retries", "0", "--stop-after", "2", url=url)
    assert (code, len(read())) == (1, 2)
    assert err.startswith("Stopped after 2 failures in a row, connection_error: ")


def test_refusals_in_between_say_nothing_of_what_calls_meet(batch, denied):
    write("requests.jsonl", *[line("x"), "broken"] * 20)
    assert batch("--max-concurrency", "1", "--stop-after", "3", url=denied.endpoint_url)[0] == 1
    assert len(denied.requests) == 3


def test_a_number_below_0_is_refused(batch):
    write_requests(1)
    code, _, err = batch("--stop-after", "-1")
    assert (code, err) == (2, "lambda-adapter: --stop-after must be a whole number from 0\n")


# -- A file that cannot be had ---------------------------------------------------------------------

STRANGERS = {
    "text": b"dear diary\n",
    "text without an end": b"dear diary",
    "one byte": b"x",
    "JSON": b'{"command": "x"}\n',
    "an answer of something else": b'{"success": true}\n',
    "no object": b"[1]\n",
    "binary": b"\xff\x00\n",
    "a response, then text": response_of(1, line("a")).encode() + b"\nand so on\n",
    "a response without its request": b'{"line": 1, "success": true, "error_code": null}\n',
    "a line that is no number": response_of(1, line("a")).replace('"line": 1', '"line": true').encode() + b"\n",
}


@pytest.mark.parametrize("content", STRANGERS.values(), ids=STRANGERS)
def test_a_file_of_something_else_is_left_as_it_is(content, batch, local):
    write_requests("a", "b", "c", "d")
    with open("responses.jsonl", "wb") as file:
        file.write(content)
    code, _, err = batch()
    assert code == 2
    assert err.startswith("lambda-adapter: responses.jsonl is not a file of responses (its line ")
    with open("responses.jsonl", "rb") as file:
        assert file.read() == content
    assert local.calls == []


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("nowhere/responses.jsonl", "nowhere/responses.jsonl cannot be written: No such file or directory"),
        (".", ". cannot be written: Is a directory"),
        ("requests.jsonl", "requests.jsonl holds the requests, and cannot take the responses"),
        pytest.param(
            "/dev/full",
            "/dev/full cannot be written: No space left on device",
            marks=pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux has this device"),
        ),
    ],
)
def test_an_output_that_cannot_be_written_is_said_before_the_first_call(output, told, batch, local):
    write_requests("a")
    code, out, err = batch(output=output)
    assert (code, out, err) == (2, "", f"lambda-adapter: {told}\n")
    assert local.calls == []


def test_requests_that_cannot_be_read_leave_no_output_behind(batch, tmp_path):
    code, _, err = batch(requests="nowhere.jsonl")
    assert (code, err) == (2, "lambda-adapter: nowhere.jsonl cannot be read: No such file or directory\n")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_ends_the_batch_and_it_goes_on_later(batch, local):
    resource = pytest.importorskip("resource")
    write_requests(*range(20))
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (3000, {resource.RLIM_INFINITY}))\n"
    limit += "import sys; sys.dont_write_bytecode = True\n"  # a module's would be cut off too, for every other test
    process = begin(local, "--max-concurrency", "1", head=limit)  # in order, so that nothing else mends the file
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err.startswith(
        "responses.jsonl cannot be written any more: File too large.\n1 call was made whose response "
    )
    assert err.endswith(" left; the same command goes on from there\n")
    with open("responses.jsonl", "rb") as file:
        assert file.read()[-1:] == b"\n"
    assert batch()[0] == 0
    assert messages() == [str(number) for number in range(20)]


@pytest.fixture
def room(monkeypatch):
    """Leaves no room for more than so many bytes in a file: they are written, as far as they go, and then no more."""

    def room(most):
        append = ResponseFile._append

        def _append(self, text):
            if self._end + len(text) > most:
                self._file.write(text[: most - self._end])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            append(self, text)

        monkeypatch.setattr(ResponseFile, "_append", _append)

    return room


@pytest.mark.parametrize(
    ("bytes_of_room", "options", "runs"),
    [
        (65_535, (), False),
        (65_536, (), True),
        (9_215, ("--max-concurrency", "9"), False),
        (9_216, ("--max-concurrency", "9"), True),
    ],
)
def test_without_room_for_the_calls_at_once_none_is_made(bytes_of_room, options, runs, batch, local, room):
    room(bytes_of_room)
    write_requests(*range(80))
    code, _, err = batch(*options)
    assert bool(local.calls) is (lines_written() > 0) is runs
    if not runs:
        assert (code, err) == (2, "lambda-adapter: responses.jsonl cannot be written: No space left on device\n")
        assert os.path.getsize("responses.jsonl") == 0


def test_no_more_room_is_needed_than_what_is_left_takes(batch, local, room):
    write_requests(*range(1, 100))
    write_responses(*range(1, 99))
    room(os.path.getsize("responses.jsonl") + 1_024)
    assert batch()[0] == 0
    assert asked(local) == ["99"]


@pytest.mark.parametrize(
    ("at_once", "told"),
    [
        ("1", "1 call was made whose response could not be written; the next run sends it again."),
        ("4", "4 calls were made whose responses could not be written; the next run sends them again."),
    ],
)
def test_a_disk_that_fills_up_says_how_many_calls_it_has_lost(at_once, told, batch, room):
    together = threading.Barrier(int(at_once))

    def handler(event, context):
        together.wait(30)
        return {"success": True, "message": "x" * 5_000}

    write_requests(*range(40))
    room(5_000)
    with LocalLambda({"echo": handler}, timeout=60) as local:
        code, _, err = batch("--max-concurrency", at_once, url=local.endpoint_url)
        assert (code, len(local.calls)) == (1, int(at_once))
    assert err.splitlines()[:2] == ["responses.jsonl cannot be written any more: No space left on device.", told]
    assert read() == []


def add(responses, number):
    invocation = {"executed": "yes"}
    responses.add(number, None, "digest", {"success": True, "error_code": None, "invocation": invocation})


def test_the_file_is_replaced_at_once_under_its_name_with_its_permissions_and_its_lock(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    os.symlink("elsewhere/responses.jsonl", "responses.jsonl")
    with contextlib.closing(ResponseFile("responses.jsonl")) as responses:
        os.chmod("responses.jsonl", 0o640)
        for number in (3, 1, 2):
            add(responses, number)
        with open("responses.jsonl", "rb") as before:
            responses.put_in_order()
            assert [json.loads(text)["line"] for text in before] == [3, 1, 2]
        assert [response["line"] for response in read()] == [1, 2, 3]
        assert os.path.islink("responses.jsonl")
        assert stat.S_IMODE(os.stat("responses.jsonl").st_mode) == 0o640
        with pytest.raises(UsageError, match=r"another run is writing responses\.jsonl"):
            ResponseFile("responses.jsonl")
    with contextlib.closing(ResponseFile("responses.jsonl")) as responses:
        assert sorted(responses.known) == [1, 2, 3]


def test_a_file_that_cannot_be_replaced_stays_as_it_is(tmp_path):
    (tmp_path / "here").mkdir()
    with contextlib.closing(ResponseFile("here/responses.jsonl")) as responses:
        add(responses, 2)
        add(responses, 1)
        os.rename("here", "there")
        with pytest.raises(WriteError, match=r"here/responses\.jsonl was deleted, renamed or replaced") as raised:
            responses.put_in_order()
    assert raised.value.gone
    assert [response["line"] for response in read("there/responses.jsonl")] == [2, 1]


def test_a_file_for_whose_copy_there_is_no_room_stays_as_it_is(monkeypatch):
    def full(**how):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with contextlib.closing(ResponseFile("responses.jsonl")) as responses:
        add(responses, 2)
        add(responses, 1)
        monkeypatch.setattr("tempfile.mkstemp", full)
        with pytest.raises(WriteError, match="stays in the order in which calls finished: No space left") as raised:
            responses.put_in_order()
    assert not raised.value.gone
    assert [response["line"] for response in read()] == [2, 1]


def replace_by_another():
    write("other.jsonl", "")
    os.replace("other.jsonl", "responses.jsonl")


@pytest.mark.parametrize("numbers", [[1], [1, 2, 3]], ids=["in order", "in any order"])
@pytest.mark.parametrize(
    "go",
    [
        pytest.param(lambda: os.unlink("responses.jsonl"), id="deleted"),
        pytest.param(lambda: os.rename("responses.jsonl", "old.jsonl"), id="renamed"),
        pytest.param(replace_by_another, id="replaced"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="no file that is open can be deleted there")
def test_a_file_that_was_deleted_during_the_run_is_said_as_it_is(go, numbers, batch):
    def handler(event, context):
        if event["trigger"]["context_text"] == "1":
            go()
        return {"success": True}

    write_requests(*numbers)
    with LocalLambda({"echo": handler}) as local:
        code, _, err = batch(url=local.endpoint_url)
    assert code == 1
    assert err.startswith("responses.jsonl was deleted, renamed or replaced during the run.\n")
    assert err.endswith("; put responses.jsonl back, or the same command sends again what is not there\n")


def test_a_file_that_is_in_order_is_not_replaced(batch):
    write_requests(1, 2)
    write_responses(1)
    before = os.stat("responses.jsonl").st_ino
    assert batch("--max-concurrency", "1")[0] == 0
    assert os.stat("responses.jsonl").st_ino == before


# -- Signals ---------------------------------------------------------------------------------------

#: What follows the first signal.
WAITING = "Waiting for {} in flight; a second signal ends at once.\n"


class Held:
    """A function that answers some requests and holds the others until it is told to let them go."""

    def __init__(self, *, held):
        self.held = held
        self.asked = []
        self.let_go = threading.Event()

    def __call__(self, event, context):
        text = event["trigger"]["context_text"]
        self.asked.append(int(text))
        if self.held(int(text)):
            self.let_go.wait(30)
        return {"success": True, "message": text}


@pytest.fixture
def held():
    """Serves a Held that holds the requests which ``held`` says."""
    with contextlib.ExitStack() as stack:

        def serve(held):
            function = Held(held=held)
            local = stack.enter_context(LocalLambda({"echo": function}, timeout=60))
            stack.callback(function.let_go.set)
            return function, local

        yield serve


def begin(local, *options, requests="requests.jsonl", output="responses.jsonl", **how):
    """A batch as a program of its own."""
    return start("batch", "echo", requests, "-o", output, "--endpoint-url", local.endpoint_url, *options, **how)


NAMES = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@pytest.mark.parametrize("options", [(), ("--no-idempotent",)], ids=["idempotent", "not idempotent"])
@pytest.mark.parametrize("name", NAMES)
def test_the_first_signal_ends_feeding_and_nothing_runs_twice(name, options, batch, held):
    function, local = held(lambda number: number > 20)
    write_requests(*range(1, 51))
    process = begin(local, "--max-concurrency", "4", *options)
    wait_until(lambda: lines_written() == 20 and len(function.asked) == 24, process)
    process.send_signal(getattr(signal, name))
    assert process.stderr.readline() == WAITING.format("4 calls")
    function.let_go.set()
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (128 + getattr(signal, name), "")
    assert err.startswith(f"Stopped by {name}.\n24 of 50 requests done (24 in ")
    assert err.endswith("): 24 succeeded, 0 failed; 26 left; the same command goes on from there\n")
    assert [response["line"] for response in read()] == list(range(1, 25))
    assert batch(*options, url=local.endpoint_url)[0] == 0
    assert sorted(function.asked) == list(range(1, 51))
    assert messages() == [str(number) for number in range(1, 51)]


@pytest.mark.parametrize("name", NAMES)
def test_a_second_signal_ends_at_once_and_what_was_in_flight_is_sent_again(name, batch, held):
    function, local = held(lambda number: number > 20)
    write_requests(*range(1, 51))
    process = begin(local, "--max-concurrency", "4")
    wait_until(lambda: lines_written() == 20 and len(function.asked) == 24, process)
    process.send_signal(getattr(signal, name))
    assert process.stderr.readline() == WAITING.format("4 calls")
    process.send_signal(getattr(signal, name))
    _, err = process.communicate(timeout=20)
    assert not function.let_go.is_set()
    assert process.returncode == 128 + getattr(signal, name)
    assert err.startswith("Ended at once; 4 calls in flight may have run.\n20 of 50 requests done ")
    function.let_go.set()
    assert batch(url=local.endpoint_url)[0] == 0
    assert sorted(function.asked) == sorted([*range(1, 51), 21, 22, 23, 24])


def test_a_kill_sends_again_only_what_was_in_flight(batch, held):
    """One slow call at the head of a thousand."""
    function, local = held(lambda number: number == 1)
    write_requests(*range(1, 1_001))
    process = begin(local, "--max-concurrency", "8")
    wait_until(lambda: lines_written() == 999, process)
    process.kill()
    process.communicate(timeout=20)
    function.let_go.set()
    assert batch(url=local.endpoint_url)[0] == 0
    assert sorted(function.asked) == [1, *range(1, 1_001)]
    assert messages() == [str(number) for number in range(1, 1_001)]


def test_a_signal_that_comes_when_all_are_in_flight_ends_as_if_it_had_not_come(held):
    function, local = held(lambda number: True)
    write_requests(1, 2)
    process = begin(local)
    wait_until(lambda: len(function.asked) == 2, process)
    process.send_signal(signal.SIGTERM)
    assert process.stderr.readline() == WAITING.format("2 calls")
    function.let_go.set()
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err.startswith("2 requests done (2 in ")) == (0, True)


def test_a_signal_that_is_ignored_stays_ignored(held):
    """nohup's way, and a shell's with Ctrl-C for its background jobs."""
    function, local = held(lambda number: True)
    write_requests(1, 2)
    head = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    process = begin(local, "--max-concurrency", "1", head=head)
    wait_until(lambda: function.asked, process)
    process.send_signal(signal.SIGTERM)
    function.let_go.set()
    assert process.wait(20) == 0
    process.communicate()
    assert messages() == ["1", "2"]


def failing_until_stopped(reaction, stopped_by):
    """An endpoint where each attempt fails, and whose fourth one is this process's Ctrl-C."""

    def react(request):
        if request.number == 4:
            os.kill(os.getpid(), stopped_by)
        return reaction

    return FaultServer(react)


WAITS = ("--max-concurrency", "4", "--max-retries", "2", "--initial-retry-delay", "1", "--jitter", "0")


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("options", [(), ("--no-idempotent",), ("--total-timeout", "60")])
@pytest.mark.parametrize("left", [True, False], ids=["more left", "all in flight"])
def test_a_call_that_waits_for_its_next_attempt_makes_none_after_a_signal(left, options, batch, local):
    numbers = range(20 if left else 4)
    write_requests(*numbers)
    throttled = aws_error("TooManyRequestsException", 429)
    with failing_until_stopped(throttled, signal.SIGTERM) as server:
        code, _, err = batch(*WAITS, *options, url=server.endpoint_url)
        assert len(server.requests) == 4
    assert code == 143
    assert err.startswith(f"Stopped by SIGTERM.\n0 of {len(numbers)} requests done ")
    assert err.endswith(f"; {len(numbers)} left; the same command goes on from there\n")
    assert read() == []
    assert batch(*options)[0] == 0
    assert sorted(map(int, asked(local))) == list(numbers)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(
    ("more", "recorded"), [('"session_id": "s", ', 0), ("", 4)], ids=["a session_id of its own", "none"]
)
def test_a_call_that_may_have_run_is_left_to_the_next_run_only_where_functions_can_tell(more, recorded, batch, local):
    write("requests.jsonl", *[f'{{{more}"command": "x"}}'] * 4)
    with failing_until_stopped(reset_mid_body(), signal.SIGINT) as server:
        batch(*WAITS, url=server.endpoint_url)
        sent = {json.loads(request.body)["request_id"] for request in server.requests}
        assert len(server.requests) == 4
    assert len(read()) == recorded
    assert all("the call was ended before its next attempt" in response["error"] for response in read())
    assert batch("--retry-failed")[0] == 0
    assert {call.payload["request_id"] for call in local.calls} == sent


@pytest.mark.usefixtures("heard")
def test_a_call_that_must_not_run_twice_and_may_have_run_is_recorded(batch):
    write("requests.jsonl", *[line(1)] * 4)
    with failing_until_stopped(reset_mid_body(), signal.SIGTERM) as server:
        batch(*WAITS, "--no-idempotent", url=server.endpoint_url)
    assert [response["invocation"]["executed"] for response in read()] == ["maybe"] * 4


@pytest.fixture
def heard():
    """No signal is ignored, as Ctrl-C is in a shell's background jobs."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize("name", NAMES)
def test_two_signals_at_once_are_one(name):
    clock, number = Clock(), getattr(signal, name)
    with Stopping(clock) as stopping:
        signal.raise_signal(number)
        clock.now_s = SAME_S / 2
        signal.raise_signal(number)
        assert not stopping.settled
        clock.now_s = SAME_S
        assert stopping.settled
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


@pytest.mark.usefixtures("heard")
def test_a_signal_raises_only_where_something_may_be_interrupted():
    with Stopping() as stopping:
        assert stopping.wait(lambda: 3) == 3
        with pytest.raises(StoppedError):
            stopping.wait(lambda: signal.raise_signal(signal.SIGTERM))
    with Stopping() as stopping:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(StoppedError):
            stopping.wait(lambda: pytest.fail("it was called"))
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


# -- stdin and stdout ------------------------------------------------------------------------------


def test_requests_that_come_slowly_are_answered_as_they_come_and_a_signal_ends_the_waiting(local):
    process = begin(local, requests="-", stdin=subprocess.PIPE)
    process.stdin.write("".join(f"{line(number)}\n" for number in range(3)))
    process.stdin.flush()
    wait_until(lambda: lines_written() == 3, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    _, err = process.communicate()
    assert err.startswith("Stopped by SIGTERM.\n3 requests done (3 in ")
    assert err.endswith("): 3 succeeded, 0 failed; the same command goes on from there\n")


def test_requests_that_come_slowly_are_gone_on_with_before_they_end(local):
    write_responses(1)
    process = begin(local, requests="-", stdin=subprocess.PIPE)
    process.stdin.write(f"{line(1)}\n{line(2)}\n")
    process.stdin.flush()
    wait_until(lambda: lines_written() == 2, process)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert messages() == ["old 1", "2"]


def test_what_ends_a_batch_ends_its_waiting_for_requests(denied):
    process = begin(denied, "--stop-after", "3", requests="-", stdin=subprocess.PIPE)
    process.stdin.write("".join(f"{line(number)}\n" for number in range(3)))
    process.stdin.flush()
    assert process.wait(20) == 1
    _, err = process.communicate()
    assert err.startswith("Stopped after 3 failures in a row, access_denied: ")
    assert "3 requests done (3 in " in err


def test_a_dash_is_stdout(batch, local):
    write_requests(*range(20))
    code, out, err = batch(output="-")
    assert code == 0
    assert sorted(int(json.loads(text)["message"]) for text in out.splitlines()) == list(range(20))
    assert err.startswith("20 requests done (20 in ")
    assert os.listdir() == ["requests.jsonl"]


def test_a_response_is_on_stdout_when_its_call_has_finished(held):
    function, local = held(lambda number: number == 1)
    write_requests(1, 2)
    process = begin(local, output="-")
    assert json.loads(process.stdout.readline())["line"] == 2
    function.let_go.set()
    assert json.loads(process.stdout.readline())["line"] == 1
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_reader_of_stdout_that_has_gone_ends_it_in_silence(local):
    reader, writer = os.pipe()
    os.close(reader)
    write_requests(*range(500))
    process = begin(local, "--max-concurrency", "2", output="-", stdout=writer)
    os.close(writer)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (141, "")
    assert len(local.calls) < 10


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux has this device")
def test_a_full_device_behind_stdout_is_said_before_the_first_call(local):
    write_requests(*range(500))
    with open("/dev/full", "wb") as full:
        process = begin(local, output="-", stdout=full)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (2, "lambda-adapter: stdout cannot be written: No space left on device\n")
    assert local.calls == []


def test_a_stdout_that_is_closed_is_said_before_the_first_call(local):
    write_requests(1)
    process = begin(local, output="-", preexec_fn=lambda: os.close(1))
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err, local.calls) == (2, "lambda-adapter: stdout is closed\n", [])


@pytest.mark.parametrize("stderr", ["closed", "full", "read by nobody"])
def test_a_stderr_that_takes_nothing_changes_nothing(stderr, local):
    write_requests("1", "fail")
    with contextlib.ExitStack() as stack:
        how = {}
        if stderr == "closed":
            how = {"preexec_fn": lambda: os.close(2)}
        elif stderr == "full":
            if not os.path.exists("/dev/full"):
                pytest.skip("Linux has this device")
            how = {"stderr": stack.enter_context(open("/dev/full", "wb"))}
        else:
            reader, writer = os.pipe()
            os.close(reader)
            stack.callback(os.close, writer)
            how = {"stderr": writer}
        process = begin(local, **how)
        out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    assert len(read()) == 2


def test_a_terminal_that_is_closed_loses_no_response(held):
    """It sends SIGHUP, and takes nothing any more."""
    pty = pytest.importorskip("pty", reason="no terminals to be had here")
    function, local = held(lambda number: number > 3)
    write_requests(*range(1, 10))
    master, slave = pty.openpty()
    process = begin(local, "--max-concurrency", "2", stderr=slave)
    os.close(slave)
    wait_until(lambda: lines_written() == 3 and len(function.asked) == 5, process)
    os.close(master)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    function.let_go.set()
    process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGHUP
    assert [response["line"] for response in read()] == [1, 2, 3, 4, 5]


# -- Two runs --------------------------------------------------------------------------------------


def test_a_second_run_on_the_same_file_is_refused_and_a_kill_leaves_no_lock(batch, held):
    pytest.importorskip("fcntl", reason="no locks here")
    function, local = held(lambda number: number == 2)
    write_requests(1, 2, 3)
    process = begin(local)
    wait_until(lambda: lines_written() == 2, process)
    code, _, err = batch(url=local.endpoint_url)
    assert (code, err) == (2, "lambda-adapter: another run is writing responses.jsonl\n")
    assert len(function.asked) == 3
    process.kill()
    process.communicate(timeout=20)
    function.let_go.set()
    assert batch(url=local.endpoint_url)[0] == 0
    assert sorted(function.asked) == [1, 2, 2, 3]


def test_two_runs_may_write_to_the_same_device(held):
    function, local = held(lambda number: True)
    write_requests(1)
    both = [begin(local, output=os.devnull) for _ in range(2)]
    wait_until(lambda: len(function.asked) == 2, both[0])
    function.let_go.set()
    for process in both:
        process.communicate(timeout=20)
        assert process.returncode == 0


# -- Bounds ----------------------------------------------------------------------------------------


def test_no_more_calls_are_in_flight_than_may_be(held):
    function, local = held(lambda number: True)
    write_requests(*range(1, 10))
    process = begin(local, "--max-concurrency", "3")
    wait_until(lambda: len(function.asked) == 3, process)
    assert not threading.Event().wait(0.3)  # nothing may come; this is how long it is given
    assert len(function.asked) == 3
    function.let_go.set()
    process.communicate(timeout=20)
    assert len(read()) == 9


# -- The progress bar ------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def shown(self):
        """What stands on the line now."""
        return self.getvalue().rpartition("\r")[2].rstrip()


def test_the_bar_shows_share_rate_failures_and_time_left():
    terminal, clock = Terminal(), itertools.count(0, 1)
    progress = Progress(terminal, 1_200, 600, 2, clock=lambda: next(clock) * 2.0)
    assert terminal.shown() == "[############------------]  50%  600 of 1,200  2 failed"
    for number in range(300):
        progress.count(number != 7)
    assert terminal.shown().startswith("[##################------]  75%  900 of 1,200  ")
    assert "  3 failed  " in terminal.shown()
    assert terminal.shown().endswith(" left")
    assert len(terminal.shown()) < 80
    progress.clear()
    assert terminal.getvalue().endswith("\r")
    assert terminal.getvalue().rpartition("\r")[0].rpartition("\r")[2].strip() == ""


def test_rate_and_time_left_are_those_of_this_run():
    now = [0.0]
    terminal = Terminal()
    progress = Progress(terminal, 1_100, 1_000, clock=lambda: now[0])
    for _ in range(50):
        now[0] += 0.5
        progress.count(True)
    assert terminal.shown().endswith("1,050 of 1,100  2.0/s  0 failed  25 s left")
    assert (progress.finished, progress.seconds) == (50, 25.0)


def test_the_bar_is_not_drawn_more_than_ten_times_a_second():
    terminal, now = Terminal(), [0.0]
    progress = Progress(terminal, 1_000, clock=lambda: now[0])
    for _ in range(1_000):
        now[0] += 0.001
        progress.count(True)
    assert terminal.getvalue().count("\r") <= 11


def test_without_a_known_total_the_bar_counts():
    terminal, now = Terminal(), [0.0]
    progress = Progress(terminal, None, clock=lambda: now[0])
    now[0] = 1.0
    progress.count(False)
    assert terminal.shown() == "1 done  1.0/s  1 failed"


@pytest.mark.parametrize("total", [10, 1_200, 2_000_000, None])
@pytest.mark.parametrize("columns", [80, 60, 40, 24, 10])
def test_the_bar_fits_its_terminal(columns, total, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal, clock = Terminal(), itertools.count(0, 1)
    progress = Progress(terminal, total, clock=lambda: next(clock) * 0.7)
    for number in range(10):
        progress.count(number != 7)
    drawn = terminal.getvalue().split("\r")[1:]
    assert {len(text) for text in drawn} == {columns - 1}
    assert ("1 failed" in terminal.shown()) is (columns >= 24)
    assert ("%" in terminal.shown()) is (total is not None)


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (80, "[############------------]  50%  600 of 1,200  1.0/s  2 failed  10 min 0 s left"),
        (79, "50%  600 of 1,200  1.0/s  2 failed  10 min 0 s left"),
        (52, "50%  600 of 1,200  1.0/s  2 failed  10 min 0 s left"),
        (51, "50%  600 of 1,200  2 failed  10 min 0 s left"),
        (40, "50%  600 of 1,200  2 failed"),
        (20, "50%  2 failed"),
        (10, "50%  2 fa"),
    ],
)
def test_on_few_columns_the_bar_gives_way_to_the_numbers(columns, shown, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    now = [0.0]
    terminal = Terminal()
    progress = Progress(terminal, 1_200, 599, 2, clock=lambda: now[0])
    now[0] = 1.0
    progress.count(True)
    assert terminal.shown() == shown


def test_where_there_is_no_terminal_there_is_no_bar():
    stream = io.StringIO()
    progress = Progress(stream, 10)
    progress.count(True)
    progress.clear()
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3_725, "1 h 2 min"),
        (3.6e6, "1,000 h 0 min"),
    ],
)
def test_durations_are_told_in_two_units(seconds, text):
    assert duration(seconds) == text


def test_on_a_terminal_the_bar_is_gone_when_the_summary_comes(local):
    write_requests(*range(30))
    options = ["--endpoint-url", local.endpoint_url]
    code, shown = on_terminal("batch", "echo", "requests.jsonl", "-o", "responses.jsonl", *options)
    assert code == 0
    assert "\r[------------------------]   0%  0 of 30  0 failed" in shown
    assert shown.rpartition("\r30 requests")[0].rpartition("\r")[2].strip() == ""
    assert ": 30 succeeded, 0 failed\r\n" in shown
