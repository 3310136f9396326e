"""What a handler under LocalLambda has of the process: its variables, its streams, its loggers, its event loop."""

import asyncio
import concurrent.futures
import contextlib
import functools
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest

from lambda_adapter.local import LocalLambda
from lambda_adapter.local.environment import _EnvironOfCalls
from support.forks import in_child
from support.local_lambda import WAIT_S, HeldHandler, log_of, post
from support.paths import PACKAGES
from support.runtime_cases import handler as case_handler

ENVIRON_CLASS = type(os.environ)


def read(name: str) -> Callable[[Any, Any], Any]:
    return lambda event, context: os.environ.get(name)


@pytest.fixture
def held() -> Iterator[HeldHandler]:
    held = HeldHandler()
    yield held
    held.open.set()


class Methods:
    """A handler with a class of its own."""

    def __call__(self, event: Any, context: Any) -> Any:
        return os.environ["_HANDLER"]


def answer(local: LocalLambda, function: str, event: object = None, **headers: str) -> Any:
    reply = post(local, function, json.dumps(event).encode(), **headers)
    assert "x-amz-function-error" not in reply[1], reply
    return json.loads(reply[2])


class TestVariables:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("AWS_REGION", "eu-west-1"),
            ("AWS_DEFAULT_REGION", "eu-west-1"),
            ("AWS_LAMBDA_FUNCTION_NAME", "f"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "7"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/f"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", r"\d{4}/\d\d/\d\d/\[7\][0-9a-f]{32}"),
            ("AWS_EXECUTION_ENV", rf"AWS_Lambda_python3\.{sys.version_info[1]}"),
            ("_HANDLER", r"test_local_process\.read\.<locals>\.<lambda>"),
            ("_X_AMZN_TRACE_ID", "Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0"),
            ("LAMBDA_TASK_ROOT", re.escape(str(Path(__file__).parent))),
            ("TZ", ":UTC"),
        ],
    )
    def test_a_handler_reads_awss(self, name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever the process has there, which stays as it is."""
        monkeypatch.setenv(name, "the process's")
        with LocalLambda({"f": read(name)}, region="eu-west-1", memory_mb=256) as local:
            assert re.fullmatch(value, answer(local, "f:7"))
        assert os.environ[name] == "the process's"

    def test_functions_at_once_read_each_their_own(self) -> None:
        meeting = threading.Barrier(2, timeout=WAIT_S)

        def handler(event: Any, context: Any) -> Any:
            meeting.wait()
            seen = os.getenv("AWS_LAMBDA_FUNCTION_NAME")
            meeting.wait()
            return [seen, os.environ["AWS_LAMBDA_FUNCTION_NAME"]]

        with LocalLambda({"dice": handler, "shop": handler}, timeout=WAIT_S) as local:
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                answers = pool.map(functools.partial(answer, local), ["dice", "shop"])
            assert list(answers) == [["dice", "dice"], ["shop", "shop"]]

    def test_everybody_else_reads_the_process_s(self, held: HeldHandler, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_REGION", raising=False)
        monkeypatch.setenv("AWS_DEFAULT_REGION", "sa-east-1")
        with LocalLambda({"f": held}, timeout=WAIT_S) as local:
            before = dict(os.environ)
            post(local, "f", X_Amz_Invocation_Type="Event")
            assert held.entered.acquire(timeout=WAIT_S)
            assert type(os.environ) is not ENVIRON_CLASS
            assert dict(os.environ) == before
            assert (len(os.environ), "AWS_REGION" in os.environ) == (len(before), False)
            os.environ["AWS_REGION"] = "mine"
            del os.environ["AWS_REGION"]
        assert type(os.environ) is ENVIRON_CLASS
        assert dict(os.environ) == before

    def test_they_are_in_every_view_of_the_environment(self) -> None:
        def handler(event: Any, context: Any) -> Any:
            views = [dict(os.environ), os.environ.copy(), dict(os.environ.items())]
            counts = [len(os.environ), len(list(os.environ)), len(set(os.environ))]
            return [len(set(counts)), [view.get("AWS_REGION") for view in views], "_HANDLER" in os.environ]

        with LocalLambda({"f": handler}) as local:
            assert answer(local, "f") == [1, ["us-east-1"] * 3, True]

    def test_what_a_handler_sets_of_them_is_its_call_s(self) -> None:
        def handler(event: Any, context: Any) -> Any:
            before = os.environ["AWS_REGION"]
            os.environ["AWS_REGION"] = "other"
            changed = os.environ["AWS_REGION"]
            del os.environ["AWS_REGION"]
            return [before, changed, os.environ.get("AWS_REGION", "none")]

        before = dict(os.environ)
        with LocalLambda({"f": handler}) as local:
            assert [answer(local, "f") for _ in range(2)] == [
                ["us-east-1", "other", os.environ.get("AWS_REGION", "none")]
            ] * 2
        assert dict(os.environ) == before

    def test_other_variables_are_the_process_s(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TABLE", "cities")

        def handler(event: Any, context: Any) -> Any:
            seen = os.environ["TABLE"]
            os.environ["TABLE"] = "towns"
            return seen

        with LocalLambda({"f": handler}) as local:
            assert answer(local, "f") == "cities"
        assert os.environ["TABLE"] == "towns"

    def test_a_coroutine_of_the_handler_reads_them(self) -> None:
        async def look() -> Any:
            return os.environ["AWS_LAMBDA_FUNCTION_NAME"]

        with LocalLambda({"f": lambda event, context: asyncio.run(look())}) as local:
            assert answer(local, "f") == "f"

    def test_the_trace_is_the_caller_s(self) -> None:
        with LocalLambda({"f": read("_X_AMZN_TRACE_ID")}) as local:
            assert answer(local, "f", X_Amzn_Trace_Id="Root=1-2-3;Sampled=1") == "Root=1-2-3;Sampled=1"
            assert answer(local, "f") != answer(local, "f")

    @pytest.mark.parametrize(
        ("handler", "name"),
        [
            pytest.param(Methods(), "test_local_process.Methods", id="object"),
            pytest.param(Methods().__call__, "test_local_process.Methods.__call__", id="method"),
            pytest.param(functools.partial(read("_HANDLER")), "functools.partial", id="partial"),
        ],
    )
    def test_every_handler_has_a_name(self, handler: Any, name: str) -> None:
        with LocalLambda({"f": handler}) as local:
            assert answer(local, "f") == name

    def test_a_module_s_root_is_above_its_packages(self) -> None:
        with LocalLambda({"f": case_handler}) as local:
            assert answer(local, "f", {"do": "root"}) == str(Path(__file__).parents[1])

    def test_where_a_test_has_put_a_dict_handlers_see_that(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with LocalLambda({"f": read("AWS_REGION")}) as local:
            monkeypatch.setattr(os, "environ", {"AWS_REGION": "the dict's"})
            assert answer(local, "f") == "the dict's"


class TestOutput:
    def test_it_is_printed_too(self, capsys: pytest.CaptureFixture[str]) -> None:
        def handler(event: Any, context: Any) -> None:
            print("to stdout")
            print("to stderr", file=sys.stderr)

        with LocalLambda({"f": handler}) as local:
            log = log_of(post(local, "f", X_Amz_Log_Type="Tail"))
        assert "\nto stdout\nto stderr\nEND " in log
        assert capsys.readouterr() == ("to stdout\n", "to stderr\n")

    def test_calls_at_once_have_logs_of_their_own(self) -> None:
        meeting = threading.Barrier(2, timeout=WAIT_S)

        def handler(event: Any, context: Any) -> None:
            meeting.wait()
            print(f"printed by {context.function_name}")
            logging.getLogger("x").warning("logged by %s", context.function_name)
            meeting.wait()

        functions = {"dice": handler, "shop": handler}
        with LocalLambda(functions, timeout=WAIT_S) as local, concurrent.futures.ThreadPoolExecutor(2) as pool:
            logs = list(pool.map(lambda name: log_of(post(local, name, X_Amz_Log_Type="Tail")), functions))
        for name, other, log in [("dice", "shop", logs[0]), ("shop", "dice", logs[1])]:
            assert f"\nprinted by {name}\n[WARNING]\t" in log
            assert f"\tlogged by {name}\n" in log
            assert other not in log

    @pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system has no time.tzset")
    def test_its_times_are_utc(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TZ", "XYZ-9")
        time.tzset()
        try:
            with LocalLambda({"f": lambda event, context: logging.getLogger("x").warning("now")}) as local:
                log = log_of(post(local, "f", X_Amz_Log_Type="Tail"))
        finally:
            monkeypatch.undo()
            time.tzset()
        told = re.search(r"\[WARNING\]\t(.{19})\.\d{3}Z\t", log)
        assert told is not None
        moment = datetime.strptime(told[1], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
        assert abs((datetime.now(timezone.utc) - moment).total_seconds()) < 3_600

    def test_nobody_else_is_heard(self, held: HeldHandler) -> None:
        logs: List[str] = []
        with LocalLambda({"f": held}, timeout=WAIT_S) as local:
            caller = threading.Thread(target=lambda: logs.append(log_of(post(local, "f", X_Amz_Log_Type="Tail"))))
            caller.start()
            assert held.entered.acquire(timeout=WAIT_S)
            print("the test's own")
            logging.getLogger("x").warning("the test's own")
            held.open.set()
            caller.join(WAIT_S)
        assert re.fullmatch(r"START .*\nEND .*\nREPORT .*\n", logs[0])

    def test_all_is_as_it_was_when_the_answer_is_there(self) -> None:
        before = [sys.stdout, sys.stderr, list(logging.root.handlers), logging.root.level]
        with LocalLambda({"f": lambda event, context: print("x")}) as local:
            for _ in range(3):
                post(local, "f")
                assert [sys.stdout, sys.stderr, list(logging.root.handlers), logging.root.level] == before
        assert not [
            handler for handler in logging.root.handlers if type(handler).__module__.startswith("lambda_adapter")
        ]

    def test_a_handler_that_never_ends_holds_nothing_after_close(self, held: HeldHandler) -> None:
        before = [sys.stdout, sys.stderr, list(logging.root.handlers), type(os.environ)]
        with LocalLambda({"f": held}, timeout=0.05) as local:
            post(local, "f")
            assert sys.stdout is not before[0]
        assert [sys.stdout, sys.stderr, list(logging.root.handlers), type(os.environ)] == before

    def test_a_stream_that_another_has_put_there_stays(self, held: HeldHandler) -> None:
        with LocalLambda({"f": held}, timeout=WAIT_S) as local:
            post(local, "f", X_Amz_Invocation_Type="Event")
            assert held.entered.acquire(timeout=WAIT_S)
            with contextlib.redirect_stdout(io.StringIO()) as stream:
                held.open.set()
                assert held.left.wait(WAIT_S)
                local.close()
                assert sys.stdout is stream

    def test_a_root_logger_without_handlers_warns_on_stderr_as_ever(
        self, held: HeldHandler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And no more than it would."""
        monkeypatch.setattr(logging.root, "handlers", [])
        monkeypatch.setattr(logging.getLogger("bot"), "level", logging.DEBUG)
        with contextlib.redirect_stderr(io.StringIO()) as stderr, LocalLambda({"f": held}, timeout=WAIT_S) as local:
            post(local, "f", X_Amz_Invocation_Type="Event")
            assert held.entered.acquire(timeout=WAIT_S)
            assert len(logging.root.handlers) == 1
            logging.getLogger("bot").warning("a warning")
            logging.getLogger("bot").info("no warning")
            assert stderr.getvalue() == "a warning\n"

    def test_a_handler_s_warning_is_in_its_log_once_though_it_is_on_stderr(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(logging.root, "handlers", [])
        warn = LocalLambda({"f": lambda event, context: logging.getLogger("x").warning("once")})
        with contextlib.redirect_stderr(io.StringIO()) as stderr, warn as local:
            log = log_of(post(local, "f", X_Amz_Log_Type="Tail"))
        assert (log.count("once"), stderr.getvalue()) == (1, "once\n")


class TestEventLoops:
    def test_none_is_made_for_a_handler_that_uses_none(self) -> None:
        with LocalLambda({"f": lambda event, context: asyncio.get_event_loop().is_made}) as local:  # type: ignore[attr-defined]
            assert answer(local, "f") is False

    def test_calls_at_once_have_each_their_own(self) -> None:
        meeting = threading.Barrier(2, timeout=WAIT_S)

        async def meet() -> int:
            await asyncio.get_running_loop().run_in_executor(None, meeting.wait)
            return id(asyncio.get_running_loop())

        def handler(event: Any, context: Any) -> Any:
            return asyncio.get_event_loop().run_until_complete(meet())

        with LocalLambda({"f": handler}, timeout=WAIT_S) as local, concurrent.futures.ThreadPoolExecutor(2) as pool:
            assert len(set(pool.map(lambda _: answer(local, "f"), range(2)))) == 2

    def test_all_are_closed_with_it(self) -> None:
        used: List[asyncio.AbstractEventLoop] = []

        def handler(event: Any, context: Any) -> None:
            used.append(asyncio.get_event_loop())
            used[-1].run_until_complete(asyncio.sleep(0))

        with LocalLambda({"f": handler, "g": handler}) as local:
            for name in ("f", "g"):
                answer(local, name)
            assert [loop.is_closed() for loop in used] == [False, False]
        assert [loop.is_closed() for loop in used] == [True, True]

    @pytest.mark.parametrize("is_own", [False, True], ids=["found", "own"])
    def test_one_of_a_handler_that_runs_on_is_closed_when_that_ends(self, held: HeldHandler, is_own: bool) -> None:
        used: List[asyncio.AbstractEventLoop] = []
        threads: List[threading.Thread] = []

        def handler(event: Any, context: Any) -> None:
            threads.append(threading.current_thread())
            if is_own:
                asyncio.set_event_loop(asyncio.new_event_loop())
            used.append(asyncio.get_event_loop())
            used[0].run_until_complete(asyncio.sleep(0))
            held(event, context)

        with LocalLambda({"f": handler}, timeout=0.05) as local:
            post(local, "f")
        assert held.entered.acquire(timeout=WAIT_S)
        assert not used[0].is_closed()
        held.open.set()
        threads[0].join(WAIT_S)
        assert used[0].is_closed()


async def coroutine_function(event: Any, context: Any) -> None:
    pass


async def async_generator(event: Any, context: Any) -> Any:
    yield


class AsyncCall:
    async def __call__(self, event: Any, context: Any) -> None:
        pass


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(coroutine_function, id="function"),
        pytest.param(async_generator, id="generator"),
        pytest.param(functools.partial(coroutine_function), id="partial"),
        pytest.param(AsyncCall(), id="object"),
        pytest.param(functools.partial(AsyncCall()), id="partial-of-an-object"),
        pytest.param(functools.partial(functools.partial(AsyncCall().__call__), event=1), id="partial-of-a-partial"),
        pytest.param(AsyncCall().__call__, id="method"),
    ],
)
def test_an_async_handler_is_refused_when_it_is_given(handler: Any) -> None:
    with pytest.raises(ValueError, match=r"functions: 'f' is an async function, .* asyncio\.run\(handler"):
        LocalLambda({"f": handler})


