"""Work in processes gives what a loop gives: results, order, failures; and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.commands import environment
from tests.support.hosts import in_a_fork
from tests.support.sources import clang, needs_clang
from xdp.cli.parallel import spread, workers

_STAGE: Final = """
	if (data + %(at)d + 8 <= end && *(unsigned char *)(data + %(at)d) == %(at)d) sum += *(unsigned short *)(data + %(at)d + 2) * sum;
"""
_PROGRAM: Final = """
SEC("xdp") int %(name)s(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	unsigned long sum = 1;
%(stages)s
	return sum %(wrong)s %% 3;
}
"""
_HEAD: Final = '#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\nchar LICENSE[] SEC("license") = "GPL";\n'


def _no_children() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


def test_results_come_in_order() -> None:
    """The largest pieces are begun first, and results are those of a loop."""
    sizes = [3, 1, 9, 4, 4, 0, 7]
    seen: list[tuple[int, int]] = []
    found = spread(lambda at: (at, "x" * 100_000 * sizes[at]), sizes, 3, lambda done, of: seen.append((done, of)))
    assert found == [(at, "x" * 100_000 * size) for at, size in enumerate(sizes)]
    assert seen[-1] == (7, 7)
    assert seen == sorted(seen)
    assert _no_children()


def test_a_failure_is_that_of_a_loop() -> None:
    """The first piece that fails, in order, raises what it raises without processes."""

    def work(at: int) -> int:
        if at >= 2:
            raise LookupError(at)
        return at

    with pytest.raises(LookupError, match="2"):
        spread(work, [1, 1, 1, 9, 9], 2)
    assert _no_children()


def test_a_process_that_dies_costs_nothing_but_time() -> None:
    """What a killed process had not answered is done by the parent."""
    parent = os.getpid()

    def work(at: int) -> int:
        if at == 1 and os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return at * at

    assert spread(work, [1] * 6, 2) == [0, 1, 4, 9, 16, 25]
    assert _no_children()


def test_processes_are_not_for_little_work() -> None:
    """One process for one piece, for small pieces, and where threads run."""

    def ask() -> None:
        assert workers([10_000], enough=100) == 1
        assert workers([10_000, 10, 20], enough=100) == 1
        assert workers([10_000, 5_000], enough=100) == min(2, len(os.sched_getaffinity(0)))
        wait = threading.Event()
        thread = threading.Thread(target=wait.wait)
        thread.start()
        try:
            assert workers([10_000, 5_000], enough=100) == 1
        finally:
            wait.set()
            thread.join()

    assert in_a_fork(ask) == 0  # where no thread of another test runs


def test_an_interrupt_ends_all_processes() -> None:
    """SIGINT to the parent alone ends it at once, with its children."""
    code = (
        "import time; from xdp.cli.parallel import spread\n"
        "print('begun', flush=True)\n"
        "spread(lambda at: time.sleep(600), [1, 1], 2)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        start_new_session=True,
    )
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)  # ends when all that hold the pipe have ended
    assert child.returncode != 0


@needs_clang
def test_an_object_of_many_programs_reads_as_in_one_process(tmp_path: Path) -> None:
    """Rows, order, messages and exit code do not depend on the number of CPUs."""
    programs = []
    for number in range(4):
        stages = "".join(_STAGE % {"at": at + number} for at in range(90 + 10 * number))
        wrong = "+ *(unsigned char *)(data + 1000)" if number == 2 else ""
        programs.append(_PROGRAM % {"name": f"p{number}", "stages": stages, "wrong": wrong})
    source = tmp_path / "many.c"
    source.write_text(_HEAD + "".join(programs))
    machine = ["-idirafter", f"/usr/include/{os.uname().machine}-linux-gnu"]
    subprocess.run(
        [str(clang()), "-O2", "-g", "-target", "bpf", *machine, "-c", str(source), "-o", str(tmp_path / "many.o")],
        check=True,
    )
    outputs = [_verified(tmp_path, cpus) for cpus in ({min(os.sched_getaffinity(0))}, os.sched_getaffinity(0))]
    assert outputs[0] == outputs[1]
    assert [row["accepted"] for row in outputs[0]] == [True, True, False, True]


def _verified(folder: Path, cpus: set[int]) -> list[dict[str, Any]]:
    import json

    done = subprocess.run(
        [sys.executable, "-m", "xdp.cli", "-j", "verify", "-v", str(folder / "many.o")],
        capture_output=True,
        text=True,
        check=False,
        env=environment(XDPSIM_CACHE=str(folder / f"cache{len(cpus)}")),
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (1, "")
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    for row in rows:
        del row["seconds"]
    return rows
