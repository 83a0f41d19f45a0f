"""`xdpsim net` from attaching to detaching, in namespaces: what it prints, what it changes, and that all of it goes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, final

import pytest

from tests.support.commands import FILTER, PASS, environment
from tests.support.wires import Line, Namespace, Pair, bump, pair, privileged
from xdp.cli.source import object_bytes
from xdp.live.registry import State

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not privileged(), reason="needs root: makes namespaces and attaches to interfaces"),
]

DROP = 'SEC("xdp") int drop_all(void *ctx) { return 1; }\n'
NO_PING = """
SEC("xdp") int no_ping(struct xdp_md *ctx)
{
    unsigned char *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    return data + 24 <= end && data[12] == 8 && data[13] == 0 && data[23] == 1 ? XDP_DROP : XDP_PASS;
}
"""
TWO_REASONS = """
SEC("xdp") int two_reasons(struct xdp_md *ctx)
{
    unsigned char *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    if (data + 24 > end || data[12] != 8 || data[13] != 0)
        return XDP_PASS;
    if (data[23] == 1)
        return XDP_DROP;
    if (data[23] == 17)
        return XDP_DROP;
    return XDP_PASS;
}
"""
BOTH = """
SEC("xdp") int there(struct xdp_md *ctx) { return XDP_PASS; }

