"""The sample extension: what its programs do, and what becomes of them when it goes, returns, or returns changed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import runtime
from runtime import Catalogue, State
from runtime.errors import InputError, MapError, UnsupportedError, VerificationError
from runtime.native import memory, native
from runtime.spec import Arg, ArgType, ContextField, Extension, Helper, Prototype, Registry
from tests.support.objects import EXAMPLES, tool
from xdp.extension import CORE_EXTENSION

FOLDER = EXAMPLES / "sample_extension"
ENGINES = ("interpreter", "jit")

sys.path.insert(0, str(FOLDER))
from xdpsim_sample import EXTENSION, SampleHook, Verdict  # noqa: E402
from xdpsim_sample import helpers as sample_helpers  # noqa: E402


@pytest.fixture
def catalogue() -> Catalogue:
    """A catalogue of its own: the core, and the sample."""
    made = Catalogue(Registry((CORE_EXTENSION,)))
    made.register(EXTENSION)
    return made


@pytest.fixture
def loaded(catalogue: Catalogue) -> Iterator[runtime.LoadedObject]:
    """The sample's program."""
    with runtime.load(FOLDER / "watch.o", registry=catalogue.registry) as made:
        yield made


@pytest.fixture
def hook(catalogue: Catalogue) -> Iterator[SampleHook]:
    """A hook over the catalogue."""
    with SampleHook(catalogue=catalogue) as made:
        yield made


def _helper(name: str, **changes: Any) -> Extension:
    """The extension with one helper changed; `prototype` may be the changes of a prototype."""
    rows = [replace(each, **changes) if each.name == name else each for each in EXTENSION.helpers]
    return replace(EXTENSION, helpers=tuple(rows))


def _type(**changes: Any) -> Extension:
    return replace(EXTENSION, program_types=(replace(EXTENSION.program_types[0], **changes),))


def _field(name: str, **changes: Any) -> Extension:
    context = EXTENSION.program_types[0].context
    rows = tuple(replace(each, **changes) if each.name == name else each for each in context.fields)
    return _type(context=replace(context, fields=rows))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_program_uses_all_that_the_extension_gives(
    engine: str, loaded: runtime.LoadedObject, hook: SampleHook
) -> None:
    """Fields, the region, seven helpers and the window, under both engines."""
    hook.attach(loaded.program("watch"), engine=engine)
    assert hook.fire(b"four").verdict is Verdict.PASS
    long = hook.fire(b"hello, this is long", kind=1, port=2, mark=9)
    assert (long.verdict, long.data) == (Verdict.NOTE, b"!ello, this is long")
    assert long.mark == (19 - 11) // 2 + sum(b"hell")
    assert hook.fire(b"quit now", mark=7).mark == 7
    assert hook.fire(b"").verdict is Verdict.PASS
    assert hook.fire(b"quit").verdict is Verdict.STOP
    lengths = loaded.maps["lengths"]
    assert [int.from_bytes(value, "little") for _, value in lengths.items()] == [4, 0, 8, 19]
    globals_ = loaded.maps["watch.bss"].lookup(bytes(4))
    assert b"sample\0" in globals_
    grades = [int.from_bytes(globals_[at : at + 8], "little") for at in range(0, 72, 8)]
    assert sum(each for each in grades if each < 9) == 5


def test_the_window_is_a_map_like_others(loaded: runtime.LoadedObject) -> None:
    """Numbers come in at the front and leave at the back; other keys are refused with the errno of a map."""
    lengths = loaded.maps["lengths"]
    assert len(lengths) == 0
    for number in range(6):
        lengths.update(bytes(4), number.to_bytes(8, "little"))
    assert [lengths[key] for key in lengths] == [5, 4, 3, 2]
    with pytest.raises(MapError, match="EINVAL"):
        lengths.update((1).to_bytes(4, "little"), bytes(8))
    with pytest.raises(MapError, match="ENOENT"):
        lengths.lookup((4).to_bytes(4, "little"))