def test_what_the_refusal_advises_works() -> None:
    async def double(event: Any, context: Any) -> Any:
        await asyncio.sleep(0)
        return event * 2

    with LocalLambda({"f": lambda event, context: asyncio.run(double(event, context))}) as local:
        assert answer(local, "f", 2) == 4


PRINTS_WHILE_CALLS_COME_AND_GO = """
import sys, threading
from lambda_adapter.local.output import output_of

class Call:
    aws_request_id = "1"

def calls():
    while not over:
        with output_of(Call(), []):
            pass

over = False
sys.setswitchinterval(1e-5)
threads = [threading.Thread(target=calls) for _ in range(3)]
for thread in threads:
    thread.start()
for number in range(20_000):
    print("line", number)
over = True
for thread in threads:
    thread.join()
"""


def test_whoever_prints_meanwhile_prints_on():
    """Up to Python 3.13 print() crashes where another thread frees the stream that it is printing to."""
    done = subprocess.run(
        [sys.executable, "-c", PRINTS_WHILE_CALLS_COME_AND_GO],
        env={**os.environ, "PYTHONPATH": str(PACKAGES)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "".join(f"line {number}\n" for number in range(20_000))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_forked_child_closes_its_copies_alone(held: HeldHandler) -> None:
    """At the fork a call is under way, and another thread has the lock; the parent serves on and answers the call."""
    functions = {"held": held, "f": lambda event, context: event}
    with LocalLambda(functions, timeout=WAIT_S) as local, concurrent.futures.ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(answer, local, "held", 1)
        assert held.entered.acquire(timeout=WAIT_S)

        def closes() -> bool:
            assert local._server is not None
            sockets = [local._server.socket, *(connection for _, connection in local._server._connections)]
            open_before = [each.fileno() >= 0 for each in sockets]
            local.close()
            local.close()
            return all(open_before) and all(each.fileno() < 0 for each in sockets) and "closed" in repr(local)

        with local._lock:
            collect = in_child(closes, timeout_s=5)
        collect()
        assert answer(local, "f", 2) == 2
        held.open.set()
        assert under_way.result(WAIT_S) == 1


def test_whoever_reads_a_variable_while_the_last_handler_ends_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The object has its own class again in the midst of the reading."""
    monkeypatch.setenv("READ_MEANWHILE", "1")
    assert type(os.environ) is not _EnvironOfCalls
    assert _EnvironOfCalls.__getitem__(os.environ, "READ_MEANWHILE") == "1"
    _EnvironOfCalls.__setitem__(os.environ, "READ_MEANWHILE", "2")
    assert "READ_MEANWHILE" in list(_EnvironOfCalls.__iter__(os.environ))
    _EnvironOfCalls.__delitem__(os.environ, "READ_MEANWHILE")
    assert "READ_MEANWHILE" not in os.environ
