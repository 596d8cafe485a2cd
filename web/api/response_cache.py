"""What is made of the document for many who ask: once for each document and role."""

import asyncio
from collections.abc import Callable

from gpu_monitor.web.auth.redaction import see
from gpu_monitor.web.settings import Role
from gpu_monitor.wire.replica import Document, Replica


class Once:
    """The last answers of each kind; `replica` holds the document."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._made: dict[tuple[str, Role], tuple[Document, asyncio.Task[bytes]]] = {}

    async def made(self, kind: str, role: Role, make: Callable[[Document], bytes]) -> bytes:
        """`make` of the document as the role sees it, in a thread; whoever asks for the same
        kind while that document stands is given the same bytes."""
        document = self._replica.document
        known = self._made.get((kind, role))
        if known is None or known[0] is not document:
            work = asyncio.to_thread(lambda: make(see(document, role)))
            known = self._made[kind, role] = (document, asyncio.create_task(work))
        return await asyncio.shield(known[1])
