"""The file of responses: written in the requests' order, read back when a batch goes on."""

import collections
import contextlib
import json
import os
import stat
from typing import Any, BinaryIO, Counter, Dict, Optional

from .options import UsageError, reason
from .output import to_json

#: How every line begins, and half a line as far as it goes: nothing else is taken for a response, or cut off.
_START = b'{"success": '


class WriteError(Exception):
    """The file cannot be written any more; the text says why."""


class ResponseFile:
    """Responses by their requests' numbers, from 1: a line for each, up to the first that is not there yet.

    Those that finished out of turn are kept in memory. ``close`` writes them behind the others, with their number as
    ``line``, and whoever opens the file again takes them back.

    Raises:
        UsageError: The file cannot be written, or holds something else.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        #: Responses in the file, in the order of their requests.
        self.written = 0
        #: Finished, while an earlier one is not.
        self.waiting: Dict[int, Dict[str, Any]] = {}
        #: All of both, by error code.
        self.tally: Counter[Optional[str]] = collections.Counter()
        #: What the file held when it was closed.
        self.kept = 0
        # A pipe or a device has nothing to go on from, and may have no end.
        goes_on = os.path.isfile(path) or not os.path.exists(path)
        try:
            self._file: BinaryIO = open(path, "a+b" if goes_on else "wb")  # noqa: SIM115
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {reason(error)}") from None
        try:
            end = self._read_back() if goes_on else 0
            self._try_to_write(end)
        except BaseException:
            with contextlib.suppress(OSError):
                self._file.close()
            raise

    @property
    def known(self) -> int:
        """Responses that need not be asked for."""
        return self.written + len(self.waiting)

    def holds(self, number: int) -> bool:
        """Whether the response to request ``number`` is there."""
        return number <= self.written or number in self.waiting

    def add(self, number: int, response: Dict[str, Any]) -> None:
        """Take the response to request ``number``, and write what is in turn.

        Raises:
            WriteError: The file cannot be written any more.
        """
        self.waiting[number] = response
        self.tally[response["error_code"]] += 1
        self.write_in_turn()

    def write_in_turn(self) -> None:
        """Write what waits only for its turn."""
        while self.written + 1 in self.waiting:
            self._write(self.waiting[self.written + 1])
            # In this order: an interrupt in between leaves a response twice, which reading back sorts out.
            self.written += 1
            del self.waiting[self.written]

    def close(self) -> None:
        """Write what waits behind the others, and close."""
        self.kept = self.written
        with contextlib.suppress(WriteError):  # that was said already
            for number in sorted(self.waiting):
                self._write({**self.waiting[number], "line": number})
                self.kept += 1
        with contextlib.suppress(OSError):
            self._file.close()

    def _write(self, response: Dict[str, Any]) -> None:
        try:
            self._file.write(to_json(response).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise WriteError(f"{self._path} cannot be written any more: {reason(error)}") from None

    def _try_to_write(self, end: int) -> None:
        """Write the first byte of what will follow, and take it back: a full disk is known before the first call.

        What stands behind ``end`` goes with it.
        """
        mode = os.fstat(self._file.fileno()).st_mode
        if not stat.S_ISREG(mode) and (not stat.S_ISCHR(mode) or self._file.isatty()):
            return  # somebody would read it
        try:
            self._file.write(_START[:1])
            self._file.flush()
            if stat.S_ISREG(mode):
                self._file.truncate(end)
        except OSError as error:
            raise UsageError(f"{self._path} cannot be written: {reason(error)}") from None

    def _read_back(self) -> int:
        """Take the file's responses, and return where those end that are in turn."""
        self._file.seek(0)
        end = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                if not (line.startswith(_START) or _START.startswith(line)):
                    raise self._stranger()
                break  # half a line: the run that wrote it was ended in the middle
            response = self._response(line)
            number = response.pop("line", None)
            if number is None and not self.waiting:
                self.written += 1
                end += len(line)
            elif not isinstance(number, int):
                raise self._stranger()
            elif number > self.written:
                self.waiting[number] = response
            else:
                continue  # it was interrupted between writing and forgetting
            self.tally[response["error_code"]] += 1
        return end

    def _response(self, line: bytes) -> Dict[str, Any]:
        try:
            response = json.loads(line)
        except (ValueError, RecursionError):
            raise self._stranger() from None
        if not line.startswith(_START) or not isinstance(response, dict) or "error_code" not in response:
            raise self._stranger()
        return response

    def _stranger(self) -> UsageError:
        number = self.known + 1
        return UsageError(f"{self._path} is not a file of responses (its line {number:,}); it is left as it is")
