"""A progress bar: one line on a terminal, nothing anywhere else."""

import contextlib
import os
import time
from typing import Callable, Iterator, Optional, TextIO

from .output import silence

_BAR_CHARS = 24
_REDRAWN_S = 0.1


class Progress:
    """How far a batch has come.

    Args:
        stream: Where the bar is drawn, if it is a terminal; None is nowhere.
        total: All requests; None if nobody knows.
        done: Those that were answered before.
        failed: How many of them failed.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        stream: Optional[TextIO],
        total: Optional[int],
        done: int = 0,
        failed: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream if stream is not None and stream.isatty() else None
        #: All requests; None if nobody knows.
        self.total = total
        self._done = self._done_before = done
        self._failed = failed
        self._clock = clock
        self._began = clock()
        self._drawn_at: Optional[float] = None
        self._draw()

    @property
    def finished(self) -> int:
        """Requests answered in this run."""
        return self._done - self._done_before

    @property
    def seconds(self) -> float:
        """Since it began."""
        return self._clock() - self._began

    def count(self, success: bool) -> None:
        """One more is answered."""
        self._done += 1
        self._failed += not success
        if self._drawn_at is None or self._clock() - self._drawn_at >= _REDRAWN_S:
            self._draw()

    def clear(self) -> None:
        """Leave the line to others, until the next request is done."""
        self._write("", end="\r")

    def _draw(self) -> None:
        self._drawn_at = self._clock()
        width, lines = self._width(), list(self._lines())
        self._write(next((line for line in lines if len(line) <= width), lines[-1][:width]))

    def _lines(self) -> Iterator[str]:
        """What to show, from the widest to the narrowest."""
        rate = self.finished / self.seconds if self.seconds else 0.0
        failed = f"{self._failed:,} failed"
        speed = [f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"] if rate else []
        if not self.total:
            yield "  ".join([f"{self._done:,} done", *speed, failed])
            yield f"{self._done:,} done  {failed}"
            return
        share = min(1.0, self._done / self.total)
        filled = int(share * _BAR_CHARS)
        bar = f"[{'#' * filled}{'-' * (_BAR_CHARS - filled)}]"
        count = f"{share:4.0%}  {self._done:,} of {self.total:,}"
        left = [f"{duration(max(0, self.total - self._done) / rate)} left"] if rate else []
        yield "  ".join([f"{bar} {count}", *speed, failed, *left])
        yield "  ".join([count.strip(), *speed, failed, *left])
        yield "  ".join([count.strip(), failed, *left])
        yield "  ".join([count.strip(), failed])
        yield f"{share:.0%}  {failed}"

    def _write(self, line: str, end: str = "") -> None:
        """Over what was there: spaces erase on every terminal."""
        if self._stream is not None:
            try:
                self._stream.write(f"\r{line:<{self._width()}}{end}")
                self._stream.flush()
            except (OSError, ValueError):
                silence(self._stream)
                self._stream = None  # the terminal has gone

    def _width(self) -> int:
        """Columns without the last, which would wrap: those of the terminal that is drawn on, whatever stdout is."""
        said = os.environ.get("COLUMNS", "")
        columns = int(said) if said.isascii() and said.isdigit() else 0
        if not columns and self._stream is not None:
            with contextlib.suppress(OSError, ValueError, AttributeError):
                columns = os.get_terminal_size(self._stream.fileno()).columns
        # A terminal that does not know its size says 0.
        return (columns or 80) - 1


def duration(seconds: float) -> str:
    """3 s, 2 min 5 s, 1 h 2 min"""
    minutes, whole = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60:,} h {minutes % 60} min"
    return f"{minutes} min {whole} s" if minutes else f"{whole} s"
