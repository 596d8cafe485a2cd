"""The metrics of GPUs; pure."""

from collections.abc import Iterator, Sequence

from gpu_monitor.web.api.exposition import Family, labels
from gpu_monitor.web.api.families import Members, cells, counter, from_columns, state_set
from gpu_monitor.web.api.metric_names import GPU_COUNTERS, GPU_METRICS
from gpu_monitor.wire.gpu_labels import gpu_labels

GPU_STATE_LABELS = ("ok", "lost", "asleep", "error")
GPU_HEALTH_LABELS = ("ok", "degraded", "failed")
GPU_USES = ("busy", "free", "held_idle")


def gpu_metrics(hosts: Members) -> Iterator[Family]:
    """All families of the GPUs of these hosts."""
    tables = {name: host.get("gpus", {}) for name, host in hosts.items()}
    rows = [(_gpu_labels(name, gpus), gpus) for name, gpus in tables.items()]
    help = "Whether the GPU responds: ok, lost, asleep or error."
    yield state_set("gpu_state", help, "state", GPU_STATE_LABELS, cells("state", rows))
    help = "How the GPU is used: busy, free or held idle."
    yield state_set("gpu_use", help, "use", GPU_USES, cells("use", rows))
    help = "The GPU's health: ok, degraded or failed."
    yield state_set("gpu_health", help, "state", GPU_HEALTH_LABELS, cells("health", rows))
    known = [(_unless_lost(own, gpus), gpus) for own, gpus in rows]
    yield from from_columns(GPU_METRICS, known)
    for column, help in GPU_COUNTERS.items():
        yield counter(f"gpu_{column}_total", help, cells(column, known))


def _gpu_labels(host: str, gpus: Members) -> list[str]:
    unknown = [None] * len(gpus.get("index", ()))
    uuids, models = (gpus.get(column, unknown) for column in ("uuid", "name"))
    names = gpu_labels(gpus.get("index", ()), gpus.get("parent", unknown))
    return [
        labels(host=host, gpu=gpu, uuid=uuid, model=model)
        for gpu, uuid, model in zip(names, uuids, models, strict=True)
    ]


def _unless_lost(rows: Sequence[str], gpus: Members) -> list[str | None]:
    lost = {row for row, state in enumerate(gpus.get("state", ())) if state == "lost"}
    return [None if row in lost else own for row, own in enumerate(rows)]
