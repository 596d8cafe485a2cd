"""A process's control group tells its container and its batch job; pure."""

import re

_CONTAINER = re.compile(r"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])")
_POD = re.compile(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})(?![0-9a-f])")
_SLURM = re.compile(r"slurm[^\n]*/job_(\d{1,20})(?=[/\n]|$)")


def container_id(text: str) -> str | None:
    """The first 12 hex digits of the innermost container in a `/proc/PID/cgroup`.

    Docker, containerd, CRI-O and Podman all name a container's group by its 64 digits, in
    versions 1 and 2 of control groups alike. None outside a container.
    """
    found = _CONTAINER.findall(text)
    return found[-1][:12] if found else None


def job_name(text: str) -> str | None:
    """The Slurm job's id, or `pod <uid>` for a Kubernetes pod; None for neither."""
    if slurm := _SLURM.search(text):
        return slurm[1]
    if pod := _POD.search(text):
        return f"pod {pod[1].replace('_', '-')}"
    return None
