"""The commands as a user types them: what they print for people and for programs, and words in any order."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Final

import pytest

import xdp.cli.replay
from tests.support.commands import DISPATCHER, FILTER, FLOOD, MIXED, PARSER, PASS, run, run_json
from tests.support.sources import PRELUDE, as_root, compile_c, needs_clang
from xdp.cli import main
from xdp.compare import Comparison, Difference

REPORT: Final = (
    *("object", "program", "captures", "engine", "packets", "bytes", "verdicts", "modified"),
    *("elapsed_ns", "run_ns", "ns_per_packet", "packets_per_second"),
)
VERIFY_MORE: Final = (
    "code", "file", "line", "column", "text", "path", "slice", "known", "fix", "warnings", "loops", "facts",
    "effects", "witness", "log",
)  # fmt: skip
VERIFY: Final = ("section", "program", "type", "insns", "accepted", "error", "pc", "source", "seconds")
VERDICTS: Final = ("XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT")

BAD: Final = (
    PRELUDE
    + """
SEC("xdp")
int good(struct xdp_md *ctx) { return XDP_PASS; }

SEC("xdp")
int bad(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data;
	return data[14] ? XDP_PASS : XDP_DROP;
}
"""
)
BAD_LINE: Final = 1 + BAD.splitlines().index("\treturn data[14] ? XDP_PASS : XDP_DROP;")


def test_replay_prints_one_object_with_these_fields() -> None:
    """The document of a replay has the promised fields in their order, and its numbers fit together."""
    found = run_json("replay", FILTER, FLOOD)
    assert tuple(found) == REPORT
    assert tuple(found["verdicts"]) == VERDICTS
    assert (found["object"], found["program"], found["captures"]) == (FILTER, "xdp_filter", [FLOOD])
    assert found["packets"] == sum(found["verdicts"].values())
    assert found["ns_per_packet"] == pytest.approx(found["run_ns"] / found["packets"], abs=0.01)
    assert found["packets_per_second"] == pytest.approx(found["packets"] * 1e9 / found["run_ns"], rel=1e-6)


@pytest.mark.parametrize("words", [["-p", "replay"], ["replay", "-p"], ["replay", "--pretty"], ["-j", "replay", "-p"]])
def test_pretty_is_the_same_document_indented(words: list[str]) -> None:
    """-p implies JSON, before and after the command."""
    done = run(*words, PASS, MIXED)
    assert done.returncode == 0
    assert tuple(json.loads(done.stdout)) == REPORT
    assert done.stdout.startswith('{\n  "object"')


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_json_can_be_asked_for_anywhere(place: int) -> None:
    """-j stands before, between or behind the words of a command."""
    words = ["replay", PASS, MIXED]
    words.insert(place, "-j")
    assert tuple(json.loads(run(*words).stdout)) == REPORT


def test_the_table_for_people_names_what_happened() -> None:
    """Without -j, verdicts that occurred, their share, and the rate."""
    done = run("replay", FILTER, FLOOD)
    assert (done.returncode, done.stderr) == (0, "")
    assert "8,474 packets" in done.stdout
    assert re.search(r"XDP_DROP +[\d,]+ +\d+\.\d %", done.stdout)
    assert "XDP_TX" not in done.stdout
    assert re.search(r"\d+ ns/packet", done.stdout)


def test_verify_prints_an_array_with_these_fields() -> None:
    """A row for each program, in the order of the object, with exit code 0 when all are accepted."""
    found = run_json("verify", DISPATCHER)
    assert [row["program"] for row in found] == ["handle_icmp", "handle_tcp", "handle_udp", "xdp_dispatch"]
    for row in found:
        assert tuple(row) == VERIFY
        assert (row["section"], row["type"], row["accepted"]) == ("xdp", "xdp", True)
        assert (row["error"], row["pc"], row["source"]) == (None, None, None)
        assert row["insns"] > 0
        assert row["seconds"] >= 0
    (one,) = run_json("verify", DISPATCHER, "--prog", "handle_udp")
    assert one["program"] == "handle_udp"


@needs_clang
def test_a_rejected_program_is_exit_code_one_with_its_source_line(tmp_path: Path) -> None:
    """Accepted and rejected programs stand side by side; the rejected one has cause, instruction and line."""
    (tmp_path / "bad.c").write_text(BAD)
    good, bad = run_json("verify", "bad.c", cwd=tmp_path, code=1)
    assert good["accepted"]
    assert tuple(bad) == VERIFY
    assert not bad["accepted"]
    assert "packet" in bad["error"]
    assert bad["source"].endswith(f"bad.c:{BAD_LINE}")
    done = run("verify", "bad.c", "-v", cwd=tmp_path)
    assert done.returncode == 1
    assert "accepted  good" in done.stdout
    assert "REJECTED  bad" in done.stdout
    assert f"instruction {bad['pc']}" in done.stdout
    assert "return data[14] ? XDP_PASS : XDP_DROP;" in done.stdout
    assert run("verify", "bad.c", "--prog", "good", cwd=tmp_path).returncode == 0


@needs_clang
def test_verify_tells_more_in_json_when_asked(tmp_path: Path) -> None:
    """With -v the rows have all that is known of a failure besides, and with -vv every state."""
    (tmp_path / "bad.o").write_bytes(compile_c(BAD.removeprefix(PRELUDE)))
    rows = run_json("verify", "bad.o", "-v", cwd=tmp_path, code=1)
    assert all(tuple(row) == (*VERIFY, *VERIFY_MORE) for row in rows)
    assert all(
        tuple(row) == (*VERIFY, *VERIFY_MORE, "states")
        for row in run_json("verify", "bad.o", "-vv", cwd=tmp_path, code=1)
    )
    assert rows[1]["source"].endswith(f":{rows[1]['line']}")
    assert rows[1]["text"] == "return data[14] ? XDP_PASS : XDP_DROP;"
    assert rows[1]["fix"].startswith("add `if (")
    assert rows[1]["slice"]
    assert rows[1]["code"]
    assert "data[14]" in rows[1]["log"]
    assert (rows[0]["code"], rows[0]["log"]) == (None, "")


@needs_clang
def test_replaying_a_rejected_program_is_exit_code_one(tmp_path: Path) -> None:
    """A program that is not safe is not run: the cause in one line, in JSON with code and instruction."""
    (tmp_path / "bad.c").write_text(BAD)
    done = run("replay", "bad.c", MIXED, "--prog", "bad", cwd=tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    found = run_json("replay", "bad.c", MIXED, "--prog", "bad", cwd=tmp_path, code=1)
    assert set(found) == {"error", "code", "pc", "source"}


@pytest.mark.parametrize(
    "rest",
    [
        ["linum", "opcodes"],
        ["opcodes", "linum"],
        ["--prog", "handle_udp", "linum", "opcodes"],
        ["linum", "--prog", "handle_udp", "opcodes"],
        ["opcodes", "linum", "--prog", "handle_udp"],
    ],
    ids=" ".join,
)
def test_the_words_after_a_dump_stand_in_any_order(rest: list[str]) -> None:
    """The words linum and opcodes, before and behind --prog: source lines with their places, and encoded bytes."""
    done = run("prog", "dump", "xlated", DISPATCHER, *rest)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("xdp_dispatch:" in done.stdout) == ("--prog" not in rest)
    assert re.search(r"^; .+ \[examples/dispatcher\.c:\d+\]$", done.stdout, re.MULTILINE)
    assert re.search(r"^ +[0-9a-f]{2}( [0-9a-f]{2}){7}$", done.stdout, re.MULTILINE)


def test_a_dump_is_in_the_kernels_dialect() -> None:
    """Plain, a dump has the program's name, source text and instructions; places and bytes only when asked."""
    done = run("prog", "dump", "xlated", PASS)
    assert done.stdout == "xdp_pass: # section xdp\n; return XDP_PASS;\n   0: w0 = 2\n   1: exit\n"
    assert "[examples/pass.c:13]" in run("prog", "dump", "xlated", PASS, "linum").stdout
    assert "[" not in run("prog", "dump", "xlated", PASS, "opcodes").stdout


