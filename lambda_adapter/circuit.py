"""The circuit breaker: after enough failures a function is left alone for a while, then tried once."""

import threading
from typing import Any, Callable, Dict, Optional

import attrs

from ._process import forks
from ._process.clock import monotonic_s
from ._rules import validation
from ._rules.limits import MAX_DELAY_S
from .codes import CODES, CircuitEffect, ErrorCode


@attrs.frozen
class CircuitBreaker:
    """When to stop calling a function that is down, and when to try it again.

    Each adapter keeps a state of its own: one value may be given to many.

    Args:
        failure_threshold: Failures that open the circuit, from 1, without a success or ``function_failed`` between
            them; further calls are then refused as ``circuit_open``.
        reset_timeout: Seconds until one call is let through to try, over 0 and up to 3,600.
        clock: Seconds, monotonic; for tests.

    Raises:
        ValueError: An argument is not as said above; the message names it.
    """

    failure_threshold: int = attrs.field(default=5, validator=validation.integer(least=1))
    """Failures that open the circuit, from 1, without a success or ``function_failed`` between them; further calls are
    then refused as ``circuit_open``.
    """
    reset_timeout: float = attrs.field(default=30.0, validator=validation.number(most=MAX_DELAY_S))
    """Seconds until one call is let through to try, over 0 and up to 3,600."""
    clock: Callable[[], float] = attrs.field(
        default=monotonic_s,
        validator=validation.checked(validation.check_plain_function),
        repr=False,
        eq=False,
        kw_only=True,
    )
    """Seconds, monotonic; for tests."""


def effect_of(error_code: Optional[ErrorCode]) -> CircuitEffect:
    """What the end of a call says: a success closes the circuit, a failure does what its row in CODES says."""
    return "closes" if error_code is None else CODES[error_code].circuit


class Circuit:
    """One adapter's state: closed, open, or half open with one probe under way. Without ``settings`` always closed."""

    def __init__(self, settings: Optional[CircuitBreaker]) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        # All below is changed under the lock.
        self._failures = 0
        self._opened_at: Optional[float] = None  # None: closed
        self._probing = False
        self._era = 0  # one for each state: what a call says of an earlier one is no news
        forks.register(self)

    def reset_after_fork(self) -> None:
        """In the child: the lock may be held, and a probe under way is the parent's."""
        self._lock = threading.Lock()
        self._probing = False

    @property
    def is_closed(self) -> bool:
        """Whether all calls pass: no failures have opened it, or a probe has closed it again."""
        return self._opened_at is None

    def wait_s(self) -> Optional[float]:
        """Seconds until a call may try; 0.0 when one may, or when a probe is under way; None when closed."""
        opened_at = self._opened_at  # once: this is asked without the lock too
        if self._settings is None or opened_at is None:
            return None
        return max(0.0, opened_at + self._settings.reset_timeout - self._settings.clock())

    def admits(self) -> bool:
        """Whether ``enter`` would let a call pass now."""
        wait_s = None if self._settings is None else self.wait_s()
        return wait_s is None or (wait_s == 0.0 and not self._probing)

    def enter(self) -> Optional[int]:
        """Begin a call and return its era for ``leave``; None means refused."""
        if self._settings is None:
            return self._era
        with self._lock:
            if not self.admits():
                return None
            if self._opened_at is not None:
                self._probing = True
                self._era += 1
            return self._era

    def leave(self, era: int, effect: CircuitEffect) -> None:
        """End a call that ``enter`` let in."""
        if self._settings is None:
            return
        with self._lock:
            if era != self._era:
                return
            probing, self._probing = self._probing, False
            if effect == "opens":
                self._failures += 1
                if probing or self._failures >= self._settings.failure_threshold:
                    self._change(self._settings.clock())
            elif effect == "closes":
                self._failures = 0
                if probing:
                    self._change(None)

    def _change(self, opened_at: Optional[float]) -> None:
        self._opened_at = opened_at
        self._era += 1

    def to_dict(self) -> Optional[Dict[str, Any]]:
        """The state, for people; None without a circuit breaker."""
        if self._settings is None:
            return None
        with self._lock:
            wait_s = self.wait_s()
            return {
                "state": "closed" if wait_s is None else "open" if wait_s else "half_open",
                "consecutive_failures": self._failures,
                "seconds_until_probe": None if wait_s is None else round(wait_s, 3),
            }