def test_programs_run_in_the_order_of_their_attachment(
    catalogue: Catalogue, loaded: runtime.LoadedObject, hook: SampleHook
) -> None:
    """Each reads what the one before it wrote; STOP ends it; who is detached is not asked."""
    with runtime.load(FOLDER / "watch.o", registry=catalogue.registry) as other:
        first = hook.attach(loaded.program("watch"))
        hook.attach(other.program("watch"))
        assert hook.fire(b"four").ran == ("watch", "watch")
        assert hook.fire(b"quit").ran == ("watch",)
        long = hook.fire(b"a long one indeed")
        assert long.data.startswith(b"!")
        assert long.mark != sum(b"a lo") + 4  # the second saw the '!'
        first.detach()
        assert first.state is State.DETACHED
        assert hook.fire(b"four").ran == ("watch",)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_program_waits_for_its_extension(
    engine: str, catalogue: Catalogue, loaded: runtime.LoadedObject, hook: SampleHook
) -> None:
    """Withdrawn, nothing runs and the verdict is the default; back, it runs again, and its maps are what they were."""
    attachment = hook.attach(loaded.program("watch"), engine=engine)
    hook.fire(b"hello, this is long")
    before = [value for _, value in loaded.maps["lengths"].items()]
    change = catalogue.withdraw("sample")
    assert change.waiting == ("program 'watch' of 'watch': program type sample is gone",)
    assert attachment.state is State.WITHDRAWN
    assert str(attachment.state) == "extension withdrawn"
    away = hook.fire(b"quit", mark=5)
    assert (away.verdict, away.mark, away.ran) == (Verdict.PASS, 5, ())
    assert away.absent == (("watch", "program type sample is gone"),)
    with pytest.raises(UnsupportedError, match="cannot be attached: program type sample is gone"):
        hook.attach(loaded.program("watch"))
    assert catalogue.register(EXTENSION).resumed == ("watch",)
    assert attachment.state is State.ATTACHED
    assert hook.fire(b"quit").verdict is Verdict.STOP
    assert [value for _, value in loaded.maps["lengths"].items()][1:] == before


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        (
            _helper("sample_grade", prototype=Prototype(args=(Arg(ArgType.ANYTHING),), returns=(0, 8))),
            "helper bpf_sample_grade has changed since the program was verified: load the object again",
        ),
        (
            _field("mark", writes=()),
            "context field sample_context.mark has changed since the program was verified: load the object again",
        ),
        (
            _type(returns=(0, 1)),
            "program type sample has changed since the program was verified: load the object again",
        ),
        (
            replace(EXTENSION, map_kinds=(replace(EXTENSION.map_kinds[0], program_writable=False),)),
            "map type 131073 has changed since the program was verified: load the object again",
        ),
    ],
    ids=["prototype", "field", "bounds", "map kind"],
)
def test_a_row_that_is_used_and_has_changed_is_refused(
    changed: Extension, line: str, catalogue: Catalogue, loaded: runtime.LoadedObject, hook: SampleHook
) -> None:
    """One line names it; the program stays away until the old row is back."""
    attachment = hook.attach(loaded.program("watch"))
    catalogue.withdraw("sample")
    change = catalogue.register(changed)
    assert change.refused == (f"program 'watch' of 'watch': {line}",)
    assert (attachment.state, attachment.reason) == (State.REFUSED, line)
    assert hook.fire(b"quit").absent == (("watch", line),)
    catalogue.withdraw("sample")
    assert catalogue.register(EXTENSION).resumed == ("watch",)
    assert hook.fire(b"quit").verdict is Verdict.STOP


NEW = Helper(id=0x20008, name="sample_new", prototype=Prototype())


@pytest.mark.parametrize(
    "changed",
    [
        replace(EXTENSION, helpers=(*EXTENSION.helpers, NEW)),
        _field("port", reads=(1, 2)),
        _field("kind", reads=()),
        _type(
            context=replace(
                EXTENSION.program_types[0].context,
                size=40,
                record_size=56,
                fields=(
                    *EXTENSION.program_types[0].context.fields,
                    ContextField(name="more", offset=32, size=8, reads=(8,), record_offset=48),
                ),
            )
        ),
    ],
    ids=["helper added", "unused field changed", "unused field closed", "field added"],
)
def test_what_the_program_does_not_use_may_come_and_change(
    changed: Extension, catalogue: Catalogue, loaded: runtime.LoadedObject, hook: SampleHook
) -> None:
    """An extension that has grown takes its programs back."""
    hook.attach(loaded.program("watch"))
    catalogue.withdraw("sample")
    assert catalogue.register(changed).resumed == ("watch",)


@native
def _mended(env: int, number: int) -> int:
    return 7


