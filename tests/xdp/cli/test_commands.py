"""The commands as a user types them: documents, words in any order, terminals, pipes and signals."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import pytest

import xdp.cli.replay
from tests.support.captures import OWN, ROOT, pcap
from tests.support.sources import PRELUDE, as_root, clang, compile_c, needs_clang
from xdp.cli import main
from xdp.compare import Comparison, Difference

EXAMPLES: Final = ROOT / "examples"
FILTER: Final = str(EXAMPLES / "dos_filter.o")
PASS: Final = str(EXAMPLES / "pass.o")
PARSER: Final = str(EXAMPLES / "parser.o")
DISPATCHER: Final = str(EXAMPLES / "dispatcher.o")
FLOOD: Final = str(OWN / "syn-flood-mixed.pcap")
MIXED: Final = str(OWN / "mixed.pcapng")

REPORT: Final = (
    *("object", "program", "captures", "engine", "packets", "bytes", "verdicts", "modified"),
    *("elapsed_ns", "run_ns", "ns_per_packet", "packets_per_second"),
)
VERIFY: Final = ("section", "program", "type", "insns", "accepted", "error", "pc", "source", "seconds")
VERDICTS: Final = ("XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT")
INTERRUPTED, PIPE, TERMINATED = 130, 141, 143

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


def _environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **changes}


def _run(*words: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xdp.cli", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=_environment(**environment),
        timeout=120,
    )


def _json(*words: str, cwd: Path = ROOT, code: int = 0) -> Any:
    done = _run("-j", *words, cwd=cwd)
    assert (done.returncode, done.stderr) == (code, ""), done.stdout
    assert len(done.stdout.splitlines()) == 1
    return json.loads(done.stdout)


def test_replay_prints_one_object_with_these_fields() -> None:
    """The document of a replay has the promised fields in their order, and its numbers fit together."""
    found = _json("replay", FILTER, FLOOD)
    assert tuple(found) == REPORT
    assert tuple(found["verdicts"]) == VERDICTS
    assert (found["object"], found["program"], found["captures"]) == (FILTER, "xdp_filter", [FLOOD])
    assert found["packets"] == sum(found["verdicts"].values())
    assert found["ns_per_packet"] == pytest.approx(found["run_ns"] / found["packets"], abs=0.01)
    assert found["packets_per_second"] == pytest.approx(found["packets"] * 1e9 / found["run_ns"], rel=1e-6)


@pytest.mark.parametrize("words", [["-p", "replay"], ["replay", "-p"], ["replay", "--pretty"], ["-j", "replay", "-p"]])
def test_pretty_is_the_same_document_indented(words: list[str]) -> None:
    """-p implies JSON, before and after the command."""
    done = _run(*words, PASS, MIXED)
    assert done.returncode == 0
    assert tuple(json.loads(done.stdout)) == REPORT
    assert done.stdout.startswith('{\n  "object"')


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_json_can_be_asked_for_anywhere(place: int) -> None:
    """-j stands before, between or behind the words of a command."""
    words = ["replay", PASS, MIXED]
    words.insert(place, "-j")
    assert tuple(json.loads(_run(*words).stdout)) == REPORT


def test_the_table_for_people_names_what_happened() -> None:
    """Without -j, verdicts that occurred, their share, and the rate."""
    done = _run("replay", FILTER, FLOOD)
    assert (done.returncode, done.stderr) == (0, "")
    assert "8,474 packets" in done.stdout
    assert re.search(r"XDP_DROP +[\d,]+ +\d+\.\d %", done.stdout)
    assert "XDP_TX" not in done.stdout
    assert re.search(r"\d+ ns/packet", done.stdout)


def test_verify_prints_an_array_with_these_fields() -> None:
    """A row for each program, in the order of the object, with exit code 0 when all are accepted."""
    found = _json("verify", DISPATCHER)
    assert [row["program"] for row in found] == ["handle_icmp", "handle_tcp", "handle_udp", "xdp_dispatch"]
    for row in found:
        assert tuple(row) == VERIFY
        assert (row["section"], row["type"], row["accepted"]) == ("xdp", "xdp", True)
        assert (row["error"], row["pc"], row["source"]) == (None, None, None)
        assert row["insns"] > 0
        assert row["seconds"] >= 0
    (one,) = _json("verify", DISPATCHER, "--prog", "handle_udp")
    assert one["program"] == "handle_udp"


@needs_clang
def test_a_rejected_program_is_exit_code_one_with_its_source_line(tmp_path: Path) -> None:
    """Accepted and rejected programs stand side by side; the rejected one has cause, instruction and line."""
    (tmp_path / "bad.c").write_text(BAD)
    good, bad = _json("verify", "bad.c", cwd=tmp_path, code=1)
    assert good["accepted"]
    assert tuple(bad) == VERIFY
    assert not bad["accepted"]
    assert "packet" in bad["error"]
    assert bad["source"].endswith(f"bad.c:{BAD_LINE}")
    done = _run("verify", "bad.c", "-v", cwd=tmp_path)
    assert done.returncode == 1
    assert "accepted  good" in done.stdout
    assert "REJECTED  bad" in done.stdout
    assert f"instruction {bad['pc']}" in done.stdout
    assert "return data[14] ? XDP_PASS : XDP_DROP;" in done.stdout
    assert _run("verify", "bad.c", "--prog", "good", cwd=tmp_path).returncode == 0


@needs_clang
def test_verify_tells_more_in_json_when_asked(tmp_path: Path) -> None:
    """With -v the rows have the failure's code, warnings and the whole log besides."""
    (tmp_path / "bad.o").write_bytes(compile_c(BAD.removeprefix(PRELUDE)))
    rows = _json("verify", "bad.o", "-v", cwd=tmp_path, code=1)
    assert all(tuple(row) == (*VERIFY, "code", "warnings", "log") for row in rows)
    assert rows[1]["code"]
    assert "data[14]" in rows[1]["log"]
    assert (rows[0]["code"], rows[0]["log"]) == (None, "")


