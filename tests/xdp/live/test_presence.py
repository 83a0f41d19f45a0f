"""Links made from Python in the sight of others: records, requests by socket, and what is left when the process dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from netdev.topology import snapshot
from runtime.errors import InputError
from tests.support.commands import ROOT, environment
from tests.support.live_links import until
from tests.support.sources import compile_c, needs_clang
from tests.support.wires import Namespace, Pair, bump, pair, privileged
from xdp.live import attach
from xdp.live.claims import claim
from xdp.live.control import KeeperError, ask
from xdp.live.maps import open_map
from xdp.live.registry import Attachment, State

pytestmark = [
    needs_clang,
    pytest.mark.root,
    pytest.mark.skipif(not privileged(), reason="needs root: network namespaces"),
]

COUNTING: Final = """
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

SEC("xdp") int NAME(struct xdp_md *ctx) {
	__u32 key = WHICH;
	__u64 *value = bpf_map_lookup_elem(&seen, &key);
	if (value)
		__sync_fetch_and_add(value, 1);
	return XDP_PASS;
}
"""


def _object(folder: Path, name: str, which: int = 0) -> Path:
    path = folder / f"{name}.o"
    path.write_bytes(compile_c(COUNTING.replace("NAME", name).replace("WHICH", str(which))))
    return path


def _only(folder: Path) -> Attachment:
    (record,) = State(folder).all()
    return record


def _ask(folder: Path, do: str, **fields: Any) -> dict[str, Any]:
    return ask(folder / "attachments" / f"{_only(folder).id}.sock", do, seconds=60, **fields)


@pytest.fixture
def ends() -> Iterator[Pair]:
    with pair() as made:
        yield made


def _command(place: Namespace, folder: Path, *words: str) -> str:
    done = place.run([sys.executable, "-m", "xdp.cli", *words], env=environment(XDPSIM_RUN=str(folder)), timeout=120)
    text: str = done.stdout
    return text


def test_others_see_a_link(ends: Pair, tmp_path: Path) -> None:
    """`net show`, `net top` and `map` of another process find what Python attached, by name and number."""
    folder = tmp_path / "run"
    link = ends.host.call(lambda: attach(_object(tmp_path, "count"), "eth0", mode="monitor", state_folder=folder))
    try:
        (row,) = json.loads(_command(ends.host, folder, "-j", "net", "show"))[0]["xdp"]
        assert (row["devname"], row["mode"], row["pid"]) == ("eth0", "monitor", os.getpid())
        assert [each["name"] for each in row["programs"]] == ["count"]
        ends.client.run(["ping", "-c1", "-W4", "10.9.0.2"])
        until(lambda: link.stats().verdicts["XDP_PASS"] > 0)
        before = link.stats().verdicts["XDP_PASS"]
        (view,) = json.loads(_command(ends.host, folder, "-j", "net", "top", "--count", "1", "--interval", "0.1"))
        assert 0 < before <= view["totals"]["packets"]["XDP_PASS"] <= link.stats().verdicts["XDP_PASS"]
        with open_map("seen", state=State(folder)) as seen:
            assert 0 < before <= seen[0] <= link.maps["seen"][0]
            seen[0] = 1 << 40
        assert link.maps["seen"][0] >= 1 << 40
        (shown,) = json.loads(_command(ends.host, folder, "-j", "map", "show"))
        assert shown["name"] == "seen"
    finally:
        link.detach()
    assert State(folder).all() == ()
    assert not list((folder / "attachments").glob("*.json"))


def test_detaching_from_elsewhere(ends: Pair, tmp_path: Path) -> None:
    """`net detach` ends a link of another process as politely as that process would: everything is restored."""
    folder = tmp_path / "run"
    before = ends.host.call(lambda: snapshot("eth0"))
    link = ends.host.call(lambda: attach(_object(tmp_path, "count"), "eth0", mode="host", state_folder=folder))
    assert "eth0: detached" in _command(ends.host, folder, "net", "detach", "dev", "eth0")
    assert link.wait(20)
    assert link.state == "detached"
    assert ends.host.call(lambda: snapshot("eth0")) == before
    link.detach()  # twice is harmless
    until(lambda: not list((folder / "attachments").iterdir()))


def test_the_chain_changes_by_request(ends: Pair, tmp_path: Path) -> None:
    """Insert, replace and remove come through the socket; the record follows; what is refused is told."""
    folder = tmp_path / "run"
    with ends.host.entered(), attach(_object(tmp_path, "one"), "eth0", mode="monitor", state_folder=folder):
        second = str(_object(tmp_path, "two", 1))
        _ask(
            folder, "insert", object=second, label="two.o", prog=None, force=True, priority=10, chain_on=["pass", "tx"]
        )
        assert [(each.name, each.chain_on) for each in _only(folder).programs] == [
            ("two", ("pass", "tx")),
            ("one", ("pass",)),
        ]
        (first, last) = _only(folder).programs
        with pytest.raises(KeeperError, match="no program 'three'; in the chain: two"):
            _ask(folder, "remove", name="three")
        assert _ask(folder, "remove", id=first.id)["program"] == "two"
        assert [each.id for each in _only(folder).programs] == [last.id]
        with pytest.raises(KeeperError, match="is the only program"):
            _ask(folder, "remove", name="one")
        assert _ask(folder, "confirm") == {"confirmed": False}


_ATTACHING = """
import sys, time
import xdp
from pathlib import Path
link = xdp.attach(sys.argv[1], "eth0", mode="host", state_folder=Path(sys.argv[2]))
print("attached", flush=True)
time.sleep(300)
"""


def test_a_killed_process_leaves_no_record(ends: Pair, tmp_path: Path) -> None:
    """After kill -9 of the Python process its guard restores the interface, and who looks finds no attachment."""
    folder = tmp_path / "run"
    before = ends.host.call(lambda: snapshot("eth0"))
    path = _object(tmp_path, "count")
    process = ends.host.popen(
        [sys.executable, "-c", _ATTACHING, str(path), str(folder)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"attached\n"
    assert _only(folder).pid == process.pid
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert State(folder).all() == ()
    until(lambda: ends.host.call(lambda: snapshot("eth0")) == before)


def test_who_ends_a_link_is_answered(ends: Pair, tmp_path: Path) -> None:
    """`net detach` gets its answer also when the Python process has nothing left to do and ends at once."""
    folder = tmp_path / "run"
    waiting = _ATTACHING[: _ATTACHING.index("print(")] + "print('attached', flush=True)\nlink.wait(60)\n"
    process = ends.host.popen(
        [sys.executable, "-c", waiting, str(_object(tmp_path, "count")), str(folder)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"attached\n"
    assert "eth0: detached" in _command(ends.host, folder, "net", "detach", "dev", "eth0")
    assert process.wait(20) == 0


def test_a_link_may_stay_unlisted(ends: Pair, tmp_path: Path) -> None:
    """Without a record nobody else knows of the link."""
    folder = tmp_path / "run"
    with (
        ends.host.entered(),
        attach(_object(tmp_path, "count"), "eth0", mode="monitor", state_folder=folder, listed=False),
    ):
        assert State(folder).all() == ()


def test_both_directions_share_an_object(tmp_path: Path) -> None:
    """`peer_prog` is another program of the same object, over the same maps, and judges only what comes from the peer."""
    text = COUNTING.replace("NAME", "there").replace("WHICH", "0")
    text += COUNTING[COUNTING.index('SEC("xdp")') :].replace("NAME", "back").replace("WHICH", "1")
    path = tmp_path / "both.o"
    path.write_bytes(compile_c(text))
    with (
        bump() as line,
        line.middle.entered(),
        attach(
            path, "a", mode="inline", peer="b", prog="there", peer_prog="back", state_folder=tmp_path / "run"
        ) as link,
    ):
        line.client.run(["ping", "-c2", "-i0.2", "-W4", "10.9.0.2"])
        until(lambda: link.maps["seen"][1] >= 2)
        stats = link.stats()
        assert (link.maps["seen"][0], link.maps["seen"][1]) >= (2, 2)
        assert [each.name for each in link.peer_programs] == ["back"]
        assert [each.backward for each in _only(tmp_path / "run").programs] == [False, True]
        assert stats.backward["verdicts"]["XDP_PASS"] >= 2


def test_a_claim_belongs_to_the_owner_of_the_folder(ends: Pair, tmp_path: Path) -> None:
    """A second attachment is refused; nobody without access to the folder can stand in the way; death lets go."""
    folder = tmp_path / "run"
    with ends.host.entered(), attach(_object(tmp_path, "count"), "eth0", mode="monitor", state_folder=folder):
        with pytest.raises(InputError, match="has an attachment already"):
            attach(_object(tmp_path, "count"), "eth0", mode="monitor", state_folder=folder)
        (held,) = (folder / "claims").iterdir()
        assert (folder.stat().st_mode & 0o777, held.stat().st_mode & 0o777) == (0o700, 0o600)
    assert not list((folder / "claims").iterdir())


def test_a_claim_ends_with_its_process(ends: Pair, tmp_path: Path) -> None:
    """Whoever dies holding a claim leaves a file that means nothing; a namespace's index 2 is not that of another."""

    def hold_and_die() -> int:
        child = os.fork()
        if not child:
            claim("eth0", tmp_path, ExitStack())
            os.kill(os.getpid(), signal.SIGKILL)
        return os.waitpid(child, 0)[1]

    assert ends.host.call(hold_and_die) == signal.SIGKILL
    assert len(list((tmp_path / "claims").iterdir())) == 1
    with ExitStack() as first, ExitStack() as second:
        ends.host.call(lambda: claim("eth0", tmp_path, first))
        ends.client.call(lambda: claim("eth0", tmp_path, second))
    assert not list((tmp_path / "claims").iterdir())
