"""Which GPUs the kernel has: one that came, came back, was removed, or merely left."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_monitor.collector.gpu.kernel_gpus import KernelGpus

FIRST, SECOND = "0000:1b:00.0", "0001:3b:00.0"
PLACE = "00000001:3B:00.0"


@pytest.fixture
def kernel(tmp_path: Path) -> KernelGpus:
    kernel = KernelGpus(str(tmp_path / "gpus"), str(tmp_path / "pci"))
    add(tmp_path, FIRST)
    add(tmp_path, SECOND)
    kernel.scan()
    return kernel


def add(folder: Path, address: str) -> None:
    for kind in ("gpus", "pci"):
        (folder / kind / address).mkdir(parents=True)


def remove(folder: Path, address: str, kind: str) -> None:
    """Out of sight, but not deleted: its inode stays taken, as the kernel's counter goes on."""
    (folder / kind / address).rename(folder / f"{kind} {address}")


def test_gpus_are_listed_as_nvml_names_them(kernel: KernelGpus) -> None:
    assert kernel.bus_ids == ["00000000:1B:00.0", PLACE]


def test_nothing_has_come_while_nothing_changes(kernel: KernelGpus) -> None:
    assert not kernel.scan()


def test_a_gpu_that_leaves_is_no_gpu_that_came(kernel: KernelGpus, tmp_path: Path) -> None:
    remove(tmp_path, SECOND, "gpus")

    assert not kernel.scan()
    assert kernel.bus_ids == ["00000000:1B:00.0"]


def test_a_gpu_that_is_new_or_back_has_come(kernel: KernelGpus, tmp_path: Path) -> None:
    remove(tmp_path, SECOND, "gpus")
    kernel.scan()
    (tmp_path / "gpus" / SECOND).mkdir()

    assert kernel.scan() and not kernel.scan()


@pytest.mark.parametrize("kind", ["gpus", "pci"])
def test_a_gpu_that_left_and_came_back_between_two_scans_has_come(
    kernel: KernelGpus, tmp_path: Path, kind: str
) -> None:
    remove(tmp_path, SECOND, kind)
    (tmp_path / kind / SECOND).mkdir()

    assert kernel.scan() and not kernel.scan()


def test_a_gpu_is_removed_once_neither_folder_has_it(kernel: KernelGpus, tmp_path: Path) -> None:
    remove(tmp_path, SECOND, "gpus")
    kernel.scan()
    unbound = kernel.is_removed(PLACE)
    remove(tmp_path, SECOND, "pci")

    assert not unbound and kernel.is_removed(PLACE)


def test_without_the_kernel_modules_folder_no_gpu_is_removed(tmp_path: Path) -> None:
    kernel = KernelGpus(str(tmp_path / "gpus"), str(tmp_path / "pci"))

    assert not kernel.scan() and kernel.bus_ids == []
    assert not kernel.is_removed(PLACE)


@given(st.lists(st.sets(st.sampled_from([FIRST, SECOND, "0000:5e:00.0"])), min_size=1))
def test_a_gpu_has_come_exactly_if_it_was_not_listed_before(
    tmp_path_factory: pytest.TempPathFactory, listings: list[set[str]]
) -> None:
    folder = tmp_path_factory.mktemp("kernel")
    (folder / "gpus").mkdir()
    kernel = KernelGpus(str(folder / "gpus"), str(folder / "pci"))
    before: set[str] = set()
    for listing in listings:
        for address in before ^ listing:
            place = folder / "gpus" / address
            place.rmdir() if address in before else place.mkdir()
        assert kernel.scan() == bool(listing - before)
        before = listing
