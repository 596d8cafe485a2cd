"""Responses about the whole fleet are computed once, however many clients ask."""

import asyncio
from typing import Any

from gpu_monitor.web.api.response_cache import ResponseCache
from gpu_monitor.wire.replica import Replica


async def test_a_response_is_computed_once_for_each_document_and_role() -> None:
    computed: list[str] = []

    def compute(document: dict[str, Any]) -> bytes:
        computed.append(document["web"]["role"])
        return b"%d" % len(computed)

    replica = Replica({"version": "0"}, 2.0, 0.0)
    cache = ResponseCache(replica)
    requests = [cache.get("kind", role, compute) for role in ("names", "names", "counts", "names")]
    responses = await asyncio.gather(*requests)
    assert (sorted(computed), len(set(responses))) == (["counts", "names"], 2)
    replica.document = {**replica.document, "web": {"version": "1"}}
    await cache.get("kind", "names", compute)
    await cache.get("other", "names", compute)
    assert computed[2:] == ["names", "names"]
