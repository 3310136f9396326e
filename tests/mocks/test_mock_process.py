"""What a handler under mock_lambda has of the process is what it has under LocalLambda: variables, log, event loop."""

import asyncio
import base64
import logging
import os
import subprocess
import sys
import threading
import warnings

import boto3
import pytest

from lambda_adapter import LambdaAdapter
from lambda_adapter.testing import mock_lambda
from support.durable import needs_executions

ENVIRON_CLASS = type(os.environ)


@pytest.fixture
def mock():
    with mock_lambda() as made:
        yield made


def said(handler, mock, make_request, function="weather", region="eu-west-1"):
    """What a handler's text says, called by an adapter."""
    mock.function(function, lambda event, context: {"success": True, "message": str(handler())})
    with LambdaAdapter(function, region, "module") as adapter:
        response = adapter.execute(make_request())
    assert response.success, response.error
    return response.message


def log_of(mock, handler):
    """The end of the log of a handler's call."""
    mock.function("weather", handler)
    answer = boto3.client("lambda", "us-east-1").invoke(FunctionName="weather", LogType="Tail")
    return base64.b64decode(answer["LogResult"]).decode()


# --- Variables ---


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_DEFAULT_REGION", "eu-west-1"),
        ("AWS_LAMBDA_FUNCTION_NAME", "weather"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("_HANDLER", "test_mock_process.said.<locals>.<lambda>"),
        ("TZ", ":UTC"),
    ],
)
def test_a_handler_reads_lambdas_variables_and_nobody_else_does(mock, make_request, monkeypatch, name, value):
    monkeypatch.setenv(name, "the process's")
    assert said(lambda: os.environ.get(name), mock, make_request) == value
    assert os.environ[name] == "the process's"
    assert type(os.environ) is ENVIRON_CLASS


def test_a_function_that_calls_another_reads_its_own_again(mock, make_request):
    def inner(event, context):
        return {"success": True, "message": os.environ["AWS_LAMBDA_FUNCTION_NAME"]}

    def outer():
        with LambdaAdapter("inner", "us-east-1", "module") as adapter:
            return adapter.execute(make_request()).message + os.environ["AWS_LAMBDA_FUNCTION_NAME"]

    mock.function("inner", inner)
    assert said(outer, mock, make_request, function="outer") == "innerouter"


@needs_executions
def test_an_execution_s_run_reads_them_too(mock, make_request):
    mock.function("w", lambda *_: {"success": True, "message": os.environ["AWS_LAMBDA_FUNCTION_VERSION"]}).durable()
    with LambdaAdapter("w:7", "us-east-1", "module", durable=True) as adapter:
        assert adapter.execute(make_request()).message == "7"


def test_a_handler_that_ends_the_test_leaves_nothing_behind(mock, make_request):
    streams = sys.stdout, sys.stderr, list(logging.root.handlers)
    mock.function("weather", lambda event, context: pytest.fail("by the handler"))
    with LambdaAdapter("weather", "us-east-1", "module") as adapter, pytest.raises(pytest.fail.Exception):
        adapter.execute(make_request())
    assert type(os.environ) is ENVIRON_CLASS
    assert "AWS_LAMBDA_FUNCTION_NAME" not in os.environ
    assert (sys.stdout, sys.stderr, list(logging.root.handlers)) == streams


# --- The log ---


def test_the_log_has_what_a_handler_prints_and_logs(mock, capsys):
    def handler(event, context):
        print("printed")
        print("complained", file=sys.stderr)
        logging.getLogger("weather").warning("warned")
        context.log("told\n")

    lines = log_of(mock, handler).splitlines()
    assert lines[0].startswith("START RequestId: ")
    assert lines[1:3] == ["printed", "complained"]
    assert lines[3].startswith("[WARNING]\t")
    assert lines[3].endswith("\twarned")
    assert lines[4] == "told"
    assert lines[5].startswith("END RequestId: ")
    out, err = capsys.readouterr()
    assert (out, "complained" in err) == ("printed\n", True)