SEC("xdp") int back(struct xdp_md *ctx)
{
    unsigned char *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    return data + 24 <= end && data[12] == 8 && data[13] == 0 && data[23] == 1 ? XDP_DROP : XDP_PASS;
}
"""
HEAD = '#include <linux/bpf.h>\n#define SEC(name) __attribute__((section(name), used))\nchar _license[] SEC("license") = "GPL";\n'


@final
class Commands:
    """xdpsim in a namespace, over a state folder of its own."""

    def __init__(self, namespace: Namespace, folder: Path) -> None:
        self.namespace = namespace
        self.folder = folder
        self.state = State(folder)

    def words(self, *words: str) -> list[str]:
        """The command."""
        return [sys.executable, "-m", "xdp.cli", "net", *words]

    def run(self, *words: str, code: int = 0, **changes: str) -> str:
        """Run, check the exit code and that stderr has no traceback; returns both outputs."""
        done = self.namespace.run(
            self.words(*words), check=False, env=environment(XDPSIM_RUN=str(self.folder), **changes), timeout=120
        )
        text: str = done.stdout + done.stderr
        assert done.returncode == code, text
        assert "Traceback" not in text
        return text

    def json(self, *words: str) -> Any:
        """The one document on stdout."""
        done = self.namespace.run(self.words("-j", *words), env=environment(XDPSIM_RUN=str(self.folder)), timeout=120)
        return json.loads(done.stdout)

    def shown(self) -> list[dict[str, Any]]:
        """What `net show` lists."""
        rows: list[dict[str, Any]] = self.json("show")[0]["xdp"]
        return rows

    def stop(self) -> None:
        """Detach what is left, so that no keeper outlives its test."""
        for record in self.state.all():
            os.kill(record.pid, signal.SIGTERM)
        _until(lambda: not self.state.all())


def _until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[tuple[Line, Commands]]:
    with bump() as made:
        commands = Commands(made.middle, tmp_path / "run")
        yield made, commands
        commands.stop()


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[Pair, Commands]]:
    with pair() as made:
        commands = Commands(made.host, tmp_path / "run")
        yield made, commands
        commands.stop()


def _compiled(folder: Path, name: str, text: str) -> str:
    source = folder / f"{name}.c"
    source.write_text(HEAD + text)
    target = folder / f"{name}.o"
    target.write_bytes(object_bytes(str(source)))
    return str(target)


def _pings(namespace: Namespace, address: str = "10.9.0.2", count: int = 3) -> int:
    """How many of so many pings are answered; the first may have to wait for the neighbour, who is asked every second."""
    done = namespace.run(["ping", "-n", "-c", str(count), "-i", "0.1", "-W", "4", address], check=False)
    found = re.search(r"(\d+) received", done.stdout)
    assert found, done.stdout
    return int(found[1])


def _interface(namespace: Namespace, name: str) -> str:
    """Addresses, routes and tc of an interface, as text that can be compared."""
    addresses = namespace.ip("-o", "address", "show", "dev", name)
    routes = namespace.ip("route", "show", "dev", name) + namespace.ip("-6", "route", "show", "dev", name)
    tc = namespace.run(["tc", "qdisc", "show", "dev", name]).stdout
    return re.sub(r"\s+", " ", addresses + routes + tc)


def test_top_names_the_lines_that_drop(ends: tuple[Pair, Commands], tmp_path: Path) -> None:
    """Where there is line info, drops are told by file and line, with rates and totals."""
    wires, net = ends
    net.run("attach", _compiled(tmp_path, "reasons", TWO_REASONS), "dev", "eth0", "--mode", "monitor")
    assert _pings(wires.client) == 3
    (view,) = net.json("top", "--count", "1", "--interval", "0.2")
    (reason,) = view["reasons"]
    assert (reason["program"], reason["verdict"], reason["packets"]) == ("two_reasons", "XDP_DROP", 3)
    assert (Path(reason["file"]).name, reason["text"]) == ("reasons.c", "if (data[23] == 1)")
    assert reason["packets_per_second"] == 0.0
    said = net.run("top", "--count", "1", "--interval", "0.2")
    assert f"0/s (3) DROP reasons.c:{reason['line']} if (data[23] == 1)" in said


def test_monitor_from_attach_to_detach(ends: tuple[Pair, Commands]) -> None:
    """Attach, show, watch, replace, detach: the counts grow, the packets go on, nothing is left."""
    wires, net = ends
    said = net.run("attach", FILTER, "dev", "eth0", "--mode", "monitor")
    assert re.fullmatch(r"eth0: xdp_filter id \d+, monitor mode: .*nothing is enforced.*\n", said)
    assert _pings(wires.client) == 3
    (row,) = net.shown()
    assert list(row)[:4] == ["devname", "ifindex", "mode", "id"]
    assert (row["devname"], row["mode"], row["state"]) == ("eth0", "monitor", "up")
    assert f"eth0({row['ifindex']}) monitor id {row['id']}" in net.run("show")
    assert net.run("show", "dev", "nonsense").startswith("xdp:\n\ntc:")
    (view,) = net.json("top", "--count", "1", "--interval", "0.2")
    assert view["totals"]["packets"]["XDP_PASS"] >= 3
    assert "eth0 monitor up: PASS" in net.run("top", "--count", "1", "--interval", "0.2")
    said = net.run("attach", FILTER, "dev", "eth0", "overwrite")
    assert "maps kept: blocked, counters, dropped, sources" in said
    assert net.shown()[0]["id"] != row["id"]
    said = net.run("detach", "dev", "eth0")
    assert re.fullmatch(r"eth0: detached; .*PASS.*\n", said)
    assert net.shown() == []
    assert [each.suffix for each in net.state.attachments.iterdir()] == [".log"]
    assert list(net.state.objects.iterdir()) == []


def test_inline_enforces_until_it_is_detached(line: tuple[Line, Commands], tmp_path: Path) -> None:
    """PASS forwards, an overwrite with another program drops, detach ends the wire."""
    wires, net = line
    before = _interface(wires.middle, "a"), _interface(wires.middle, "b")
    assert _pings(wires.client, count=1) == 0
    said = net.run("attach", PASS, "dev", "a", "--peer", "b")
    assert "inline mode: stands between a and b" in said
    assert _pings(wires.client) == 3
    net.run("attach", _compiled(tmp_path, "no_ping", NO_PING), "dev", "a", "overwrite")
    assert _pings(wires.client) == 0
    (view,) = net.json("top", "--count", "1", "--interval", "0.2")
    assert view["totals"]["drops"]["drop"] == view["totals"]["packets"]["XDP_DROP"] == 3
    assert "3 DROP" in net.run("detach", "dev", "a")
    assert (_interface(wires.middle, "a"), _interface(wires.middle, "b")) == before
    assert list(net.state.journals.glob("*.journal")) == []


def test_host_mode_filters_the_host_and_gives_everything_back(ends: tuple[Pair, Commands], tmp_path: Path) -> None:
    """The warning names the loss; the ping is dropped; afterwards addresses and routes are as before."""
    wires, net = ends
    before = _interface(wires.host, "eth0")
    said = net.run("attach", _compiled(tmp_path, "no_ping", NO_PING), "dev", "eth0", "--mode", "host")
    assert "warning: in the rehearsal, ICMP echo request is dropped" in said
    assert _pings(wires.client) == 0
    net.run("detach", "dev", "eth0")
    assert _interface(wires.host, "eth0") == before
    assert _pings(wires.client) == 3


def test_a_dry_run_drops_nothing(ends: tuple[Pair, Commands], tmp_path: Path) -> None:
    """Verdicts are counted, every packet passes, and no rehearsal stands in the way."""
    wires, net = ends
    said = net.run("attach", _compiled(tmp_path, "drop", DROP), "dev", "eth0", "--mode", "host", "--dry-run")
    assert "dry run" in said
    assert _pings(wires.client) == 3
    (view,) = net.json("top", "--count", "1", "--interval", "0.2")
    assert view["totals"]["packets"]["XDP_DROP"] >= 3


def test_a_lock_out_is_refused_without_force(ends: tuple[Pair, Commands], tmp_path: Path) -> None:
    """A program that drops everything, then one that ends the SSH session in whose terminal the command is typed."""
    wires, net = ends
    drop = _compiled(tmp_path, "drop", DROP)
    said = net.run("attach", drop, "dev", "eth0", "--mode", "host", code=3)
    assert "not attached: nothing of what keeps a host reachable would arrive" in said
    no_ssh = _compiled(
        tmp_path, "no_ssh", NO_PING.replace("data[23] == 1", "data[23] == 6").replace("no_ping", "no_ssh")
    )
    ssh = "10.9.0.1 50000 10.9.0.2 22"
    said = net.run("attach", no_ssh, "dev", "eth0", "--mode", "host", code=3, SSH_CONNECTION=ssh)
    assert "the session that you type in would end" in said
    assert net.shown() == []
    net.run("attach", no_ssh, "dev", "eth0", "--mode", "host", SSH_CONNECTION="10.9.0.1 50000 192.0.2.7 22")
    net.run("detach", "dev", "eth0")
    net.run("attach", drop, "dev", "eth0", "--mode", "host", "--force", "--revert-after", "9")
    assert _pings(wires.client, count=1) == 0
    _until(lambda: net.shown() == [])
    _until(lambda: _pings(wires.client) == 3)  # the client's neighbour entry has to fail first


def test_a_confirmed_attachment_stays(ends: tuple[Pair, Commands]) -> None:
    """After confirm the time limit is void, and a second confirm has nothing to do."""
    _, net = ends
    net.run("attach", PASS, "dev", "eth0", "--mode", "monitor", "--revert-after", "1.5")
    assert "reverts in" in net.run("show")
    assert net.run("confirm", "dev", "eth0") == "eth0: it stays\n"
    time.sleep(2)
    assert net.shown()[0]["deadline"] is None
    assert "nothing to confirm" in net.run("confirm", "dev", "eth0")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_foreground_ends_with_a_signal(ends: tuple[Pair, Commands], number: int) -> None:
    """--detach-on-exit stays, says its mode, and on the signal restores and prints the final counts."""
    wires, net = ends
    before = _interface(wires.host, "eth0")
    process = wires.host.popen(
        net.words("attach", PASS, "dev", "eth0", "--mode", "host", "--detach-on-exit"),
        env=environment(XDPSIM_RUN=str(net.folder)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "host mode" in process.stdout.readline()
    assert _pings(wires.client) == 3
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert re.search(rf"eth0: ended by {signal.Signals(number).name}; .*PASS", out)
    assert _interface(wires.host, "eth0") == before
    assert net.shown() == []


def test_a_killed_keeper_leaves_nothing_behind(ends: tuple[Pair, Commands]) -> None:
    """The guard restores the interface; show is empty; repair tells what was done."""
    wires, net = ends
    before = _interface(wires.host, "eth0")
    net.run("attach", PASS, "dev", "eth0", "--mode", "host")
    assert _interface(wires.host, "eth0") != before
    os.kill(net.shown()[0]["pid"], signal.SIGKILL)
    _until(lambda: not list(net.state.journals.glob("*.journal")))
    assert _interface(wires.host, "eth0") == before
    assert net.shown() == []
    said = net.run("repair")
    assert "a guard said:" in said
    assert "nothing is left to restore" in said
    assert _pings(wires.client) == 3
    net.run("attach", PASS, "dev", "eth0", "--mode", "host")


def test_a_killed_guard_is_replaced_and_repair_works_without_one(ends: tuple[Pair, Commands]) -> None:
    """Another guard comes; when keeper and guard are killed together, repair restores the interface and says what."""
    wires, net = ends
    before = _interface(wires.host, "eth0")
    net.run("attach", PASS, "dev", "eth0", "--mode", "host")
    (first,) = _guards(net)
    os.kill(first, signal.SIGKILL)
    _until(lambda: [each for each in _guards(net) if each != first] != [])
    keeper = net.shown()[0]["pid"]
    (second,) = _guards(net)
    for each in (second, keeper):
        os.kill(each, signal.SIGKILL)
    _until(lambda: net.shown() == [])
    assert _interface(wires.host, "eth0") != before
    assert "eth0 has its addresses" in net.run("repair")
    assert _interface(wires.host, "eth0") == before
    assert _pings(wires.client) == 3


def test_attaching_restores_first_what_a_crash_left(ends: tuple[Pair, Commands]) -> None:
    """Without a repair between, a new attachment finds the interface as it was before the one that died."""
    wires, net = ends
    before = _interface(wires.host, "eth0")
    net.run("attach", PASS, "dev", "eth0", "--mode", "host")
    for each in (*_guards(net), net.shown()[0]["pid"]):
        os.kill(each, signal.SIGKILL)
    _until(lambda: net.shown() == [])
    said = net.run("attach", PASS, "dev", "eth0", "--mode", "host")
    assert "of a process that is gone" in said
    assert _pings(wires.client) == 3
    net.run("detach", "dev", "eth0")
    assert _interface(wires.host, "eth0") == before


def _guards(net: Commands) -> list[int]:
    """The guards of this state folder that live."""
    wanted = f"netdev.topology.guard\0{net.state.journals}\0".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if wanted in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:  # it ended in this moment
            continue
    return found


def test_two_attachments_to_one_interface_are_told_apart(line: tuple[Line, Commands]) -> None:
    """The second is refused with what can be done; a priority puts it into the chain; the peer is taken, too."""
    _, net = line
    net.run("attach", PASS, "dev", "a", "--peer", "b")
    for name in ("a", "b"):
        said = net.run("attach", PASS, "dev", name, "--mode", "monitor", code=3)
        assert f"{name} has xdp_pass attached (inline, attachment 1)" in said
        assert "overwrite" in said
        assert "--priority" in said
    net.run("attach", FILTER, "dev", "a", "--priority", "10")
    assert [each["name"] for each in net.shown()[0]["programs"]] == ["xdp_filter", "xdp_pass"]


def test_a_failed_attachment_is_told_as_in_the_foreground(ends: tuple[Pair, Commands], tmp_path: Path) -> None:
    """Same line, same code, nothing left: a rejected program, a program of another type, no such program."""
    _, net = ends
    bad = _compiled(tmp_path, "bad", 'SEC("xdp") int bad(struct xdp_md *c) { return *(int *)(long)c->data; }\n')
    other = _compiled(tmp_path, "other", 'SEC("socket") int other(void *c) { return 0; }\n')
    cases = [((bad,), 1), ((other,), 3), ((PASS, "--prog", "nonsense"), 3)]
    for (path, *rest), code in cases:
        words = ("attach", path, "dev", "eth0", "--mode", "host", *rest)
        background = net.run(*words, code=code)
        assert len(background.splitlines()) == 1
        assert net.run(*words, "--detach-on-exit", code=code) == background
    assert net.shown() == []
    assert list(net.state.objects.iterdir()) == []


def test_a_bad_replacement_leaves_the_old_program(ends: tuple[Pair, Commands], tmp_path: Path) -> None:
    """The refusal is told to who asked; what runs goes on."""
    wires, net = ends
    net.run("attach", PASS, "dev", "eth0", "--mode", "host")
    before = net.shown()[0]["programs"]
    bad = _compiled(tmp_path, "bad", 'SEC("xdp") int bad(struct xdp_md *c) { return *(int *)(long)c->data; }\n')
    net.run("attach", bad, "dev", "eth0", "overwrite", code=1)
    net.run("attach", _compiled(tmp_path, "drop", DROP), "dev", "eth0", "overwrite", code=3)
    assert net.shown()[0]["programs"] == before
    assert _pings(wires.client) == 3


def test_a_renamed_interface_keeps_its_attachment(ends: tuple[Pair, Commands]) -> None:
    """It is shown, and detached, under its new name."""
    wires, net = ends
    net.run("attach", PASS, "dev", "eth0", "--mode", "monitor")
    wires.host.ip("link", "set", "dev", "eth0", "down")
    wires.host.ip("link", "set", "dev", "eth0", "name", "wan0")
    wires.host.ip("link", "set", "dev", "wan0", "up")
    _until(lambda: [each["devname"] for each in net.shown()] == ["wan0"])
    assert "detached" in net.run("detach", "dev", "wan0")


def test_the_tap_backend_makes_its_interface(line: tuple[Line, Commands]) -> None:
    """A bump between a TAP that was not there and an interface; with the end of it the TAP goes."""
    wires, net = line
    net.run("attach", PASS, "dev", "tap7", "--peer", "b", "--backend", "tap")
    (row,) = net.shown()
    assert (row["devname"], row["ifindex"]) == ("tap7", wires.middle.ifindex("tap7"))
    net.run("detach", "dev", "tap7")
    assert "tap7" not in wires.middle.ip("link", "show")


def test_a_program_for_each_direction(line: tuple[Line, Commands], tmp_path: Path) -> None:
    """What comes from the peer is judged by --peer-prog of the same object, or by a second object's program."""
    wires, net = line
    both = _compiled(tmp_path, "both", BOTH)
    said = net.run("attach", both, "--prog", "there", "dev", "a", "--peer", "b", "--peer-prog", "back", "--force")
    assert "back judges what comes from b" in said
    assert _pings(wires.client, count=2) == 0
    (view,) = net.json("top", "--count", "1", "--interval", "0.1")
    assert view["totals"]["packets"]["XDP_PASS"] >= 2  # the requests went through
    assert "from peer back" in net.run("show")
    net.run("detach", "dev", "a")
    other = _compiled(tmp_path, "other", NO_PING)
    net.run("attach", both, "--prog", "there", "dev", "a", "--peer", "b", "--peer-object", other, "--force")
    assert _pings(wires.client, count=2) == 0
    (row,) = net.shown()
    assert [(each["name"], each["object"], each["backward"]) for each in row["programs"]] == [
        ("there", both, False),
        ("no_ping", other, True),
    ]
    assert "chosen when the filter is attached" in net.run(
        "attach", other, "dev", "a", "overwrite", "--peer-prog", "back", code=2
    )
    net.run("detach", "dev", "a")
    assert "belong to inline mode" in net.run("attach", both, "dev", "a", "--mode", "host", "--peer-prog", "x", code=2)


