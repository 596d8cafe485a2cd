"""wire.gpu_labels: GPUs by their index, MIG slices after the GPU that they belong to."""

import pytest

from gpu_monitor.wire.gpu_labels import gpu_labels


@pytest.mark.parametrize(
    ("index", "parent", "labels"),
    [
        ([], [], []),
        ([0, 1, 3], [None, None, None], ["0", "1", "3"]),
        ([0, None], [None, None], ["0", "1"]),
        ([2, 0, 5, 7, 1], [None, 0, 0, None, 3], ["2", "2.0", "2.1", "7", "7.0"]),
        ([0, 1, 0, 0], [None, None, 0, 1], ["0", "1", "0.0", "1.0"]),
        ([None, 4], [None, 0], ["0", "0.0"]),
    ],
)
def test_slices_are_counted_within_their_gpu_whatever_their_own_index(
    index: list[int | None], parent: list[int | None], labels: list[str]
) -> None:
    assert gpu_labels(index, parent) == labels
