"""NVIDIA's nvml.h beside nvidia-ml-py's structs, the collector's and the fake driver's: sizes,
offsets, numbers."""

import ctypes
import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pynvml
import pytest

from gpu_monitor.collector.gpu import nvml_errors, nvml_handle
from gpu_monitor.collector.gpu.nvml_arrays import WIDEST_ROW_BYTES, layout
from tests.fake_nvml import library
from tests.fake_nvml.library import compiler

from .cache import HEADERS


class Struct(NamedTuple):
    """A type of nvml.h, nvidia-ml-py's struct of it, and the fake driver's with its members.

    The fields of nvidia-ml-py have the names that nvml.h gives them.
    """

    header: str
    python: Any
    fake: str
    members: str

    @property
    def fields(self) -> list[str]:
        return [field[0] for field in self.python._fields_]


STRUCTS = [
    Struct("nvmlMemory_t", pynvml.c_nvmlMemory_t, "memory_v1", "total free used"),
    Struct(
        *("nvmlMemory_v2_t", pynvml.c_nvmlMemory_v2_t, "memory_v2"),
        "version total reserved free used",
    ),
    Struct("nvmlUtilization_t", pynvml.c_nvmlUtilization_t, "utilization", "gpu memory"),
    Struct(
        *("nvmlPciInfo_t", pynvml.nvmlPciInfo_t, "pci_info"),
        "legacy domain bus device device_id subsystem_id bus_id",
    ),
    Struct(
        *("nvmlPciInfoExt_v1_t", pynvml.nvmlPciInfoExt_v1_t, "pci_info_ext"),
        "version domain bus device device_id subsystem_id base_class sub_class bus_id",
    ),
    Struct(
        *("nvmlProcessInfo_t", pynvml.c_nvmlProcessInfo_v2_t, "process_info"),
        "pid memory gpu_instance compute_instance",
    ),
    Struct(
        *("nvmlProcessUtilizationSample_t", pynvml.c_nvmlProcessUtilizationSample_t),
        *("process_sample", "pid timestamp sm memory encoder decoder"),
    ),
    Struct(
        *("nvmlProcessUtilizationInfo_v1_t", pynvml.c_nvmlProcessUtilizationInfo_v1_t),
        *("sample_info", "timestamp pid sm memory encoder decoder jpeg optical_flow"),
    ),
    Struct(
        *("nvmlProcessesUtilizationInfo_v1_t", pynvml.c_nvmlProcessesUtilizationInfo_v1_t),
        *("samples_v1", "version count last_seen array"),
    ),
    Struct(
        *("nvmlDeviceAttributes_t", pynvml.c_nvmlDeviceAttributes, "attributes"),
        "multiprocessors copy_engines decoders encoders jpegs optical_flows gpu_slices"
        " compute_slices memory_mib",
    ),
    Struct(
        *("nvmlFieldValue_t", pynvml.c_nvmlFieldValue_t, "field_value"),
        "id scope timestamp latency type result value",
    ),
    Struct(
        *("nvmlMarginTemperature_v1_t", pynvml.c_nvmlMarginTemperature_v1_t, "margin_v1"),
        "version celsius",
    ),
    Struct(
        *("nvmlTemperature_v1_t", pynvml.c_nvmlTemperature_v1_t, "temperature_v1"),
        "version sensor celsius",
    ),
    Struct("nvmlGpmSupport_t", pynvml.c_nvmlGpmSupport_t, "gpm_support", "version supported"),
    Struct("nvmlGpmMetric_t", pynvml.c_nvmlGpmMetric_t, "metric", "id result value short_name"),
    Struct(
        *("nvmlGpmMetricsGet_t", pynvml.c_nvmlGpmMetricsGet_t, "metrics"),
        "version count before after metrics",
    ),
    Struct(
        *("nvmlEventData_t", pynvml.c_nvmlEventData_t, "event_data"),
        "device type data gpu_instance compute_instance",
    ),
    Struct("nvmlBAR1Memory_t", pynvml.c_nvmlBAR1Memory_t, "bar1", "total free used"),
]
GROWING = {"nvmlGpmMetricsGet_t"}
"""Ends in an array of all metrics that the header knows. NVML fills as many as it is asked for."""
ERRORS = re.compile(r'\{(\d+), "(\w+)"')


def printed(code: str, folder: Path, *includes: Path) -> list[list[str]]:
    """Words of each line that a C program prints; `code` is the body of its main function."""
    source, program = folder / "probe.c", folder / "probe"
    heads = "".join(f'#include "{path}"\n' for path in includes)
    source.write_text(
        f"#include <stddef.h>\n#include <stdio.h>\n{heads}int main(void) {{\n{code}\n}}\n"
    )
    subprocess.run([*compiler(), "-o", str(program), str(source)], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()]


def layouts(structs: dict[str, list[str]], folder: Path, *includes: Path) -> list[list[int]]:
    """Size, then offsets of the members, of each C type."""
    code = ""
    for name, members in structs.items():
        numbers = [f"sizeof({name})", *(f"offsetof({name}, {each})" for each in members)]
        code += f'printf("{" %zu" * len(numbers)}\\n", {", ".join(numbers)});\n'
    return [[int(word) for word in line] for line in printed(code, folder, *includes)]


