"""Tells ``on_attempt`` how each attempt ended; nothing that it does can harm a call."""

import logging
from typing import Callable, Optional

from .._text.log_lines import log_line
from .._text.redaction import class_name
from ..codes import WhyEnded
from ..invocations import Attempt
from .interruptions import check_not_interrupted
from .outcomes import Outcome


class AttemptReporter:
    """Calls ``on_attempt``, if there is one, for one adapter's attempts."""

    def __init__(self, on_attempt: Optional[Callable[[Attempt], object]], module_name: str, function_name: str) -> None:
        self._on_attempt = on_attempt
        self._module_name = module_name
        self._function_name = function_name
        self._complained = False

    def report(
        self,
        number: int,
        outcome: Outcome,
        duration_s: float,
        next_delay_s: Optional[float],
        why_ended: Optional[WhyEnded],
        first_text_s: Optional[float] = None,
    ) -> None:
        """Report attempt ``number``, from 1; either a next one follows, or there is a reason why none does."""
        if self._on_attempt is None:
            return
        attempt = Attempt(
            module_name=self._module_name,
            function_name=self._function_name,
            number=number,
            error_code=outcome.error_code,
            executed=outcome.executed,
            status_code=outcome.head.status_code,
            duration_s=duration_s,
            next_delay_s=next_delay_s,
            why_ended=why_ended,
            first_text_s=first_text_s,
        )
        try:
            self._on_attempt(attempt)
        except Exception as exc:
            check_not_interrupted(exc)
            # Once: what fails for one attempt fails for all, and a log line for each would bury the others.
            if not self._complained:
                self._complained = True
                raised = class_name(exc)
                log_line(
                    logging.ERROR,
                    f"on_attempt raised {raised}:",
                    {"module_name": self._module_name},
                    exception_type=raised,
                )
