"""USAGE's table of what differs between LocalLambda and AWS: each row is true of LocalLambda."""

import asyncio
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from lambda_adapter.local import LocalLambda
from support.local_lambda import WAIT_S, HeldHandler, address, log_of, post

USAGE = Path(__file__).parents[2] / "LAMBDA_ADAPTER_USAGE.md"


def ask(handler: Callable[[Any, Any], Any], **settings: Any) -> Any:
    """What a handler returns."""
    with LocalLambda({"f": handler}, **{"timeout": WAIT_S, **settings}) as local:
        reply = post(local, "f")
    assert "x-amz-function-error" not in reply[1], reply
    return json.loads(reply[2])


def tail(handler: Callable[[Any, Any], Any], **settings: Any) -> str:
    with LocalLambda({"f": handler}, **{"timeout": WAIT_S, **settings}) as local:
        return log_of(post(local, "f", X_Amz_Log_Type="Tail"))


def in_thread(call: Callable[[], Any]) -> Any:
    came: List[Any] = []
    thread = threading.Thread(target=lambda: came.append(call()))
    thread.start()
    thread.join(WAIT_S)
    return came[0]


def processes() -> None:
    meeting = threading.Barrier(2, timeout=WAIT_S)
    assert ask(lambda event, context: [os.getpid(), threading.current_thread() is not threading.main_thread()]) == [
        os.getpid(),
        True,
    ]
    with LocalLambda({"f": lambda event, context: meeting.wait() >= 0}, timeout=WAIT_S) as local:
        calls = [threading.Thread(target=post, args=(local, "f")) for _ in range(2)]
        for call in calls:
            call.start()
        for call in calls:
            call.join(WAIT_S)
    assert not meeting.broken


def main_thread() -> None:
    def handler(event: Any, context: Any) -> Any:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        except ValueError:
            return asyncio.get_event_loop().is_running()

    assert ask(handler) is False


def variables() -> None:
    code = "import os; print(os.environ.get('AWS_LAMBDA_FUNCTION_NAME'))"

    async def look() -> Any:
        return os.environ.get("AWS_LAMBDA_FUNCTION_NAME")

    def handler(event: Any, context: Any) -> Any:
        child = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
        return [
            asyncio.run(look()),
            in_thread(lambda: os.environ.get("AWS_LAMBDA_FUNCTION_NAME")),
            child.stdout.decode().strip(),
            os.environ.get("AWS_ACCESS_KEY_ID"),
            os.supports_bytes_environ and b"AWS_LAMBDA_FUNCTION_NAME" in os.environb,
        ]

    assert ask(handler) == ["f", None, "None", os.environ.get("AWS_ACCESS_KEY_ID"), False]
    if sys.version_info >= (3, 9):
        assert ask(lambda event, context: asyncio.run(asyncio.to_thread(os.getenv, "AWS_REGION"))) == "us-east-1"


def folder() -> None:
    def handler(event: Any, context: Any) -> Any:
        return [os.environ["LAMBDA_TASK_ROOT"], os.getcwd()]

    assert ask(handler) == [str(Path(__file__).parent), os.getcwd()]


def time_zone() -> None:
    def handler(event: Any, context: Any) -> Any:
        return [os.environ["TZ"], time.localtime(0).tm_hour]

    assert ask(handler) == [":UTC", time.localtime(0).tm_hour]


