"""The file of responses: a line as soon as a call has finished, read back and put in order of the requests."""

import contextlib
import json
import os
import stat
import sys
import tempfile
import threading
from typing import Any, BinaryIO, Dict, Iterator, Mapping, Optional

import attrs

from ..messages import Id
from .options import UsageError, reason
from .output import to_json

try:
    import fcntl
except ImportError:  # Windows: nothing keeps two runs from one file there
    fcntl = None  # type: ignore[assignment]

#: How every line begins, and half a line as far as it goes: nothing else is taken for a response, or cut off.
_START = b'{"line": '

STDOUT = "-"

#: What a response takes, often enough: with less room than this for each call at once, none is begun.
_ROOM_BYTES = 1_024

#: Seconds for a line that is just being written.
_CLOSE_S = 1.0


class WriteError(Exception):
    """The file cannot be written any more; the text says why."""

    def __init__(self, told: str, no_reader: bool = False, gone: bool = False) -> None:
        super().__init__(told)
        #: Whether it is because nobody reads what is written.
        self.no_reader = no_reader
        #: Whether it is because the file has no longer its name, so that the next run does not find it.
        self.gone = gone


@attrs.frozen
class Known:
    """What an earlier run's response says of its request."""

    digest: str
    session_id: Optional[Id]
    error_code: Optional[str]
    #: "no", "maybe" or "yes", as in ``invocation``.
    executed: str


class ResponseFile:
    """Responses by the numbers of their requests' lines; of two for one number, the later counts.

    A regular file is locked for as long as it is open, so that no second run goes on with it. Any thread may add.

    Args:
        path: ``-`` is stdout. A file is gone on with; a pipe, a device and stdout have nothing to go on with.

    Raises:
        UsageError: The file cannot be written, holds something else, or is another run's.
    """

    def __init__(self, path: str) -> None:
        self.name = "stdout" if path == STDOUT else path
        self._path = path
        #: Whether it is a file that the next run can go on with.
        self.regular = path != STDOUT and (os.path.isfile(path) or not os.path.exists(path))
        #: What the file held when it was opened, by number.
        self.known: Dict[int, Known] = {}
        self._lock = threading.Lock()
        # All below is changed under the lock.
        self._starts: Dict[int, int] = {}  # where each response begins, by number
        self._highest = 0
        self._in_order = True
        self._end = 0
        self._last_is_whole = True
        self._closed = False
        try:
            self._file = _open_locked(path) if self.regular else _open_stream(path)
        except OSError as error:
            raise UsageError(f"{self.name} cannot be written: {reason(error)}") from None
        if self.regular:
            try:
                self._read_back()
            except BaseException:
                self.close()
                raise

    def make_ready(self, at_once: int = 1) -> None:
        """Cut off half a line, write what takes the room of ``at_once`` responses, and take it back.

        So that a full disk is known before the first call.

        Raises:
            UsageError: The file cannot be written.
        """
        if not self.regular and not _is_device(self._file):
            return  # somebody would read it
        try:
            if not self._last_is_whole:
                self._append(b"\n")
                self._last_is_whole = True
            if self.regular:
                self._try_room(at_once * _ROOM_BYTES)
            else:
                self._file.write(_START[:1])
        except OSError as error:
            raise UsageError(f"{self.name} cannot be written: {reason(error)}") from None

    def add(self, number: int, session_id: Optional[Id], digest: str, response: Mapping[str, Any]) -> None:
        """Write the response to the request in line ``number``; it is in the file when this returns.

        Raises:
            WriteError: The file cannot be written any more.
        """
        line = {"line": number, "session_id": session_id, "digest": digest, **response}
        text = to_json(line).encode() + b"\n"
        with self._lock:
            if self._closed:
                raise WriteError(f"{self.name} is closed")
            start = self._end
            try:
                self._append(text)
            except OSError as error:
                self._take_back(start)
                told = f"{self.name} cannot be written any more: {reason(error)}"
                raise WriteError(told, isinstance(error, BrokenPipeError)) from None
            self._note(number, start)

    def put_in_order(self) -> None:
        """Leave one line for each request, in the order of the requests; the file is replaced at once or not at all.

        A file that somebody has deleted, renamed or replaced meanwhile is noticed, whether it was in order or not.

        Raises:
            WriteError: The file stays as it is.
        """
        with self._lock:
            if not self.regular:
                return
            try:
                if not _has_name(self._file, self._path):
                    raise WriteError(f"{self.name} was deleted, renamed or replaced during the run", gone=True)
                if not self._in_order:
                    self._replace()
            except OSError as error:
                raise WriteError(f"{self.name} stays in the order in which calls finished: {reason(error)}") from None
            self._in_order = True

    def close(self) -> None:
        """Let go of the file; what finishes after that is not written."""
        self._closed = True
        # Not for ever: another thread may be writing to a pipe that nobody reads.
        if self._lock.acquire(timeout=_CLOSE_S):
            with contextlib.suppress(OSError):
                if self._path != STDOUT:
                    self._file.close()
            self._lock.release()

    def _note(self, number: int, start: int) -> None:
        self._in_order = self._in_order and number > self._highest
        self._highest = max(number, self._highest)
        self._starts[number] = start

    def _append(self, text: bytes) -> None:
        """In one piece, so that a kill between two lines cuts none."""
        rest = memoryview(text)
        while rest:
            rest = rest[_written(self._file, rest) :]
        self._file.flush()
        self._end += len(text)

    def _try_room(self, number_bytes: int) -> None:
        """Write as many bytes and take them back; a kill between the two leaves half a line."""
        end = self._end
        try:
            self._append(_START.ljust(number_bytes))
        finally:
            self._take_back(end)

    def _take_back(self, end: int) -> None:
        """Cut off what was written of a line that could not be finished."""
        self._end = end
        with contextlib.suppress(OSError):
            if self.regular:
                self._file.truncate(end)

    def _read_back(self) -> None:
        with open(self._path, "rb") as file:
            for row, line in enumerate(file, 1):
                said = _parse(line)
                if said is None:
                    if line.endswith(b"\n") or not (line.startswith(_START) or _START.startswith(line)):
                        told = f"{self.name} is not a file of responses (its line {row:,}); it is left as it is"
                        raise UsageError(told)
                    return  # half a line: the run that wrote it was ended in its midst
                number, code = said["line"], said["error_code"]
                self._note(number, self._end)
                self.known[number] = Known(said["digest"], said["session_id"], code, said["invocation"]["executed"])
                self._end += len(line)
                self._last_is_whole = line.endswith(b"\n")

    def _replace(self) -> None:
        target = os.path.realpath(self._path)
        folder, name = os.path.split(target)
        handle, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".tmp", dir=folder)
        try:
            copy = os.fdopen(handle, "r+b")
            with contextlib.ExitStack() as stack:
                stack.callback(copy.close)
                copy.writelines(self._lines_in_order())
                copy.flush()
                os.fsync(copy.fileno())
                with contextlib.suppress(AttributeError):  # Windows
                    os.fchmod(copy.fileno(), stat.S_IMODE(os.fstat(self._file.fileno()).st_mode))
                if fcntl is None:
                    # Windows renames no open file.
                    copy.close()
                    self._file.close()
                else:
                    # Locked before it has the name: no second run can come in between.
                    _lock(copy)
                os.replace(temporary, target)
                self._file.close()
                self._file = copy
                stack.pop_all()
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def _lines_in_order(self) -> Iterator[bytes]:
        with open(self._path, "rb") as file:
            for _, start in sorted(self._starts.items()):
                file.seek(start)
                yield file.readline()


