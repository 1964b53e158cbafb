"""A circuit breaker: stops sending to a channel that fails, and tries one when it seems well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FAILURES_TO_OPEN = 5
"""So many failures in a row open the breaker; one success begins the count anew."""

State = Literal["closed", "open", "half_open"]


@dataclass
class Breaker:
    """Closed, all pass; open, none do, until a probe finds the channel well.

    Then, half open, one passes after each good probe, as a trial: its success closes the breaker,
    its failure opens it.
    """

    state: State = "closed"
    _failure_count: int = 0
    _trial_is_out: bool = False

    def lets_pass(self) -> bool:
        """Whether the next payment may be sent; half open, this hands out a trial."""
        if self.state == "half_open" and not self._trial_is_out:
            self._trial_is_out = True
            return True
        return self.state == "closed"

    def succeeded(self) -> None:
        """The channel answered, be it with a decline."""
        self.state, self._failure_count, self._trial_is_out = "closed", 0, False

    def failed(self) -> bool:
        """The channel was out, or did not answer. True when this has opened the breaker."""
        self._failure_count += 1
        is_enough = self._failure_count >= FAILURES_TO_OPEN
        opens = self.state == "half_open" or (self.state == "closed" and is_enough)
        if opens:
            self.state, self._trial_is_out = "open", False
        return opens

    def probed_well(self) -> None:
        """The provider says that the channel works: there may be a trial.

        A trial that was handed out and then not needed is so replaced by the next.
        """
        if self.state != "closed":
            self.state, self._trial_is_out = "half_open", False