def test_a_chain_grows_and_shrinks(ends: tuple[Pair, Commands], tmp_path: Path) -> None:
    """--chain-on says on which verdicts the next program is asked; --prog or id takes one out again."""
    wires, net = ends
    drop = _compiled(tmp_path, "drop", DROP)
    net.run("attach", drop, "dev", "eth0", "--mode", "monitor", "--chain-on", "drop,pass", "--priority", "10")
    net.run("attach", PASS, "dev", "eth0", "--priority", "20")
    assert "prog drop_all (on drop, pass: the next)" in net.run("show")
    (row,) = net.shown()
    first, last = row["programs"]
    assert (first["chain_on"], last["chain_on"]) == (["drop", "pass"], ["pass"])
    (before,) = net.json("top", "--count", "1", "--interval", "0.1")
    assert _pings(wires.client) == 3
    (view,) = net.json("top", "--count", "1", "--interval", "0.1")
    assert view["totals"]["packets"]["XDP_PASS"] >= 3
    assert view["totals"]["packets"]["XDP_DROP"] == before["totals"]["packets"]["XDP_DROP"]  # the last word counts
    assert "no verdict" in net.run("attach", PASS, "dev", "eth0", "--priority", "1", "--chain-on", "maybe", code=2)
    assert "in the chain: drop_all" in net.run("detach", "dev", "eth0", "--prog", "nonsense", code=3)
    assert (
        net.run("detach", "dev", "eth0", "id", str(last["id"])) == f"eth0: {last['name']} (id {last['id']}) is gone\n"
    )
    (row,) = net.shown()
    assert [each["name"] for each in row["programs"]] == ["drop_all"]
    assert "is the only program" in net.run("detach", "dev", "eth0", "--prog", "drop_all", code=3)
    net.run("attach", drop, "dev", "eth0", "overwrite", "--chain-on", "pass")
    assert net.shown()[0]["programs"][0]["chain_on"] == ["pass"]
    net.run("detach", "dev", "eth0")
    assert net.shown() == []
