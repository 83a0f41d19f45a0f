"""What a replay leaves on disk: a line of JSON for each frame, and frames by verdict as pcapng.

Not here: reports and maps. Files appear whole or not at all.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
from abc import ABC, abstractmethod
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, final

import numpy as np
from numpy.typing import NDArray

from netdev.capture import AtomicFile, Interface, PcapngWriter
from netdev.port import FrameBatch
from runtime.native import Library, library
from xdp.hooks import BatchResult
from xdp.natives import NATIVE
from xdp.natives.verdicts import DIGEST_SIZE, LINE_ROOM, Lines, Text, format_verdicts
from xdp.verdict import Verdict

__all__ = ["FrameFiles", "VerdictFile"]

_PIECES: Final = {
    Text.NUMBER: '{"n": ',
    Text.TIME: ', "ts_ns": ',
    Text.CAPLEN: ', "caplen": ',
    Text.LENGTH: ', "len": ',
    Text.NAME: ', "verdict": "',
    Text.RETVAL: '", "retval": ',
    Text.OUT_LENGTH: ', "out_len": ',
    Text.DIGEST: ', "out_sha256": "',
    Text.END: "}\n",
}
_FILES: Final = {
    Verdict.XDP_PASS: "pass.pcapng",
    Verdict.XDP_DROP: "drop.pcapng",
    Verdict.XDP_TX: "tx.pcapng",
    Verdict.XDP_ABORTED: "aborted.pcapng",
    Verdict.XDP_REDIRECT: "redirect.pcapng",
}
_ETHERNET: Final = 1


@cache
def _natives() -> Library:
    return library((format_verdicts,))


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])


def _wire_lengths(batch: FrameBatch, caplens: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Lengths of frames with these captured lengths: what the capture lacked of each is still lacking."""
    missing = np.maximum(batch.lengths.astype(np.int64) - batch.caplens, 0)
    lengths: NDArray[np.int64] = np.minimum(missing + caplens, 0xFFFFFFFF)
    return lengths.astype(np.uint32)


class _Sink(ABC):
    """Takes batches; in a with block, what was not finished is removed."""

    @abstractmethod
    def abort(self) -> None:
        """Remove what was not finished."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


@final
class VerdictFile(_Sink):
    """One JSON line a frame: n, ts_ns, caplen, len, verdict, retval, out_len, and with `hashes` out_sha256.

    Lines are formatted natively; hashes are the one thing here that is computed frame by frame in Python.
    """

    def __init__(self, path: Path, *, hashes: bool) -> None:
        self._file = AtomicFile(path)
        self._hashes = hashes
        self._count = 0
        pieces = [_PIECES[each] for each in Text if each is not Text.VERDICT] + [each.name for each in Verdict]
        self._texts = [ctypes.create_string_buffer(piece.encode()) for piece in pieces]
        self._table = np.array([[ctypes.addressof(b), len(b) - 1] for b in self._texts], np.uint64)
        self._job = np.zeros(len(Lines), np.uint64)

    def add(self, batch: FrameBatch, result: BatchResult) -> None:
        """Write a line for each frame of the batch."""
        count = len(batch)
        frames = result.frames or batch
        out = np.empty(count * LINE_ROOM, np.uint8)
        columns: dict[Lines, NDArray[Any]] = {
            Lines.TIMESTAMPS: np.ascontiguousarray(batch.timestamps),
            Lines.CAPLENS: np.ascontiguousarray(batch.caplens),
            Lines.LENGTHS: np.ascontiguousarray(batch.lengths),
            Lines.RETURNS: np.ascontiguousarray(result.returned),
            Lines.VERDICTS: np.ascontiguousarray(result.verdicts),
            Lines.OUT_LENGTHS: np.ascontiguousarray(frames.caplens),
        }
        for word, column in columns.items():
            self._job[word // 8] = _address(column)
        digests = self._digests(frames) if self._hashes else None
        self._job[Lines.DIGESTS // 8] = _address(digests) if digests is not None else 0
        self._job[Lines.COUNT // 8], self._job[Lines.FIRST // 8] = count, self._count
        self._job[Lines.OUT // 8], self._job[Lines.TEXTS // 8] = _address(out), _address(self._table)
        used = _natives()[format_verdicts](_address(self._job))
        self._file.write(out[:used].data)
        self._count += count

    @staticmethod
    def _digests(frames: FrameBatch) -> NDArray[np.uint8]:
        text = "".join(hashlib.sha256(frames.frame(i)).hexdigest() for i in range(len(frames)))
        return np.frombuffer(bytearray(text.encode() or bytes(DIGEST_SIZE)), np.uint8)

    def finish(self) -> None:
        """Give the file its name."""
        self._file.commit()

    def abort(self) -> None:
        """Remove the file, unless it is finished."""
        self._file.abort()


@final
class FrameFiles(_Sink):
    """Frames as the program left them, a pcapng file for each verdict, with verdict option, packet id and comment."""

    def __init__(self, folder: Path, program: str) -> None:
        self._made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        self._program = program
        self._count = 0
        self._writers: dict[Verdict, PcapngWriter] = {}
        with ExitStack() as stack:
            for verdict, name in _FILES.items():
                if verdict is Verdict.XDP_REDIRECT:
                    continue
                writer = PcapngWriter(folder / name, kernels=NATIVE)
                stack.callback(writer.abort)
                writer.interface(Interface(link_type=_ETHERNET, name=program))
                self._writers[verdict] = writer
            stack.pop_all()
        self._folder = folder

    def _writer(self, verdict: Verdict) -> PcapngWriter:
        if verdict not in self._writers:
            writer = self._writers[verdict] = PcapngWriter(self._folder / _FILES[verdict], kernels=NATIVE)
            writer.interface(Interface(link_type=_ETHERNET, name=self._program))
        return self._writers[verdict]

    def add(self, batch: FrameBatch, result: BatchResult) -> None:
        """Write each frame to the file of its verdict."""
        frames = result.frames or batch
        shown = FrameBatch(
            base=frames.base,
            offsets=frames.offsets,
            caplens=frames.caplens,
            lengths=_wire_lengths(batch, frames.caplens),
            timestamps=batch.timestamps,
            interfaces=np.zeros(len(batch), np.uint32),
            owner=frames.owner,
        )
        verdicts = result.verdicts
        ids = np.arange(self._count, self._count + len(batch), dtype=np.uint64)
        for verdict in Verdict:
            rows = np.nonzero(verdicts == verdict)[0].astype(np.uint32)
            if len(rows):
                writer = self._writer(verdict)
                comment = writer.comment(f"{verdict.name} by {self._program}")
                comments = np.full(len(batch), comment, np.uint32)
                writer.write(shown, rows, verdicts=verdicts.astype(np.uint64), packet_ids=ids, comments=comments)
        self._count += len(batch)

    def finish(self) -> None:
        """Give the files their names."""
        for writer in self._writers.values():
            writer.close()

    def abort(self) -> None:
        """Remove the files, unless they are finished."""
        for writer in self._writers.values():
            writer.abort()
        if self._made:
            with contextlib.suppress(OSError):  # it stays when it holds files
                self._folder.rmdir()
