"""Independent pieces of work in processes, where that pays: results come in order, as from a loop.

Not here: the work. Processes are forked, so that they begin with everything that is loaded; they take the pieces from a common pipe, the
largest first, and answer through pipes of their own. What fails in a process is done again here, in its turn, and
fails as it would have without processes. However this process ends, even killed, the others end with it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

__all__ = ["spread", "workers"]

_NUMBER: Final = struct.Struct("<I")
_ANSWER: Final = struct.Struct("<IQ")
_MOST_PIECES: Final = 8192  # their numbers fit into a pipe at once
_PIECE: Final = 1 << 16
_PR_SET_PDEATHSIG: Final = 1  # of prctl(2)

_Result = TypeVar("_Result")
_Progress = Callable[[int, int], None]


def workers(sizes: Sequence[int], *, enough: int) -> int:
    """How many processes pay for pieces of those sizes: 1 when all but the largest are less than `enough` together."""
    if len(sizes) < 2 or len(sizes) > _MOST_PIECES or sum(sizes) - max(sizes) < enough:
        return 1
    if threading.active_count() > 1:  # a lock that another thread holds would stay locked in the copy
        return 1
    return min(len(os.sched_getaffinity(0)), len(sizes))


def spread(
    work: Callable[[int], _Result], sizes: Sequence[int], count: int, progress: _Progress | None = None
) -> list[_Result]:
    """[work(0), work(1), …] by `count` processes; with 1, a plain loop.

    Results are pickled on their way. Raises what `work` raises for the first piece that fails.
    """
    done: dict[int, _Result] = {}
    if count > 1:
        order = sorted(range(len(sizes)), key=lambda index: -sizes[index])
        with _processes(work, order, count) as pipes:
            for index, body in _answers(pipes):
                done[index] = pickle.loads(body)  # noqa: S301  what our own copies wrote
                if progress is not None:
                    progress(len(done), len(sizes))
    results = []
    for index in range(len(sizes)):
        results.append(done[index] if index in done else work(index))
        if progress is not None:
            progress(max(len(done), index + 1), len(sizes))
    return results


@contextmanager
def _processes(work: Callable[[int], _Result], order: Sequence[int], count: int) -> Iterator[list[int]]:
    """The reading ends of the pipes of `count` children, which are gone afterwards."""
    tasks, feed = os.pipe()
    os.write(feed, b"".join(_NUMBER.pack(index) for index in order))
    os.close(feed)
    children: list[int] = []
    pipes: list[int] = []
    parent = os.getpid()
    try:
        for _ in range(count):
            ours, theirs = os.pipe()
            pipes.append(ours)
            child = os.fork()
            if child == 0:
                _child(work, tasks, theirs, parent)
            children.append(child)
            os.close(theirs)
        yield pipes
    finally:
        for each in (tasks, *pipes):
            os.close(each)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _child(work: Callable[[int], _Result], tasks: int, answers: int, parent: int) -> None:
    """Work until no piece is left, or one fails, or the parent is gone; never returns."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _end_with(parent)
        while taken := os.read(tasks, _NUMBER.size):
            (index,) = _NUMBER.unpack(taken)
            body = pickle.dumps(work(index))
            rest = memoryview(_ANSWER.pack(index, len(body)) + body)
            while rest:
                rest = rest[os.write(answers, rest) :]
    finally:
        os._exit(0)  # whatever happened, this copy must not go on as its parent would


def _end_with(parent: int) -> None:
    """Have this process killed when its parent ends."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:  # it was gone before it was asked for
        os._exit(0)


def _answers(pipes: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """(number, pickled result) of each piece that was done, until all pipes are closed."""
    buffers = {pipe: bytearray() for pipe in pipes}
    while buffers:
        for pipe in select.select(list(buffers), (), ())[0]:
            data = os.read(pipe, _PIECE)
            if not data:
                del buffers[pipe]
                continue
            buffer = buffers[pipe]
            buffer += data
            while len(buffer) >= _ANSWER.size:
                index, size = _ANSWER.unpack_from(buffer)
                end = _ANSWER.size + size
                if len(buffer) < end:
                    break
                yield index, bytes(buffer[_ANSWER.size : end])
                del buffer[:end]
