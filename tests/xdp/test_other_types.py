"""Programs of a type that has a hook of its own are not run over frames: their records are others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.captures import ROOT
from tests.support.commands import MIXED, run
from tests.support.objects import EXAMPLES
from tests.support.sources import needs_clang

SAMPLE = EXAMPLES / "sample_extension"
WATCH = str(SAMPLE / "watch.o")


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The environment in which the sample extension is installed."""
    info = tmp_path / "xdpsim_sample-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: xdpsim-sample\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[xdpsim.extensions]\nsample = xdpsim_sample:EXTENSION\n")
    return {"PYTHONPATH": f"{ROOT}:{tmp_path}:{SAMPLE}"}


@pytest.mark.parametrize(
    "words",
    [(), ("--engine", "interpreter"), ("--engine", "kernel"), ("--compare", "interpreter")],
    ids=["jit", "interpreter", "kernel", "compare"],
)
def test_a_replay_of_another_type_is_refused(words: tuple[str, ...], installed: dict[str, str], tmp_path: Path) -> None:
    """One line says that frames are for XDP programs; nothing is written."""
    outputs = () if "--compare" in words else ("--out", str(tmp_path / "out"))
    done = run("replay", WATCH, MIXED, *outputs, *words, **installed)
    assert done.returncode == 3, (done.returncode, done.stderr)
    (line,) = done.stderr.splitlines()
    assert line == "xdpsim: program 'watch' is of type sample: a hook of its own runs it, and frames do not"
    assert not (tmp_path / "out").exists()


@needs_clang
def test_no_packet_is_a_witness_for_another_type(installed: dict[str, str], tmp_path: Path) -> None:
    """Of a rejected program whose context is no frame, nothing is said to have been executed."""
    source = tmp_path / "wrong.c"
    source.write_text((SAMPLE / "wrong.c").read_text().replace('"sample_helpers.h"', f'"{SAMPLE}/sample_helpers.h"'))
    done = run("verify", str(source), **installed)
    assert done.returncode == 1, done.stderr
    assert "REJECTED  returns" in done.stdout
    assert "by execution" not in done.stdout
    assert done.stdout.count("not confirmed: no frame is the input of programs of type sample") == 3


def test_a_program_about_socket_calls_says_where_it_runs(tmp_path: Path) -> None:
    """Frames do not run it, and the line names the command that does; its effects are told without a packet."""
    firewall = str(EXAMPLES / "sockets" / "connect_firewall.o")
    names = json.loads(run("-j", "verify", firewall).stdout)
    name = names[0]["program"]
    done = run("replay", firewall, MIXED, "--prog", name)
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.endswith(
        "a hook of its own runs it, and frames do not; xdpsim run attaches it to the calls of a command"
    )
    assert "packet" not in run("verify", firewall).stdout
    assert not list(tmp_path.iterdir())