def _parse(line: bytes) -> Optional[Dict[str, Any]]:
    """The response in a line; None if it is none."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not line.startswith(_START) or not isinstance(said, dict) or type(said["line"]) is not int:
        return None
    named = {"session_id", "digest", "error_code", "invocation"} <= said.keys()
    return said if named and isinstance(said["invocation"], dict) and "executed" in said["invocation"] else None


def _open_locked(path: str) -> BinaryIO:
    """Open a file to append to it, and lock it; the end of the process, however it comes, unlocks it."""
    while True:
        file: BinaryIO = open(path, "a+b", buffering=0)  # noqa: SIM115
        try:
            _lock(file)
            # The run that had it may have replaced it meanwhile.
            if _has_name(file, path):
                return file
            file.close()
        except BlockingIOError:
            file.close()
            raise UsageError(f"another run is writing {path}") from None
        except BaseException:
            file.close()
            raise


def _has_name(file: BinaryIO, path: str) -> bool:
    """Whether the file that is open is the one of this name."""
    return os.path.exists(path) and os.path.samestat(os.fstat(file.fileno()), os.stat(path))


def _lock(file: BinaryIO) -> None:
    """Raise BlockingIOError if another run has the lock."""
    if fcntl is not None:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            pass  # a file system without locks: nothing keeps two runs from one file there either


def _is_device(file: BinaryIO) -> bool:
    """Whether it is ``/dev/full``, say: nothing that somebody reads, and no file that would keep what is tried."""
    try:
        return stat.S_ISCHR(os.fstat(file.fileno()).st_mode) and not file.isatty()
    except (OSError, ValueError):
        return False  # a stdout that is no file


def _open_stream(path: str) -> BinaryIO:
    if path != STDOUT:
        return open(path, "wb", buffering=0)
    if sys.stdout is None:
        raise UsageError("stdout is closed")
    try:
        # Unbuffered: what a full disk refuses must not be tried again when the interpreter exits.
        return open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)
    except (OSError, ValueError):
        return sys.stdout.buffer  # it is no file, in another program's tests for example


def _written(file: BinaryIO, text: memoryview) -> int:
    number: Optional[int] = file.write(text)
    if number is None:
        raise BlockingIOError("it is not ready to be written")
    return number
