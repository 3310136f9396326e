"""A progress bar: one line on a terminal, nothing anywhere else."""

import shutil
import time
from typing import Callable, Optional, TextIO

_BAR_CHARS = 24
_REDRAWN_S = 0.1


class Progress:
    """How far a batch has come.

    Args:
        stream: Where the bar is drawn, if it is a terminal.
        total: All requests; None if nobody knows.
        done: Those that were answered before.
        failed: How many of them failed.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        stream: TextIO,
        total: Optional[int],
        done: int = 0,
        failed: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._total = total
        self._done = self._done_before = done
        self._failed = failed
        self._clock = clock
        self._began = clock()
        self._drawn_at: Optional[float] = None
        self._visible = stream.isatty()
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
        """Leave the line to others."""
        if self._visible:
            self._write("")
            self._stream.write("\r")
            self._stream.flush()

    def _draw(self) -> None:
        if self._visible:
            self._drawn_at = self._clock()
            self._write(self._line())

    def _line(self) -> str:
        rate = self.finished / self.seconds if self.seconds else 0.0
        parts = [f"{self._failed:,} failed"]
        if rate:
            parts.insert(0, f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s")
        if not self._total:
            return "  ".join([f"{self._done:,} answered", *parts])
        if rate:
            parts.append(f"{duration((self._total - self._done) / rate)} left")
        share = min(1.0, self._done / self._total)
        filled = int(share * _BAR_CHARS)
        bar = f"[{'#' * filled}{'-' * (_BAR_CHARS - filled)}] {share:4.0%}"
        return "  ".join([bar, f"{self._done:,} of {self._total:,}", *parts])

    def _write(self, line: str) -> None:
        """Over what was there. Spaces erase on every terminal; the last column would wrap."""
        # A terminal that does not know its size says 0, and until Python 3.10 that is what shutil repeats.
        width = (shutil.get_terminal_size().columns or 80) - 1
        self._stream.write(f"\r{line[:width]:<{width}}")
        self._stream.flush()


def duration(seconds: float) -> str:
    """3 s, 2 min 5 s, 1 h 2 min"""
    minutes, whole = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60:,} h {minutes % 60} min"
    return f"{minutes} min {whole} s" if minutes else f"{whole} s"
