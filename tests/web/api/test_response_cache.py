"""However many ask, an answer about the whole fleet is made once."""

import asyncio
from typing import Any

from gpu_monitor.web.api.response_cache import Once
from gpu_monitor.wire.replica import Following


async def test_what_many_ask_for_is_made_once_for_each_document_and_role() -> None:
    made: list[str] = []

    def make(seen: dict[str, Any]) -> bytes:
        made.append(seen["web"]["role"])
        return b"%d" % len(made)

    following = Following({"version": "0"}, 2.0, 0.0)
    once = Once(following)
    asks = [once.made("kind", role, make) for role in ("names", "names", "counts", "names")]
    answers = await asyncio.gather(*asks)
    assert (sorted(made), len(set(answers))) == (["counts", "names"], 2)
    following.document = {**following.document, "web": {"version": "1"}}
    await once.made("kind", "names", make)
    await once.made("other", "names", make)
    assert made[2:] == ["names", "names"]
