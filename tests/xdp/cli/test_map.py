"""`xdpsim map` and `prog show` on a process that holds maps, side by side with bpftool on the kernel's maps of one object."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import xdp
from runtime.errors import InputError, MapError
from tests.support.commands import run, run_json
from tests.support.holder import held
from tests.support.objects import BPFFS, answer, compiled, tool
from xdp.live.registry import State

SOURCE = Path(__file__).parent / "fixtures" / "live_maps.c"
KEY = ("key", "1", "0", "0", "0")
TALLY = "1 2 3 4 5 6 7 8 9 0 0 0 65 66 0 0 0 0 0 0 0 0 0 0"

Ours = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The object."""
    path = tmp_path_factory.mktemp("object") / "live_maps.o"
    path.write_bytes(compiled(tool("clang", "clang-19"), str(SOURCE), ("-g",)))
    return path


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Iterator[Path]:
    """A state folder with a live attachment of the object."""
    with held(built, tmp_path):
        yield tmp_path


@pytest.fixture
def ours(folder: Path) -> Ours:
    """The command on that folder."""
    return lambda *words: run(*words, XDPSIM_RUN=str(folder))


@pytest.fixture
def kernels(built: Path) -> Iterator[Path]:
    """Pins of the kernel's maps of the same object."""
    if os.geteuid() != 0:
        pytest.skip("bpf(2) needs root")
    programs, maps = (BPFFS / f"xdpsim-live-{os.getpid()}-{each}" for each in ("programs", "maps"))
    try:
        answer("bpftool", "prog", "loadall", str(built), str(programs), "pinmaps", str(maps))
        yield maps
    finally:
        shutil.rmtree(programs, ignore_errors=True)
        shutil.rmtree(maps, ignore_errors=True)


UPDATES = (
    ("bare", "key 1 2 0x3 4 value hex a b c d e f"),
    ("bare", "key 1 2 3 4 value 1 1 1 1 1 010 exist"),
    ("long_bare", "key 1 0 0 0 value 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 noexist"),
    ("bare_cpu", "key 1 0 0 0 value 1 2 3 4 5 6"),
    ("flows", f"key 1 0 0 0 value {TALLY}"),
    ("cpu_flows", f"key 1 0 0 0 value {TALLY} any"),
    ("totals", "key 1 0 0 0 value 1 0 0 0 0 0 0 128"),
    ("per_cpu", "key hex 1 0 0 0 value 1 0 0 0 0 0 0 0"),
    ("recent", "key 1 0 0 0 value 1 2 3 4 5 6 7 8"),
    ("routes", "key 24 0 0 0 10 0 0 0 value 1 2 3 4"),
    ("ports", "key 1 0 0 0 value 1 0 0 0"),
    ("port_keys", "key 9 0 0 0 value 1 0 0 0"),
)


@pytest.mark.root
@pytest.mark.parametrize("form", [(), ("-j",)], ids=["text", "json"])
def test_what_is_printed_is_what_bpftool_prints(ours: Ours, kernels: Path, form: tuple[str, ...]) -> None:
    """After the same updates, dumps, lookups and next keys are the same in text and in JSON, empty maps before them, too."""

    def same(command: str, name: str, *words: str, theirs: str = "") -> None:
        pin = str(kernels / (theirs or name))
        kernel = subprocess.run(
            [tool("bpftool"), *form, "map", command, "pinned", pin, *words],
            capture_output=True,
            text=True,
            check=False,
        )
        own = ours(*form, "map", command, "name", name, *words)
        assert (own.returncode == 0) == (kernel.returncode == 0), (command, name, words, own.stderr)
        if form:
            assert json.loads(own.stdout) == json.loads(kernel.stdout), (command, name, words)
        else:
            assert own.stdout == kernel.stdout, (command, name, words)

    for name in ("bare", "flows", "bare_cpu"):
        same("dump", name)
    for name, words in UPDATES:
        same("update", name, *words.split())
    for name in sorted({name for name, _ in UPDATES}):
        same("dump", name)
    for name in ("bare", "long_bare", "bare_cpu", "flows", "cpu_flows", "totals", "recent", "ports"):
        same("lookup", name, *KEY)
    same("getnext", "bare")
    same("getnext", "totals", "key", "0", "0", "0", "0")
    same("delete", "bare", "key", "1", "2", "3", "4")
    same("dump", "bare")
    pins = {each.name for each in kernels.iterdir()}
    for section in ("data", "rodata"):
        pin = next(each for each in pins if each.endswith(f"_{section}"))
        same("dump", _of_section(ours, section), theirs=pin)


def _of_section(ours: Ours, section: str) -> str:
    """How our map of that section is called."""
    listed = json.loads(ours("-j", "map", "show").stdout)
    return next(str(each["name"]) for each in listed if each["name"].endswith(f".{section}"))