def test_a_dump_in_json_lists_instructions() -> None:
    """The document has a row for each instruction, with its slot, text, source line and bytes."""
    (program,) = run_json("prog", "dump", "xlated", PASS, "opcodes")
    assert (program["name"], program["section"]) == ("xdp_pass", "xdp")
    first, last = program["insns"]
    assert (first["pc"], first["disasm"], first["opcodes"]) == (0, "w0 = 2", "b4 00 00 00 02 00 00 00")
    assert (first["src"], first["line_num"]) == ("return XDP_PASS;", 13)
    assert first["file_name"].endswith("pass.c")
    assert last == {"pc": 1, "disasm": "exit", "opcodes": "95 00 00 00 00 00 00 00"}


def test_a_dump_marks_where_functions_begin() -> None:
    """The name of a function that is called stands before its first instruction."""
    text = run("prog", "dump", "xlated", PARSER).stdout
    assert re.search(r"^note:\n; static __noinline int note\(__u32 event\)\n +\d+: ", text, re.MULTILINE)


def test_native_dumps_show_ir_and_assembly() -> None:
    """The form ir is LLVM's language, asm the machine's; in JSON both stand under their names."""
    ir = run("prog", "dump", "ir", PASS).stdout
    assert re.search(r"^define .*@", ir, re.MULTILINE)
    assert "ret i64 2" in ir
    asm = run("prog", "dump", "asm", PASS).stdout
    assert "ret" in asm
    assert ".text" in asm
    ((program),) = run_json("prog", "dump", "ir", PASS)
    assert (program["name"], program["ir"].strip()) == ("xdp_pass", ir.strip())
    assert run("prog", "dump", "ir", PASS, "linum").returncode == 3


