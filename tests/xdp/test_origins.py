"""Where verdicts come from: the same instruction in both engines, and the line that a reader of the source would name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pytest

from netdev.capture import open_capture
from netdev.port import FrameBatch, pack
from runtime.loader import LoadedObject, Program, load
from tests.support.sources import compile_c, needs_clang
from xdp.extension import default_registry
from xdp.hooks import Hook

ROOT: Final = Path(__file__).resolve().parents[2]
EXAMPLES: Final = sorted(ROOT.glob("examples/*.o"))
CAPTURES: Final = [ROOT / "pcaps" / "mixed.pcapng", ROOT / "pcaps" / "syn-flood-mixed.pcap"]

FILTER: Final = """
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u32);
} blocked SEC(".maps");

static __attribute__((noinline)) int judge(__u8 *data, __u8 *end)
{
	if (data + 40 > end)
		return XDP_ABORTED; // F
	if (data[30] == 9)
		return XDP_DROP; // G
	return XDP_PASS;
}

SEC("xdp") int filter(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	int action = XDP_PASS;
	__u32 key;

	if (data + 14 > end)
		return XDP_ABORTED; // A
	if (data[0] == 1)
		return XDP_DROP; // B
	if (data[1] == 1 && data[2] != 7)
		return XDP_DROP; // C
	key = data[3];
	if (bpf_map_lookup_elem(&blocked, &key))
		return XDP_DROP; // D
	if (data[4] == 1) {
		action = XDP_DROP; // E
		goto out;
	}
	if (data[6] == 1)
		return judge(data, end);
	if (data[7] == 1)
		return data[8]; // H
out:
	return action;
}
"""


def _frame(size: int = 60, **places: int) -> bytes:
    made = bytearray(size)
    for name, value in places.items():
        made[int(name[1:])] = value
    return bytes(made)


FRAMES: Final = {
    "A": _frame(10),
    "B": _frame(b0=1),
    "C": _frame(b1=1),
    "D": _frame(b3=5),
    "E": _frame(b4=1),
    "F": _frame(38, b6=1),
    "G": _frame(b6=1, b30=9),
    "H": _frame(b7=1, b8=1),
}


def _run(program: Program, engine: str, batch: FrameBatch) -> tuple[np.ndarray, np.ndarray]:
    hook = Hook(program, engine=engine, origins=True)
    done = hook.run(batch, checked=engine == "interpreter")
    assert done.origins is not None
    found = done.returned.copy(), done.origins.copy()
    hook.close()
    return found


def _opened(source: Path | bytes, engine: str) -> LoadedObject:
    return load(source, registry=default_registry(), engine=engine)


@needs_clang
@pytest.mark.parametrize("engine", ["jit", "interpreter"])
def test_each_way_out_has_its_line(engine: str) -> None:
    """Of exits that the compiler merged, each is told by the statement that led there, in functions too."""
    lines = FILTER.splitlines()
    with _opened(compile_c(FILTER), engine) as loaded:
        loaded.maps["blocked"][5] = 1
        program = loaded.program()
        returned, origins = _run(program, engine, pack(list(FRAMES.values())))
        said = [program.spec.line_at(int(each & 0xFFFF_FFFF) - 1) for each in origins]
        assert {int(each >> 32) for each in origins} == {program.id}
    marked = {label: next(i for i, text in enumerate(lines) if text.endswith(f"// {label}")) for label in FRAMES}
    for label, verdict, line in zip(FRAMES, returned.tolist(), said, strict=True):
        assert verdict < 2
        assert line is not None
        nearby = {each.strip() for each in lines[marked[label] - 1 : marked[label] + 1]}  # the statement or its `if`
        assert line.text.strip() in nearby, label


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda each: each.stem)
@pytest.mark.parametrize("capture", CAPTURES, ids=lambda each: each.stem)
def test_engines_agree(path: Path, capture: Path) -> None:
    """On every frame of a capture the JIT names the instruction that the interpreter names."""
    found = {}
    with open_capture(capture) as file:
        batch = file.reader().take(400)
        for engine in ("jit", "interpreter"):
            with _opened(path, engine) as loaded:
                names = list(loaded.bare_programs)
                program = loaded.bare_programs[names[0]]
                returned, origins = _run(program, engine, batch)
                own = {each.id: name for name, each in loaded.bare_programs.items()}
                found[engine] = [
                    (verdict, own[origin >> 32], origin & 0xFFFF_FFFF)
                    for verdict, origin in zip(returned.tolist(), origins.tolist(), strict=True)
                ]
    assert found["jit"] == found["interpreter"]
    assert all(place for _, _, place in found["jit"])