@pytest.mark.root
@pytest.mark.parametrize("name", ["flows", "routes", "per_cpu", "tails"])
def test_a_map_is_shown_with_what_bpftool_shows(ours: Ours, kernels: Path, name: str) -> None:
    """All facts that do not name objects of the kernel are there, under the same names; ours adds who holds it."""
    theirs = json.loads(answer("bpftool", "-j", "map", "show", "pinned", str(kernels / name)))
    found = json.loads(ours("-j", "map", "show", "name", name).stdout)
    kernels_own = {"id", "bytes_memlock", "btf_id", "owner_prog_type", "owner_jited"}
    assert {key: found[key] for key in theirs.keys() - kernels_own} == {
        key: value for key, value in theirs.items() if key not in kernels_own
    }
    assert found["devs"] == ["eth7"]


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        ("lookup name bare key 1 2 3", 3, "key expected 4 bytes got 3"),
        ("lookup name bare key 1 2 3 4 5", 3, "key expected 4 bytes got more: 5"),
        ("lookup name bare key 1 2 3 300", 3, "error parsing byte: 300"),
        ("lookup name bare key 1 2 3 x", 3, "error parsing byte: x"),
        ("lookup name bare", 3, "did not find key: key and 4 bytes"),
        ("lookup name bare value 1", 3, "unnecessary value"),
        ("getnext name bare", 3, "can't get next key: the map is empty"),
        ("update name bare key 1 0 0 0", 3, "did not find value: value and 6 bytes"),
        ("update name bare key 1 0 0 0 value 1 2 3 any", 3, "value expected 6 bytes got 3"),
        ("update name bare key 1 0 0 0 value 1 2 3 4 5 6 often", 3, "expected key or value, got: 'often'"),
        ("update name bare key 1 0 0 0 value 1 2 3 4 5 6 exist", 3, "No such file or directory"),
        ("update name totals key 9 0 0 0 value 1 0 0 0 0 0 0 0", 3, "index 9 is out of range: the map has 2 entries"),
        ("update name totals key 1 0 0 0 value 1 0 0 0 0 0 0 0 noexist", 3, "File exists"),
        ("update name tails key 1 0 0 0 value 1 0 0 0", 3, "holds programs"),
        ("delete name totals key 1 0 0 0", 3, "elements of arrays cannot be deleted"),
        ("delete name bare key 1 0 0 0", 3, "there is no such key (01 00 00 00)"),
        ("show id 4000", 3, "there is no live map with id 4000"),
        ("show id many", 3, "can't parse 'many'"),
        ("show name nothing", 3, "there is no live map with name nothing"),
        ("show dev eth9", 3, "nothing is attached to eth9; attached: eth7"),
        ("show pinned /etc/passwd", 3, "/etc/passwd is no map"),
        ("show frob 1", 3, "expected 'id', 'name', 'pinned' or 'dev', got: 'frob'"),
        ("lookup dev eth7 key 1 0 0 0", 3, "choose one map"),
        ("dump", 3, "expected 'id', 'name', 'pinned' or 'dev'"),
        ("dump id", 3, "what follows 'id' is missing"),
        ("frob", 2, "invalid choice"),
    ],
)
def test_what_cannot_be_is_one_line(shared: Path, words: str, code: int, line: str) -> None:
    """A wrong word, size, key or map is told in one line on stderr."""
    done = run("map", *words.split(), XDPSIM_RUN=str(shared))
    assert (done.returncode, done.stdout) == (code, "")
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture(scope="module")
def shared(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with a live attachment, for tests that change nothing."""
    place = tmp_path_factory.mktemp("state")
    with held(built, place):
        yield place


def test_a_full_and_a_frozen_map_say_so(ours: Ours) -> None:
    """The fifth element of four does not fit; a map that was frozen, and constants, can only be read."""
    for number in range(4):
        assert (
            ours(
                "map",
                "update",
                "name",
                "bare",
                "key",
                str(number),
                *["0", "0", "0", "value", "1", "1", "1", "1", "1", "1"],
            ).stderr
            == ""
        )
    full = ours("map", "update", "name", "bare", *["key", "9", "0", "0", "0", "value", "1", "1", "1", "1", "1", "1"])
    assert (full.returncode, "the map is full (4 entries)" in full.stderr) == (3, True)
    assert ours("map", "freeze", "name", "bare").returncode == 0
    for name, size in (("bare", 6), (_of_section(ours, "rodata"), 4)):
        done = ours("map", "update", "name", name, "key", *"0000", "value", *("1" * size))
        assert (done.returncode, "frozen" in done.stderr) == (3, True)


def test_no_such_key_is_exit_code_1(ours: Ours) -> None:
    """A lookup that finds nothing prints what bpftool prints, and null in JSON."""
    done = ours("map", "lookup", "name", "bare", *KEY)
    assert (done.returncode, done.stdout) == (1, "key:\n01 00 00 00\n\nNot found\n")
    done = ours("-j", "map", "lookup", "name", "bare", *KEY)
    assert (done.returncode, done.stdout) == (1, "null\n")


def test_maps_are_named_by_their_interface(shared: Path) -> None:
    """`dev` narrows lists and names; `prog show` has the numbers of the same maps."""
    environment = {"XDPSIM_RUN": str(shared)}

    def listed(*words: str) -> Any:
        return json.loads(run("-j", *words, **environment).stdout)

    maps = listed("map", "show", "dev", "eth7")
    assert maps == listed("map", "list")
    (program,) = listed("prog", "show")
    assert program["map_ids"] == [each["id"] for each in maps]
    assert (program["name"], program["type"], program["dev"]) == ("filter", "xdp", "eth7")
    assert listed("prog", "show", "name", "filter") == program
    dumped = listed("map", "dump", "dev", "eth7")
    assert [each["id"] for each in dumped] == program["map_ids"]
    assert listed("map", "dump", "name", "totals", "dev", "eth7") == listed("map", "dump", "name", "totals")


def test_nothing_attached_is_an_empty_list(tmp_path: Path) -> None:
    """Without a state folder there are no maps and no programs, and that is no failure."""
    for words in (("map", "show"), ("prog", "show")):
        done = run("-j", *words, XDPSIM_RUN=str(tmp_path / "none"))
        assert (done.returncode, done.stdout) == (0, "[]\n")


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no /dev/shm")
def test_a_pin_outlives_its_attachment(built: Path, tmp_path: Path) -> None:
    """A map that was pinned can be read and written when the process that made it is gone, and is the live one before."""
    pin = Path(f"/dev/shm/xdpsim-pin-{os.getpid()}")
    try:
        with held(built, tmp_path):
            words = ("map", "pin", "name", "bare", str(pin))
            assert run(*words, XDPSIM_RUN=str(tmp_path)).stderr == ""
            again = run(*words, XDPSIM_RUN=str(tmp_path))
            assert (again.returncode, "there is a file already" in again.stderr) == (3, True)
            live, pinned = (
                json.loads(run("-j", "map", "show", *which, XDPSIM_RUN=str(tmp_path)).stdout)
                for which in (("name", "bare"), ("pinned", str(pin)))
            )
            assert pinned["id"] == live["id"]
        run_json(
            "map", "update", "pinned", str(pin), *["key", "1", "0", "0", "0", "value", "1", "2", "3", "4", "5", "6"]
        )
        (entry,) = run_json("map", "dump", "pinned", str(pin))
        assert entry["value"] == [f"0x0{number}" for number in range(1, 7)]
    finally:
        pin.unlink(missing_ok=True)


def test_python_opens_the_same_map(folder: Path, ours: Ours) -> None:
    """`xdp.open_map` finds a map by name and number, typed; what it stores, the command line looks up."""
    state = State(folder)
    with xdp.open_map("flows", state=state) as flows:
        flows[1] = {"packets": 7, "bytes": 9, "name": b"AB"}
        assert flows[1].packets == 7
    found = json.loads(ours("-j", "map", "lookup", "name", "flows", *KEY).stdout)
    assert found["formatted"]["value"] == {"packets": 7, "bytes": 9, "name": "AB"}
    number = json.loads(ours("-j", "map", "show", "name", "flows").stdout)["id"]
    with xdp.open_map(number, state=state) as flows:
        assert list(flows) == [1]
    with pytest.raises(InputError, match="there is no live map 'none'"):
        xdp.open_map("none", state=state)
    with pytest.raises(MapError):
        xdp.open_map("/etc/passwd")


def test_two_attachments_of_one_object_need_a_number(built: Path, folder: Path, ours: Ours) -> None:
    """A name that two live maps have is refused for changes, and narrowed by `dev`; dumps show both."""
    with held(built, folder, "eth8"):
        done = ours("map", "lookup", "name", "bare", *KEY)
        assert (done.returncode, "several maps match" in done.stderr) == (3, True)
        assert ours("map", "update", "name", "bare", "dev", "eth8", *KEY, "value", *"123456").returncode == 0
        both = json.loads(ours("-j", "map", "dump", "name", "bare").stdout)
        assert [len(each["elements"]) for each in both] == [0, 1]
        with pytest.raises(InputError, match="choose one by number"):
            xdp.open_map("bare", state=State(folder))
    assert json.loads(ours("-j", "map", "dump", "name", "bare").stdout) == []