def test_a_native_may_be_mended(catalogue: Catalogue, loaded: runtime.LoadedObject, hook: SampleHook) -> None:
    """The code behind an unchanged prototype is linked anew."""
    hook.attach(loaded.program("watch"))
    hook.fire(b"x")
    catalogue.withdraw("sample")
    assert catalogue.register(_helper("sample_grade", native=_mended)).resumed == ("watch",)
    hook.fire(b"x")
    globals_ = loaded.maps["watch.bss"].lookup(bytes(4))
    grades = [int.from_bytes(globals_[at : at + 8], "little") for at in range(0, 72, 8)]
    assert [at % 8 for at, each in enumerate(grades) if each == 1] in ([0, 7], [1, 0])


@native
def _other_size(key_size: int, value_size: int, max_entries: int, flags: int, cpus: int) -> int:
    return 16 + 8 * max_entries


TWO = """
#include "sample_helpers.h"
#include <bpf/bpf_helpers.h>
SEC("sample") int grades(struct sample_context *ctx) { return bpf_sample_grade(ctx->kind) > 3; }
SEC("sample") int shares(struct sample_context *ctx) { return bpf_sample_share(ctx->kind, 50) > 3; }
char _license[] SEC("license") = "MIT";
"""


def test_each_program_of_an_object_follows_for_itself(catalogue: Catalogue, hook: SampleHook, tmp_path: Path) -> None:
    """A prototype that one program uses does not keep another one away, attached or only verified."""
    (tmp_path / "two.c").write_text(TWO)
    machine = f"/usr/include/{os.uname().machine}-linux-gnu"
    command = [tool("clang-19"), "-O2", "-g", "-target", "bpf", "-mcpu=v3", "-idirafter", machine, f"-I{FOLDER}"]
    subprocess.run([*command, "-c", str(tmp_path / "two.c"), "-o", str(tmp_path / "two.o")], check=True)
    grade = next(each.prototype for each in EXTENSION.helpers if each.name == "sample_grade")
    changed = _helper("sample_grade", prototype=replace(grade, returns=(0, 8)))
    with runtime.load(tmp_path / "two.o", registry=catalogue.registry) as loaded:
        hook.attach(loaded.program("shares"))
        grades = hook.attach(loaded.program("grades"))
        assert hook.fire(b"").ran == ("shares", "grades")
        catalogue.withdraw("sample")
        change = catalogue.register(changed)
        assert change.resumed == ("shares",)
        assert len(change.refused) == 1
        assert hook.fire(b"").ran == ("shares",)
        assert hook.fire(b"").absent[0][0] == "grades"
        catalogue.withdraw("sample")
        assert catalogue.register(EXTENSION).resumed == ("shares", "grades")
        grades.detach()
        catalogue.withdraw("sample")
        assert catalogue.register(changed).resumed == ("shares",)


def test_live_maps_are_not_handed_to_other_code(
    catalogue: Catalogue, loaded: runtime.LoadedObject, hook: SampleHook
) -> None:
    """A kind that lays out its elements in another way does not get the memory of the old one."""
    hook.attach(loaded.program("watch"))
    catalogue.withdraw("sample")
    kind = replace(EXTENSION.map_kinds[0], size=_other_size)
    (line,) = catalogue.register(replace(EXTENSION, map_kinds=(kind,))).refused
    assert "the code of map type 131073 (window) has changed" in line


def test_other_extensions_come_and_go_unnoticed(
    catalogue: Catalogue, loaded: runtime.LoadedObject, hook: SampleHook
) -> None:
    """A change that concerns no row of the program does not even stop it."""
    hook.attach(loaded.program("watch"))
    program = loaded.program("watch")
    ready = program.executable()
    change = catalogue.register(
        Extension(name="other", helpers=(replace(EXTENSION.helpers[0], id=9_999, name="other"),))
    )
    assert change == catalogue.withdraw("other")
    assert program.executable() is ready


