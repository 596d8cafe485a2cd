"""A request that is refused, with the reason and the remedy."""

from collections.abc import Mapping


class RequestRefused(Exception):
    """Answered with this HTTP status: what is wrong, and what to do about it."""

    def __init__(
        self, status: int, error: str, hint: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.headers = headers
        self.status = status
        self.error = error
        self.hint = hint