def test_every_command_is_in_the_help() -> None:
    """The help lists the commands and the exit codes."""
    text = run("--help").stdout
    assert all(word in text for word in ("replay", "verify", "prog", "Exit codes"))
    options = ("--prog", "--engine", "--compare", "--verdicts", "--out", "--map", "--dump-maps", "--loop", "--limit")
    text = run("replay", "--help").stdout
    assert all(word in text for word in (*options, "--clock", "--seed", "--ifindex", "--queue"))


def test_a_comparison_without_difference_ends_well() -> None:
    """--compare prints what was compared, and exits with 0."""
    found = run_json("replay", DISPATCHER, MIXED, "--prog", "xdp_dispatch", "--compare", "interpreter")
    assert (found["engines"], found["frames"], found["difference"]) == (["jit", "interpreter"], 243, None)
    done = run("replay", DISPATCHER, MIXED, "--prog", "xdp_dispatch", "--compare", "interpreter")
    assert "no difference" in done.stdout


@pytest.mark.root
@as_root
def test_a_comparison_with_the_kernel_says_what_it_left_out() -> None:
    """Frames that the kernel does not take are counted in the text and in the document."""
    words = ("replay", PASS, MIXED, "--compare", "kernel")
    found = run_json(*words)
    assert sum(found["left_out"].values()) + found["frames"] == 243
    assert found["left_out"]
    assert all(
        f"left out: {count:,} frames {reason}" in run(*words).stdout for reason, count in found["left_out"].items()
    )


@pytest.mark.parametrize("frame", [7, None])
def test_a_comparison_that_differs_is_exit_code_one(
    frame: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first difference is printed with its frame and both answers, and the exit code is 1."""
    found = Comparison(
        program="p",
        engines=("jit", "kernel"),
        captures=("c",),
        frames=9,
        left_out={},
        maps=(),
        unsettled={"m": "is full"},
        difference=Difference(what="verdict", frame=frame, first="one", second="other"),
    )
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(xdp.cli.replay, "compare", lambda *_words, **_more: found)
    try:
        assert main(["replay", PASS, MIXED, "--compare", "interpreter"]) == 1
        text = capsys.readouterr().out
        assert main(["-j", "replay", PASS, MIXED, "--compare", "interpreter"]) == 1
    finally:
        signal.signal(signal.SIGTERM, before)
    document = json.loads(capsys.readouterr().out)
    assert document["difference"] == {"what": "verdict", "frame": frame, "first": "one", "second": "other"}
    assert f"DIFFERENT: verdict, {'after the last frame' if frame is None else 'in frame 7'}" in text
    assert "jit: one" in text
    assert "kernel: other" in text
    assert "not compared: map 'm' is full" in text


@pytest.mark.parametrize("option", ["--verdicts", "--out", "--dump-maps", "--plot"])
def test_a_comparison_refuses_outputs_that_it_would_not_write(option: str, tmp_path: Path) -> None:
    """An option that would have no effect is named rather than passed over."""
    done = run("replay", PASS, MIXED, "--compare", "interpreter", option, "x", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert option in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.root
@as_root
def test_the_kernel_refuses_a_clock_that_it_would_not_use() -> None:
    """--engine kernel runs with the capture's clock; asking for the other is an error, not silence."""
    done = run("replay", PASS, MIXED, "--engine", "kernel", "--clock", "wall")
    assert (done.returncode, done.stdout) == (3, "")
    assert "--clock" in done.stderr