@needs_clang
def test_replaying_a_rejected_program_is_exit_code_one(tmp_path: Path) -> None:
    """A program that is not safe is not run: the cause in one line, in JSON with code and instruction."""
    (tmp_path / "bad.c").write_text(BAD)
    done = _run("replay", "bad.c", MIXED, "--prog", "bad", cwd=tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    found = _json("replay", "bad.c", MIXED, "--prog", "bad", cwd=tmp_path, code=1)
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
    done = _run("prog", "dump", "xlated", DISPATCHER, *rest)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("xdp_dispatch:" in done.stdout) == ("--prog" not in rest)
    assert re.search(r"^; .+ \[examples/dispatcher\.c:\d+\]$", done.stdout, re.MULTILINE)
    assert re.search(r"^ +[0-9a-f]{2}( [0-9a-f]{2}){7}$", done.stdout, re.MULTILINE)


def test_a_dump_is_in_the_kernels_dialect() -> None:
    """Plain, a dump has the program's name, source text and instructions; places and bytes only when asked."""
    done = _run("prog", "dump", "xlated", PASS)
    assert done.stdout == "xdp_pass: # section xdp\n; return XDP_PASS;\n   0: w0 = 2\n   1: exit\n"
    assert "[examples/pass.c:13]" in _run("prog", "dump", "xlated", PASS, "linum").stdout
    assert "[" not in _run("prog", "dump", "xlated", PASS, "opcodes").stdout


def test_a_dump_in_json_lists_instructions() -> None:
    """The document has a row for each instruction, with its slot, text, source line and bytes."""
    (program,) = _json("prog", "dump", "xlated", PASS, "opcodes")
    assert (program["name"], program["section"]) == ("xdp_pass", "xdp")
    first, last = program["insns"]
    assert (first["pc"], first["disasm"], first["opcodes"]) == (0, "w0 = 2", "b4 00 00 00 02 00 00 00")
    assert (first["src"], first["line_num"]) == ("return XDP_PASS;", 13)
    assert first["file_name"].endswith("pass.c")
    assert last == {"pc": 1, "disasm": "exit", "opcodes": "95 00 00 00 00 00 00 00"}


def test_a_dump_marks_where_functions_begin() -> None:
    """The name of a function that is called stands before its first instruction."""
    text = _run("prog", "dump", "xlated", PARSER).stdout
    assert re.search(r"^note:\n; static __noinline int note\(__u32 event\)\n +\d+: ", text, re.MULTILINE)


def test_native_dumps_show_ir_and_assembly() -> None:
    """The form ir is LLVM's language, asm the machine's; in JSON both stand under their names."""
    ir = _run("prog", "dump", "ir", PASS).stdout
    assert re.search(r"^define .*@", ir, re.MULTILINE)
    assert "ret i64 2" in ir
    asm = _run("prog", "dump", "asm", PASS).stdout
    assert "ret" in asm
    assert ".text" in asm
    ((program),) = _json("prog", "dump", "ir", PASS)
    assert (program["name"], program["ir"].strip()) == ("xdp_pass", ir.strip())
    assert _run("prog", "dump", "ir", PASS, "linum").returncode == 3


@needs_clang
def test_c_files_are_compiled(tmp_path: Path) -> None:
    """A .c file stands wherever an object does, and includes what lies beside it."""
    for name in ("pass.c", "frame.h", "parser.c"):
        shutil.copy(EXAMPLES / name, tmp_path)
    assert _json("replay", "parser.c", MIXED, cwd=tmp_path)["verdicts"]["XDP_PASS"] == 243
    assert "w0 = 2" in _run("prog", "dump", "xlated", "pass.c", cwd=tmp_path).stdout
    assert sorted(each.name for each in tmp_path.iterdir()) == ["frame.h", "parser.c", "pass.c"]


def test_without_clang_the_package_is_named(tmp_path: Path) -> None:
    """Where no clang is found, one line says what to install."""
    (tmp_path / "pass.c").write_text("int x;")
    done = _run("verify", "pass.c", cwd=tmp_path, PATH=str(tmp_path), CLANG="")
    assert (done.returncode, done.stdout) == (4, "")
    assert re.search(r"apt-get install clang-\d+", done.stderr)
    assert len(done.stderr.splitlines()) == 1


@needs_clang
def test_a_clang_with_a_version_in_its_name_is_found(tmp_path: Path) -> None:
    """Of clang-NN the newest on the path is taken when there is no plain clang."""
    (tmp_path / "bin").mkdir()
    for version, target in ((9, "/bin/false"), (99, str(clang()))):
        (tmp_path / "bin" / f"clang-{version}").symlink_to(target)
    shutil.copy(EXAMPLES / "pass.c", tmp_path)
    done = _run("verify", "pass.c", cwd=tmp_path, PATH=str(tmp_path / "bin"), CLANG="")
    assert done.returncode == 0, done.stderr


def _terminal(words: list[str], until: bytes, seconds: float = 60) -> bytes:
    """What a command shows on a terminal, until these bytes are seen or it ends; then it is interrupted."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "xdp.cli", *words],
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env=_environment(TERM="xterm", COLUMNS="100"),
    )
    os.close(theirs)
    shown = b""
    deadline = time.monotonic() + seconds
    try:
        while until not in shown and time.monotonic() < deadline:
            if select.select([ours], [], [], 0.2)[0]:
                shown += os.read(ours, 65536)
            elif child.poll() is not None:
                break
    except OSError:
        pass  # the other end is closed
    finally:
        child.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):
            while os.read(ours, 65536):
                pass
        child.wait(60)
        os.close(ours)
    return shown


def test_a_long_run_on_a_terminal_shows_a_bar() -> None:
    """After a while a bar appears on the terminal."""
    assert b"replaying" in _terminal(["replay", FILTER, FLOOD, "--loop", "100000000"], b"replaying")


def test_a_short_run_or_json_shows_no_bar() -> None:
    """Where the run is short nothing is drawn, nor where the reader is a program."""
    assert _terminal(["replay", FILTER, FLOOD], b"replaying", 60) == b""
    assert _terminal(["-j", "replay", FILTER, FLOOD, "--loop", "30000"], b"replaying", 3) in (b"", b"^C")


def _dump(folder: Path, *words: str, dump: str = "dump.json") -> dict[str, Any]:
    _json("replay", *words, "--dump-maps", dump, cwd=folder)
    found: dict[str, Any] = json.loads((folder / dump).read_text())
    return found


def test_maps_that_were_dumped_can_be_filled_in_again(tmp_path: Path) -> None:
    """Each map of a dump is accepted by --map as it is, per-CPU values too, and gives the same dump."""
    (tmp_path / "empty.pcap").write_bytes(pcap())
    first = _dump(tmp_path, FILTER, FLOOD)
    assert list(first) == ["blocked", "sources", "dropped", "counters", "dos_filt.data"]
    words = []
    for name, entries in first.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(entries))
        words += ["--map", f"{name}={name}.json"]
    again = _dump(tmp_path, FILTER, "empty.pcap", *words)

    def by_key(entries: list[Any]) -> list[Any]:
        return sorted(entries, key=lambda entry: entry["key"])

    assert {name: by_key(entries) for name, entries in again.items()} == {
        name: by_key(entries) for name, entries in first.items()
    }
    counters = first["counters"]
    assert set(counters[0]) == {"key", "values", "formatted"}
    assert counters[0]["key"] == ["0x00"] * 4
    assert [each["cpu"] for each in counters[0]["values"]] == list(range(len(counters[0]["values"])))
    packets = sum(each["value"]["packets"] for row in counters for each in row["formatted"]["values"])
    assert packets == 8474
    assert set(first["dropped"][0]) == {"key", "value", "formatted"}
    assert all(re.fullmatch("0x[0-9a-f]{2}", byte) for byte in first["dropped"][0]["value"])


def test_maps_are_filled_from_typed_values(tmp_path: Path) -> None:
    """Addresses as text, numbers and objects are placed by the types of the object."""
    (tmp_path / "empty.pcap").write_bytes(pcap())
    (tmp_path / "blocked.json").write_text(
        '[{"key": "10.0.0.1", "value": 5}, {"key": ["0x0a","0x00","0x00","0x02"], "value": 6}]'
    )
    (tmp_path / "sources.json").write_text('[{"key": "10.0.0.3", "value": {"due": 1, "passed": 2, "dropped": 3}}]')
    found = _dump(tmp_path, FILTER, "empty.pcap", "--map", "blocked=blocked.json", "--map", "sources=sources.json")
    rows = {tuple(row["key"]): row["formatted"]["value"] for row in found["blocked"] + found["sources"]}
    assert rows[("0x0a", "0x00", "0x00", "0x01")] == 5
    assert rows[("0x0a", "0x00", "0x00", "0x02")] == 6
    assert rows[("0x0a", "0x00", "0x00", "0x03")] == {"due": 1, "passed": 2, "dropped": 3}


def test_a_large_map_is_filled_whole(tmp_path: Path) -> None:
    """65,536 entries come in, every lookup finds its key, and as many come out."""
    keys = [i * 0x9E3779B1 & 0xFFFFFFFF for i in range(65536)]
    entries = [{"key": [f"0x{byte:02x}" for byte in struct.pack("<I", key)], "value": ["0x00"] * 8} for key in keys]
    (tmp_path / "table.json").write_text(json.dumps(entries))
    words = ("replay", str(EXAMPLES / "hash_lookup.o"), FLOOD, "--map", "table=table.json", "--dump-maps", "dump.json")
    found = _json(*words, cwd=tmp_path)
    assert found["verdicts"]["XDP_PASS"] == found["packets"]
    dumped = json.loads((tmp_path / "dump.json").read_text())["table"]
    assert sorted(entry["key"] for entry in dumped) == sorted(entry["key"] for entry in entries)


def _started(folder: Path, *words: str) -> subprocess.Popen[str]:
    """A long replay, once it writes."""
    child = subprocess.Popen(
        [sys.executable, "-m", "xdp.cli", "replay", FILTER, FLOOD, "--loop", "100000000", *words],
        cwd=folder,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not any(each.stat().st_size for each in folder.rglob("*.part")):
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return child


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, TERMINATED), (signal.SIGINT, INTERRUPTED)])
def test_a_stopped_run_leaves_no_files(number: int, code: int, tmp_path: Path) -> None:
    """SIGTERM and SIGINT end a replay with their exit codes, without a traceback, and remove what was begun."""
    child = _started(tmp_path, "--verdicts", "v.jsonl", "--out", "out", "--dump-maps", "m.json")
    try:
        child.send_signal(number)
        out, err = child.communicate(timeout=60)
    finally:
        child.kill()
    assert (child.returncode, out) == (code, "")
    assert "Traceback" not in err
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    "words",
    [
        ["prog", "dump", "xlated", DISPATCHER, "opcodes", "linum"],
        ["replay", FILTER, FLOOD, "--loop", "100", "--verdicts", "/dev/stdout"],
        ["replay", FILTER, FLOOD, "--dump-maps", "-"],
        ["--help"],
        ["-V"],
    ],
    ids=lambda words: words[0],
)
def test_a_reader_that_goes_away_is_no_error(words: list[str]) -> None:
    """When nobody reads the output any more the command ends, silently."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "xdp.cli", *words], stdout=write, stderr=subprocess.PIPE, text=True, check=False,
        env=_environment(), timeout=120,
    )  # fmt: skip
    os.close(write)
    assert done.stderr == ""
    assert done.returncode in ((PIPE, 0) if words == ["--help"] else (PIPE,))  # argparse swallows the error


