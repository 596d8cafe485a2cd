"""A GPU's links to the host and to other GPUs, read once a minute."""

from gpu_monitor.collector.gpu import nvml_links, plausible
from gpu_monitor.collector.gpu.nvml_handle import Handle
from gpu_monitor.collector.gpu.queries import Queries
from gpu_monitor.collector.gpu.rhythm import Rhythm

LINKS_SECONDS = 60.0


class Links:
    """Follows the links of one GPU over every reopening of the driver.

    `pcie_generation` falls while the GPU is idle; `pcie_width` counts lanes. `nvlinks_up` is None
    for a GPU without NVLink. All are None where they are not known.
    """

    def __init__(self) -> None:
        self.pcie_generation: int | None = None
        self.pcie_width: int | None = None
        self.nvlinks_up: int | None = None
        self._max_width: int | None = None
        self._most_up = 0
        self._due = Rhythm(LINKS_SECONDS)

    def refresh(self, queries: Queries, handle: Handle, now: float) -> None:
        """Query NVML if a minute has passed; `now` is in monotonic seconds."""
        if not self._due.is_due(now):
            return
        query = queries.query
        self.pcie_generation = plausible.pcie(query(nvml_links.pcie_generation, handle))
        self.pcie_width = plausible.pcie(query(nvml_links.pcie_width, handle))
        self._max_width = plausible.pcie(query(nvml_links.pcie_max_width, handle))
        count = query(nvml_links.nvlink_count, handle)
        self.nvlinks_up = None if count is None else query(nvml_links.nvlinks_up, handle, count)
        self._most_up = max(self._most_up, self.nvlinks_up or 0)
