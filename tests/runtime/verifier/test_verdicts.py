"""Verdicts from the disk: the same as from the passes, never for another question, and never from a damaged file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import VerificationError
from runtime.spec import Extension, MapSpec, ProgramSpec, ProgramType, Registry
from runtime.verifier import Facts, Policy, Suspect, VerifiedProgram, verify
from runtime.verifier import prove as passes
from runtime.verifier import question as questions
from runtime.verifier.question import Question
from runtime.verifier.verdicts import known, remember
from tests.runtime.verifier.rules import MAPS, program_of, rules
from tests.support.commands import environment
from tests.support.whole_programs import generate
from xdp.extension import default_registry

GOOD = "*(u64 *)(r10 -8) = 0\nr0 = 2\nexit"
BAD = "r0 = *(u64 *)(r1 +0)\nexit"
POLICY = Policy(steps=20_000)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setenv("XDPSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _judge(spec: ProgramSpec, maps: tuple[MapSpec, ...] = MAPS, **changes: Any) -> VerifiedProgram | VerificationError:
    registry = default_registry()
    kind: ProgramType = changes.pop("kind", registry.program_type("xdp"))
    try:
        return verify(spec, kind, maps, registry, policy=changes.pop("policy", POLICY), cached=True)
    except VerificationError as error:
        return error


def _content(verdict: VerifiedProgram | VerificationError) -> object:
    """All of a verdict that can be compared."""
    if isinstance(verdict, VerifiedProgram):
        return verdict.facts, verdict.warnings, verdict.spec, verdict.program_type, verdict.maps
    return str(verdict), vars(verdict)


@pytest.fixture
def proofs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the programs that went through the passes."""
    seen: list[str] = []
    whole: Callable[..., VerifiedProgram] = passes.prove

    def prove(spec: ProgramSpec, *rest: Any, **more: Any) -> VerifiedProgram:
        seen.append(spec.name)
        return whole(spec, *rest, **more)

    monkeypatch.setattr(passes, "prove", prove)
    return seen


def _entries(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.glob("*.verdict"))


def test_a_verdict_reads_as_it_was_given(proofs: list[str]) -> None:
    """Of every rule's program, and of some whole programs: facts, warnings, messages and suspects."""
    programs = [(program_of(rule.text), MAPS) for rule in rules()]
    programs += [(each.programs[0], each.maps) for each in map(generate, range(40))]
    for spec, maps in programs:
        first = _content(_judge(spec, maps))
        count = len(proofs)
        assert _content(_judge(spec, maps)) == first, spec.code
        assert len(proofs) == count, spec.code


def test_whole_facts_are_kept() -> None:
    """Every field of facts, errors and suspects has a form on disk: what is new in one of them needs one, too."""
    from runtime.verifier import verdicts

    error = VerificationError("", code="", pc=0)
    assert set(verdicts._READERS) == {each.name for each in fields(Facts)}
    assert set(vars(error)) == verdicts._ERROR_FIELDS
    assert {each.name for each in fields(Suspect)} == {"spec", "program_type", "maps", "facts", "trail", "pc", "code"}


def test_another_question_has_another_name() -> None:
    """Code, lines, maps and what they hold, type, attach type, policy: each is part of the question."""
    registry = default_registry()
    spec, kind = program_of(GOOD), registry.program_type("xdp")
    filled = replace(MAPS[6], initial=((bytes(4), bytes(16)),))
    questions = [
        Question(spec, kind, MAPS, registry, POLICY),
        Question(program_of(GOOD.replace("= 2", "= 1")), kind, MAPS, registry, POLICY),
        Question(replace(spec, license="other"), kind, MAPS, registry, POLICY),
        Question(spec, kind, MAPS[:-1], registry, POLICY),
        Question(spec, kind, (*MAPS[:6], filled, *MAPS[7:]), registry, POLICY),
        Question(spec, registry.program_type("socket_filter"), MAPS, registry, POLICY),
        Question(spec, registry.program_type("xdp", "cpumap"), MAPS, registry, POLICY),
        Question(spec, replace(kind, returns=(0, 1)), MAPS, registry, POLICY),
        Question(spec, kind, MAPS, registry, replace(POLICY, leaks="warn")),
        Question(spec, kind, MAPS, registry.without("linux"), POLICY),
    ]
    digests = {each.digest for each in questions}
    assert None not in digests
    assert len(digests) == len(questions)


def test_the_kind_of_a_map_inside_a_map_is_part_of_the_question() -> None:
    """What values of inner maps are decides what a lookup in one gives."""
    spec, outer = (
        program_of(GOOD),
        MapSpec(name="outer", kind=12, key_size=4, value_size=4, max_entries=1, inner=MAPS[0]),
    )
    whole = default_registry()
    kinds = [replace(each, bounded_array=each.id != 2 and each.bounded_array) for each in whole.map_kinds]
    other = Registry((Extension(name="other", map_kinds=tuple(kinds), structs=whole.structs),))
    kind = whole.program_type("xdp")
    first, second = (Question(spec, kind, (outer,), registry, POLICY).digest for registry in (whole, other))
    assert first is not None
    assert first != second


