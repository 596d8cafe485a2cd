"""What users call GPUs and MIG slices: one rule for problems, metrics and the page; pure."""

from collections.abc import Sequence


def gpu_labels(index: Sequence[int | None], parent: Sequence[int | None]) -> list[str]:
    """A label for each row of a host's `gpus`; `parent` is the row of the GPU that a slice is of.

    A GPU's is its index. "0.2" is the MIG slice with index 2 on GPU 0: `nvidia-smi -L` lists it as
    Device 2 below GPU 0, and Docker is given it by `0:2`. CUDA_VISIBLE_DEVICES takes slices by
    their UUID only. Indices of slices may have gaps. A row stands in for an index not known.
    """
    known = [row if own is None else own for row, own in enumerate(index)]
    return [
        str(own) if of is None else f"{known[of]}.{own}"
        for own, of in zip(known, parent, strict=True)
    ]
