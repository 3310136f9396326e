"""Work in a child that os.fork() makes."""

import os
import select
import warnings
from typing import Callable


def in_child(work: Callable[[], bool], timeout_s: float) -> Callable[[], None]:
    """Fork, run ``work`` in the child; what is returned asserts that it was true within ``timeout_s``."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns of every fork in a process with threads, which is what is tried here.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        verdict = b"?"
        try:
            verdict = b"1" if work() else b"0"
        except BaseException as exc:
            verdict = repr(exc).encode()
        finally:
            os.write(writer, verdict)
            os._exit(0)
    os.close(writer)

    def collect() -> None:
        try:
            ready, _, _ = select.select([reader], [], [], timeout_s)
            if not ready:
                os.kill(pid, 9)
            verdict = os.read(reader, 1000) if ready else b"did not finish in time"
        finally:
            os.close(reader)
            os.waitpid(pid, 0)
        assert verdict == b"1"

    return collect
