"""What `xdpsim net` refuses before it touches anything: one line, the documented code, no traceback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import PASS, environment, run
from xdp.cli.net_attach import _SENTENCES
from xdp.cli.net_top import _Sample, rates
from xdp.live.registry import Attachment, LiveProgram, State, namespace, start_time

BAD = [
    ("net attach", 2, "which object?"),
    ("net attach dev lo", 2, "which object?"),
    (f"net attach {PASS}", 2, "which interface?"),
    (f"net attach {PASS} lo", 2, "'lo'"),
    (f"net attach {PASS} dev", 2, "'dev'"),
    (f"net attach {PASS} dev lo override", 2, "'override'"),
    (f"net attach {PASS} dev lo overwrite again", 2, "'again'"),
    (f"net attach {PASS} dev lo", 2, "choose what it does"),
    (f"net attach {PASS} dev lo --mode inline", 2, "--peer"),
    (f"net attach {PASS} dev lo --mode host --peer lo", 2, "belongs to inline"),
    (f"net attach {PASS} dev lo --mode nonsense", 2, "invalid choice"),
    (f"net attach {PASS} dev lo --mode monitor --queues 0", 2, "not between 1"),
    (f"net attach {PASS} dev lo --mode monitor --revert-after soon", 2, "number of seconds"),
    (f"net attach {PASS} dev lo --mode monitor --detach-on-exit --daemon", 2, "not allowed with"),
    (f"net attach {PASS} dev lo --peer lo", 3, "two interfaces"),
    (f"net attach {PASS} dev nonsense --mode monitor", 4, "there is no interface nonsense"),
    (f"net attach {PASS} dev lo --peer nonsense", 4, "there is no interface nonsense"),
    (f"net attach {PASS} dev {'x' * 16} --mode monitor", 2, "cannot be the name"),
    (f"net attach {PASS} dev a/b --mode monitor", 2, "cannot be the name"),
    ("net detach", 2, "which interface?"),
    ("net detach lo", 2, "'lo'"),
    ("net detach dev lo", 3, "nothing is attached to lo"),
    ("net detach xdp dev lo", 3, "nothing is attached to lo"),
    ("net confirm dev lo", 3, "nothing is attached to lo"),
    ("net top", 4, "nothing is attached"),
    ("net top dev lo", 3, "nothing is attached to lo"),
    ("net top --interval 0", 2, "not between"),
    ("net show eth0", 2, "'eth0'"),
    ("net repair now", 2, "unrecognized arguments: now"),
    ("net", 2, "COMMAND"),
]


@pytest.mark.parametrize(("words", "code", "text"), BAD)
def test_a_bad_command_gets_one_line(words: str, code: int, text: str, tmp_path: Path) -> None:
    """The line names what is wrong; nothing of the state folder is made."""
    folder = tmp_path / "run"
    done = run(*words.split(), XDPSIM_RUN=str(folder))
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not folder.exists()


def test_a_bad_command_is_json_where_json_is_wanted(tmp_path: Path) -> None:
    """One document on stdout, nothing on stderr."""
    done = run("-j", "net", "detach", "dev", "lo", XDPSIM_RUN=str(tmp_path))
    assert (done.returncode, done.stderr) == (3, "")
    assert json.loads(done.stdout) == {"error": "nothing is attached to lo"}


def test_nothing_attached_looks_as_bpftool_prints_it(tmp_path: Path) -> None:
    """Three sections, in text and in JSON, with no state folder there."""
    folder = tmp_path / "run"
    assert run("net", "show", XDPSIM_RUN=str(folder)).stdout == "xdp:\n\ntc:\n\nflow_dissector:\n\n"
    shown = json.loads(run("-j", "net", "show", XDPSIM_RUN=str(folder)).stdout)
    assert shown == [{"xdp": [], "tc": [], "flow_dissector": []}]


def test_nothing_to_repair_is_said(tmp_path: Path) -> None:
    """Repair without a state folder has nothing to do."""
    done = run("net", "repair", XDPSIM_RUN=str(tmp_path / "run"))
    assert (done.returncode, done.stdout) == (0, "nothing is left to restore\n")


def test_repair_names_keepers_that_are_gone(tmp_path: Path) -> None:
    """A record without its process is reported once, and is gone then."""
    state = State(tmp_path)
    state.prepare()
    state.write(Attachment(id=4, pid=1, started="1", netns=namespace(), interface="eth7", ifindex=7, mode="host"))
    first = run("net", "repair", XDPSIM_RUN=str(tmp_path)).stdout
    assert "attachment 4 on eth7: its keeper (process 1) is gone" in first
    assert run("net", "repair", XDPSIM_RUN=str(tmp_path)).stdout == "nothing is left to restore\n"


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="lays capabilities down, which needs root")
@pytest.mark.parametrize(("kept", "missing"), [("", "CAP_NET_ADMIN and CAP_NET_RAW"), ("net_raw", "CAP_NET_ADMIN")])
def test_who_lacks_capabilities_is_told_which(kept: str, missing: str, tmp_path: Path) -> None:
    """The missing ones by name, in one line, before anything is made."""
    taken = ",".join(f"-{each}" for each in ("net_admin", "net_raw") if each != kept)
    words = ["net", "attach", PASS, "dev", "lo", "--mode", "monitor"]
    command = ["setpriv", f"--bounding-set={taken}", f"--inh-caps={taken}", sys.executable, "-m", "xdp.cli", *words]
    changes = environment(XDPSIM_RUN=str(tmp_path / "run"))
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=changes, timeout=60)
    assert done.stderr.startswith(f"xdpsim: attaching needs {missing}: ")
    assert (done.returncode, len(done.stderr.splitlines())) == (4, 1)
    assert not (tmp_path / "run").exists()


def _sample(at: float, packets: int, lost: int) -> _Sample:
    program = LiveProgram(id=3, name="filter", tag="", priority=50)
    record = Attachment(
        id=1,
        pid=os.getpid(),
        started=start_time(os.getpid()),
        netns=1,
        interface="a",
        ifindex=2,
        mode="inline",
        programs=(program,),
    )
    stats = {
        "state": "up",
        "packets": {"XDP_PASS": packets},
        "bytes": {"XDP_PASS": packets * 60},
        "drops": {"lost": lost},
        "lost": lost,
        "cpu_seconds": at / 2,
    }
    return _Sample(record=record, at=at, stats=stats)


def test_rates_are_differences_by_time() -> None:
    """Twice the packets in half the time is four times the rate."""
    slow = rates(_sample(1.0, 100, 0), _sample(3.0, 300, 2))
    assert slow["packets_per_second"] == {"XDP_PASS": 100.0}
    assert slow["bytes_per_second"] == {"XDP_PASS": 6000.0}
    assert (slow["drops_per_second"], slow["ring_lost_per_second"], slow["cpu"]) == ({"lost": 1.0}, 1.0, 0.5)
    assert slow["totals"]["packets"] == {"XDP_PASS": 300}
    assert (slow["devname"], slow["ifindex"], slow["mode"], slow["id"]) == ("a", 2, "inline", 3)


def test_a_first_sample_has_no_rates() -> None:
    """An attachment that came since the last view starts at zero instead of its whole past in one interval."""
    assert rates(None, _sample(3.0, 300, 2))["packets_per_second"] == {"XDP_PASS": 0.0}


def test_every_mode_says_what_it_does_not() -> None:
    """One sentence a mode."""
    assert set(_SENTENCES) == {"monitor", "inline", "host"}
    assert "nothing is enforced" in _SENTENCES["monitor"]
