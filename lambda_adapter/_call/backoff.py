"""From the number of a retry to the seconds before it. Pure: randomness comes in as an argument."""

import math
import random
from typing import Callable, Optional

import attrs


@attrs.frozen(eq=False)
class Backoff:
    """``min(initial * 2**n, maximum)``, of which the share ``jitter`` is random.

    With ``jitter`` 1.0 this is AWS's full jitter:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    initial_delay_s: float
    max_delay_s: float
    jitter: float = 1.0
    random: Callable[[], float] = attrs.field(default=random.random, repr=False)

    def delay_s(self, retry: int, retry_after_s: Optional[float] = None) -> float:
        """Seconds before retry number ``retry`` (from 0), never over ``max_delay_s``.

        ``retry_after_s`` is the least that the server asked for.
        """
        try:
            ceiling = min(math.ldexp(self.initial_delay_s, retry), self.max_delay_s)
        except OverflowError:
            ceiling = self.max_delay_s
        delay = ceiling * (1.0 - self.jitter * self.random())
        return min(max(delay, retry_after_s or 0.0), self.max_delay_s)
