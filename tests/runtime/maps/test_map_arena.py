"""Arenas: what is in the header, who else can map them, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from errno import E2BIG, EEXIST, EINVAL, ENOENT, EPERM
from pathlib import Path

import pytest

from runtime.errors import MapError
from runtime.maps import CORE_MAP_KINDS, attach, create, possible_cpus
from runtime.maps import arena as layout
from runtime.native import MemoryFault, memory
from runtime.spec import MapFlag, MapSpec
from tests.support.maps import KINDS, Make, spec_of


def test_the_header_says_what_the_map_is(make: Make) -> None:
    """Magic, version, kind, sizes, flags, CPUs, size and name stand where natives and other processes look."""
    each = make("hash", 4, 8, 100, MapFlag.NO_PREALLOC)
    words = {
        layout.MAGIC_AT: layout.MAGIC,
        layout.KIND_AT: 1,
        layout.KEY_SIZE_AT: 4,
        layout.VALUE_SIZE_AT: 8,
        layout.MAX_ENTRIES_AT: 100,
        layout.FLAGS_AT: 1,
        layout.CPUS_AT: 2,
        layout.SIZE_AT: each.arena.size,
    }
    assert {at: each.arena.word(at) for at in words} == words
    assert bytes(each.arena.view[layout.NAME_AT : layout.NAME_AT + 2]) == b"m\0"


def test_a_file_outlives_its_map(tmp_path: Path) -> None:
    """A map in a file can be attached after its maker has closed it, with all that it held."""
    path = tmp_path / "pinned"
    with create(spec_of("lru_hash", 4, 8, 10), KINDS["lru_hash"], cpus=2, path=path, compiled=False) as each:
        each.update(bytes(4), b"12345678")
    with attach(path, CORE_MAP_KINDS, compiled=False) as again:
        assert again.spec == each.spec
        assert dict(again.items()) == {bytes(4): b"12345678"}
        again.update(b"more", bytes(8))
        assert len(again) == 2


def test_two_mappings_are_one_map(make: Make) -> None:
    """The same memfd mapped twice, at two addresses, shows every change on both sides."""
    first = make("hash")
    with attach(Path(f"/proc/{os.getpid()}/fd/{first.arena.fd}"), CORE_MAP_KINDS, compiled=False) as second:
        assert second.address != first.address
        first.update(b"abcd", b"12345678")
        assert second.lookup(b"abcd") == b"12345678"
        second.delete(b"abcd")
        assert len(first) == 0


def test_another_process_sees_the_map(make: Make) -> None:
    """A child interpreter attaches through /proc, reads and writes."""
    each = make("hash", compiled=True)
    each.update(b"abcd", b"12345678")
    script = (
        "import sys; from pathlib import Path; from runtime.maps import attach, CORE_MAP_KINDS\n"
        "m = attach(Path(sys.argv[1]), CORE_MAP_KINDS)\n"
        "m.update(b'from', m.lookup(b'abcd')[::-1])"
    )
    path = f"/proc/{os.getpid()}/fd/{each.arena.fd}"
    subprocess.run([sys.executable, "-c", script, path], check=True, cwd=Path(__file__).parents[3])
    assert each.lookup(b"from") == b"87654321"


@pytest.mark.parametrize(
    ("content", "errno"),
    [(b"", EINVAL), (b"x" * 10_000, EINVAL), (b"XSMARENA" + b"\x01" + bytes(9000), EINVAL)],
    ids=["empty", "other", "cut"],
)
def test_other_files_are_no_maps(tmp_path: Path, content: bytes, errno: int) -> None:
    """Files that no map was made in are refused with one error."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(MapError) as failed:
        attach(path, CORE_MAP_KINDS)
    assert failed.value.errno == errno
    assert "\n" not in str(failed.value)


def test_files_are_not_overwritten(tmp_path: Path) -> None:
    """Creating a map where a file is gives EEXIST, attaching where none is ENOENT."""
    path = tmp_path / "file"
    path.write_bytes(b"precious")
    with pytest.raises(MapError) as failed:
        create(spec_of("hash", 4, 4, 4), KINDS["hash"], cpus=1, path=path)
    assert failed.value.errno == EEXIST
    assert path.read_bytes() == b"precious"
    with pytest.raises(MapError) as failed:
        attach(tmp_path / "nothing", CORE_MAP_KINDS)
    assert failed.value.errno == ENOENT


