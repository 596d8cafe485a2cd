"""A request that cannot be answered, in words."""

from collections.abc import Mapping


class Wrong(Exception):
    """What is wrong, what to do about it, and the HTTP status that says so."""

    def __init__(
        self, status: int, error: str, hint: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.headers = headers
        self.status = status
        self.error = error
        self.hint = hint
