"""Nobody gets another's answer: a 1xx loses its connection, and after a fork in C each process has its own."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import boto3
import pytest

from lambda_adapter import ExecuteRequest, LambdaAdapter
from support.fault_server import FaultServer, Reaction, answer

PACKAGE = str(pathlib.Path(__file__).resolve().parents[2])
KEYS = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "secret"}


def request(nonce):
    return ExecuteRequest("echo", [], "u", "e", "c", nonce, "discord")


def echo(received):
    return answer({"success": True, "message": json.loads(received.body or b"{}").get("request_id")})


@contextlib.contextmanager
def adapter_for(server, **settings):
    settings = {"max_retries": 0, "initial_retry_delay": 1e-6, "read_timeout": 10.0, **settings}
    own = {} if "client" in settings else {"endpoint_url": server.endpoint_url, **KEYS}
    with LambdaAdapter("function", "us-east-1", "module", **{**own, **settings}) as adapter:
        yield adapter


# -- 1xx -------------------------------------------------------------------------------------------


class Interim:
    """A script that sends a 1xx before the echo, to the first request or to all."""

    def __init__(self, status, times=None, pause_s=0.0):
        self.head = f"HTTP/1.1 {status} Interim\r\n\r\n".encode()
        self.times, self.pause_s, self.lock = times, pause_s, threading.Lock()

    def __call__(self, received):
        with self.lock:
            if self.times == 0:
                return echo(received)
            if self.times is not None:
                self.times -= 1
        return Reaction((self.head, self.pause_s, *echo(received).steps))


INTERIM = [101, 102, 103, 110, 199]
PAUSES = pytest.mark.parametrize("pause_s", [0.0, 0.05], ids=["at once", "later"])


@PAUSES
@pytest.mark.parametrize("status", INTERIM)
def test_a_call_that_gets_a_1xx_is_lost_and_the_next_has_its_own_answer(status, pause_s):
    with FaultServer(Interim(status, times=1, pause_s=pause_s)) as server, adapter_for(server) as adapter:
        lost = adapter.execute(request("first"))
        assert (lost.error_code, lost.invocation.executed, lost.invocation.attempts) == ("connection_lost", "maybe", 1)
        assert [adapter.execute(request(f"n{n}")).message for n in range(5)] == [f"n{n}" for n in range(5)]


@PAUSES
@pytest.mark.parametrize("status", INTERIM)
def test_16_callers_get_no_other_answer_with_a_1xx_before_each(status, pause_s):
    with FaultServer(Interim(status, pause_s=pause_s)) as server, adapter_for(server) as adapter:
        responses = adapter.execute_many(request(f"n{n}") for n in range(48))
        verdicts = {(response.error_code, response.invocation.executed) for _, response in responses}
    assert verdicts == {("connection_lost", "maybe")}


@PAUSES
@pytest.mark.parametrize("status", INTERIM)
def test_16_callers_get_their_own_answers_after_one_1xx(status, pause_s):
    def call(caller):
        for n in range(4):
            nonce = f"{caller}-{n}"
            got.append((nonce, adapter.execute(request(nonce))))

    got = []
    with FaultServer(Interim(status, times=1, pause_s=pause_s)) as server, adapter_for(server) as adapter:
        threads = [threading.Thread(target=call, args=(caller,)) for caller in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert len(got) == 64
    assert [response.error_code for _, response in got if not response.success] == ["connection_lost"]
    assert [nonce for nonce, response in got if response.success and response.message != nonce] == []


def test_another_attempt_has_its_own_answer():
    with FaultServer(Interim(103, times=1)) as server, adapter_for(server, max_retries=1) as adapter:
        response = adapter.execute(request("mine"))
    assert (response.message, response.invocation.attempts) == ("mine", 2)


def test_what_is_not_idempotent_is_not_tried_again():
    with FaultServer(Interim(103)) as server, adapter_for(server, max_retries=3, idempotent=False) as adapter:
        assert adapter.execute(request("mine")).error_code == "connection_lost"
        assert len(server.requests) == 1


def test_100_is_no_answer_and_loses_nothing():
    with FaultServer(Interim(100)) as server, adapter_for(server) as adapter:
        assert [adapter.execute(request(f"n{n}")).message for n in range(3)] == ["n0", "n1", "n2"]
        assert {received.connection for received in server.requests} == {1}


def test_a_given_client_loses_its_connection_too():
    with FaultServer(Interim(103, times=1, pause_s=0.05)) as server:
        client = boto3.client("lambda", "us-east-1", endpoint_url=server.endpoint_url, **KEYS)
        with adapter_for(server, client=client) as adapter, adapter_for(server, client=client) as other:
            assert adapter.execute(request("first")).error_code == "connection_lost"
            assert [other.execute(request(f"n{n}")).message for n in range(3)] == ["n0", "n1", "n2"]
        client.close()


# -- Forks that Python does not hear of ------------------------------------------------------------


#: Run in a process of its own, which has no other thread that wants Python's lock: one that waits for it when C code
#: forks leaves its mark in the lock's condition variable, and Python itself may hang in the child. That is so for every
#: program, and nothing of ours.
FORKING = """
import asyncio, ctypes, os, sys