def test_a_closed_map_is_out_of_reach(make: Make) -> None:
    """After close, natives under Python find no memory at the map's address."""
    each = make("hash")
    address = each.address
    each.close()
    each.close()
    with pytest.raises(MemoryFault):
        memory.load(address, 8)


def test_untouched_pages_cost_nothing(make: Make) -> None:
    """A map with room for ten million entries takes next to no memory while it is empty."""
    each = make("hash", 16, 64, 10_000_000)
    assert each.arena.size > 1 << 29
    each.update(bytes(16), bytes(64))
    assert os.fstat(each.arena.fd).st_blocks * 512 < 1 << 20


def test_initial_elements_and_freezing() -> None:
    """A map begins with what its definition lists; a frozen one is read-only for user space: EPERM."""
    spec = MapSpec(
        name=".rodata",
        kind=2,
        key_size=4,
        value_size=4,
        max_entries=1,
        flags=MapFlag.RDONLY_PROG,
        frozen=True,
        initial=((bytes(4), b"data"),),
    )
    with create(spec, KINDS["array"], cpus=1, compiled=False) as each:
        assert each.lookup(bytes(4)) == b"data"
        for act in (lambda: each.update(bytes(4), b"more"), lambda: each.delete(bytes(4)), each.clear):
            with pytest.raises(MapError) as failed:
                act()
            assert failed.value.errno == EPERM


def test_access_flags_bind_user_space(make: Make) -> None:
    """F_RDONLY forbids user space to write, F_WRONLY to read."""
    with pytest.raises(MapError) as failed:
        make("hash", flags=MapFlag.RDONLY).update(bytes(4), bytes(8))
    assert failed.value.errno == EPERM
    with pytest.raises(MapError) as failed:
        make("hash", flags=MapFlag.WRONLY).lookup(bytes(4))
    assert failed.value.errno == EPERM


@pytest.mark.parametrize(
    ("name", "shape", "errno"),
    [
        ("hash", (4, 8, 0), EINVAL),
        ("hash", (0, 8, 1), EINVAL),
        ("hash", (4, 0, 1), EINVAL),
        ("hash", (4, 8, 1, MapFlag.NO_COMMON_LRU), EINVAL),
        ("hash", (1 << 21, 1 << 22, 1), E2BIG),
        ("percpu_hash", (4, 40_000, 1), E2BIG),
        ("array", (8, 8, 1), EINVAL),
        ("array", (4, 1 << 31, 1), E2BIG),
        ("array", (4, 8, 1, MapFlag.RDONLY_PROG | MapFlag.WRONLY_PROG), EINVAL),
        ("percpu_array", (4, 8, 1, MapFlag.MMAPABLE), EINVAL),
        ("prog_array", (4, 8, 1), EINVAL),
        ("lru_hash", (4, 8, 1, MapFlag.NO_PREALLOC), 524),
        ("lpm_trie", (4, 8, 1), EINVAL),
        ("lpm_trie", (261, 8, 1), EINVAL),
    ],
)
def test_shapes_that_linux_refuses(make: Make, name: str, shape: tuple[int, ...], errno: int) -> None:
    """Creation fails with the errno of the kernel, in one line that repeats what was asked for."""
    with pytest.raises(MapError) as failed:
        make(name, *shape)
    assert failed.value.errno == errno
    assert f"max_entries {shape[2]}" in str(failed.value)


def test_a_trie_must_not_be_preallocated() -> None:
    """Without F_NO_PREALLOC an LPM trie is EINVAL."""
    spec = MapSpec(name="t", kind=11, key_size=8, value_size=8, max_entries=1)
    with pytest.raises(MapError) as failed:
        create(spec, KINDS["lpm_trie"], cpus=1)
    assert failed.value.errno == EINVAL


def test_the_kinds_are_rows() -> None:
    """Kinds have numbers and names of their own, and every kind has the operations that user space needs."""
    assert (
        len({kind.id for kind in CORE_MAP_KINDS}) == len(CORE_MAP_KINDS) == len({kind.name for kind in CORE_MAP_KINDS})
    )
    for kind in CORE_MAP_KINDS:
        assert {"lookup", "update", "delete"} <= {op.value for op in kind.ops}
        assert kind.per_cpu == ("lookup_percpu" in {op.value for op in kind.ops})


def test_the_machine_has_cpus() -> None:
    """The number of possible CPUs is at least that of the CPUs that are on."""
    assert possible_cpus() >= len(os.sched_getaffinity(0))
