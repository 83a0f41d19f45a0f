"""`xdpsim verify` where streams are closed or full, programs cannot be read, and processes are killed.

Not here: wrong objects (test_bad_input.py) and what rows say (test_commands.py).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.commands import PASS, environment, run, run_json
from tests.support.sources import compile_c, needs_clang

_UNREAD: Final = """
extern void bpf_rcu_read_lock(void) __attribute__((section(".ksyms")));

SEC("xdp") int asking(struct xdp_md *ctx) {
	bpf_rcu_read_lock();
	return XDP_PASS;
}
SEC("xdp") int plain(struct xdp_md *ctx) { return XDP_DROP; }
"""
_WRONG: Final = """
SEC("xdp") int first(struct xdp_md *ctx) { return *(unsigned char *)(long)ctx->data; }
SEC("xdp") int second(struct xdp_md *ctx) {
	unsigned char *data = (void *)(long)ctx->data;
	return data + 4 > (unsigned char *)(long)ctx->data_end ? 0 : data[4];
}
"""


def _shell(words: str) -> subprocess.CompletedProcess[str]:
    command = f"{sys.executable} -m xdp.cli {words}"
    return subprocess.run(
        command, shell=True, capture_output=True, text=True, check=False, env=environment(), timeout=120
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (f"verify {PASS} >&-", 0),
        (f"verify {PASS} -vv 2>&- <&-", 0),
        (f"-j verify {PASS} >&- 2>&- <&-", 0),
        ("verify none.o 2>&-", 3),
        ("verify none.o 2>/dev/full", 3),
        ("-j verify none.o >&-", 3),
    ],
)
def test_closed_streams_change_no_exit_code(words: str, code: int) -> None:
    """Who closes a stream does not want to read it; the exit code says what it says otherwise, and no other stream complains."""
    done = _shell(words)
    assert (done.returncode, done.stderr) == (code, "")


@pytest.mark.parametrize("words", [f"verify {PASS} >/dev/full", f"-j verify {PASS} >/dev/full"])
def test_an_answer_that_cannot_be_written_is_a_failure_of_the_system(words: str) -> None:
    """A full disk under stdout is one line on stderr, also where failures go to stdout."""
    done = _shell(words)
    assert (done.returncode, len(done.stderr.splitlines())) == (4, 1)
    assert "No space left" in done.stderr


@needs_clang
def test_a_program_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    """The others are verified; the exit code tells that one was neither accepted nor rejected."""
    (tmp_path / "both.o").write_bytes(compile_c(_UNREAD))
    done = run("verify", "both.o", cwd=tmp_path)
    assert done.returncode == 3
    assert "accepted  plain" in done.stdout
    assert "not read  asking" in done.stdout
    rows = run_json("verify", "both.o", cwd=tmp_path, code=3)
    assert [(row["program"], row["accepted"]) for row in rows] == [("plain", True), ("asking", None)]
    assert run("verify", "both.o", "--prog", "plain", cwd=tmp_path).returncode == 0
    assert run("verify", "both.o", "--prog", "asking", cwd=tmp_path).returncode == 3


@needs_clang
def test_witnesses_of_several_programs_are_one_capture(tmp_path: Path) -> None:
    """Packets stand in the order of the programs; where none is found, no file is written and a line says so."""
    (tmp_path / "wrong.o").write_bytes(compile_c(_WRONG))
    rows = run_json("verify", "wrong.o", "--witness", "packets.pcap", cwd=tmp_path, code=1)
    assert [row["accepted"] for row in rows] == [False, False]
    data, at, sizes = (tmp_path / "packets.pcap").read_bytes(), 24, []
    while at < len(data):
        sizes.append(int.from_bytes(data[at + 8 : at + 12], "little"))
        at += 16 + sizes[-1]
    assert sizes == [0, 4]
    done = run("verify", PASS, "--witness", "none.pcap", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "no packet was found, none.pcap is not written\n")
    assert not (tmp_path / "none.pcap").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_processes_end_with_the_one_that_made_them(number: int) -> None:
    """However the first process is ended, what it forked holds its pipes no longer."""
    code = (
        "import os, time; from xdp.cli.parallel import spread\n"
        "def work(at):\n    os.write(1, b'.')\n    time.sleep(600)\n"
        "spread(work, [1, 1], 2)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment(), start_new_session=True
    )
    assert child.stdout is not None
    try:
        assert os.read(child.stdout.fileno(), 1) == b"."
        assert os.read(child.stdout.fileno(), 1) == b"."
        child.send_signal(number)
        child.communicate(timeout=60)  # ends when all that hold the pipe have ended
    finally:
        child.kill()
    assert child.returncode == -number
