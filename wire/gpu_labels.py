"""What users call GPUs and MIG slices: one rule for problems, metrics and the page; pure."""

from collections.abc import Sequence


def gpu_labels(index: Sequence[int | None], parent: Sequence[int | None]) -> list[str]:
    """A label for each row of a host's `gpus`.

    A GPU's is its index, or its row where the index is not known. Those of the MIG slices of
    GPU 0 are "0.0", "0.1" and so on, in the order of their rows: NVML's indices of slices may have
    gaps. `parent` is the row of the GPU that a slice belongs to, None for a GPU.
    """
    labels = []
    slices = [0] * len(index)
    for row, (own, of) in enumerate(zip(index, parent, strict=True)):
        if of is None:
            labels.append(str(row if own is None else own))
        else:
            labels.append(f"{of if index[of] is None else index[of]}.{slices[of]}")
            slices[of] += 1
    return labels
