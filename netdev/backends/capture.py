"""A port over capture files: receives what one holds, transmits into another.

Not here: reading and writing them (netdev.capture), and timing; frames come as fast as they are taken.
"""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from netdev.capture import CaptureFile, PcapngWriter, PcapWriter
from netdev.errors import InterfaceError
from netdev.port import FrameBatch

__all__ = ["CapturePort"]


@final
class CapturePort:
    """Owns its files: `close` finishes the output and lets go of the input.

    Without an output the port takes no frame. A pcapng output gets the input's interfaces.
    """

    def __init__(self, source: CaptureFile, output: PcapWriter | PcapngWriter | None = None) -> None:
        self._source = source
        self._reader = source.reader()
        self._output = output
        self._closed = False
        self._first_interface = 0
        if isinstance(output, PcapngWriter):
            numbers = [output.interface(each) for each in source.ethernet_interfaces]
            self._first_interface = numbers[0] if numbers else 0

    def receive(self, budget: int) -> FrameBatch:
        """The next `budget` frames or fewer; an empty batch at the end. Raises InterfaceError when closed."""
        self._check()
        return self._reader.take(budget)

    def transmit(self, batch: FrameBatch, selection: NDArray[np.uint32]) -> int:
        """Write the frames at these indices; 0 without an output. Raises InterfaceError, CaptureError, OSError."""
        self._check()
        match self._output:
            case None:
                return 0
            case PcapngWriter() as output:
                output.write(batch, selection, first_interface=self._first_interface)
            case PcapWriter() as output:
                output.write(batch, selection)
        return len(selection)

    def close(self) -> None:
        """Finish the output, let go of the input. Twice is harmless."""
        if self._closed:
            return
        self._closed = True
        self._source.close()
        if self._output is not None:
            self._output.close()

    def _check(self) -> None:
        if self._closed:
            raise InterfaceError("the capture port is closed")