def known_to(header: Path) -> list[Struct]:
    """Those that this generation of the header has."""
    text = (header / "nvml.h").read_text()
    return [each for each in STRUCTS if re.search(rf"\b{each.header};", text)]


def without_size_of_growing(structs: list[Struct], found: list[list[int]]) -> list[list[int]]:
    pairs = zip(structs, found, strict=True)
    return [row[1:] if each.header in GROWING else row for each, row in pairs]


def test_structs_are_laid_out_as_nvidia_ml_py_has_them(header: Path, tmp_path: Path) -> None:
    structs = known_to(header)
    found = layouts({each.header: each.fields for each in structs}, tmp_path, header / "nvml.h")
    ours = [
        [ctypes.sizeof(each.python), *(getattr(each.python, name).offset for name in each.fields)]
        for each in structs
    ]
    assert without_size_of_growing(structs, found) == without_size_of_growing(structs, ours)


def test_structs_of_the_fake_driver_are_laid_out_the_same(header: Path, tmp_path: Path) -> None:
    structs = known_to(header)
    found = layouts({each.header: each.fields for each in structs}, tmp_path, header / "nvml.h")
    fakes = {f"struct {each.fake}": each.members.split() for each in structs}
    fake = layouts(fakes, tmp_path, library.SOURCE / "answers.h")
    assert without_size_of_growing(structs, found) == without_size_of_growing(structs, fake)


@pytest.mark.parametrize("header", HEADERS[1:], indirect=True)
def test_newer_headers_have_every_struct(header: Path) -> None:
    assert known_to(header) == STRUCTS


@pytest.mark.parametrize(
    "rows", [pynvml.c_nvmlProcessInfo_v2_t, pynvml.c_nvmlProcessUtilizationSample_t]
)
def test_rows_unpacked_at_once_are_those_of_the_struct(rows: Any) -> None:
    values = [tuple(range(first, first + len(rows._fields_))) for first in (1, 100)]
    packed = b"".join(bytes(rows(*row)) for row in values)
    assert list(layout(rows).iter_unpack(packed)) == values


@pytest.mark.parametrize("header", HEADERS[1:], indirect=True)
def test_the_widest_row_is_the_one_with_protected_memory(header: Path, tmp_path: Path) -> None:
    """Some drivers write it into lists whose rows are narrower by the header."""
    members = [field[0] for field in pynvml.c_nvmlProcessInfo_v2_t._fields_]
    rows = {"nvmlProcessDetail_v1_t": members, "nvmlProcessInfo_t": members}
    detail, info = layouts(rows, tmp_path, header / "nvml.h")
    assert (detail[0], detail[1:]) == (WIDEST_ROW_BYTES, info[1:])


def numbers(names: list[str], folder: Path, header: Path) -> dict[str, int]:
    """The values of constants, those that the header has."""
    text = (header / "nvml.h").read_text()
    known = [name for name in names if re.search(rf"\b{name}\b", text)]
    code = "".join(f'printf("{name} %ld\\n", (long){name});\n' for name in known)
    return {name: int(value) for name, value in printed(code, folder, header / "nvml.h")}


def test_errors_have_the_numbers_of_the_header(header: Path, tmp_path: Path) -> None:
    collector = {
        f"NVML_ERROR_{name}": value
        for name, value in vars(nvml_errors).items()
        if name.isupper() and isinstance(value, int) and value > 0
    }
    source = (library.SOURCE / "values.c").read_text()
    fake = {f"NVML_ERROR_{name}": int(number) for number, name in ERRORS.findall(source)}
    expected = fake | collector
    found = numbers(list(expected), tmp_path, header)
    assert found == {name: expected[name] for name in found}
    assert len(found) > 25
    assert fake.items() >= collector.items()


def test_arguments_have_the_numbers_of_the_header(header: Path, tmp_path: Path) -> None:
    expected = {
        "NVML_FI_DEV_GET_GPU_RECOVERY_ACTION": nvml_handle._RECOVERY_ACTION_FIELD,
        **{
            name: getattr(pynvml, name)
            for name in (
                *("NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT", "NVML_TEMPERATURE_GPU"),
                *("NVML_TEMPERATURE_THRESHOLD_SLOWDOWN", "NVML_CLOCK_SM", "NVML_CLOCK_MEM"),
                *("NVML_MEMORY_ERROR_TYPE_UNCORRECTED", "NVML_VOLATILE_ECC"),
                *("NVML_FEATURE_ENABLED", "NVML_DEVICE_MIG_ENABLE", "NVML_GPM_SUPPORT_VERSION"),
                *("NVML_GPM_METRICS_GET_VERSION", "NVML_GPM_METRIC_GRAPHICS_UTIL"),
                *("nvmlEventTypeXidCriticalError", "nvmlMemory_v2"),
            )
        },
    }
    found = numbers(list(expected), tmp_path, header)
    assert found == {name: expected[name] for name in found}
    assert len(found) >= len(expected) - 2