def log() -> None:
    def handler(event: Any, context: Any) -> None:
        os.environ.update({"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "DEBUG"})
        print("by the handler")
        in_thread(lambda: print("by its thread"))
        subprocess.run([sys.executable, "-c", "print('by its child')"], check=True)

    try:
        assert re.fullmatch(r"START .*\nby the handler\nEND .*\nREPORT .*\n", tail(handler))
    finally:
        for name in ("AWS_LAMBDA_LOG_FORMAT", "AWS_LAMBDA_LOG_LEVEL"):
            os.environ.pop(name, None)


def report() -> None:
    log = tail(lambda event, context: len(bytearray(200 * 2**20)), memory_mb=128)
    assert "\tMax Memory Used: 40 MB\tInit Duration: 0.50 ms\t" in log


def time_outs() -> None:
    held = HeldHandler()
    with LocalLambda(
        {"f": held, "g": lambda event, context: "in its place"}, timeout=0.05, concurrency_limit=1
    ) as local:
        assert b"Sandbox.Timedout" in post(local, "f")[2]
        assert post(local, "g")[0] == 200
        assert not held.left.is_set()
        held.open.set()
        assert held.left.wait(WAIT_S)


def exits() -> None:
    kept: List[int] = []

    def handler(event: Any, context: Any) -> Any:
        kept.append(1)
        if len(kept) == 1:
            sys.exit(1)
        return len(kept)

    with LocalLambda({"f": handler}) as local:
        assert b"Runtime.ExitError" in post(local, "f")[2]
        assert post(local, "f")[2] == b"2"


def characters() -> None:
    with LocalLambda({"f": lambda event, context: "é"}) as local:
        assert post(local, "f")[2] == '"é"'.encode()


def versions() -> None:
    with LocalLambda({"f": lambda event, context: context.function_version}) as local:
        for name, version in [("f:7", "7"), ("f:prod", "$LATEST"), ("999999999999:function:f", "$LATEST")]:
            assert json.loads(post(local, name)[2]) == version


def events() -> None:
    ran = threading.Semaphore(0)

    def fail(event: Any, context: Any) -> None:
        ran.release()
        raise ValueError

    with LocalLambda({"f": fail}, concurrency_limit=0) as local:
        assert post(local, "f", X_Amz_Invocation_Type="Event")[0] == 429
    with LocalLambda({"f": fail}) as local:
        assert post(local, "f", X_Amz_Invocation_Type="Event")[0] == 202
        assert ran.acquire(timeout=WAIT_S)
    assert not ran.acquire(blocking=False)


def streams() -> None:
    def handler(event: Any, context: Any) -> Any:
        yield "Hel"
        yield "lo"

    with LocalLambda({"f": handler}) as local:
        assert post(local, "f")[2] == b"Hello"


def durable_functions() -> None:
    """``test_local_durable`` has the rest."""
    seen: List[Any] = []

    def handler(event: Any, context: Any) -> Any:
        seen.append(event)
        return len(seen)

    with LocalLambda({"f": handler}, durable={"f"}) as local:
        for _ in range(2):
            assert post(local, "f:1", b'{"a": 1}', X_Amz_Durable_Execution_Name="once")[2] == b"1"
    assert seen == [{"a": 1}]


def api() -> None:
    """``test_any_other_api_call_is_told_what_is_served`` has the rest, and ``test_local`` the API itself."""
    with LocalLambda({"f": lambda event, context: 1}) as local:
        assert post(local, "f", Authorization="AWS4-HMAC-SHA256 of somebody")[0] == 200
        host, port = address(local)
        with closing(http.client.HTTPConnection(host, port, timeout=WAIT_S)) as connection:
            connection.request("POST", "/2014-11-13/functions/f/invoke-async/", b"{}")
            answer = connection.getresponse()
            assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (404, "UnknownOperationException")
        with pytest.raises(OSError):  # noqa: PT011 - refused, or a machine without IPv6
            socket.create_connection(("::1", port), timeout=WAIT_S).close()


CHECKS: Dict[str, Callable[[], None]] = {
    "Processes": processes,
    "Main thread": main_thread,
    "Variables": variables,
    "Folder": folder,
    "Time zone": time_zone,
    "Log": log,
    "REPORT": report,
    "Time-outs": time_outs,
    "Exits": exits,
    "Characters": characters,
    "Versions": versions,
    "Events": events,
    "Streams": streams,
    "Durable functions": durable_functions,
    "API": api,
}


@pytest.mark.parametrize("row", CHECKS)
def test_the_row_is_true(row: str) -> None:
    CHECKS[row]()


def test_every_row_is_checked() -> None:
    _, _, after = USAGE.read_text(encoding="utf-8").partition(
        "| difference | on AWS | in LocalLambda |\n|---|---|---|\n"
    )
    rows = [line.split("|")[1].strip() for line in after.partition("\n\n")[0].splitlines()]
    assert rows == list(CHECKS)
