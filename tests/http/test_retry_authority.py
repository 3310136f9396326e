"""Our loop alone decides how many requests go out, and the cap alone how long it waits between two of them."""

import itertools
import pathlib
import threading
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from lambda_adapter._aws.clients import ClientLease, ClientSettings
from lambda_adapter._call.attempts import Invoker
from lambda_adapter._call.backoff import Backoff
from lambda_adapter._call.reporter import AttemptReporter
from lambda_adapter._call.steps import drive
from lambda_adapter._wire.arguments import CHECK, InvokeArguments
from support.calls import Call, adapter_for, call_async, call_sync
from support.fault_server import FaultServer, Reaction, answer, aws_error, close_before, respond, untyped

MODES = ["legacy", "standard", "adaptive"]

ENVIRONMENTS: List[Tuple[str, Dict[str, str]]] = [
    *((f"AWS_RETRY_MODE {mode}", {"AWS_MAX_ATTEMPTS": "7", "AWS_RETRY_MODE": mode}) for mode in MODES),
    ("AWS_MAX_ATTEMPTS alone", {"AWS_MAX_ATTEMPTS": "7"}),
    *((f"AWS_MAX_ATTEMPTS {n}", {"AWS_MAX_ATTEMPTS": n}) for n in ("0", "-1", "1", "banana")),
    ("AWS_RETRY_MODE banana", {"AWS_RETRY_MODE": "banana"}),
]

#: What botocore would retry on its own in every mode, and fast where it did.
RETRIED = [
    pytest.param(untyped(503), id="503"),
    pytest.param(aws_error("ThrottlingException", 400), id="throttled"),
    pytest.param(close_before(), id="closed"),
]


READ_TIMEOUT_S = 30.0


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    """Restarted by each row, so that rows of one environment share a client."""
    with FaultServer(untyped(503)) as server, adapter_for(server.endpoint_url, read_timeout=READ_TIMEOUT_S):
        yield server


def requests_of_a_call(server: FaultServer, reaction: Reaction, max_retries: int) -> int:
    """Requests that reached the server; the response counts as many."""
    server.restart(reaction)
    settings: Dict[str, Any] = {"initial_retry_delay": 1e-6, "max_retry_delay": 1e-6, "read_timeout": READ_TIMEOUT_S}
    with adapter_for(server.endpoint_url, max_retries=max_retries, **settings) as adapter:
        response = call_sync(adapter)
    assert response.invocation is not None
    assert response.invocation.attempts == len(server.requests)
    return len(server.requests)


@pytest.fixture
def config_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    path = tmp_path / "config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    return path


