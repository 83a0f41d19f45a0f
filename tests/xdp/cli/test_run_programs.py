"""`xdpsim run` with programs: what they decide is what happens, it is accounted for, and other terminals see them."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.cgroups import Cgroup, hooked
from tests.support.commands import EXAMPLES, FILTER
from tests.support.interposed import ROOT as NEEDS_ROOT
from tests.support.objects import answer
from tests.support.sources import compile_c, needs_clang
from tests.xdp.cli.test_run import CONNECT, Runs, lines, port, runs

__all__ = ["port", "runs"]

pytestmark = NEEDS_ROOT

FIREWALL = str(EXAMPLES / "sockets" / "connect_firewall.o")
QUOTA = str(EXAMPLES / "sockets" / "port_quota.o")
REDIRECT = str(EXAMPLES / "sockets" / "redirect.o")
BOTH = pytest.mark.parametrize("words", [(), ("--interpreter",)], ids=["compiled", "interpreted"])
HOSTS = """
import socket, sys
for host in sys.argv[2:]:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as s: print(s.connect_ex((host, int(sys.argv[1]))))
"""


@pytest.fixture
def blocked(tmp_path: Path) -> str:
    """A list that blocks 127.0.0.2, as --map takes it."""
    file = tmp_path / "rules.json"
    file.write_text(json.dumps([{"key": "::ffff:127.0.0.2/128", "value": {"blocked": 1, "hits": 0}}]))
    return f"rules={file}"


@pytest.fixture
def anywhere() -> Iterator[int]:
    """A port at which somebody listens on every address."""
    with socket.create_server(("0.0.0.0", 0)) as server:
        yield server.getsockname()[1]


@BOTH
def test_a_firewall_denies(runs: Runs, blocked: str, anywhere: int, words: tuple[str, ...]) -> None:
    """What the list blocks fails with EPERM, the rest connects; the account says both, and what is enforced."""
    command = [sys.executable, "-c", HOSTS, str(anywhere), "127.0.0.1", "127.0.0.2"]
    done = runs(*words, "--attach", FIREWALL, "--map", blocked, "--", *command)
    assert done.stdout == "0\n1\n"
    assert "1 allowed, 1 denied" in done.stderr
    assert f"denied: connect 127.0.0.2:{anywhere} (EPERM)" in done.stderr
    assert "enforced: connect, sendmsg; not enforced: bind" in done.stderr


def test_one_program_of_an_object(runs: Runs, blocked: str, anywhere: int) -> None:
    """OBJECT:PROG attaches that one, and the rest of the coverage says so."""
    command = [sys.executable, "-c", HOSTS, str(anywhere), "127.0.0.2"]
    done = runs("--attach", f"{FIREWALL}:sendmsg4", "--map", blocked, "--", *command)
    assert done.stdout == "0\n"
    assert "enforced: sendmsg4; not enforced:" in done.stderr


def test_observing_lets_everything_happen(runs: Runs, blocked: str, anywhere: int) -> None:
    """What would have been denied is told, and was not."""
    command = [sys.executable, "-c", HOSTS, str(anywhere), "127.0.0.2"]
    done = runs("-j", "--policy", "observe", "--attach", FIREWALL, "--map", blocked, "--", *command)
    assert done.stdout == "0\n"
    call, summary = lines(done.stderr)
    assert (call["outcome"], call["result"]) == ("would deny", 0)
    assert summary["totals"] == {"allowed": 0, "denied": 0, "would deny": 1}
    assert summary["coverage"]["enforced"] == []
    assert "connect4" in summary["coverage"]["observed"]
    assert {"io_uring", "clone3"} <= {row["what"] for row in summary["system"]}


def test_a_redirected_call_names_both_places(runs: Runs, port: int, tmp_path: Path) -> None:
    """Where it was to go, and where it went."""
    here = int.from_bytes(socket.inet_aton("127.0.0.1"), sys.byteorder)
    file = tmp_path / "proxy.json"
    file.write_text(json.dumps([{"key": 0, "value": {"ip": here, "port": port}}]))
    command = [sys.executable, "-c", HOSTS, "9", "192.0.2.1"]
    words = ("--attach", REDIRECT, "--map", f"proxy={file}", "--", *command)
    done = runs("-j", *words)
    assert done.stdout == "0\n"
    call = lines(done.stderr)[0]
    assert (call["call"], call["outcome"]) == ("connect", "redirected")
    assert (call["wanted"], call["address"]) == ("192.0.2.1:9", f"127.0.0.1:{port}")
    log = tmp_path / "log"
    runs("--log", str(log), *words)
    assert f"connect 192.0.2.1:9 → 127.0.0.1:{port} redirected" in log.read_text()
    assert "1 redirected" in log.read_text()


def test_programs_in_the_layout_of_windows(runs: Runs, tmp_path: Path) -> None:
    """The quota of ports: the third bind fails with EACCES, as the merge of eBPF for Windows has it."""
    file = tmp_path / "quota.json"
    file.write_text(json.dumps([{"key": 0, "value": 2}]))
    script = (
        "import socket\nheld = [socket.socket() for _ in range(3)]\nfor s in held:\n"
        "    try: print(s.bind(('127.0.0.1', 0)))\n    except OSError as e: print(e.errno)"
    )
    done = runs("--attach", QUOTA, "--map", f"quota={file}", "--", sys.executable, "-c", script)
    assert done.stdout == "None\nNone\n13\n"
    assert "bind 2 allowed, 1 denied" in done.stderr


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--attach", "no-such.o"), "no-such.o: cannot be read: No such file or directory"),
        (("--attach", FILTER), "no program about socket calls in it; its programs are of type xdp"),
        (("--attach", f"{FILTER}:xdp_filter"), "is of type xdp (xdp): no socket call leads to it"),
        (("--attach", f"{FIREWALL}:nothing"), "no program 'nothing'; there is connect4"),
        (("--attach", __file__), "not an ELF object"),
        (("--attach", QUOTA, "--attach", QUOTA), "program 'port_quota' is attached to bind already"),
        (("--attach", FIREWALL, "--map", "none=x"), "the object has no map 'none'"),
        (("--attach", FIREWALL, "--map", "none"), "'none' is not NAME=FILE"),
    ],
)
def test_programs_that_cannot_be_attached(runs: Runs, words: tuple[str, ...], line: str) -> None:
    """One line, exit code 125, and the command was not run."""
    done = runs(*words, "--", "echo", "run", code=125)
    assert done.stdout == ""
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1


@needs_clang
def test_a_rejected_program_is_not_attached(runs: Runs, tmp_path: Path) -> None:
    """The verifier's line is the answer; C goes through clang first."""
    source = tmp_path / "wrong.c"
    source.write_text(
        '#include <linux/bpf.h>\n__attribute__((section("cgroup/connect4"), used))\n'
        'int wrong(struct bpf_sock_addr *ctx) { return 7; }\nchar _l[] __attribute__((section("license"))) = "GPL";\n'
    )
    done = runs("--attach", str(source), "--", "echo", "run", code=125)
    assert done.stdout == ""
    assert "wrong.c: program 'wrong' is rejected: r0 is in [7, 7]; cgroup_inet4_connect programs return" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@contextmanager
