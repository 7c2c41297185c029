"""How long to wait before something is tried again."""

from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Pauses that double, without sleeping: the owner asks whether it is time.

    Attributes:
        first, longest: Seconds.
    """

    first: float = 0.2
    longest: float = 10.0
    _pause: float = 0.0
    _until: float = 0.0

    def failed(self, now: float) -> float:
        """Note a failure; returns the seconds to wait."""
        self._pause = min(self._pause * 2 or self.first, self.longest)
        self._until = now + self._pause
        return self._pause

    def succeeded(self) -> None:
        """Begin with the first pause the next time."""
        self._pause = self._until = 0.0

    @property
    def failing(self) -> bool:
        """Whether the last attempt failed."""
        return self._pause > 0

    def is_over(self, now: float) -> bool:
        """Whether it may be tried now."""
        return now >= self._until
