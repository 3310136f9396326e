"""Keys that are replaced while a program runs: a Lambda that knows only some, and a source that grants them."""

import json
import re
from typing import Callable, Dict, Optional, Set, Union

from support.fault_server import Reaction, Request, answer, aws_error, respond

OLD, NEW = "AKIAOLDOLDOLDOLD", "AKIANEWNEWNEWNEW"
#: In no message, log line or exception.
SECRET = "hunter2hunter2"


def key_of(request: Request) -> str:
    """The key id that signed a request."""
    found = re.search(r"Credential=([^/]+)/", request.headers.get("authorization", ""))
    return found[1] if found else ""


class Gate:
    """A FaultServer's script: Lambda for requests that a ``known`` key signed; others get AWS's error.

    ``before`` is called with each request first.
    """

    def __init__(self, *known: str, code: str = "ExpiredTokenException", status: int = 403) -> None:
        self.known: Set[str] = set(known)
        self.code, self.status = code, status
        self.before: Optional[Callable[[], object]] = None

    def __call__(self, request: Request) -> Reaction:
        if self.before is not None:
            self.before()
        if key_of(request) in self.known:
            return answer({"success": True, "message": key_of(request)})
        return aws_error(self.code, self.status)


class Granter:
    """A FaultServer's script: container endpoint and metadata service in one, which grant ``key``, or are down."""

    def __init__(self, key: Optional[str] = OLD) -> None:
        self.key = key

    def __call__(self, request: Request) -> Reaction:
        if self.key is None:
            return respond(503, SECRET.encode())
        if request.path.endswith("/api/token"):
            return respond(200, b"token")
        if request.path.endswith("/security-credentials/"):
            return respond(200, b"role")
        return respond(200, json.dumps(keys(self.key)).encode())


def keys(key: str) -> Dict[str, Union[int, str]]:
    """As metadata services and programs give them."""
    return {
        "Version": 1,
        "Code": "Success",
        "AccessKeyId": key,
        "SecretAccessKey": SECRET,
        "Token": SECRET,
        "SessionToken": SECRET,
        "Expiration": "2099-01-01T00:00:00Z",
    }


def ini(key: str, profile: str = "default") -> str:
    """A section of the credentials file."""
    return f"[{profile}]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET}\n"
