"""Lines of the file of requests: each one's number, its request or what is wrong with it, and its digest."""

import contextlib
import hashlib
import json
import os
import stat
import sys
from typing import Any, BinaryIO, Iterable, Iterator, Optional, Tuple

import attrs

from .._text.redaction import json_kind, shown
from ..messages import ExecuteRequest, Id
from .invoke import request_defaults
from .options import TOO_MUCH_JSON, UsageError, reason

_NAMES = tuple(field.name for field in attrs.fields(ExecuteRequest))

#: A line of these alone is blank: a byte order mark and what JSON takes for space.
_BLANK = b"\xef\xbb\xbf \t\r\n"

#: Hexadecimal digits, 64 bits of SHA-256: enough to tell a file's requests apart.
_DIGEST_CHARS = 16


@attrs.frozen
class RequestLine:
    """A line that is not blank."""

    #: As an editor counts: from 1, blank lines included.
    number: int
    #: The same for the same JSON, however it is spaced and its keys are ordered.
    digest: str
    #: None for a line that is no request.
    request: Optional[ExecuteRequest] = None
    #: Why it is none.
    fault: str = ""
    #: Whether the next run, too, sends it under its ``session_id``.
    keeps_session: bool = False

    @property
    def session_id(self) -> Optional[Id]:
        """As the function gets it; None for a line that is no request, or has something else there."""
        given: object = None if self.request is None else self.request.session_id
        return given if isinstance(given, (str, int)) and not isinstance(given, bool) else None

    def with_session(self, session_id: Optional[Id]) -> "RequestLine":
        """The same request under the ``session_id`` that an earlier run sent it with."""
        if self.request is None or session_id is None:
            return self
        request = attrs.evolve(self.request, session_id=session_id)
        return attrs.evolve(self, request=request, keeps_session=True)


class _FaultError(Exception):
    """A line that is no request; the text says why."""


class ReadError(Exception):
    """The requests cannot be read any more; the text says why."""


@contextlib.contextmanager
def open_requests(path: str) -> Iterator[BinaryIO]:
    """Open the file of requests; ``-`` is stdin.

    Raises:
        UsageError: It cannot be read.
    """
    if path == "-":
        if sys.stdin is None:
            raise UsageError("stdin is closed")
        yield sys.stdin.buffer
        return
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {reason(error)}") from None
    with file:
        yield file


def count_requests(source: BinaryIO) -> Optional[int]:
    """How many lines are not blank; None for a pipe, which can be read only once."""
    if not source.seekable():
        return None
    start = source.tell()
    requests = sum(1 for _ in numbered(source))
    source.seek(start)
    return requests


def refuse_same_file(source: BinaryIO, output: str) -> None:
    """Check that the responses do not go where the requests are.

    Raises:
        UsageError: They would.
    """
    with contextlib.suppress(OSError, ValueError):  # what has no file, and what is not there, are not the same
        requests = os.fstat(source.fileno())
        if stat.S_ISREG(requests.st_mode) and os.path.samestat(requests, os.stat(output)):
            raise UsageError(f"{output} holds the requests, and cannot take the responses")


def numbered(source: Iterable[bytes]) -> Iterator[Tuple[int, bytes]]:
    """The lines of ``source`` that are not blank, with their numbers.

    Raises:
        ReadError: The rest cannot be read.
    """
    try:
        for number, text in enumerate(source, 1):
            if text.strip(_BLANK):
                yield number, text
    except OSError as error:
        raise ReadError(f"the requests cannot be read any more: {reason(error)}") from None


def parse_line(number: int, text: bytes) -> RequestLine:
    """Read a line; the values of its request are for the adapter to check."""
    try:
        said = _parse(text)
    except _FaultError as fault:
        return RequestLine(number, _digest(text.strip(_BLANK)), fault=str(fault))
    digest = _digest(json.dumps(said, sort_keys=True).encode())
    for name in said:
        if name not in _NAMES:
            return RequestLine(number, digest, fault=f"a request has no {shown(name, 40)}; it has {', '.join(_NAMES)}")
    request = ExecuteRequest(**{"command": None, "args": [], **request_defaults(), **said})
    return RequestLine(number, digest, request, keeps_session="session_id" in said)


def _parse(text: bytes) -> Any:
    try:
        said = json.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise _FaultError("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _FaultError(f"it is not JSON ({error.msg}, column {error.colno})") from None
    except (ValueError, RecursionError):
        raise _FaultError(TOO_MUCH_JSON) from None
    if not isinstance(said, dict):
        raise _FaultError(f"it must be an object, not {json_kind(said)}")
    return said


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_DIGEST_CHARS]
