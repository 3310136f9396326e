"""The benchmarks' endpoint keeps to the protocol, their report to the arithmetic, and all of them run."""

import contextlib
import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time

import pytest
import trustme
from botocore.eventstream import EventStreamBuffer

from support.paths import PROJECT

TIMEOUT_S = 30


@pytest.fixture(scope="module")
def endpoint():
    """The port of an endpoint in a process of its own."""
    with running_endpoint() as (ports, _process):
        yield ports["http"]


@contextlib.contextmanager
def running_endpoint(*arguments):
    command = [sys.executable, "-m", "benchmarks.endpoint", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT) as process:
        try:
            yield json.loads(process.stdout.readline()), process
        finally:
            process.kill()


@pytest.fixture
def connect(endpoint):
    """Opens connections to the endpoint."""
    with contextlib.ExitStack() as stack:

        def open_connection():
            connection = http.client.HTTPConnection("127.0.0.1", endpoint, timeout=TIMEOUT_S)
            stack.callback(connection.close)
            return connection

        yield open_connection


@pytest.fixture
def invoke(connect):
    """Invokes a function once: status, headers and parsed body."""

    def once(function, connection=None, body=b"{}"):
        connection = connection or connect()
        connection.request("POST", path_of(function), body)
        answer = connection.getresponse()
        return answer.status, answer.headers, json.loads(answer.read())

    return once


@pytest.fixture
def benchmarks(monkeypatch):
    """The package's modules, wherever pytest was started."""
    monkeypatch.syspath_prepend(str(PROJECT))
    import benchmarks.__main__
    import benchmarks.environments
    import benchmarks.parts
    import benchmarks.processes
    import benchmarks.report

    return benchmarks


def path_of(function):
    return f"/2015-03-31/functions/{function}/invocations"


def head(function, length):
    return f"POST {path_of(function)} HTTP/1.1\r\nHost: endpoint\r\ncontent-length: {length}\r\n\r\n".encode()


def stats(connection):
    connection.request("GET", "/stats")
    return json.loads(connection.getresponse().read())


def test_an_answer_comes_after_the_delay_in_the_functions_name(invoke):
    started = time.monotonic()
    status, _headers, body = invoke("delay-50")
    assert time.monotonic() - started >= 0.05
    assert (status, body["success"]) == (200, True)