@pytest.mark.parametrize("reaction", RETRIED)
@pytest.mark.parametrize("environment", [pytest.param(given, id=name) for name, given in ENVIRONMENTS])
def test_the_environment_adds_no_request(
    environment: Dict[str, str],
    reaction: Reaction,
    server: FaultServer,
    config_file: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config_file.write_text("")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert requests_of_a_call(server, reaction, max_retries=1) == 2


@pytest.mark.parametrize("reaction", RETRIED)
@pytest.mark.parametrize("mode", MODES)
def test_the_config_file_adds_no_request(
    mode: str, reaction: Reaction, server: FaultServer, config_file: pathlib.Path
) -> None:
    config_file.write_text(f"[default]\nmax_attempts = 7\nretry_mode = {mode}\n")
    assert requests_of_a_call(server, reaction, max_retries=1) == 2


@pytest.mark.parametrize("max_retries", range(6))
@pytest.mark.parametrize("mode", MODES)
def test_a_call_makes_one_request_more_than_max_retries(
    max_retries: int, mode: str, server: FaultServer, config_file: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the config file, the environment and a profile of another mode all against it."""
    other = MODES[(MODES.index(mode) + 1) % len(MODES)]
    config_file.write_text(f"[profile bot]\nmax_attempts = 9\nretry_mode = {other}\n")
    monkeypatch.setenv("AWS_PROFILE", "bot")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "7")
    monkeypatch.setenv("AWS_RETRY_MODE", mode)
    assert requests_of_a_call(server, untyped(503), max_retries) == 1 + max_retries


HOSTILE = {
    "negative": "-1",
    "overflowing": "1e999",
    "banana": "banana",
    "HTTP date": "Fri, 31 Dec 2999 23:59:59 GMT",
    "400 digits": "9" * 400,
    "4,400 digits": "9" * 4400,
    "nan": "nan",
    "infinity": "inf",
    "hexadecimal": "0x10",
    "underscores": "1_000",
    "superscript": "\xb2",
    "fraction": "3600.5",
    "half a fraction": "1.",
    "two values": "1, 5",
    "zero": "0",
    "spaces": " 1 ",
    "empty": "",
    "an hour": "3600",
    "control character": "1\x0b",
    "separator": "1\x1f",
}


def failing_with(retry_after: str) -> List[Tuple[str, Reaction]]:
    """The same header on each kind of answer that a retry can follow."""
    headers = {"Retry-After": retry_after}
    return [
        ("typed 429", aws_error("TooManyRequestsException", 429, headers=headers)),
        ("untyped 429", untyped(429, headers=headers)),
        ("503", respond(503, b"", headers)),
    ]


def recorded_waits(server: FaultServer, reaction: Reaction, max_delay_s: float) -> List[float]:
    """The waits that the attempt loop asks for; none is slept."""
    waits: List[float] = []
    settings = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret"}
    server.restart(reaction)
    lease = ClientLease(ClientSettings("us-east-1", 10.0, READ_TIMEOUT_S, server.endpoint_url, **settings))
    reporter = AttemptReporter(None, "m", "f")
    invoker = Invoker(
        InvokeArguments("f"), lease.get, Backoff(1e-6, max_delay_s), 2, idempotent=True, reporter=reporter
    )
    result = drive(invoker.attempts(CHECK), lambda delay_s: waits.append(delay_s) is None)
    assert result.attempts == 3
    return waits


@pytest.mark.parametrize(
    "reaction",
    [
        pytest.param(reaction, id=f"{name}, {kind}")
        for name, value in HOSTILE.items()
        for kind, reaction in failing_with(value)
    ],
)
def test_a_hostile_retry_after_waits_no_longer_than_the_cap(reaction: Reaction, server: FaultServer) -> None:
    cap = 0.004
    waits = recorded_waits(server, reaction, cap)
    assert len(waits) == 2
    assert all(0 <= wait <= cap for wait in waits)


@pytest.mark.parametrize("call", [call_sync, call_async])
@pytest.mark.parametrize("retry_after", [pytest.param(value, id=name) for name, value in HOSTILE.items()])
def test_a_call_with_a_hostile_retry_after_goes_on_at_once(retry_after: str, call: Call, server: FaultServer) -> None:
    """Through the whole adapter, whose cap is 2 ms: what waits for seconds is closed, and ends as a failure."""
    refused = aws_error("TooManyRequestsException", 429, headers={"Retry-After": retry_after})
    settings: Dict[str, Any] = {"initial_retry_delay": 1e-6, "max_retry_delay": 0.002, "read_timeout": READ_TIMEOUT_S}
    server.restart([refused, refused, answer({"success": True})])
    with adapter_for(server.endpoint_url, **settings) as adapter:
        impatience = threading.Timer(5, adapter.close)
        impatience.start()
        response = call(adapter)
        impatience.cancel()
    assert (response.error, response.success, len(server.requests)) == (None, True, 3)


@pytest.mark.parametrize(("retry_after", "least"), [("7", 7.0), (" 7 ", 7.0), ("2.5", 2.5), ("3600", 60.0)])
def test_a_sane_retry_after_is_the_least_wait(retry_after: str, least: float, server: FaultServer) -> None:
    """The negative rows above would pass if nobody read the header."""
    reactions = [reaction for _, reaction in failing_with(retry_after)]
    waits = itertools.chain.from_iterable(recorded_waits(server, reaction, 60.0) for reaction in reactions)
    assert all(least <= wait <= 60.0 for wait in waits)
