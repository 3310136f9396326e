"""``batch``: order, resuming, bounded memory, broken lines, interrupts, and what it shows meanwhile."""

import contextlib
import io
import itertools
import json
import signal
import sys
import threading

import pytest

from lambda_adapter import LocalLambda
from lambda_adapter.cli import main
from lambda_adapter.cli.batch import Batch, parse_request
from lambda_adapter.cli.progress import Progress, duration
from lambda_adapter.cli.responses import ResponseFile
from support.commands import on_terminal, start, wait_until
from support.fault_server import FaultServer, answer, hang


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


def answer_of(text):
    """A line of a file of responses."""
    return json.dumps({"success": True, "message": text, "error_code": None})


# -- Order and content -----------------------------------------------------------------------------


def test_each_line_gets_a_response_in_the_same_order(batch):
    write_requests(*range(200))
    code, out, err = batch()
    assert (code, out) == (0, "")
    assert messages() == [str(number) for number in range(200)]
    assert err.startswith("200 requests answered (200 in ")
    assert err.endswith("): 200 succeeded, 0 failed\n")


def test_a_response_waits_for_those_before_it(batch):
    """The first request is answered only when all others have been."""
    others = threading.Semaphore(0)

    def last_first(event, context):
        if event["trigger"]["context_text"] == "0":
            for _ in range(9):
                others.acquire(timeout=10)
        else:
            others.release()
        return {"success": True, "message": event["trigger"]["context_text"]}

    write_requests(*range(10))
    with LocalLambda({"echo": last_first}, timeout=60) as local:
        batch(url=local.endpoint_url)
    assert messages() == [str(number) for number in range(10)]


def test_a_response_is_in_the_file_as_soon_as_it_is_in_turn(batch):
    seen = []

    def look(event, context):
        with open("responses.jsonl", encoding="utf-8") as file:
            seen.append(file.read().count("\n"))
        return {"success": True}

    write_requests(*range(4))
    with LocalLambda({"echo": look}) as local:
        batch("--max-concurrency", "1", url=local.endpoint_url)
    assert seen == [0, 1, 2, 3]


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
    assert (code, err) == (0, "0 requests answered (0 in 0 s): 0 succeeded, 0 failed\n")
    assert read() == []


# -- Broken lines ----------------------------------------------------------------------------------

