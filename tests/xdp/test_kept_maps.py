"""Objects that replace others keep the maps whose definitions match."""

from __future__ import annotations

import pytest

from runtime.errors import MapError
from runtime.loader import LoadedObject, load
from tests.support.sources import compile_c, needs_clang
from xdp.extension import default_registry

pytestmark = needs_clang

TEXT = """
struct value { __u32 NAME; };
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ENTRIES);
	__type(key, __u32);
	__type(value, struct value);
} flows SEC(".maps");

__u64 seen = START;

SEC("xdp") int look(struct xdp_md *ctx)
{
	__u32 key = 1;
	struct value *value = bpf_map_lookup_elem(&flows, &key);
	seen++;
	return value ? value->NAME : XDP_PASS;
}
"""


def _open(old: LoadedObject | None = None, *, name: str = "verdict", entries: int = 8, start: int = 5) -> LoadedObject:
    text = TEXT.replace("NAME", name).replace("ENTRIES", str(entries)).replace("START", str(start))
    return load(compile_c(text), registry=default_registry(), name="t", maps=None if old is None else old.maps)


@pytest.mark.parametrize("engine", ["jit", "interpreter"])
def test_a_map_with_the_same_definition_is_kept(engine: str) -> None:
    """Its elements are there for the new program, its types are the new ones, and a handle from before still works."""
    old = _open()
    handle = old.maps["flows"]
    handle[1] = {"verdict": 1}
    new = _open(old, name="answer")
    assert new.kept == {"flows"}
    old.close()
    new.take_over()
    assert new.programs["look"].run(bytes(60), engine=engine).verdict == 1
    assert handle[1].answer == 1
    handle[1] = {"answer": 3}
    assert new.programs["look"].run(bytes(60), engine=engine).verdict == 3
    new.close()
    with pytest.raises(MapError, match="closed"):
        handle.lookup(bytes([1, 0, 0, 0]))


def test_other_definitions_and_global_data_begin_anew() -> None:
    """A map of another size is made fresh, and variables are what the new object says."""
    with _open() as old:
        old.maps["flows"][1] = {"verdict": 1}
        with _open(old, entries=16, start=7) as new:
            assert new.kept == frozenset()
            assert len(new.maps["flows"]) == 0
            data = next(each for name, each in new.maps.items() if name.endswith(".data"))
            assert data.lookup(bytes(4))[:8] == (7).to_bytes(8, "little")
        assert old.maps["flows"][1].verdict == 1
