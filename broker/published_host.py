"""One host as published, brought up to date once per tick."""

import zlib
from typing import Any

from gpu_monitor.broker.delta import advance_all, advance_numbers, advance_own
from gpu_monitor.broker.gpu_use import UseLimits
from gpu_monitor.broker.host_record import LIVE, HostRecord
from gpu_monitor.broker.host_tally import HostTally
from gpu_monitor.broker.own_findings import ClockFinding, with_findings
from gpu_monitor.broker.totals import Totals
from gpu_monitor.broker.turns import Turns, bookkeeping
from gpu_monitor.wire.document import Snapshot, Table


class PublishedHost:
    """`document` is the host's part of the fleet's document, `state` its state in it."""

    __slots__ = ("_clock", "_is_behind", "_tally", "_turns", "document", "state")

    def __init__(self, name: str, rpc_timeout: float) -> None:
        self.document: dict[str, Any] = {}
        self.state = ""
        self._turns = Turns(zlib.crc32(name.encode()) / 2**32)
        self._tally = HostTally(name)
        self._clock = ClockFinding(rpc_timeout)
        self._is_behind = False
        """Whether slow values have changed beside others than numbers, and wait for their turn."""

    def advance(
        self, record: HostRecord, state: str, received: float, limits: UseLimits, totals: Totals
    ) -> dict[str, Any]:
        """Brings `document` and `totals` up to date; the patch that does the same.

        `received` is the broker's boot clock in seconds.
        """
        turned, self.state = self.state != state, state
        snapshot = record.snapshot
        if snapshot is None:
            self.document["state"] = state
            return {"state": state}
        slow, book = self._turns.due(received)
        exact = turned or state != LIVE
        own = bookkeeping(snapshot, record.heard_at, record.sample_age) if book or exact else {}
        only_numbers, record.only_numbers = record.only_numbers, True
        if own and self._clock.judge(own["clock_offset_seconds"], record.heard_at):
            only_numbers = False
        if only_numbers and not exact and not (slow and self._is_behind):
            return self._advance_numbers(snapshot, own, slow, limits, totals)
        own.update(state=state, findings=self._findings(record, snapshot))
        return self._advance_all(snapshot, own, slow or exact, limits, totals)

    def _findings(self, record: HostRecord, snapshot: Snapshot) -> Table:
        own, clock = record.findings(), self._clock.finding
        return with_findings(snapshot["findings"], own if clock is None else [*own, clock])

    def _advance_numbers(
        self,
        snapshot: Snapshot,
        own: dict[str, Any],
        slow: bool,
        limits: UseLimits,
        totals: Totals,
    ) -> dict[str, Any]:
        """The usual case: a live host whose numbers alone have changed."""
        patch = advance_numbers(self.document, snapshot, slow)
        self._tally.count_numbers(snapshot, patch, limits, totals)
        if slow:
            self._tally.count_process_memory(snapshot, totals)
        advance_own(self.document, patch, self._tally.uses, own)
        return patch

    def _advance_all(
        self,
        snapshot: Snapshot,
        own: dict[str, Any],
        everything: bool,
        limits: UseLimits,
        totals: Totals,
    ) -> dict[str, Any]:
        if self.state == LIVE:
            self._tally.count(snapshot, limits, totals)
        else:
            self._tally.remove(snapshot, totals)
        self._is_behind = not everything
        return advance_all(self.document, snapshot, self._tally.uses, own, everything)
