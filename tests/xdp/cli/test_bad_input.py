"""Bad input gets one clear line and the documented exit code: never a traceback, never a half-written file."""

from __future__ import annotations

import gzip
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import pytest

ROOT = Path(__file__).parents[3]
FILTER = ROOT / "examples" / "dos_filter.o"
CAPTURE = ROOT / "pcaps" / "syn-flood-mixed.pcap"

Make = Callable[[Path], None]


def _run(words: list[str], *, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xdp.cli", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )


def _bytes(name: str, data: bytes) -> Make:
    return lambda folder: (folder / name).write_bytes(data) and None


def _flipped(name: str, offset: int, value: int) -> Make:
    def make(folder: Path) -> None:
        data = bytearray(FILTER.read_bytes())
        data[offset] = value
        (folder / name).write_bytes(data)

    return make


def _folder_without_write(folder: Path) -> None:
    (folder / "blocked").write_text("a file where a folder is wanted")


def _pcap(link_type: int = 1, snaplen: int = 65535) -> bytes:
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snaplen, link_type)


def _record(data: bytes, caplen: int | None = None) -> bytes:
    return struct.pack("<IIII", 1, 0, len(data) if caplen is None else caplen, len(data)) + data


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A command, what it finds in its folder, the exit code and a word of the message. F and C stand for good files."""

    name: str
    words: str
    code: int
    says: str
    make: tuple[Make, ...] = field(default=())


CASES = (
    Bad(name="no command", words="", code=2, says="required"),
    Bad(name="unknown command", words="replicate F C", code=2, says="invalid choice"),
    Bad(name="unknown option", words="replay F C --fast", code=2, says="--fast"),
    Bad(name="unknown engine", words="replay F C --engine turbo", code=2, says="turbo"),
    Bad(name="loop of zero", words="replay F C --loop 0", code=2, says="below 1"),
    Bad(name="limit that is no number", words="replay F C --limit many", code=2, says="many"),
    Bad(name="negative queue", words="replay F C --queue -1", code=2, says="-1"),
    Bad(name="map without a file", words="replay F C --map blocked", code=2, says="NAME=FILE"),
    Bad(name="no capture", words="replay F", code=2, says="CAPTURE"),
    Bad(name="object missing", words="replay none.o C", code=3, says="none.o"),
    Bad(name="object is a folder", words="replay . C", code=3, says="directory"),
    Bad(name="empty object", words="verify e.o", code=3, says="e.o", make=(_bytes("e.o", b""),)),
    Bad(
        name="text for an object", words="verify t.o", code=3, says="ELF", make=(_bytes("t.o", b"hello, world\n" * 9),)
    ),
    Bad(name="object cut at 100 bytes", words="verify c.o", code=3, says="c.o", make=(lambda d: _cut(d, 100),)),
    Bad(
        name="object cut in the middle",
        words="verify c.o",
        code=3,
        says="c.o",
        make=(lambda d: _cut(d, FILTER.stat().st_size // 2),),
    ),
    Bad(
        name="object of another machine",
        words="verify m.o",
        code=3,
        says="not for BPF",
        make=(_flipped("m.o", 18, 62),),
    ),
    Bad(name="big-endian object", words="verify b.o", code=3, says="endian", make=(_flipped("b.o", 5, 2),)),
    Bad(name="32-bit object", words="verify w.o", code=3, says="64-bit", make=(_flipped("w.o", 4, 1),)),
    Bad(name="C with an error", words="verify x.c", code=3, says="error", make=(_bytes("x.c", b"int main( {"),)),
    Bad(name="C without a program", words="verify n.c", code=3, says="n.c: ", make=(_bytes("n.c", b"int n;"),)),
    Bad(name="folder named as C", words="verify d.c", code=3, says="not a file", make=(lambda d: (d / "d.c").mkdir(),)),
    Bad(name="C file missing", words="verify none.c", code=3, says="none.c"),
    Bad(name="no such program", words="replay F C --prog nobody", code=3, says="nobody"),
    Bad(name="no such program type", words="verify F --type nothing", code=3, says="nothing"),
    Bad(name="capture missing", words="replay F none.pcap", code=3, says="none.pcap"),
    Bad(name="empty capture", words="replay F e.pcap", code=3, says="e.pcap", make=(_bytes("e.pcap", b""),)),
    Bad(
        name="text for a capture",
        words="replay F t.pcap",
        code=3,
        says="t.pcap",
        make=(_bytes("t.pcap", b"not a capture at all"),),
    ),
    Bad(
        name="capture cut in its header",
        words="replay F h.pcap",
        code=3,
        says="h.pcap",
        make=(_bytes("h.pcap", _pcap()[:10]),),
    ),
    Bad(
        name="capture of another link type",
        words="replay F l.pcap",
        code=3,
        says="link type",
        make=(_bytes("l.pcap", _pcap(105) + _record(bytes(64))),),
    ),
    Bad(
        name="broken gzip",
        words="replay F g.pcap.gz",
        code=3,
        says="g.pcap.gz",
        make=(_bytes("g.pcap.gz", gzip.compress(_pcap() * 99)[:14]),),
    ),
    Bad(
        name="map that the object lacks",
        words="replay F C --map nothing=m.json",
        code=3,
        says="nothing",
        make=(_bytes("m.json", b"[]"),),
    ),
    Bad(name="map file missing", words="replay F C --map blocked=none.json", code=3, says="none.json"),
    Bad(
        name="map file is no JSON",
        words="replay F C --map blocked=m.json",
        code=3,
        says="m.json",
        make=(_bytes("m.json", b"{"),),
    ),
    Bad(
        name="map file is no array",
        words="replay F C --map blocked=m.json",
        code=3,
        says="array",
        make=(_bytes("m.json", b"{}"),),
    ),
    Bad(
        name="map entry without value",
        words="replay F C --map blocked=m.json",
        code=3,
        says="value",
        make=(_bytes("m.json", b'[{"key": ["0x0a","0","0","1"]}]'),),
    ),
    Bad(
        name="map key too short",
        words="replay F C --map blocked=m.json",
        code=3,
        says="key",
        make=(_bytes("m.json", b'[{"key": ["0x0a"], "value": ["0x01","0","0","0","0","0","0","0"]}]'),),
    ),
    Bad(
        name="map key that is no address",
        words="replay F C --map blocked=m.json",
        code=3,
        says="blocked",
        make=(_bytes("m.json", b'[{"key": "10.0.0.999", "value": 1}]'),),
    ),
    Bad(
        name="output folder is a file",
        words="replay F C --out blocked",
        code=4,
        says="blocked",
        make=(_folder_without_write,),
    ),
    Bad(name="verdicts into a missing folder", words="replay F C --verdicts no/such/v.jsonl", code=4, says="no/such"),
    Bad(name="maps into a missing folder", words="replay F C --dump-maps no/such/m.json", code=4, says="no/such"),
    Bad(name="verdicts onto a full disk", words="replay F C --verdicts /dev/full", code=4, says="/dev/full"),
)


def _cut(folder: Path, size: int) -> None:
    (folder / "c.o").write_bytes(FILTER.read_bytes()[:size])


def _words(bad: Bad) -> list[str]:
    return [{"F": str(FILTER), "C": str(CAPTURE)}.get(word, word) for word in bad.words.split()]


@pytest.mark.parametrize("bad", CASES, ids=lambda bad: bad.name)
def test_bad_input_gets_one_line_and_its_code(bad: Bad, tmp_path: Path) -> None:
    """The exit code is the documented one, stderr is one line with the telling word, stdout is empty, no file is left."""
    for make in bad.make:
        make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = _run(_words(bad), cwd=tmp_path)
    assert done.returncode == bad.code, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert bad.says in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("bad", CASES[::4], ids=lambda bad: bad.name)
def test_bad_input_is_one_json_object_with_j(bad: Bad, tmp_path: Path) -> None:
    """With -j the failure is {"error": …} on stdout, with the same exit code."""
    for make in bad.make:
        make(tmp_path)
    done = _run(["-j", *_words(bad)], cwd=tmp_path)
    assert done.returncode == bad.code
    assert bad.says in json.loads(done.stdout)["error"]
    assert done.stderr == ""


def test_a_capture_with_a_damaged_end_is_used_up_to_the_damage(tmp_path: Path) -> None:
    """Good records before the damage are replayed, and the damage is named on stderr."""
    (tmp_path / "d.pcap").write_bytes(_pcap() + _record(bytes(60)) * 3 + _record(bytes(60), caplen=0x7FFFFFFF))
    done = _run(["-j", "replay", str(FILTER), "d.pcap"], cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    answer = json.loads(done.stdout)
    assert answer["packets"] == 3
    assert answer["damage"]


def test_an_interrupted_run_leaves_no_files(tmp_path: Path) -> None:
    """SIGINT in the middle of a long replay: exit 130, one line, no output file."""
    words = ["replay", str(FILTER), str(CAPTURE), "--loop", "100000000", "--verdicts", "v.jsonl"]
    child = subprocess.Popen(
        [sys.executable, "-m", "xdp.cli", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(8)
        child.send_signal(2)
        _, errors = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 130
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())