def test_a_withdrawal_waits_for_runs_that_have_begun(
    catalogue: Catalogue, loaded: runtime.LoadedObject, hook: SampleHook
) -> None:
    """While one thread fires, another takes the extension away and brings it back: every event is run whole or not at all."""
    hook.attach(loaded.program("watch"))
    done = threading.Event()
    outcomes = []

    def fire() -> None:
        while not done.is_set():
            outcomes.append(hook.fire(b"quit"))

    worker = threading.Thread(target=fire)
    worker.start()
    try:
        for _ in range(20):
            catalogue.withdraw("sample")
            catalogue.register(EXTENSION)
    finally:
        done.set()
        worker.join()
    outcomes.append(hook.fire(b"quit"))
    assert all((each.verdict is Verdict.STOP) == bool(each.ran) for each in outcomes)
    assert outcomes[-1].ran


def test_who_attaches_late_gets_the_rows_of_now(catalogue: Catalogue, loaded: runtime.LoadedObject) -> None:
    """A program whose type was looked up before a change, and that was not verified, is judged by the new rows."""
    assert loaded.program("watch").type.returns == (0, 2)
    catalogue.withdraw("sample")
    catalogue.register(_type(returns=(0, 1)))
    with pytest.raises(VerificationError, match=r"sample programs return \[0, 1\]"):
        catalogue.attach(loaded.program("watch"))


def test_a_closed_object_runs_no_more(catalogue: Catalogue, hook: SampleHook) -> None:
    """Its maps are gone: firing says so, and the extension may still come and go."""
    with runtime.load(FOLDER / "watch.o", registry=catalogue.registry) as loaded:
        attachment = hook.attach(loaded.program("watch"))
        assert hook.fire(b"quit").ran
    for engine in (None, *ENGINES):
        with pytest.raises(InputError, match="program 'watch': its object is closed"):
            loaded.program("watch").executable(engine)
    with pytest.raises(InputError, match="its object is closed"):
        hook.fire(b"quit")
    catalogue.withdraw("sample")
    catalogue.register(EXTENSION)
    attachment.detach()
    assert hook.fire(b"quit").ran == ()


def test_a_helper_of_the_window_takes_no_other_map(catalogue: Catalogue, tmp_path: Path) -> None:
    """The native would read another kind's memory as its own."""
    from runtime.isa import assemble
    from runtime.spec import MapSpec, ProgramSpec, Subprogram
    from runtime.verifier import verify

    maps = (MapSpec(name="table", kind=1, key_size=4, value_size=8, max_entries=4),)
    code = assemble("r1 = map[table] ll\nr2 = 1\ncall 131076\nr0 = 0\nexit", maps=["table"])
    spec = ProgramSpec(name="p", section="sample", code=code, subprograms=(Subprogram(0, "p"),))
    with pytest.raises(VerificationError, match="does not take a map of type hash"):
        verify(spec, catalogue.registry.program_type("sample"), maps, catalogue.registry)


def test_names_and_numbers_are_held_by_one_extension(catalogue: Catalogue) -> None:
    """Twice the same extension, an extension that there is not, and a number that is taken: one line each."""
    with pytest.raises(InputError, match="extension 'sample' is registered already: withdraw it first"):
        catalogue.register(EXTENSION)
    with pytest.raises(InputError, match=r"extension 'nobody' is not registered \(there is core, sample\)"):
        catalogue.withdraw("nobody")
    taken = Extension(name="late", helpers=(replace(EXTENSION.helpers[0], name="late"),))
    with pytest.raises(
        InputError,
        match="extension 'late' registers helper 131073, which is already taken by 'sample': choose another number or name",
    ):
        catalogue.register(taken)
    assert [each.name for each in catalogue.registry.extensions] == ["core", "sample"]


def test_natives_are_the_same_under_python_and_compiled(tmp_path: Path) -> None:
    """Every helper that needs no map or context, over the same memory."""
    import ctypes

    from runtime.native import library

    room = ctypes.create_string_buffer(b"find me in here", 64)
    at = ctypes.addressof(room)
    calls = [
        (sample_helpers.share, (0, 200, 25)),
        (sample_helpers.share, (0, (1 << 32) + 7, 100)),
        (sample_helpers.checksum, (0, at, 15)),
        (sample_helpers.grade, (0, 0)),
        (sample_helpers.grade, (0, 0xFFFF_FFFF)),
        (sample_helpers.find, (0, at, 15, at + 5, 2)),
        (sample_helpers.find, (0, at, 4, at + 5, 2)),
        (sample_helpers.name, (0, at + 32, 4)),
    ]
    compiled = library([each for each, _ in calls])
    with memory.registered(at, 64, room):
        for each, words in calls:
            assert compiled[each](*words) == each(*words), each
