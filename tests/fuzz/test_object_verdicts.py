"""Whatever is changed in an object, `verify` says accepted, rejected or what is wrong with the input, within its budget.

`XDPSIM_FUZZ_OBJECTS` and `XDPSIM_FUZZ_SEED` make a run longer or different; -s shows the outcomes by mutation.
"""

from __future__ import annotations

import os
import signal
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from runtime.errors import InputError, VerificationError
from runtime.loader import program_type
from runtime.object import read_object
from runtime.spec import ObjectSpec, ProgramSpec
from runtime.verifier import Policy, verify
from tests.support.commands import EXAMPLES, run
from tests.support.object_mutations import mutated
from xdp.extension import default_registry

OBJECTS: Final = int(os.environ.get("XDPSIM_FUZZ_OBJECTS", "560"))
SEED: Final = int(os.environ.get("XDPSIM_FUZZ_SEED", "0"))
SHARES: Final = 4
BY_COMMAND: Final = 20
POLICY: Final = Policy(steps=20_000)
HANGS_AFTER: Final = 300
VERDICTS: Final = (0, 1, 3)


def corpus() -> tuple[bytes, ...]:
    """The committed examples."""
    return tuple(path.read_bytes() for path in sorted(EXAMPLES.glob("*.o")))


@contextmanager
def watchdog(what: str) -> Iterator[None]:
    """Fail instead of hanging; the time says nothing else."""

    def bark(*_: object) -> None:
        raise TimeoutError(f"{what}: hangs")

    before = signal.signal(signal.SIGALRM, bark)
    signal.alarm(HANGS_AFTER)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(data: bytes) -> str:
    """What `verify` makes of an object: the first error of input, else whether all programs are accepted."""
    try:
        spec = read_object(data, name="fuzz")
        codes = [_code(spec, program) for program in spec.programs]
    except InputError as error:
        return f"{type(error).__name__}"
    rejected = [code for code in codes if code]
    if rejected:
        return "rejected, budget spent" if "budget" in rejected else "rejected"
    return "accepted" if codes else "no program"


def _code(spec: ObjectSpec, program: ProgramSpec) -> str:
    """The code of the rejection, empty for what is accepted."""
    registry = default_registry()
    try:
        verify(program, program_type(registry, program), spec.maps, registry, policy=POLICY)
    except VerificationError as error:
        return error.code
    return ""


@pytest.mark.parametrize("share", range(SHARES))
def test_every_object_gets_a_verdict(share: int) -> None:
    """In this process: nothing but verdicts and errors of input."""
    judged: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for seed, name, data in mutated(corpus(), range(SEED + share, SEED + OBJECTS, SHARES)):
        with watchdog(f"seed {seed}"):
            try:
                judged[name][outcome(data)] += 1
            except Exception as error:
                error.add_note(f"seed {seed}, {name}")
                raise
    for name, counts in judged.items():
        print(f"{name}: {dict(sorted(counts.items()))}")  # noqa: T201  for -s
    assert judged


def test_the_command_never_shows_a_traceback(tmp_path: Path) -> None:
    """Some of them through `xdpsim verify`: a verdict or one line on stderr."""
    target = tmp_path / "changed.o"
    for seed, name, data in mutated(corpus(), range(SEED, SEED + BY_COMMAND)):
        target.write_bytes(data)
        done = run("verify", str(target), XDPSIM_CACHE=str(tmp_path / "cache"))
        assert done.returncode in VERDICTS, f"seed {seed}, {name}: {done.stderr}"
        assert len(done.stderr.splitlines()) <= 1, f"seed {seed}, {name}: {done.stderr}"
