"""A durable function on loopback: it counts its runs, and its connections may be cut after the request was sent."""

import contextlib
import socket
import threading
from typing import Any, Callable, Dict, Iterator, List
from urllib.parse import urlsplit

import attrs
import pytest
from botocore.loaders import Loader

from lambda_adapter import LambdaAdapter

WAIT_S = 30.0


def _knows_executions() -> bool:
    model = Loader().load_service_model("lambda", "service-2")
    return "DurableExecutionName" in model["shapes"]["InvocationRequest"]["members"]


KNOWS_EXECUTIONS = _knows_executions()
needs_executions = pytest.mark.skipif(not KNOWS_EXECUTIONS, reason="this botocore knows no durable executions")


class Shop:
    """A handler that counts its runs by request, and ends when it is let go."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.runs: List[Any] = []
        self.begun = threading.Event()
        self.let_go = threading.Event()
        self.let_go.set()

    def __call__(self, event: Dict[str, Any], context: Any) -> Dict[str, Any]:
        with self._lock:
            self.runs.append(event["request_id"])
        self.begun.set()
        assert self.let_go.wait(WAIT_S)
        words = event["trigger"]["context_text"]
        if words == "raise":
            raise ConnectionError("the till is broken")
        if words == "refuse":
            return {"success": False, "message": "Sold out."}
        if words == "babble":
            return {"message": "no success in it"}
        return {"success": True, "message": f"Receipt for {event['request_id']}", "id": event["request_id"]}


def shop_adapter(endpoint_url: str, **settings: Any) -> LambdaAdapter:
    given: Dict[str, Any] = {
        "durable": True,
        "idempotent": False,
        "endpoint_url": endpoint_url,
        "aws_access_key_id": "local",
        "aws_secret_access_key": "local",
        "initial_retry_delay": 0.001,
        "max_retry_delay": 0.01,
        **settings,
    }
    return LambdaAdapter(given.pop("function", "shop:live"), "us-east-1", "shop", **given)


@attrs.define
class Cutter:
    """What a proxy did."""

    endpoint_url: str
    #: Connections that were cut after the request was sent.
    cut: int = 0


@contextlib.contextmanager
def cutting(url: str, cuts: Callable[[], bool]) -> Iterator[Cutter]:
    """A proxy that takes every request through, and cuts the connection before the answer where ``cuts`` says so."""
    server = socket.create_server(("127.0.0.1", 0), backlog=512)
    cutter = Cutter(f"http://127.0.0.1:{server.getsockname()[1]}")
    to = urlsplit(url)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection((to.hostname, to.port)) as upstream:
            threading.Thread(target=pump, args=(client, upstream), daemon=True).start()
            with contextlib.suppress(OSError):
                while True:
                    answer = upstream.recv(65_536)
                    if not answer or cuts():
                        cutter.cut += bool(answer)
                        break
                    client.sendall(answer)
            for side in (client, upstream):
                with contextlib.suppress(OSError):
                    side.shutdown(socket.SHUT_RDWR)

    def pump(client: socket.socket, upstream: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                request = client.recv(65_536)
                if not request:
                    break
                upstream.sendall(request)

    threading.Thread(target=accept, daemon=True).start()
    with server:
        yield cutter
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
