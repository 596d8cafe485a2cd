"""The parameters of api/v1/free, and its results as JSON."""

import math
from collections.abc import Mapping
from typing import Any

from gpu_monitor.web.api.free_gpus import Offer, Wanted
from gpu_monitor.web.errors import RequestRefused

_MAX_GPUS = 64
_MAX_MEMORY_GIB = 1_000_000.0
_MAX_MODEL_LENGTH = 200


def parse_wanted(query: Mapping[str, str]) -> Wanted:
    """What the caller is looking for; RequestRefused names the parameter that is invalid."""
    for key in query:
        if key not in ("gpus", "memory_gib", "model"):
            hint = "the parameters are gpus, memory_gib and model"
            raise RequestRefused(400, f"unknown parameter {key!r}", hint)
    gpus = query.get("gpus", "1")
    if not (gpus.isascii() and gpus.isdigit() and len(gpus) < 4 and 1 <= int(gpus) <= _MAX_GPUS):
        error = f"gpus must be 1 to {_MAX_GPUS}, not {gpus[:20]!r}"
        raise RequestRefused(400, error, "write for example gpus=2")
    memory = _number(query.get("memory_gib", "0"))
    if not 0 <= memory <= _MAX_MEMORY_GIB:
        given = query["memory_gib"][:20]
        error = f"memory_gib must be 0 to {_MAX_MEMORY_GIB:,.0f}, not {given!r}"
        hint = "write for example memory_gib=40: the GiB that must be free on each GPU"
        raise RequestRefused(400, error, hint)
    model = query.get("model", "").strip()
    if len(model) > _MAX_MODEL_LENGTH:
        error = f"model must be at most {_MAX_MODEL_LENGTH} characters"
        raise RequestRefused(400, error, "write a part of the GPU's name, for example model=H100")
    return Wanted(int(gpus), memory, model)


def offer_as_json(offer: Offer) -> dict[str, Any]:
    """An offer as JSON; null means unknown."""
    gpus = [
        {
            "index": gpu.index,
            "uuid": gpu.uuid,
            "name": gpu.name,
            "mig_profile": gpu.mig_profile,
            "memory_free_mib": gpu.memory_free_mib,
            "unhealthy": gpu.unhealthy,
        }
        for gpu in offer.gpus
    ]
    return {
        "host": offer.host,
        "cuda_visible_devices": offer.devices,
        "left_over": offer.left_over,
        "gpus": gpus,
    }


def _number(text: str) -> float:
    """A decimal number, or NaN."""
    try:
        return float(text) if text.isascii() else math.nan
    except ValueError:
        return math.nan