def test_the_log_has_nothing_of_the_test_and_of_other_calls(mock):
    def handler(event, context):
        thread = threading.Thread(target=print, args=("by another thread",))
        thread.start()
        thread.join()

    print("by the test")
    assert "by " not in log_of(mock, handler)


def test_the_log_of_a_failure_has_its_words_once(mock):
    def handler(event, context):
        raise ValueError("no such city")

    assert log_of(mock, handler).count("no such city") == 2  # the error, and its line in the stack trace


# --- The event loop ---


async def sunny():
    await asyncio.sleep(0)
    return "Sunny"


def by_the_loop_of_the_thread():
    return asyncio.get_event_loop().run_until_complete(sunny())


def by_a_loop_of_its_own():
    return asyncio.run(sunny())


needs_loops = pytest.mark.skipif(sys.version_info >= (3, 14), reason="main threads have no event loop, on AWS neither")


@needs_loops
@pytest.mark.parametrize("handler", [by_the_loop_of_the_thread, by_a_loop_of_its_own])
def test_a_handler_may_use_asyncio_in_an_awaited_call(mock, make_request, handler):
    mock.function("weather", lambda event, context: {"success": True, "message": handler()})

    async def awaited():
        async with LambdaAdapter("weather", "us-east-1", "module") as adapter:
            return await asyncio.gather(*(adapter.execute_async(make_request()) for _ in range(3)))

    assert [(response.message, response.error) for response in asyncio.run(awaited())] == [("Sunny", None)] * 3


@needs_loops
@pytest.mark.parametrize("handler", [by_the_loop_of_the_thread, by_a_loop_of_its_own])
def test_a_handler_may_use_asyncio_in_a_test_that_had_a_loop_before(mock, make_request, handler):
    asyncio.run(sunny())
    assert said(handler, mock, make_request) == "Sunny"
    with pytest.raises(RuntimeError, match="There is no current event loop"):
        asyncio.get_event_loop()  # as it was before


def test_where_a_coroutine_blocks_a_handler_cannot_run_a_loop(mock, make_request):
    """As USAGE says."""
    mock.function("weather", lambda event, context: asyncio.run(sunny()))

    async def blocks():
        with LambdaAdapter("weather", "us-east-1", "module") as adapter:
            return adapter.execute(make_request()).error

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of the coroutine that was never awaited
        assert "cannot be called from a running event loop" in asyncio.run(blocks())


@needs_loops
def test_a_thread_keeps_the_loop_that_it_has(mock, make_request):
    loop = asyncio.new_event_loop()
    seen = []

    def thread():
        asyncio.set_event_loop(loop)
        said(lambda: seen.append(asyncio.get_event_loop()), mock, make_request)
        seen.append(asyncio.get_event_loop())

    started = threading.Thread(target=thread)
    started.start()
    started.join()
    assert seen == [loop, loop]
    assert not loop.is_closed()
    loop.close()


FRESH = """
import asyncio, warnings
from lambda_adapter import ExecuteRequest, LambdaAdapter
from lambda_adapter.testing import mock_lambda

async def sunny():
    return "Sunny"

def handler(event, context):
    if event["trigger"]["context_text"]:
        return {"success": True, "message": asyncio.get_event_loop().run_until_complete(sunny())}
    return {"success": True, "message": str(asyncio.get_event_loop_policy()._local._loop)}

with mock_lambda() as mock, LambdaAdapter("weather", "us-east-1", "module") as adapter:
    mock.function("weather", handler)
    for args in [], ["Berlin"]:
        print(adapter.execute(ExecuteRequest("weather", args, "u", "e", "c", "s", "discord")).message)
asyncio.get_event_loop().close()
"""


@needs_loops
def test_a_main_thread_keeps_the_loop_that_it_makes_when_asked():
    options = ["-W", "error", "-W", "ignore:There is no current event loop:DeprecationWarning"]
    done = subprocess.run([sys.executable, *options, "-c", FRESH], capture_output=True, encoding="utf-8", timeout=60)
    assert (done.stdout.split(), done.stderr) == (["None", "Sunny"], "")