def living(runs: Runs, *words: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A run that waits for a line of input."""
    child = runs.started(*words, "--", "sh", "-c", "echo ready; read line", stdin=subprocess.PIPE, **options)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    try:
        yield child
    finally:
        child.communicate("\n", timeout=30)


def test_other_terminals_see_programs_and_links(runs: Runs) -> None:
    """`cgroup show`, `cgroup tree`, `link show` and `prog show` in bpftool's shapes, for as long as the run lives."""
    with living(runs, "--attach", FIREWALL) as child:
        shown = runs.json("cgroup", "show")
        assert [(each["attach_type"], each["name"], each["attach_flags"]) for each in shown] == [
            ("cgroup_inet4_connect", "connect4", "multi"),
            ("cgroup_inet6_connect", "connect6", "multi"),
            ("cgroup_udp4_sendmsg", "sendmsg4", "multi"),
            ("cgroup_udp6_sendmsg", "sendmsg6", "multi"),
        ]
        (branch,) = runs.json("cgroup", "tree")
        assert branch["programs"] == shown
        links = runs.json("link", "show")
        assert {each["prog_id"] for each in links} == {each["id"] for each in shown}
        assert {each["type"] for each in links} == {"cgroup"}
        assert {each["pids"][0]["pid"] for each in links} == {child.pid}
        assert runs.json("link", "show", "id", str(links[0]["id"])) == links[0]
        programs = runs.json("prog", "show")
        assert [each["type"] for each in programs] == ["cgroup_sock_addr"] * 4
        assert runs.json("prog", "show", "name", "connect6")["id"] == shown[1]["id"]
        assert runs.json("net", "show")[0]["xdp"] == []
    assert runs.json("cgroup", "show") == runs.json("link", "show") == runs.json("prog", "show") == []


def test_a_map_of_a_run_is_written_from_another_terminal(runs: Runs, anywhere: int) -> None:
    """`map update` changes what the next call is answered."""
    script = (
        "import socket, sys\nprint('ready', flush=True)\n"
        f"for _ in sys.stdin: print(socket.socket().connect_ex(('127.0.0.2', {anywhere})), flush=True)"
    )
    child = runs.started("--attach", FIREWALL, "--", sys.executable, "-c", script, stdin=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == "ready\n"
    (found,) = runs.json("map", "show")
    assert (found["name"], found["type"]) == ("rules", "lpm_trie")
    assert found["runs"]
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.stdout.readline() == "0\n"
    key = ["128", "0", "0", "0", *["0"] * 10, "255", "255", "127", "0", "0", "2"]
    runs.json("map", "update", "name", "rules", "key", *key, "value", "1", "0", "0", "0", "0", "0", "0", "0")
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.stdout.readline() == "1\n"
    (entry,) = runs.json("map", "dump", "name", "rules")
    assert entry["formatted"]["value"]["hits"] == 1
    child.communicate(timeout=30)


def test_the_texts_are_those_of_bpftool(runs: Runs) -> None:
    """Heads, columns and lines as bpftool 7.1 prints them."""
    with living(runs, "--attach", f"{FIREWALL}:connect4"):
        (link,) = runs.json("link", "show")
        (program,) = runs.json("cgroup", "show")

        def text(*words: str) -> list[str]:
            done = subprocess.run(
                runs.words(*words), capture_output=True, text=True, env=runs.environment(), timeout=60, check=True
            )
            return done.stdout.splitlines()

        head = "ID       AttachType      AttachFlags     Name           "
        line = f"{program['id']:<8} cgroup_inet4_connect multi           connect4       "
        assert text("cgroup", "show") == [head, line]
        tree = text("cgroup", "tree")
        assert tree[:2] == ["CgroupPath", head]
        assert tree[3] == f"    {line}"
        assert text("link", "show")[:2] == [
            f"{link['id']}: cgroup  prog {link['prog_id']}  ",
            f"\tcgroup_id {link['cgroup_id']}  attach_type cgroup_inet4_connect  ",
        ]


@pytest.mark.skipif(shutil.which("bpftool") is None, reason="bpftool is the oracle")
def test_records_are_those_of_bpftool(runs: Runs) -> None:
    """The same programs on the same cgroup, once in the kernel: members, their order and what they say are bpftool's."""
    with Cgroup() as group, hooked(Path(FIREWALL)) as kernel:
        for way in ("connect4", "connect6", "sendmsg4", "sendmsg6"):
            kernel.attach(group, way, way)
        shown = answer("bpftool", "-j", "cgroup", "show", str(group.folder))
        tree = answer("bpftool", "-j", "cgroup", "tree", str(group.folder))
        with living(runs, "--attach", FIREWALL, preexec_fn=group.enter):
            ours = runs.json("cgroup", "show", str(group.folder))
            (branch,) = runs.json("cgroup", "tree", str(group.folder))
            link = runs.json("link", "show")[0]
    theirs = {each["attach_type"]: each for each in json.loads(shown)}
    assert {each["attach_type"] for each in ours} == theirs.keys()
    for each in ours:
        wanted = theirs[each["attach_type"]]
        assert list(each)[: len(wanted)] == list(wanted)
        assert {**wanted, "id": each["id"]}.items() <= each.items()
    assert branch["cgroup"] == str(group.folder)
    assert list(branch) == list(json.loads(tree)[0])
    assert list(link)[:5] == ["id", "type", "prog_id", "cgroup_id", "attach_type"]


def test_cgroups_are_told_apart(runs: Runs, tmp_path: Path) -> None:
    """`cgroup show PATH` has that one's, `tree` those below, and what is no cgroup is said to be none."""
    with living(runs, "--attach", f"{FIREWALL}:connect4"):
        (branch,) = runs.json("cgroup", "tree")
        folder = branch["cgroup"]
        if not folder or not Path(folder, "cgroup.procs").exists():
            pytest.skip("no cgroup hierarchy (v2) is mounted here")
        assert len(runs.json("cgroup", "show", folder)) == 1
        assert len(runs.json("cgroup", "tree", folder)) == 1
        for path, line in ((str(tmp_path), "is not a cgroup"), ("/no/such", "can't open cgroup /no/such")):
            done = subprocess.run(
                runs.words("-j", "cgroup", "show", path),
                capture_output=True,
                text=True,
                env=runs.environment(),
                timeout=60,
                check=False,
            )
            assert done.returncode == 3
            assert line in json.loads(done.stdout)["error"]


def test_a_process_tree_is_one_account(runs: Runs, blocked: str, anywhere: int) -> None:
    """Each process of a tree is judged, and has its line."""
    command = [sys.executable, "-c", HOSTS, str(anywhere), "127.0.0.2"]
    script = 'for i in 1 2 3 4 5; do "$@" & done; wait'
    done = runs("-j", "--attach", FIREWALL, "--map", blocked, "--", "sh", "-c", script, "sh", *command)
    assert done.stdout.replace("\n", "") == "1" * 5  # five processes, whose lines may meet
    summary: dict[str, Any] = lines(done.stderr)[-1]
    assert summary["totals"] == {"allowed": 0, "denied": 5}
    assert [each["calls"] for each in summary["processes"]] == [{"connect": {"denied": 1}}] * 5


def test_nothing_is_seen_of_an_earlier_run(runs: Runs, port: int) -> None:
    """Two runs one after the other have nothing of each other."""
    for _ in range(2):
        done = runs("--attach", FIREWALL, "--", sys.executable, "-c", CONNECT, str(port))
        assert "1 allowed, 0 denied" in done.stderr


@needs_clang
@BOTH
def test_what_programs_print_is_told(runs: Runs, tmp_path: Path, anywhere: int, words: tuple[str, ...]) -> None:
    """Lines of trace_printk, one for each call, as text and as JSON."""
    source = (
        'SEC("cgroup/connect4") int says(struct bpf_sock_addr *ctx) { bpf_printk("family %d", ctx->family); return 1; }'
    )
    path = tmp_path / "says.o"
    path.write_bytes(compile_c(source))
    command = [sys.executable, "-c", HOSTS, str(anywhere), "127.0.0.1", "127.0.0.2"]
    done = runs(*words, "--attach", str(path), "--", *command)
    assert done.stderr.count("printk: family 2\n") == 2
    done = runs("-j", *words, "--attach", str(path), "--", *command)
    assert [each["text"] for each in lines(done.stderr) if each["event"] == "print"] == ["family 2"] * 2
