"""The captures of pcaps/: made as their script makes them, described as they are, and recorded from real programs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from netdev.capture import open_capture
from tests.support.captures import OWN, fields, needs_tshark

MADE = ("dns-amplification.pcap", "mixed.pcapng", "syn-flood-mixed.pcap")
ALL = sorted(path.name for path in OWN.glob("*.pcap*"))
CHECKED = ("ip.check_checksum:TRUE", "tcp.check_checksum:TRUE", "udp.check_checksum:TRUE")
BAD = "ip.checksum.status==0 || tcp.checksum.status==0 || udp.checksum.status==0 || icmp.checksum.status==0"


def test_the_script_makes_the_committed_files(tmp_path: Path) -> None:
    """Another run of the script gives the same bytes."""
    subprocess.run([sys.executable, OWN / "make_captures.py", tmp_path], check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(MADE)
    for name in MADE:
        assert (tmp_path / name).read_bytes() == (OWN / name).read_bytes(), name


@pytest.mark.parametrize("name", ALL)
def test_the_readme_tells_how_many_frames_there_are(name: str) -> None:
    """Each capture has its row, with the number of its frames, and is small."""
    rows = dict(re.findall(r"^\| `([^`]+)` \| ([\d,]+) \|", (OWN / "README.md").read_text(), re.MULTILINE))
    with open_capture(OWN / name) as capture:
        assert rows[name] == f"{len(capture):,}"
        assert capture.damage is None
    assert (OWN / name).stat().st_size < 1_000_000


@needs_tshark
@pytest.mark.parametrize("name", [name for name in ALL if name != "mixed.pcapng"])
def test_packets_are_right_to_tshark(name: str) -> None:
    """No checksum is wrong and nothing is malformed, where that is not the point of the capture."""
    options = [word for option in CHECKED for word in ("-o", option)]
    words = ["tshark", "-n", *options, "-r", str(OWN / name), "-Y", f"{BAD} || _ws.malformed"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == ""


@needs_tshark
def test_only_frames_with_a_comment_are_malformed() -> None:
    """In the mixed capture every malformed frame says what is odd about it."""
    words = ["tshark", "-n", "-r", str(OWN / "mixed.pcapng"), "-Y", "_ws.malformed && !frame.comment"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    comments = {comment for (comment,) in fields(OWN / "mixed.pcapng", "frame.comment")}
    assert {"runt of 0 bytes", "runt of 13 bytes", "jumbo frame", "QinQ"} <= comments


def test_a_limit_per_source_bites_in_the_flood() -> None:
    """Four senders exceed 100 attempts a second, and nobody else comes near it."""
    attempts: dict[tuple[bytes, int], int] = {}
    with open_capture(OWN / "syn-flood-mixed.pcap") as capture:
        for batch in capture.batches():
            for at in range(len(batch)):
                frame = batch.frame(at)
                if frame[47] == 2:  # only SYN
                    key = frame[26:30], int(batch.timestamps[at]) // 10**9
                    attempts[key] = attempts.get(key, 0) + 1
    assert len({source for (source, _), count in attempts.items() if count > 100}) == 4
    assert max(count for count in attempts.values() if count <= 100) <= 100
    assert sum(count for count in attempts.values() if count > 100) > 4000


def _may_make_namespaces() -> bool:
    return os.geteuid() == 0 and subprocess.run(["unshare", "-n", "true"], check=False).returncode == 0


@pytest.mark.root
@pytest.mark.skipif(not _may_make_namespaces(), reason="network namespaces need root")
@pytest.mark.skipif(
    not all(map(shutil.which, ("ip", "curl", "ping", "ethtool"))), reason="ip, curl, ping or ethtool is not installed"
)
def test_sessions_can_be_recorded_again(tmp_path: Path) -> None:
    """The recorder runs, gives whole frames of the wire's size, and removes its namespaces."""
    path = tmp_path / "sessions.pcap"
    recorder = subprocess.Popen([sys.executable, OWN / "record_sessions.py", path], stdout=subprocess.DEVNULL)
    assert recorder.wait(timeout=60) == 0
    with open_capture(path) as capture:
        assert len(capture) > 300
        assert max(int(batch.caplens.max()) for batch in capture.batches()) <= 1514
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    assert f"-{recorder.pid}" not in left.stdout