def test_another_verifier_asks_anew(proofs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict of a verifier whose source was another is not used."""
    _judge(program_of(GOOD))
    monkeypatch.setattr(questions, "_version", lambda: "another")
    _judge(program_of(GOOD))
    assert len(proofs) == 2
    monkeypatch.setattr(questions, "_version", lambda: None)
    _judge(program_of(GOOD))
    _judge(program_of(GOOD))
    assert len(proofs) == 4


def test_edited_sources_leave_nothing(
    folder: Path, proofs: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A process whose sources were edited since it began keeps no verdict, and takes none."""
    edited = tmp_path / "verifier" / "edited.py"
    edited.parent.mkdir()
    edited.write_text("")
    os.utime(edited, ns=(1, questions._LOADED - 1))
    monkeypatch.setattr(questions, "_ROOT", tmp_path)
    monkeypatch.setattr(questions, "_SOURCES", ("verifier",))
    questions._version.cache_clear()
    try:
        version = questions._version()
        assert version is not None
        os.utime(edited, ns=(1, questions._LOADED + 1))
        _judge(program_of(GOOD))  # the version was known before the edit
        assert not list(folder.glob("*.verdict"))
        questions._version.cache_clear()
        assert questions._version() is None
        _judge(program_of(GOOD))
        assert len(proofs) == 2
    finally:
        questions._version.cache_clear()


@pytest.mark.parametrize("text", [GOOD, BAD], ids=["accepted", "rejected"])
def test_a_damaged_entry_is_written_anew(text: str, folder: Path, proofs: list[str]) -> None:
    """Cut, changed, empty, of another question: refused, and replaced."""
    first = _content(_judge(program_of(text)))
    _judge(program_of("r0 = 1\nexit"))
    (entry,) = [each for each in _entries(folder) if _name_of(text) == each.name]
    (other,) = [each for each in _entries(folder) if each != entry]
    whole = entry.read_bytes()
    changed = whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]
    for count, damaged in enumerate([whole[:-1], whole[: len(whole) // 2], b"", changed, other.read_bytes()]):
        entry.write_bytes(damaged)
        assert _content(_judge(program_of(text))) == first
        assert len(proofs) == 3 + count
        assert entry.read_bytes() == whole


def _name_of(text: str) -> str:
    """The file of the verdict on a program."""
    registry = default_registry()
    return f"{Question(program_of(text), registry.program_type('xdp'), MAPS, registry, POLICY).digest}.verdict"


@pytest.mark.parametrize(
    "change",
    [
        ('"facts":', '"fakes":'),
        ('"stack":{', '"stack":{"x":1,'),
        ('"reads_packet":false', '"reads_packet":0'),
        ('"helpers":[', '"helpers":[[99999,true],'),
        ('"context_fields":{', '"context_fields":{"0":999,'),
        ('"loops":[', '"loops":[[1],'),
    ],
)
def test_a_document_that_is_no_answer_is_refused(change: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that is whole and says what no verdict says leads to a proof, not to a crash."""
    from runtime.native import cache

    registry = default_registry()
    question = Question(program_of(GOOD), registry.program_type("xdp"), MAPS, registry, POLICY)
    verdict = _judge(program_of(GOOD))
    assert isinstance(verdict, VerifiedProgram)
    remember(question, verdict)
    body = (cache.load(f"{question.digest}.verdict") or b"").decode()
    assert known(question) is not None
    assert change[0] in body
    cache.store(f"{question.digest}.verdict", body.replace(*change).encode())
    assert known(question) is None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a file in its place nor one that others may write to stops a verdict."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDPSIM_CACHE", str(tmp_path / "file"))
    assert isinstance(_judge(program_of(GOOD)), VerifiedProgram)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    monkeypatch.setenv("XDPSIM_CACHE", str(tmp_path / "open"))
    assert isinstance(_judge(program_of(GOOD)), VerifiedProgram)
    assert not list((tmp_path / "open").iterdir())


def test_processes_share_the_folder(folder: Path) -> None:
    """Several processes that ask the same at once get the same answer, and one entry is left."""
    code = (
        "from tests.runtime.verifier.test_verdicts import _judge, GOOD, program_of\n"
        "for _ in range(20): assert _judge(program_of(GOOD)).facts.steps == 3\n"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", code], env=environment(XDPSIM_CACHE=str(folder)), cwd=Path.cwd())
        for _ in range(4)
    ]
    assert [each.wait(timeout=120) for each in children] == [0] * 4
    assert [each.name for each in folder.iterdir()] == [_name_of(GOOD)]
