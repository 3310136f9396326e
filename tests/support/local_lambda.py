"""Requests to a LocalLambda without boto3, and a handler that waits."""

import base64
import http.client
import threading
from contextlib import closing
from typing import Any, Dict, Tuple

from lambda_adapter.local import LocalLambda

WAIT_S = 10.0  # a bound for what should take milliseconds

#: Status, headers with names in lower case, body.
Reply = Tuple[int, Dict[str, str], bytes]


class HeldHandler:
    """A handler that waits until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.left = threading.Event()

    def __call__(self, event: Any, context: Any) -> Any:
        self.entered.release()
        self.open.wait(WAIT_S)
        self.left.set()
        return event


def address(local: LocalLambda) -> Tuple[str, int]:
    host, port = local.endpoint_url[len("http://") :].split(":")
    return host, int(port)


def post(local: LocalLambda, function: str = "echo", body: bytes = b"{}", **headers: str) -> Reply:
    """One request on a connection of its own; a header's `_` is sent as `-`."""
    with closing(http.client.HTTPConnection(*address(local), timeout=WAIT_S)) as connection:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", f"/2015-03-31/functions/{function}/invocations", body, sent)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def log_of(reply: Reply) -> str:
    return base64.b64decode(reply[1]["x-amz-log-result"]).decode()
