"""A GPU's slices, read beside it."""

import os
from dataclasses import replace

import pytest

from gpu_monitor.collector.gpu.device import MIG_MODE_SECONDS, SLICES_SECONDS
from gpu_monitor.collector.gpu.readings import GpuReading, Use
from tests.collector.gpu.devices import BUSY, device, read
from tests.fake_nvml import FakeNvml
from tests.fake_nvml.scenario import Call, Mig, Process, Scenario


def test_an_older_driver_is_asked_for_the_memory_of_slices_the_same_way(opened: FakeNvml) -> None:
    divided = replace(BUSY, migs=[Mig(processes=[Process(4242, memory_mib=700)])])
    reading = read(divided, opened, Call("nvmlDeviceGetMemoryInfo_v2", error="FUNCTION_NOT_FOUND"))

    assert reading.slices[0].memory_total_bytes == 9856 << 20
    assert reading.slices[0].memory_used_bytes == 700 << 20


def test_a_slice_has_a_reading_of_its_own_with_its_processes(opened: FakeNvml) -> None:
    piece = Mig(
        profile="3g.40gb", uuid="MIG-1", memory_total_mib=40448, memory_used_mib=512,
        processes=[Process(os.getpid(), memory_mib=512)],
    )  # fmt: skip

    reading = read(replace(BUSY, migs=[piece, Mig(profile="1g.10gb")]), opened)

    assert reading.utilization_percent is None
    assert reading.power_watts == 312.4
    assert reading.uses == ()
    first, second = reading.slices
    assert (first.identity.number, first.identity.mig_profile) == (0, "3g.40gb")
    assert first.memory_total_bytes == 40448 << 20
    assert first.utilization_percent is None
    assert first.uses == (Use(os.getpid(), "C", 512 << 20, None),)
    assert second.identity.mig_profile == "1g.10gb" and second.uses == ()


def test_a_slices_profile_is_made_from_its_size_where_its_name_has_none(opened: FakeNvml) -> None:
    opened.write(
        Scenario(
            gpus=[replace(BUSY, migs=[Mig(slices=2, compute_slices=1, memory_total_mib=20096)])],
            calls=[Call("nvmlDeviceGetName", error="UNKNOWN", mig=0)],
        )
    )

    (piece,) = device().read(0.0).slices

    assert piece.identity.mig_profile == "1c.2g.20gb"


def slice_numbers(reading: GpuReading) -> list[int]:
    return [piece.identity.number for piece in reading.slices]


def test_slices_keep_the_drivers_index_where_it_has_gaps(opened: FakeNvml) -> None:
    sparse = {1: Mig(), 4: Mig(), 6: Mig()}

    reading = read(replace(BUSY, migs=sparse), opened)

    assert slice_numbers(reading) == [1, 4, 6]


@pytest.mark.parametrize("error", ["NOT_FOUND", "INVALID_ARGUMENT", "NO_PERMISSION", "UNKNOWN"])
def test_a_slice_that_cannot_be_opened_costs_only_itself(opened: FakeNvml, error: str) -> None:
    failing = Call("nvmlDeviceGetMigDeviceHandleByIndex", error=error, mig=1)
    opened.write(Scenario(gpus=[replace(BUSY, migs=[Mig(), Mig(), Mig()])], calls=[failing]))

    assert slice_numbers(device().read(0.0)) == [0, 2]


def test_a_gpu_that_is_lost_while_its_slices_are_opened_is_lost(opened: FakeNvml) -> None:
    failing = Call("nvmlDeviceGetMigDeviceHandleByIndex", error="GPU_IS_LOST", mig=1)
    opened.write(Scenario(gpus=[replace(BUSY, migs=[Mig(), Mig()])], calls=[failing]))

    assert device().read(0.0).state == "lost"


def test_slices_come_and_go_with_the_mig_mode(opened: FakeNvml) -> None:
    gpu = device()
    whole = gpu.read(0.0)
    opened.write(Scenario(gpus=[replace(BUSY, migs=[Mig(profile="1g.10gb")])]))
    divided = gpu.read(MIG_MODE_SECONDS)
    opened.write(Scenario(gpus=[BUSY]))
    again = gpu.read(MIG_MODE_SECONDS + SLICES_SECONDS)

    assert [len(reading.slices) for reading in (whole, divided, again)] == [0, 1, 0]
    readings = [reading.utilization_percent for reading in (whole, divided, again)]
    assert readings == [87, None, 87]
