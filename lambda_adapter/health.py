"""Health counters: changed under a lock, read as one frozen snapshot."""

import threading
from typing import Any, Callable, Dict, Optional

import attrs

from ._process import forks
from ._text.timestamps import utc_timestamp


@attrs.frozen
class Health:
    """One moment's counters; consistent among themselves.

    Attributes:
        unhealthy_threshold: Consecutive failures from which ``is_healthy`` is false.
        last_success: When the last call succeeded: "2024-01-15T10:30:45.123456Z", or None.
        last_failure: When the last call failed, or None.
        consecutive_failures: Failures since the last success.
        total_requests: Calls that were counted.
        total_failures: Counted calls that failed.
        circuit_is_closed: Whether the circuit breaker lets all calls pass; True without one.
    """

    unhealthy_threshold: int = 3
    """Consecutive failures from which ``is_healthy`` is false."""
    last_success: Optional[str] = None
    """When the last call succeeded: "2024-01-15T10:30:45.123456Z", or None."""
    last_failure: Optional[str] = None
    """When the last call failed, or None."""
    consecutive_failures: int = 0
    """Failures since the last success."""
    total_requests: int = 0
    """Calls that were counted."""
    total_failures: int = 0
    """Counted calls that failed."""
    circuit_is_closed: bool = True
    """Whether the circuit breaker lets all calls pass; True without one."""

    @property
    def is_healthy(self) -> bool:
        """Whether fewer than ``unhealthy_threshold`` calls failed in a row, and the circuit is closed."""
        return self.circuit_is_closed and self.consecutive_failures < self.unhealthy_threshold

    @property
    def error_rate(self) -> float:
        """Failures per request, 0.0 to 1.0, rounded to 4 digits; 0.0 before the first request."""
        return round(self.total_failures / self.total_requests, 4) if self.total_requests else 0.0

    def __repr__(self) -> str:
        told = {**self.to_dict(), "unhealthy_threshold": self.unhealthy_threshold}
        if not self.circuit_is_closed:
            told["circuit_is_closed"] = False
        return f"Health({', '.join(f'{name}={value!r}' for name, value in told.items())})"

    def to_dict(self) -> Dict[str, Any]:
        """The seven values of ``LambdaAdapter.get_health_status``."""
        return {
            "is_healthy": self.is_healthy,
            "last_success": self.last_success,
            "last_failure": self.last_failure,
            "consecutive_failures": self.consecutive_failures,
            "total_requests": self.total_requests,
            "total_failures": self.total_failures,
            "error_rate": self.error_rate,
        }


class HealthTracker:
    """Counts outcomes from any number of threads."""

    def __init__(self, unhealthy_threshold: int, clock: Callable[[], str] = utc_timestamp) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._health = Health(unhealthy_threshold=unhealthy_threshold)
        forks.register(self)

    @property
    def health(self) -> Health:
        """The current snapshot. Needs no lock: a record replaces it whole, so a reader never sees half of one."""
        return self._health

    def record(self, success: bool) -> None:
        """Count one call's outcome."""
        with self._lock:
            now, old = self._clock(), self._health
            self._health = Health(
                unhealthy_threshold=old.unhealthy_threshold,
                last_success=now if success else old.last_success,
                last_failure=old.last_failure if success else now,
                consecutive_failures=0 if success else old.consecutive_failures + 1,
                total_requests=old.total_requests + 1,
                total_failures=old.total_failures + (not success),
            )

    def reset_after_fork(self) -> None:
        """The lock may be held by a thread that does not exist in the child; the snapshot is whole either way."""
        self._lock = threading.Lock()
