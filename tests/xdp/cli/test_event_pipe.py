"""`xdpsim map event_pipe` and the other map commands on maps of events, beside bpftool where it has the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import xdp
from runtime.maps import Map
from tests.support.commands import ROOT, environment, run
from tests.support.events import Producer
from tests.support.holder import held
from tests.support.objects import BPFFS, answer
from tests.support.sources import compile_c
from xdp.live.registry import State

SOURCE = """
struct event { __u32 length; __u8 kind; __u8 rest[3]; };
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } bare SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); __uint(value_size, 4); __uint(max_entries, 2); }
    samples SEC(".maps");
#ifdef TYPED
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); __type(value, struct event); } typed SEC(".maps");
#endif
SEC("xdp") int tell(struct xdp_md *ctx)
{
    __u64 value = 0x0102030405060708;

    bpf_ringbuf_output(&bare, &value, 8, 0);
    bpf_perf_event_output(ctx, &samples, BPF_F_CURRENT_CPU, &value, 8);
#ifdef TYPED
    bpf_ringbuf_output(&typed, &value, 8, 0);
#endif
    return XDP_PASS;
}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The object."""
    path = tmp_path_factory.mktemp("object") / "events.o"
    path.write_bytes(compile_c("#define TYPED\n" + SOURCE))
    return path


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Iterator[Path]:
    """A state folder with a live attachment of the object."""
    with held(built, tmp_path):
        yield tmp_path


def _opened(folder: Path, name: str) -> Map:
    return xdp.open_map(name, state=State(folder))


def _piped(folder: Path, lines: int, *words: str, number: int = signal.SIGINT) -> tuple[str, str, int]:
    """So many lines of the command's output, what it says on stderr, and its exit code after that signal."""
    command = [sys.executable, "-m", "xdp.cli", "map", "event_pipe", *words]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(XDPSIM_RUN=str(folder)),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        text = "".join(process.stdout.readline() for _ in range(lines))
        process.send_signal(number)
        return text, process.stderr.read(), process.wait(60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_records_of_a_ring_are_printed(folder: Path, number: int) -> None:
    """Position, size and bytes of each record that nobody has read; a signal ends the command well, as in bpftool."""
    with _opened(folder, "bare") as raw:
        producer = Producer(raw, compiled=True)
        assert producer.output(bytes(range(20))) == 0
        assert producer.output(b"\xff") == 0
        text, said, code = _piped(folder, 5, "name", "bare", number=number)
    assert text.splitlines() == [
        "== +0 size: 20 =====",
        "00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 0e 0f",
        "10 11 12 13",
        "== +32 size: 1 =====",
        "ff",
    ]
    assert (said, code) == ("Stopping...\n", 0)


def test_records_are_typed_and_come_as_lines_of_json(folder: Path) -> None:
    """With -j one document a line: the bytes, and what BTF says of them."""
    with _opened(folder, "typed") as raw:
        producer = Producer(raw, compiled=True)
        assert producer.output(bytes((1, 0, 0, 0, 2, 3, 4, 5))) == 0
        assert producer.output(b"x") == 0
        text, said, code = _piped(folder, 2, "name", "typed", "-j")
    first, second = map(json.loads, text.splitlines())
    assert first == {
        "type": 9, "position": 0, "data": [1, 0, 0, 0, 2, 3, 4, 5],
        "formatted": {"length": 1, "kind": 2, "rest": [3, 4, 5]},
    }  # fmt: skip
    assert second == {"type": 9, "position": 16, "data": [120]}
    assert (said, code) == ("", 0)


def test_events_of_all_cpus_or_of_one(folder: Path) -> None:
    """The shape is bpftool's; `cpu N index M` puts the events of that CPU into that slot as long as the command runs."""
    with _opened(folder, "samples") as raw:
        zero, one = (Producer(raw, compiled=True, cpu=cpu) for cpu in (0, 1))
        assert one.event(b"12345678") == 0
        text, _, code = _piped(folder, 2, "name", "samples")
        assert code == 0
        head, data = text.splitlines()
        assert head.startswith("== @0.000000000 CPU: 1 index: 1 =====")
        assert data.startswith("31 32 33 34 35 36 37 38")
        while zero.event(bytes(2000)) == 0:
            pass
        assert len(list(raw)) > 1
        assert zero.event(b"back") == 0
        text, _, code = _piped(folder, 2, "name", "samples", "cpu", "0", "index", "0", "-j")
        lost, back = map(json.loads, text.splitlines())
        assert lost == {"type": 2, "cpu": 0, "index": 0, "lost": {"id": 0, "count": 1}}
        assert back == {"type": 9, "cpu": 0, "index": 0, "timestamp": 0, "data": [*b"back"]}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("name", "samples", "cpu", "1"), "cpu and index must be specified together"),
        (("name", "samples", "what", "1"), "what is 'what'?"),
        (("name", "samples", "cpu", "x", "index", "1"), "can't parse 'x' as CPU"),
        (("name", "samples", "cpu", "1", "index", "2"), "index 2 is out of range"),
        (("name", "bare", "cpu", "1", "index", "1"), "one ring for all CPUs"),
        (("name", "bare", "cpu"), "the number after 'cpu' is missing"),
    ],
)
def test_words_that_make_no_sense(folder: Path, words: tuple[str, ...], line: str) -> None:
    """One line that says what is wrong, and the code for bad input."""
    done = run("map", "event_pipe", *words, XDPSIM_RUN=str(folder))
    assert done.returncode == 3
    assert line in done.stderr


COMMANDS = (
    "dump {bare}", "dump {bare} -j", "dump {samples}", "dump {samples} -j", "getnext {samples}",
)  # fmt: skip


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="bpf(2) needs root")
def test_other_commands_say_what_bpftool_says(folder: Path, tmp_path: Path) -> None:
    """Events are not elements: dumps of the same maps of the kernel read the same, byte for byte."""
    path, pins = tmp_path / "plain.o", BPFFS / f"xdpsim-events-{os.getpid()}"
    path.write_bytes(compile_c(SOURCE))
    try:
        answer("bpftool", "prog", "loadall", str(path), str(pins), "pinmaps", str(pins))
        for command in COMMANDS:
            theirs = command.format(bare=f"pinned {pins}/bare", samples=f"pinned {pins}/samples").split()
            ours = command.format(bare="name bare", samples="name samples").split()
            wanted = subprocess.run(["bpftool", "map", *theirs], capture_output=True, text=True, check=False)
            got = run("map", *ours, XDPSIM_RUN=str(folder))
            if "-j" in ours:
                assert json.loads(got.stdout) == json.loads(wanted.stdout)
            else:
                assert got.stdout == wanted.stdout
    finally:
        shutil.rmtree(pins, ignore_errors=True)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("lookup", "name", "bare", "key", "0"), "unnecessary key"),
        (("lookup", "name", "samples", "key", "0", "0", "0", "0"), "lookup failed: map 'samples': events have no keys"),
        (("delete", "name", "samples", "key", "0", "0", "0", "0"), "delete failed: map 'samples': events have no keys"),
        (("getnext", "name", "bare"), "Unknown error 524"),
    ],
)
def test_events_are_not_looked_up(folder: Path, words: tuple[str, ...], line: str) -> None:
    """The failure says how they are read."""
    done = run("map", *words, XDPSIM_RUN=str(folder))
    assert done.returncode == 3
    assert line in done.stderr
