"""The hook: events from Python go through the attached programs, in the order in which they were attached."""

import ctypes
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import xdp
from runtime import Attachment, Catalogue, Program
from runtime.engine import Environment
from runtime.native import memory
from xdpsim_sample.context import LONGEST, RECORD_SIZE, Record
from xdpsim_sample.extension import BATCH_SIZE, COUNT, RECORDS, RETURNS


class Verdict(IntEnum):
    """What a program says of an event. Without a program that runs, it is PASS."""

    PASS = 0
    NOTE = 1
    STOP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an event: the largest verdict, the mark and the data as programs left them.

    `ran` are the names of the programs that were run; `absent` are those that were not, each with the reason.
    """

    verdict: Verdict
    mark: int
    data: bytes
    ran: tuple[str, ...]
    absent: tuple[tuple[str, str], ...] = ()


class SampleHook:
    """A hook. Programs that are attached follow the extension: without it they are absent, and return with it.

    Not for several threads at once: make a hook for each.
    """

    def __init__(self, *, catalogue: Catalogue | None = None) -> None:
        self._catalogue = catalogue or xdp.catalogue()
        self._attached: list[Attachment] = []
        self._events = 0
        self._environment = Environment()
        self._words = (ctypes.c_uint64 * ((BATCH_SIZE + RECORD_SIZE + 8 + LONGEST) // 8))()
        self._batch = ctypes.addressof(self._words)
        self._record = self._batch + BATCH_SIZE
        self._returns = self._record + RECORD_SIZE
        self._data = self._returns + 8
        memory.register(self._batch, ctypes.sizeof(self._words), self._words)
        memory.store(self._batch + COUNT, 8, 1)
        memory.store(self._batch + RECORDS, 8, self._record)
        memory.store(self._batch + RETURNS, 8, self._returns)

    def attach(self, program: Program, *, engine: str | None = None) -> Attachment:
        """Verify a program and put it behind those that are attached; its `detach` takes it away again."""
        attachment = self._catalogue.attach(program, engine=engine)
        self._attached.append(attachment)
        return attachment

    def fire(self, data: bytes, *, kind: int = 0, port: int = 0, mark: int = 0) -> Outcome:
        """Show an event to each program in turn; STOP ends it. What one writes, the next one reads."""
        if len(data) > LONGEST:
            raise ValueError(f"{len(data)} bytes of data: there is room for {LONGEST}")
        self._events += 1
        words = {Record.DATA: self._data, Record.DATA_END: self._data + len(data), Record.KIND: kind}
        words |= {Record.PORT: port, Record.MARK: mark, Record.NUMBER: self._events}
        for at, word in words.items():
            memory.store(self._record + at, 8, word)
        memory.write(self._data, data)
        verdict, ran, absent = Verdict.PASS, [], []
        self._attached = [each for each in self._attached if each.state != "detached"]
        for each in self._attached:
            if each.drive(self._batch, self._environment.address) is None:
                absent.append((each.program.name, each.reason))
                continue
            ran.append(each.program.name)
            verdict = max(verdict, Verdict(memory.load(self._returns, 4)))
            if verdict is Verdict.STOP:
                break
        return Outcome(
            verdict=verdict,
            mark=memory.load(self._record + Record.MARK, 4),
            data=memory.read(self._data, len(data)),
            ran=tuple(ran),
            absent=tuple(absent),
        )

    def close(self) -> None:
        """Detach all programs and give the memory back."""
        for each in self._attached:
            each.detach()
        self._attached.clear()
        memory.unregister(self._batch)
        self._environment.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def fire(program: Program, data: bytes, *, kind: int = 0, port: int = 0, mark: int = 0) -> Outcome:
    """Show one event to one program."""
    with SampleHook() as hook:
        hook.attach(program)
        return hook.fire(data, kind=kind, port=port, mark=mark)
