"""An answer whose head was cut off is lost.

http.client takes the end of the connection for the end of the head: what was cut off within it would be an answer
without a body, or with half an ARN in it.
"""

import http.client
from typing import IO, Any


class WholeHeadResponse(http.client.HTTPResponse):
    """An answer that is none until the empty line after its head has come."""

    def begin(self) -> None:
        if self.headers is not None:
            return
        file = self.fp
        lines: Any = _Lines(file)
        self.fp = lines
        try:
            super().begin()
        finally:
            if self.fp is lines:
                self.fp = file
        if lines.last not in (b"\r\n", b"\n"):
            # What urllib3 and botocore make of it is what they make of a connection that ends before the head.
            raise http.client.RemoteDisconnected("the connection ended within the answer's head")


class _Lines:
    """What ``begin`` needs of a file, and the line that it read last."""

    def __init__(self, file: "IO[bytes]") -> None:
        self._file = file
        self.last = b""

    def readline(self, limit: int = -1) -> bytes:
        self.last = self._file.readline(limit)
        return self.last

    def close(self) -> None:
        self._file.close()
