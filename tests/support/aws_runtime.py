"""AWS's own Python runtime (``awslambdaric``) in a process of its own, fed through a Runtime API on loopback."""

import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Dict, List, Optional

import attrs

#: A bound for what takes milliseconds, and seconds on a busy machine.
_WAIT_S = 60.0
_TESTS = Path(__file__).parents[1]


@attrs.frozen
class RuntimeOutcome:
    """What the runtime made of one event."""

    request_id: str
    #: What it posted; b"" if it ended instead.
    body: bytes = b""
    failed: bool = False
    #: How its process ended, as ``subprocess`` says it; None while it lives.
    exit_status: Optional[int] = None
    #: What it wrote to stdout and stderr during the call.
    log: str = ""


class AwsRuntime:
    """One execution environment: use it in a ``with``."""

    def __init__(self, handler: str, variables: Dict[str, str]) -> None:
        self._events: queue.SimpleQueue[Dict[str, Any]] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[RuntimeOutcome] = queue.SimpleQueue()
        self._server = _Api(("127.0.0.1", 0), _RuntimeApi)
        self._server.events, self._server.outcomes = self._events, self._outcomes
        self._variables = {
            **variables,
            "_HANDLER": handler,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_address[1]}",
            "PYTHONPATH": os.pathsep.join([str(_TESTS), str(_TESTS.parent)]),
            "PATH": os.environ["PATH"],
        }

    def __enter__(self) -> "AwsRuntime":
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self._output = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", self._variables["_HANDLER"]],
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=self._variables,
            cwd=_TESTS,
        )
        self._waiter = threading.Thread(target=self._await_end, daemon=True)
        self._waiter.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._waiter.join(_WAIT_S)
        self._events.put({})  # whoever waits for an event that never comes
        self._server.shutdown()
        self._server.server_close()
        self._output.close()

    def _await_end(self) -> None:
        self._outcomes.put(RuntimeOutcome("", exit_status=self._process.wait()))

    def invoke(self, event: bytes, *, timeout_s: float = 60.0, **headers: str) -> RuntimeOutcome:
        """Send an event, and wait for what becomes of it. A header's ``_`` is sent as ``-``."""
        request_id = str(uuid.uuid4())
        before = self._written()
        given: Dict[str, str] = {name.replace("_", "-"): value for name, value in headers.items()}
        given["Lambda-Runtime-Aws-Request-Id"] = request_id
        given["Lambda-Runtime-Deadline-Ms"] = str(int((time.time() + timeout_s) * 1_000))
        self._events.put({"headers": given, "body": event})
        outcome = self._outcomes.get(timeout=_WAIT_S)
        log = self._written()[len(before) :].decode(errors="replace")
        return attrs.evolve(outcome, request_id=request_id, log=log)

    def _written(self) -> bytes:
        # pread leaves the offset alone, which the process writes at.
        return os.pread(self._output.fileno(), 1_000_000, 0)


class _Api(ThreadingHTTPServer):
    daemon_threads = True
    events: "queue.SimpleQueue[Dict[str, Any]]"
    outcomes: "queue.SimpleQueue[RuntimeOutcome]"


class _RuntimeApi(BaseHTTPRequestHandler):
    """https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html"""

    protocol_version = "HTTP/1.1"
    server: _Api

    def do_GET(self) -> None:
        event = self.server.events.get()
        if event:
            self._send(200, event["body"], {"Content-Type": "application/json", **event["headers"]})

    def do_POST(self) -> None:
        body = self._body()
        self._send(202, b'{"status":"OK"}', {"Content-Type": "application/json"})
        told = re.fullmatch(r"/2018-06-01/runtime/invocation/[^/]+/(response|error)", self.path)
        self.server.outcomes.put(RuntimeOutcome("", body, failed=told is None or told[1] == "error"))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"]))
        chunks: List[bytes] = []
        while True:
            size = int(self.rfile.readline(), 16)
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
            if not size:
                return b"".join(chunks)

    def _send(self, status: int, body: bytes, headers: Dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