def test_throttle_answers_as_lambda_does(invoke):
    status, headers, body = invoke("throttle")
    assert (status, headers["x-amzn-ErrorType"]) == (429, "TooManyRequestsException")
    assert body["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"


@pytest.mark.parametrize("function", ["unknown", "delay", "delay-x", "records-", "throttle-1"])
def test_an_unknown_function_is_not_found(invoke, function):
    status, headers, _body = invoke(function)
    assert (status, headers["x-amzn-ErrorType"]) == (404, "ResourceNotFoundException")


def test_records_have_about_the_size_in_the_functions_name(invoke):
    records = invoke("records-100000")[2]["records"]
    assert len(records) == 1_000
    assert 0.9 < len(json.dumps(records)) / 100_000 < 1.2


def stream_path(function):
    return f"/2021-11-15/functions/{function}/response-streaming-invocations"


@pytest.mark.parametrize(("function", "texts"), [("stream-2-0", 2), ("stream-70-0", 70), ("stream-3-20", 3)])
def test_a_stream_is_what_botocore_reads(connect, function, texts):
    connection = connect()
    connection.request("POST", stream_path(function), b"{}")
    answer = connection.getresponse()
    frames = EventStreamBuffer()
    frames.add_data(answer.read())
    events = list(frames)
    assert [event.headers[":event-type"] for event in events] == ["PayloadChunk"] * texts + ["InvokeComplete"]
    assert {event.payload.decode() for event in events[:-1]} == {"Light rain until five, 18 °C. "}
    assert events[-1].payload == b"{}"


def test_the_texts_of_a_stream_are_as_far_apart_as_its_name_says(connect):
    connection = connect()
    started = time.monotonic()
    connection.request("POST", stream_path("stream-4-30"), b"{}")
    answer = connection.getresponse()
    assert answer.read1()
    assert time.monotonic() - started < 0.09
    answer.read()
    assert time.monotonic() - started >= 0.09
    connection.request("POST", path_of("delay-0"), b"{}")
    assert connection.getresponse().status == 200


@pytest.mark.parametrize("function", ["stream-2", "stream-x-0", "delay-0"])
def test_what_cannot_be_streamed_is_not_found(connect, function):
    connection = connect()
    connection.request("POST", stream_path(function), b"{}")
    assert connection.getresponse().status == 404


def test_a_large_body_in_pieces_is_one_request(connect, invoke):
    connection = connect()
    before = stats(connection)["requests"]
    # A body that looks like the ends of heads.
    assert invoke("delay-0", connection, b"\r\n" * 2_500_000)[0] == 200
    assert stats(connection)["requests"] == before + 1


def test_a_head_may_arrive_byte_by_byte(endpoint):
    with socket.create_connection(("127.0.0.1", endpoint), timeout=TIMEOUT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in head("delay-0", 2) + b"{}":
            connection.send(bytes([byte]))
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_no_answer_comes_before_the_whole_body(endpoint):
    with socket.create_connection(("127.0.0.1", endpoint), timeout=TIMEOUT_S) as connection:
        connection.sendall(head("delay-0", 3) + b"{}")
        connection.settimeout(0.05)
        with pytest.raises(socket.timeout):
            connection.recv(1)
        connection.settimeout(TIMEOUT_S)
        connection.sendall(b" ")
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_requests_that_arrive_together_are_answered_in_their_order(endpoint):
    together = head("delay-20", 2) + b"{}" + head("throttle", 2) + b"{}" + head("unknown", 0)
    with socket.create_connection(("127.0.0.1", endpoint), timeout=TIMEOUT_S) as connection:
        connection.sendall(together)
        answers = b""
        while b"not found: unknown" not in answers:
            arrived = connection.recv(65_536)
            assert arrived, answers
            answers += arrived
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"429", b"404"]


def test_stats_count_invocations_and_the_connections_they_came_over(connect, invoke):
    observer, first, second = connect(), connect(), connect()
    before = stats(observer)
    for connection in (first, first, first, second):
        invoke("delay-0", connection)
    after = stats(observer)
    assert after["requests"] - before["requests"] == 4
    assert after["connections"] - before["connections"] == 2


def test_the_endpoint_ends_with_the_process_that_started_it():
    with running_endpoint() as (_ports, process):
        process.stdin.close()
        assert process.wait(TIMEOUT_S) == 0


def test_with_a_certificate_the_same_functions_answer_over_https(tmp_path):
    authority, pem = trustme.CA(), tmp_path / "certificate.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(pem))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with running_endpoint(str(pem)) as (ports, _process):
        connection = http.client.HTTPSConnection("127.0.0.1", ports["https"], timeout=TIMEOUT_S, context=context)
        with contextlib.closing(connection):
            connection.request("POST", path_of("throttle"), b"{}")
            assert connection.getresponse().status == 429


def samples_of(peer, *values, **also):
    return [
        {"round": number, "peer": peer, "about": "", "figure": value, **also} for number, value in enumerate(values)
    ]


@pytest.fixture
def compare(benchmarks):
    """A row about "figure" of ours over boto3's."""
    parts = benchmarks.parts

    def make(**settings):
        ours, peer = (parts.Figure(name, "figure", "ms") for name in ("lambda_adapter", "boto3"))
        return parts.Comparison("what", ours, peer, **settings)

    return make


def test_a_ratio_is_taken_within_each_round(benchmarks, compare):
    samples = samples_of("lambda_adapter", 1, 20, 300) + samples_of("boto3", 2, 10, 100)
    assert benchmarks.report.ratios(compare(), samples) == [0.5, 2, 3]


def test_a_row_holds_medians_their_spread_and_the_verdict(benchmarks, compare):
    samples = samples_of("lambda_adapter", 1, 20, 300) + samples_of("boto3", 2, 10, 100)
    assert benchmarks.report.table_row(compare(at_most=1.5, beside="plain"), samples, smoke=False) == [
        "what",
        "20 (1 to 300) ms",
        "10 (2 to 100) ms (plain)",
        "2.000 (0.500 to 3.000)",
        "≤ 1.5",
        "**no**",
    ]


@pytest.mark.parametrize(
    ("target", "ratio", "met"),
    [
        ({"at_most": 1.0}, 1.0, True),
        ({"at_most": 1.0}, 1.001, False),
        ({"at_least": 15}, 15.0, True),
        ({"at_least": 15}, 14.999, False),
        ({}, 1.0, None),
    ],
    ids=["at its upper limit", "over it", "at its lower limit", "under it", "no target"],
)
def test_a_target_is_met_up_to_its_limit(benchmarks, compare, target, ratio, met):
    assert benchmarks.report.is_met(compare(**target), ratio) is met


def test_a_smoke_run_meets_and_misses_nothing(benchmarks, compare):
    samples = samples_of("lambda_adapter", 1) + samples_of("boto3", 2)
    assert benchmarks.report.table_row(compare(at_most=1), samples, smoke=True)[-1] == "-"


def test_a_peer_that_was_left_out_is_said_to_be_not_measured(benchmarks, compare):
    row = benchmarks.report.table_row(compare(at_most=1), samples_of("lambda_adapter", 1, 2), smoke=False)
    assert row[2:] == ["not measured (boto3)", "-", "≤ 1", "-"]


def test_a_figure_is_of_the_samples_with_its_peer_and_name_only(benchmarks):
    samples = samples_of("boto3", 1, about="per call") + samples_of("boto3", 2) + samples_of("other", 3)
    assert benchmarks.parts.Figure("boto3", "figure", "ms").of(samples) == [2]


@pytest.mark.parametrize("smoke", [False, True], ids=["for figures", "smoke"])
def test_each_row_reads_what_one_of_its_parts_measurements_is_called(benchmarks, smoke):
    for part in benchmarks.parts.make_parts(smoke):
        called = [(each.peer, each.about) for each in part.measurements]
        assert len(set(called)) == len(called), part.name
        for comparison in part.comparisons:
            for figure in filter(None, (comparison.ours, comparison.peer)):
                assert (figure.peer, figure.about) in called, (part.name, comparison.what)


def test_the_chart_tells_each_peer_by_colour_marker_line_and_label(benchmarks, tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks import chart

    styles = [chart._STYLES[peer] for peer in benchmarks.peers.ASYNC_PEERS]
    for field in ("color", "marker", "line"):
        assert len({getattr(style, field) for style in styles}) == len(styles), field
    samples = [
        {
            "round": 0,
            "peer": peer,
            "about": benchmarks.parts.about(scheme, level),
            "in_flight": level,
            "calls_per_s": 9.0,
        }
        for scheme in benchmarks.parts.SCHEMES
        for peer in benchmarks.peers.ASYNC_PEERS
        for level in (1, 8, 32)
    ]
    path = tmp_path / "chart.svg"
    chart.draw(samples, path)
    drawn = path.read_text(encoding="utf-8")
    assert [drawn.count(f">{peer} 9<") for peer in benchmarks.peers.ASYNC_PEERS] == [2] * len(styles)
    chart.draw(samples, path)
    assert path.read_text(encoding="utf-8") == drawn, "equal results should give equal files"


def test_a_peer_that_needs_a_newer_python_is_left_out_with_a_word(benchmarks, tmp_path):
    said = []
    assert benchmarks.environments.Environment("package", (), python=(4, 0)).make(said.append, tmp_path) is None
    assert said == ["package is left out: it needs Python 4.0, and there is none here"]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind counts the instructions")
def test_callgrind_counts_what_a_process_does(benchmarks):
    count = benchmarks.processes.instructions
    idle, busy = count(["-S", "-c", "pass"]), count(["-S", "-c", "for _ in range(100_000): pass"])
    assert busy - idle > 100_000


@pytest.mark.slow
def test_a_smoke_run_measures_every_row_and_a_partial_one_leaves_the_others(benchmarks, tmp_path):
    def smoke(*names):
        command = [sys.executable, "-m", "benchmarks", "--smoke", "--output", str(tmp_path), *names]
        process = subprocess.run(command, cwd=PROJECT, capture_output=True, encoding="utf-8", timeout=300)
        assert process.returncode == 0, process.stderr
        results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
        return results, (tmp_path / "RESULTS.md").read_text(encoding="utf-8"), process

    results, table, process = smoke()
    assert process.stdout == table + "\n"
    assert "aioboto3, aiobotocore, aws-sdk-lambda are left out" in process.stderr
    for part in benchmarks.parts.make_parts(smoke=True):
        if part.name == benchmarks.parts.UNDER_CALLGRIND:
            assert part.name not in results["samples"], "callgrind takes a minute"
            continue
        samples = results["samples"][part.name]
        assert f"{part.name}, round 1 of {part.rounds}" in process.stderr
        for comparison in part.comparisons:
            assert comparison.ours.of(samples), comparison.what
            if comparison.peer and comparison.peer.peer not in benchmarks.environments.ENVIRONMENTS:
                assert comparison.peer.of(samples), comparison.what
            assert f"| {comparison.what} " in table
        assert part.how in table
    machine = json.dumps(results["machine"])
    assert socket.gethostname() not in machine
    assert str(PROJECT) not in json.dumps(results)

    again, table, _process = smoke("big")
    assert again["samples"].pop("big") != results["samples"].pop("big")
    assert again["samples"] == results["samples"]
    assert "| CPU time of `execute` " in table
