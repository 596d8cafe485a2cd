"""A GPU's energy counter, which falls only where it was reset; pure."""


class EnergyCounter:
    """What one opening of the driver reports, in joules since the driver was loaded.

    An answer that is lower than the one before is taken for a mistake, and the one before stays.
    Two of them in succession, the second no lower than the first, are believed: a reset of the GPU
    restarts its counter.
    """

    def __init__(self) -> None:
        self._latest: int | None = None
        self._lower: int | None = None

    def ingest(self, joules: int | None) -> int | None:
        """The counter after an answer; None where there was none."""
        latest, lower = self._latest, self._lower
        if joules is None:
            return None
        if latest is not None and joules < latest and (lower is None or joules < lower):
            self._lower = joules
            return latest
        self._latest, self._lower = joules, None
        return joules
