"""What the command passes on to every stage."""

import json
from typing import NamedTuple


class Options(NamedTuple):
    """`gpu` is the NVML index of the GPU to measure.

    `calls` is how often each NVML call is made. `pace` scales every measuring period: less than 1
    is for rehearsals. `provoke_xid` allows a kernel that makes the GPU report an error.
    """

    gpu: int = 0
    calls: int = 200
    pace: float = 1.0
    provoke_xid: bool = False

    def seconds(self, usual: float) -> float:
        """A measuring period at this pace."""
        return usual * self.pace

    def packed(self) -> str:
        """As one argument of a command."""
        return json.dumps(self._asdict())

    @classmethod
    def unpacked(cls, text: str) -> "Options":
        """The options that `packed` made a text of."""
        return cls(**json.loads(text))