BROKEN = {
    "no JSON": (b'{"command": hush}', "it is not JSON (Expecting value, column 13)"),
    "empty": (b"", "it is not JSON (Expecting value, column 1)"),
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


def test_a_byte_order_mark_and_windows_line_ends_are_no_broken_lines(batch):
    with open("requests.jsonl", "wb") as file:
        file.write(b"\xef\xbb\xbf" + line(1).encode() + b"\r\n" + line(2).encode() + b"\r\n")
    assert batch()[0] == 0
    assert messages() == ["1", "2"]


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
    assert err.startswith("4 requests answered (1 in ")
    assert ", 3 in earlier runs): 3 succeeded, 1 failed\n        1  function_failed\n" in err


# -- Going on --------------------------------------------------------------------------------------


def test_a_request_whose_response_is_there_is_not_sent_again(batch, local):
    write_requests(*range(10))
    write("responses.jsonl", *(answer_of(f"old {number}") for number in range(4)))
    assert batch()[0] == 0
    assert sorted(asked(local)) == ["4", "5", "6", "7", "8", "9"]
    assert messages() == [*(f"old {number}" for number in range(4)), *map(str, range(4, 10))]
    assert batch()[0] == 0
    assert len(local.calls) == 6


@pytest.mark.parametrize("part", [1, 3, 12, 25, None])
def test_a_half_written_last_line_is_cut_off_and_its_request_sent_again(part, batch, local):
    write_requests("a", "b", "c")
    half = answer_of("b")[:part]
    with open("responses.jsonl", "w") as file:
        file.write(f"{answer_of('a')}\n{half}")
    assert batch()[0] == 0
    assert messages() == ["a", "b", "c"]
    assert sorted(asked(local)) == ["b", "c"]


def test_stdin_goes_on_too(batch, local, monkeypatch):
    write("responses.jsonl", answer_of("a"))
    text = "".join(f"{line(name)}\n" for name in "abc")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert batch(requests="-")[0] == 0
    assert sorted(asked(local)) == ["b", "c"]


def test_responses_out_of_turn_are_kept_with_their_line_and_taken_back(tmp_path):
    path = str(tmp_path / "responses.jsonl")
    with contextlib.closing(ResponseFile(path)) as file:
        for number in (1, 4, 3):
            file.add(number, {"success": True, "number": number, "error_code": None})
    assert [(response["number"], response.get("line")) for response in read()] == [(1, None), (3, 3), (4, 4)]
    with contextlib.closing(ResponseFile(path)) as file:
        assert (file.written, sorted(file.waiting), file.known) == (1, [3, 4], 3)
        file.add(2, {"success": True, "number": 2, "error_code": None})
        assert (file.written, file.waiting) == (4, {})
    assert [(response["number"], response.get("line")) for response in read()] == [(n, None) for n in (1, 2, 3, 4)]


def test_a_run_that_has_only_to_write_sends_nothing(batch, local):
    """An interrupt between finishing and writing leaves the next response in turn among those out of turn."""
    write_requests("a", "b")
    write("responses.jsonl", *(json.dumps({**json.loads(answer_of(f"old {n}")), "line": n}) for n in (1, 2)))
    assert batch()[0] == 0
    assert (messages(), local.calls) == (["old 1", "old 2"], [])
    assert all("line" not in response for response in read())


def test_a_response_that_was_written_twice_counts_once(tmp_path):
    """An interrupt between writing and forgetting leaves it a second time, with its line."""
    write("responses.jsonl", answer_of("a"), answer_of("b"), json.dumps({**json.loads(answer_of("b")), "line": 2}))
    with contextlib.closing(ResponseFile("responses.jsonl")) as file:
        assert (file.written, file.waiting, file.tally) == (2, {}, {None: 2})
    assert len(read()) == 2


@pytest.mark.parametrize(
    ("responses", "told"),
    [
        ([answer_of("a")] * 3, "responses.jsonl goes up to request 3, and requests.jsonl has only 2 requests"),
        (
            [json.dumps({**json.loads(answer_of("a")), "line": 9})],
            "goes up to request 9, and requests.jsonl has only 2",
        ),
    ],
    ids=["too many", "beyond the end"],
)
def test_more_responses_than_requests_are_another_batchs(responses, told, batch, local):
    write_requests("a", "b")
    write("responses.jsonl", *responses)
    code, _, err = batch()
    assert code == 2
    assert told in err
    assert local.calls == []
    assert len(read()) == len(responses)


# -- A file that cannot be had ---------------------------------------------------------------------

STRANGERS = {
    "text": b"dear diary\n",
    "text without an end": b"dear diary",
    "one byte": b"x",
    "JSON": b'{"command": "x"}\n',
    "an answer of something else": b'{"success": true}\n',
    "no object": b"[1]\n",
    "binary": b"\xff\x00\n",
    "a response, then text": answer_of("a").encode() + b"\nand so on\n",
    "out of turn, then in turn": b'{"success": true, "error_code": null, "line": 3}\n'
    + answer_of("a").encode()
    + b"\n",
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
    process = start(
        *("batch", "echo", "requests.jsonl", "-o", "responses.jsonl", "--endpoint-url", local.endpoint_url), head=limit
    )
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err.startswith("responses.jsonl cannot be written any more: File too large. ")
    assert err.endswith(" of 20 responses are in responses.jsonl; the same command goes on from there.\n")
    assert batch()[0] == 0
    assert messages() == [str(number) for number in range(20)]


# -- Interrupts ------------------------------------------------------------------------------------


def test_ctrl_c_leaves_all_that_has_finished_in_the_file_and_the_next_run_sends_the_rest(batch):
    """The first and the fifth request hang. With two places the fifth is sent when three others have finished."""

    def react(request):
        text = json.loads(request.body)["trigger"]["context_text"]
        return hang() if text in ("1", "5") else answer({"success": True, "message": text})

    write_requests(*range(1, 9))
    with FaultServer(react) as server:
        options = ["--endpoint-url", server.endpoint_url, "--max-concurrency", "2"]
        process = start("batch", "echo", "requests.jsonl", "-o", "responses.jsonl", *options)
        wait_until(lambda: len(server.requests) == 5, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out) == (130, "")
        told = "3 of 8 responses are in responses.jsonl; the same command goes on from there."
        assert err == f"Interrupted. {told}\n"
        assert [(response["message"], response["line"]) for response in read()] == [("2", 2), ("3", 3), ("4", 4)]

        server.restart(lambda request: answer({"success": True, "message": "later"}))
        assert batch(url=server.endpoint_url)[0] == 0
        sent = sorted(json.loads(request.body)["trigger"]["context_text"] for request in server.requests)
        assert sent == ["1", "5", "6", "7", "8"]
    assert messages() == ["later", "2", "3", "4", "later", "later", "later", "later"]
    assert all("line" not in response for response in read())


# -- Bounds ----------------------------------------------------------------------------------------


def test_no_request_is_read_far_ahead_of_one_that_does_not_finish(make_adapter, tmp_path):
    """Two places, and so 20 requests beyond the file: the 21st has to wait for the first one's answer."""
    twenty_are_sent, too_many, first_is_answered = threading.Semaphore(0), threading.Event(), threading.Event()

    def slow_first(event, context):
        if event["trigger"]["context_text"] == "1":
            for _ in range(19):
                twenty_are_sent.acquire(timeout=10)
            too_many.wait(0.3)  # nothing may come; this is how long it is given
            first_is_answered.set()
        else:
            twenty_are_sent.release()
        return {"success": True}

    def requests():
        for number in range(1, 61):
            if number == 21 and not first_is_answered.is_set():
                too_many.set()
            yield line(number).encode()

    responses = ResponseFile(str(tmp_path / "responses.jsonl"))
    with LocalLambda({"function": slow_first}, timeout=60) as local, contextlib.closing(responses):
        adapter = make_adapter(endpoint_url=local.endpoint_url, max_concurrency=2)
        Batch(adapter, requests(), responses, lambda success: None).run()
        assert (responses.written, responses.waiting) == (60, {})
        assert not too_many.is_set()


def test_requests_are_read_only_as_fast_as_calls_finish(make_adapter, local, tmp_path):
    read_lines = []
    most = []

    def requests():
        for number in range(100):
            read_lines.append(number)
            most.append(len(read_lines) - responses.known)
            yield line(number).encode()

    responses = ResponseFile(str(tmp_path / "responses.jsonl"))
    with contextlib.closing(responses):
        adapter = make_adapter(function_identifier="echo", endpoint_url=local.endpoint_url, max_concurrency=3)
        Batch(adapter, requests(), responses, lambda success: None).run()
    assert max(most) == 3


def test_more_waiting_responses_than_the_bound_are_no_deadlock(batch, local):
    """A run with many places was interrupted; the next one has one."""
    write_requests(*range(1, 41))
    waiting = (json.dumps({**json.loads(answer_of(f"old {number}")), "line": number}) for number in range(2, 40))
    write("responses.jsonl", *waiting)
    assert batch("--max-concurrency", "1")[0] == 0
    assert sorted(asked(local)) == ["1", "40"]
    assert messages() == ["1", *(f"old {number}" for number in range(2, 40)), "40"]


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
    assert terminal.shown() == "1 answered  1.0/s  1 failed"


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


def test_a_request_keeps_its_line_number_to_itself():
    request = parse_request(line("x").encode(), 12)
    assert (request.line, request.command, request.args) == (12, "say", ["x"])
