"""When something is due that is not done for each sample; pure."""


class Rhythm:
    """Due once every `seconds`: at first at once, the second time up to `stagger` seconds earlier.

    GPUs with different staggers take turns, so that no sample has to wait for all of them. The pace
    may be changed through `seconds`.
    """

    def __init__(self, seconds: float, stagger: float = 0.0) -> None:
        self.seconds = seconds
        self._stagger = stagger % seconds
        self._last_at: float | None = None

    def is_due(self, now: float) -> bool:
        """Whether it is time; if so it counts as done. `now` in monotonic seconds."""
        if self._last_at is None:
            self._last_at = now - self._stagger
            return True
        if now - self._last_at < self.seconds:
            return False
        self._last_at = now
        return True