def test_the_first_lines_can_be_taken() -> None:
    """`| head` gets its lines, and neither side complains."""
    command = f"{sys.executable} -m xdp.cli prog dump xlated {DISPATCHER} opcodes | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, env=_environment())
    assert (done.stdout, done.stderr) == ("handle_icmp: # section xdp\n", "")


@pytest.mark.parametrize(
    "words", [["--help"], ["replay", "--help"], ["verify", "--help"], ["prog", "dump", "--help"], ["-V"]]
)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    """Help and version come without compilers, arrays, terminal toolkits, and without our own engine."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "xdp.cli", *words],
        capture_output=True, text=True, check=True, env=_environment(),
    )  # fmt: skip
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "argparse" in imported
    heavy = {"numba", "llvmlite", "numpy", "rich", "scapy", "elftools", "zstandard", "runtime", "netdev"}
    assert not {name.partition(".")[0] for name in imported} & heavy
    assert done.stdout


def test_every_command_is_in_the_help() -> None:
    """The help lists the commands and the exit codes."""
    text = _run("--help").stdout
    assert all(word in text for word in ("replay", "verify", "prog", "Exit codes"))
    options = ("--prog", "--engine", "--compare", "--verdicts", "--out", "--map", "--dump-maps", "--loop", "--limit")
    text = _run("replay", "--help").stdout
    assert all(word in text for word in (*options, "--clock", "--seed", "--ifindex", "--queue"))


def test_a_comparison_without_difference_ends_well() -> None:
    """--compare prints what was compared, and exits with 0."""
    found = _json("replay", DISPATCHER, MIXED, "--prog", "xdp_dispatch", "--compare", "interpreter")
    assert (found["engines"], found["frames"], found["difference"]) == (["jit", "interpreter"], 243, None)
    done = _run("replay", DISPATCHER, MIXED, "--prog", "xdp_dispatch", "--compare", "interpreter")
    assert "no difference" in done.stdout


@pytest.mark.root
@as_root
def test_a_comparison_with_the_kernel_says_what_it_left_out() -> None:
    """Frames that the kernel does not take are counted in the text and in the document."""
    words = ("replay", PASS, MIXED, "--compare", "kernel")
    found = _json(*words)
    assert sum(found["left_out"].values()) + found["frames"] == 243
    assert found["left_out"]
    assert all(
        f"left out: {count:,} frames {reason}" in _run(*words).stdout for reason, count in found["left_out"].items()
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
    done = _run("replay", PASS, MIXED, "--compare", "interpreter", option, "x", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert option in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.root
@as_root
def test_the_kernel_refuses_a_clock_that_it_would_not_use() -> None:
    """--engine kernel runs with the capture's clock; asking for the other is an error, not silence."""
    done = _run("replay", PASS, MIXED, "--engine", "kernel", "--clock", "wall")
    assert (done.returncode, done.stdout) == (3, "")
    assert "--clock" in done.stderr
