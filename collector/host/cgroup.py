"""A process's container, batch job and session owner, by its control group; pure."""

import re

_CONTAINER = re.compile(r"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])")
_POD = re.compile(r"pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})(?![0-9a-f])")
_SLURM = re.compile(
    r"slurm[^\n]*/job_(\d{1,20})(?=[/\n]|$)|slurmstepd\.scope/(s[0-9A-Z]{13})(?=[/\n]|$)"
)
_OWNER = re.compile(
    r"^\d+:[^:\n]*:/(?:user\.slice/user-(\d{1,10})\.slice|slurm[^/\n]*/uid_(\d{1,10})/job_\d+)(?=[/\n]|$)",
    re.MULTILINE,
)
"""From the root on: further down users may name groups as they like."""


def container_id(text: str) -> str | None:
    """The first 12 hex digits of the innermost container in a `/proc/PID/cgroup`.

    Docker, containerd, CRI-O and Podman all name a container's group by its 64 digits, in
    versions 1 and 2 of control groups alike. None outside a container.
    """
    found = _CONTAINER.findall(text)
    return found[-1][:12] if found else None


def slurm_job_id(text: str) -> str | None:
    """The id of the Slurm job that the process belongs to; None outside one.

    From Slurm 26.05 on the group is named for the job's SLUID, like `s5K1KKYAYG5D00`, and not for
    its number: commands of Slurm accept either.
    """
    found = _SLURM.search(text)
    return None if found is None else found[1] or found[2]


def pod_uid(text: str) -> str | None:
    """The UID of the Kubernetes pod that the process runs in; None outside one.

    The kubelet writes it with dashes or, where systemd manages the groups, with underscores.
    """
    found = _POD.search(text)
    return None if found is None else found[1].replace("_", "-")


def owner_uid(text: str) -> int | None:
    """The uid whose session, rootless container or Slurm job the process is in; None outside one.

    systemd keeps every process of a login below `user-UID.slice` (systemd-logind.service(8)), also
    one that runs as root by sudo. Slurm has `uid_UID` where it uses version 1 of control groups.
    """
    found = _OWNER.search(text)
    return None if found is None else int(found[1] or found[2])
