"""A process's container and job, by the layouts of the common runtimes."""

import pytest

from gpu_monitor.collector.host.cgroup import container_id, owner_uid, pod_uid, slurm_job_id

ID = "3f4e" * 16
POD = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
UNDERSCORED = POD.replace("-", "_")


@pytest.mark.parametrize(
    "text",
    [
        f"12:devices:/docker/{ID}\n",
        f"0::/system.slice/docker-{ID}.scope\n",
        f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container\n",
        f"4:memory:/kubepods/burstable/pod{POD}/{ID}\n",
        f"0::/kubepods.slice/kubepods-pod{UNDERSCORED}.slice/cri-containerd-{ID}.scope\n",
        f"0::/kubepods.slice/kubepods-pod{UNDERSCORED}.slice/crio-{ID}.scope\n",
        f"0::/../../docker/{ID}\n",
        f"0::/docker/{'a' * 64}/docker/{ID}\n",
    ],
)
def test_a_container_is_identified_by_its_first_twelve_digits(text: str) -> None:
    assert container_id(text) == ID[:12]


@pytest.mark.parametrize(
    "text", ["", "0::/\n", "0::/user.slice/user-1000.slice/x.scope\n", f"0::/x/{ID}0\n"]
)
def test_other_groups_are_not_containers(text: str) -> None:
    assert container_id(text) is None


@pytest.mark.parametrize(
    ("text", "job"),
    [
        (f"4:memory:/kubepods/burstable/pod{POD}/{ID}\n", None),
        ("8:memory:/slurm/uid_1000/job_4711/step_0/task_0\n", "4711"),
        ("0::/system.slice/slurmstepd.scope/job_4711/step_batch/user/task_0\n", "4711"),
        ("0::/slurm_node1/uid_0/job_12\n", "12"),
        ("0::/system.slice/slurmstepd.scope/s5K1KKYAYG5D00/step_0/user/task_0\n", "s5K1KKYAYG5D00"),
        ("0::/system.slice/node1_slurmstepd.scope/s5K1KKYAYG5D00\n", "s5K1KKYAYG5D00"),
        ("0::/system.slice/slurmstepd.scope/system\n", None),
        ("0::/system.slice/slurmstepd.scope\n", None),
        ("0::/user.slice/s5K1KKYAYG5D00/step_0\n", None),
        ("0::/user.slice/job_12\n", None),
        ("0::/system.slice/docker-x.scope\n", None),
        ("", None),
    ],
)
def test_a_slurm_job_is_identified_by_its_id(text: str, job: str | None) -> None:
    assert slurm_job_id(text) == job


@pytest.mark.parametrize(
    ("text", "pod"),
    [
        (f"0::/kubepods.slice/kubepods-pod{UNDERSCORED}.slice/crio-{ID}.scope\n", POD),
        (f"4:memory:/kubepods/burstable/pod{POD}/{ID}\n", POD),
        ("8:memory:/slurm/uid_1000/job_4711/step_0/task_0\n", None),
        ("0::/kubepods.slice/kubepods-podx.slice\n", None),
        ("", None),
    ],
)
def test_a_pod_is_identified_by_its_uid(text: str, pod: str | None) -> None:
    assert pod_uid(text) == pod


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        ("0::/user.slice/user-1000.slice/session-3.scope\n", 1000),
        ("0::/user.slice/user-0.slice/session-1.scope\n", 0),
        (
            "9:memory:/user.slice/user-1000.slice\n1:name=systemd:/user.slice/user-1000.slice/x.scope\n",
            1000,
        ),
        (
            f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope\n",
            1000,
        ),
        ("8:memory:/slurm/uid_1000/job_4711/step_0/task_0\n", 1000),
        ("0::/slurm_node1/uid_1000/job_12\n", 1000),
        # Users may create groups of any name below their own.
        ("0::/user.slice/user-1000.slice/user@1000.service/user-0.slice/x\n", 1000),
        ("0::/system.slice/x/user.slice/user-1000.slice\n", None),
        ("0::/user.slice/user-x.slice\n", None),
        ("0::/user.slice/user-1000.slice.d/x\n", None),
        ("0::/user.slice/user-12345678901.slice\n", None),
        (f"0::/system.slice/docker-{ID}.scope\n", None),
        ("0::/../../user.slice/user-1000.slice\n", None),
        ("0::/\n", None),
        ("", None),
    ],
)
def test_the_owner_is_the_user_for_whom_the_group_was_created(text: str, owner: int | None) -> None:
    assert owner_uid(text) == owner
