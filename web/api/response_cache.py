"""Responses that many clients share: computed once for each document and role."""

import asyncio
from collections.abc import Callable

from gpu_monitor.web.auth.redaction import redact_document
from gpu_monitor.web.settings import Role
from gpu_monitor.wire.replica import Document, Replica


class ResponseCache:
    """The latest response of each kind; `replica` holds the document."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._responses: dict[tuple[str, Role], tuple[Document, asyncio.Task[bytes]]] = {}

    async def get(self, kind: str, role: Role, compute: Callable[[Document], bytes]) -> bytes:
        """`compute`, run in a thread on the document as the role sees it.

        Requests for the same kind share one computation until the document changes.
        """
        document = self._replica.document
        cached = self._responses.get((kind, role))
        if cached is None or cached[0] is not document:
            work = asyncio.to_thread(lambda: compute(redact_document(document, role)))
            cached = self._responses[kind, role] = (document, asyncio.create_task(work))
        return await asyncio.shield(cached[1])