from lambda_adapter import ExecuteRequest, LambdaAdapter

KEYS = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "secret"}


def make():
    return LambdaAdapter("function", "us-east-1", "module", endpoint_url=sys.argv[1], max_retries=0, **KEYS)


def request(nonce):
    return ExecuteRequest("echo", [], "u", "e", "c", nonce, "discord")


def blocking(prefix, adapter):
    return all(adapter.execute(request(f"{prefix}-s{n}")).message == f"{prefix}-s{n}" for n in range(8))


def awaited(prefix, adapter):
    async def main():
        return await asyncio.gather(*(adapter.execute_async(request(f"{prefix}-a{n}")) for n in range(8)))

    return [response.message for response in asyncio.run(main())] == [f"{prefix}-a{n}" for n in range(8)]


def many(prefix, adapter):
    pairs = list(adapter.execute_many(request(f"{prefix}-m{n}") for n in range(8)))
    return len(pairs) == 8 and all(asked.session_id == response.message for asked, response in pairs)


def check(prefix, adapter):
    return adapter.check().error_code == "invalid_response"  # the server answers 200, and a DryRun gets 204


def new(prefix, adapter):
    other = make()
    return other._lease.get().client is not client and blocking(prefix, other)


def close(prefix, adapter):
    adapter.close()
    return adapter.execute(request(prefix)).error_code == "closed"


adapter = make()
client = adapter._lease.get().client
# Its threads are used, and idle again when the blocking calls are over.
assert awaited("before", adapter) and blocking("before", adapter)
first = globals()[sys.argv[2]]
pid = ctypes.PyDLL(None).fork()  # PyDLL keeps Python's lock, which the child then holds
if pid == 0:
    try:
        well = first("child", adapter) and (first is close or blocking("child", adapter) and awaited("child", adapter))
    except BaseException:
        import traceback
        traceback.print_exc()
        well = False
    os._exit(0 if well else 3)
well = blocking("parent", adapter) and awaited("parent", adapter)
_, status = os.waitpid(pid, 0)
sys.exit(0 if well and status == 0 else f"parent {well}, child {status}")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.parametrize("first", ["blocking", "awaited", "many", "check", "new", "close"])
def test_after_a_fork_in_c_parent_and_child_have_their_own_answers(first):
    """Whatever the child does first."""
    with FaultServer(echo) as server:
        done = subprocess.run(
            [sys.executable, "-c", FORKING, server.endpoint_url, first],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([PACKAGE, *filter(None, sys.path)])},
            capture_output=True,
            timeout=60,
        )
    assert (done.returncode, done.stderr.decode()) == (0, "")


UWSGI_APPLICATION = """
import asyncio
import os
import urllib.parse

from lambda_adapter import ExecuteRequest, LambdaAdapter

adapter = LambdaAdapter(
    "function", "us-east-1", "module", endpoint_url=os.environ["ENDPOINT"], read_timeout=10.0,
    aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="secret",
)


def request(nonce):
    return ExecuteRequest("echo", [], "u", "e", "c", nonce, "discord")


# A call in the master: its connection is what the workers inherit.
assert adapter.execute(request("master")).message == "master"


def application(environ, start_response):
    query = urllib.parse.parse_qs(environ["QUERY_STRING"])
    wanted = query["nonce"][0]
    if "async" in query:
        response = asyncio.run(adapter.execute_async(request(wanted)))
    else:
        response = adapter.execute(request(wanted))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {response.message} {response.error}".encode()]
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("uwsgi") is None, reason="uWSGI is not installed (pip install uwsgi)")
def test_two_workers_of_uwsgi_have_their_own_answers(tmp_path):
    (tmp_path / "application.py").write_text(UWSGI_APPLICATION)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = [PACKAGE, *filter(None, sys.path)]
    options = ["--http-socket", f"127.0.0.1:{port}", "--master", "--processes", "2", "--enable-threads", "--need-app"]
    with FaultServer(echo) as server:
        environment = {**os.environ, "ENDPOINT": server.endpoint_url, "PYTHONPATH": os.pathsep.join(paths)}
        command = [shutil.which("uwsgi"), *options, "--wsgi-file", str(tmp_path / "application.py")]
        running = subprocess.Popen(
            command,
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _wait_for(port, running)
            got = []
            threads = [threading.Thread(target=_call_worker, args=(port, n, got)) for n in range(60)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
        finally:
            # The master and its workers; on a polite signal it waits for them for a minute.
            os.killpg(running.pid, signal.SIGKILL)
            running.wait(30)
    assert len(got) == 60
    assert [line for nonce, line in got if line.split()[1] != nonce] == []
    assert len({line.split()[0] for _, line in got}) == 2


def _call_worker(port, number, got):
    nonce = f"n{number}"
    kind = "&async=1" if number % 2 else ""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/?nonce={nonce}{kind}", timeout=30) as reply:
        got.append((nonce, reply.read().decode()))


def _wait_for(port, process):
    """Until uWSGI listens. It says so nowhere else."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.05)
    pytest.fail("uWSGI did not start")
