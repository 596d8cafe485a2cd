"""A GPU's links to the host and to other GPUs, read once a minute."""

from collections.abc import Iterator

from gpu_monitor.collector.findings import Finding
from gpu_monitor.collector.gpu import nvml_links, plausible
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.queries import Queries
from gpu_monitor.collector.gpu.rhythm import Rhythm

LINKS_SECONDS = 60.0
_LOOK_AT_NVLINK = (
    "nvidia-smi nvlink -s shows which ones; search the kernel log for Xid 74, and look at bridges"
    " or the fabric manager"
)


class Links:
    """Follows the links of one GPU over every reopening of the driver.

    `pcie_generation` falls while the GPU is idle; `pcie_width` counts lanes. `nvlinks_up` is None
    for a GPU without NVLink. All are None where they are not known. `findings` are what is wrong
    with them: fewer lanes than card and slot have, fewer NVLinks up than there were before.
    """

    def __init__(self) -> None:
        self.pcie_generation: int | None = None
        self.pcie_width: int | None = None
        self.nvlinks_up: int | None = None
        self.findings: tuple[Finding, ...] = ()
        self._most_up = 0
        self._due = Rhythm(LINKS_SECONDS)

    def refresh(self, queries: Queries, handle: Handle, now: float) -> None:
        """Query NVML if a minute has passed; `now` is in monotonic seconds."""
        if not self._due.is_due(now):
            return
        query = queries.query
        self.pcie_generation = plausible.pcie(query(nvml_links.pcie_generation, handle))
        self.pcie_width = plausible.pcie(query(nvml_links.pcie_width, handle))
        max_width = plausible.pcie(query(nvml_links.pcie_max_width, handle))
        count = query(nvml_links.nvlink_count, handle)
        self.nvlinks_up = None if count is None else query(nvml_links.nvlinks_up, handle, count)
        self._most_up = max(self._most_up, self.nvlinks_up or 0)
        self.findings = (
            *_narrow_pcie(self.pcie_width, max_width),
            *_nvlinks_down(self.nvlinks_up, self._most_up),
        )


def _narrow_pcie(width: int | None, max_width: int | None) -> Iterator[Finding]:
    if width is not None and max_width is not None and width < max_width:
        words = f"its PCIe link uses {width} of {max_width} lanes"
        remedy = "reseat the card, and look at its slot, riser and power"
        yield Finding("pcie_narrow", "warning", words, remedy)


def _nvlinks_down(up: int | None, most_up: int) -> Iterator[Finding]:
    if up is not None and up < most_up:
        words = f"{most_up - up} of the {most_up} NVLinks that were up are down"
        yield Finding("nvlink_down", "warning", words, _LOOK_AT_NVLINK)
