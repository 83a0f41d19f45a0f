"""The command line among its surroundings: compilers, map files, terminals, pipes, signals, and what it imports."""

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

from tests.support.captures import pcap
from tests.support.commands import DISPATCHER, EXAMPLES, FILTER, FLOOD, MIXED, environment, run, run_json
from tests.support.sources import clang, needs_clang

INTERRUPTED: Final = 130
PIPE: Final = 141
TERMINATED: Final = 143


@needs_clang
def test_c_files_are_compiled(tmp_path: Path) -> None:
    """A .c file stands wherever an object does, and includes what lies beside it."""
    for name in ("pass.c", "frame.h", "parser.c"):
        shutil.copy(EXAMPLES / name, tmp_path)
    assert run_json("replay", "parser.c", MIXED, cwd=tmp_path)["verdicts"]["XDP_PASS"] == 243
    assert "w0 = 2" in run("prog", "dump", "xlated", "pass.c", cwd=tmp_path).stdout
    assert sorted(each.name for each in tmp_path.iterdir()) == ["frame.h", "parser.c", "pass.c"]


def test_without_clang_the_package_is_named(tmp_path: Path) -> None:
    """Where no clang is found, one line says what to install."""
    (tmp_path / "pass.c").write_text("int x;")
    done = run("verify", "pass.c", cwd=tmp_path, PATH=str(tmp_path), CLANG="")
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
    done = run("verify", "pass.c", cwd=tmp_path, PATH=str(tmp_path / "bin"), CLANG="")
    assert done.returncode == 0, done.stderr


def _terminal(words: list[str], until: bytes, seconds: float = 60, **more: str) -> bytes:
    """What a command shows on a terminal, until these bytes are seen or it ends; then it is interrupted."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "xdp.cli", *words],
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env=environment(TERM="xterm", COLUMNS="100", **more),
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


def test_who_waits_for_a_compilation_is_told_once(tmp_path: Path) -> None:
    """On a terminal one line says why the first replay takes seconds; the second has nothing to compile, and JSON no line."""
    (tmp_path / "one.pcap").write_bytes(pcap())
    words = ["replay", str(EXAMPLES / "pass.o"), str(tmp_path / "one.pcap")]
    cold, warm = (_terminal(words, b"never", XDPSIM_CACHE=str(tmp_path / "cache")) for _ in range(2))
    assert cold.count(b"compiling native code") == 1, cold
    assert b"compiling" not in warm
    assert b"compiling" not in _terminal([*words, "-j"], b"never", XDPSIM_CACHE=str(tmp_path / "other"))


def test_a_long_run_on_a_terminal_shows_a_bar() -> None:
    """After a while a bar appears on the terminal."""
    assert b"replaying" in _terminal(["replay", FILTER, FLOOD, "--loop", "100000000"], b"replaying")


def test_a_short_run_or_json_shows_no_bar() -> None:
    """Where the run is short (one of three, on a busy machine) nothing is drawn, nor where the reader is a program."""
    assert any(_terminal(["replay", FILTER, FLOOD], b"replaying", 60) == b"" for _ in range(3))
    assert _terminal(["-j", "replay", FILTER, FLOOD, "--loop", "30000"], b"replaying", 3) in (b"", b"^C")


def _dump(folder: Path, *words: str, dump: str = "dump.json") -> dict[str, Any]:
    run_json("replay", *words, "--dump-maps", dump, cwd=folder)
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
    found = run_json(*words, cwd=tmp_path)
    assert found["verdicts"]["XDP_PASS"] == found["packets"]
    dumped = json.loads((tmp_path / "dump.json").read_text())["table"]
    assert sorted(entry["key"] for entry in dumped) == sorted(entry["key"] for entry in entries)


def _started(folder: Path, *words: str) -> subprocess.Popen[str]:
    """A long replay, once it writes."""
    child = subprocess.Popen(
        [sys.executable, "-m", "xdp.cli", "replay", FILTER, FLOOD, "--loop", "100000000", *words],
        cwd=folder,
        env=environment(),
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
        env=environment(), timeout=120,
    )  # fmt: skip
    os.close(write)
    assert done.stderr == ""
    assert done.returncode in ((PIPE, 0) if words == ["--help"] else (PIPE,))  # argparse swallows the error


def test_the_first_lines_can_be_taken() -> None:
    """`| head` gets its lines, and neither side complains."""
    command = f"{sys.executable} -m xdp.cli prog dump xlated {DISPATCHER} opcodes | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, env=environment())
    assert (done.stdout, done.stderr) == ("handle_icmp: # section xdp\n", "")


@pytest.mark.parametrize(
    "words", [["--help"], ["replay", "--help"], ["verify", "--help"], ["prog", "dump", "--help"], ["-V"]]
)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    """Help and version come without compilers, arrays, terminal toolkits, and without our own engine."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "xdp.cli", *words],
        capture_output=True, text=True, check=True, env=environment(),
    )  # fmt: skip
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "argparse" in imported
    heavy = {"numba", "llvmlite", "numpy", "rich", "scapy", "elftools", "zstandard", "runtime", "netdev"}
    assert not {name.partition(".")[0] for name in imported} & heavy
    assert done.stdout
