"""`xdpsim run` around a command: its streams, its exit code, its signals, what it leaves behind, and what is said about it."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, final

import pytest

from tests.support.commands import environment
from tests.support.interposed import ROOT as NEEDS_ROOT

pytestmark = NEEDS_ROOT

CONNECT = """
import socket, sys
for port in map(int, sys.argv[1:]):
    with socket.socket() as s: print(s.connect_ex(("127.0.0.1", port)))
"""
_PATIENCE = 30.0


@final
class Runs:
    """`xdpsim run` over a state folder of its own, with what the test needs of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def words(self, *words: str) -> list[str]:
        """The whole command."""
        return [sys.executable, "-m", "xdp.cli", *words]

    def environment(self, **changes: str) -> dict[str, str]:
        """Of the command."""
        return environment(XDPSIM_RUN=str(self.folder), **changes)

    def __call__(self, *words: str, code: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
        """To its end; without a traceback, and with this exit code."""
        done = subprocess.run(
            self.words("run", *words),
            **{"capture_output": True, "text": True, "env": self.environment(), "timeout": 60, **options},
            check=False,
        )
        said = f"{done.stdout}{done.stderr}"
        assert done.returncode == code, said
        assert "Traceback" not in said
        return done

    def started(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Not waited for."""
        return subprocess.Popen(
            self.words("run", *words),
            **{
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "text": True,
                "env": self.environment(),
                **options,
            },
        )

    def json(self, *words: str) -> Any:
        """What another command says of it."""
        done = subprocess.run(
            self.words("-j", *words), capture_output=True, text=True, env=self.environment(), timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    """Commands whose records are not those of anybody else; in the end there is none left."""
    folder = tmp_path / "state"
    yield Runs(folder)
    assert list(folder.glob("runs/*")) == []


@pytest.fixture
def port() -> Iterator[int]:
    """Where somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def lines(text: str) -> list[dict[str, Any]]:
    """JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


def until(what: Callable[[], bool]) -> None:
    """Wait for it."""
    end = time.monotonic() + _PATIENCE
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_streams_are_the_commands(runs: Runs) -> None:
    """Its stdin, stdout and stderr pass through as they are; what we say is on stderr."""
    done = runs("--", "sh", "-c", "cat; echo err >&2", input="in\n")
    assert done.stdout == "in\n"
    assert done.stderr.startswith("err\n")
    assert "xdpsim: sh (exit code 0): no socket calls" in done.stderr


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143)],
)
def test_the_exit_code_is_the_commands(runs: Runs, script: str, code: int) -> None:
    """As a shell gives it: 128+N after signal N."""
    runs("--", "sh", "-c", script, code=code)


def test_arguments_and_surroundings_are_unchanged(runs: Runs, tmp_path: Path) -> None:
    """Words, also those like our own options, folder, environment, descriptors, limits and blocked signals arrive as they were."""
    program = (
        "import os, resource, signal, sys, json; json.dump([sys.argv[1:], os.getcwd(), dict(os.environ), sorted(os.listdir('/proc/self/fd')),"
        "resource.getrlimit(resource.RLIMIT_NOFILE), sorted(signal.pthread_sigmask(0, [])), os.umask(0),"
        "[n for n in range(1, 65) if n not in (32, 33) and signal.getsignal(n) == signal.SIG_IGN]], sys.stdout)"
    )
    command = [sys.executable, "-c", program, "-j", "--", "--log", "ü", ""]
    options: dict[str, Any] = {
        "cwd": tmp_path,
        "env": {**runs.environment(), "ODD": "a=b\n", "LC_ALL": ""},
        "umask": 0o27,
    }
    with (tmp_path / "file").open("w") as extra:
        limits = ["prlimit", "--nofile=512:1024"]
        alone = subprocess.run(
            [*limits, *command], capture_output=True, pass_fds=[extra.fileno()], check=True, **options
        )
        under = subprocess.run(
            [*limits, *runs.words("run", "--", *command)],
            capture_output=True,
            pass_fds=[extra.fileno()],
            check=True,
            **options,
        )
    assert json.loads(under.stdout) == json.loads(alone.stdout)


@pytest.mark.parametrize(
    ("name", "code", "line"),
    [
        ("no-such-command", 127, "no such command"),
        ("./no-such-command", 127, "no such command"),
        ("/", 126, "it is a folder"),
        ("/etc/passwd", 126, "it is not executable"),
    ],
)
def test_commands_that_cannot_be_run(runs: Runs, name: str, code: int, line: str) -> None:
    """One line, and the exit code that env(1) gives."""
    done = runs("--", name, code=code)
    assert done.stdout == ""
    assert done.stderr == f"xdpsim: cannot run {name}: {line}\n"
    assert json.loads(runs("-j", "--", name, code=code).stderr) == {"error": f"cannot run {name}: {line}"}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "which command?"),
        (["--"], "which command?"),
        (["true"], "write -- before the command"),
        (["--policy", "some", "--", "true"], "invalid choice: 'some'"),
        (["--log", "/no/such/folder/x", "--", "true"], "--log /no/such/folder/x: No such file or directory"),
        (["--log", "/", "--", "true"], "--log /: Is a directory"),
    ],
)
def test_what_is_wrong_with_the_words(runs: Runs, words: list[str], line: str) -> None:
    """One line and exit code 125: the others are the command's."""
    done = runs(*words, code=125)
    assert done.stdout == ""
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_account_is_by_process(runs: Runs, port: int) -> None:
    """What each process did, and how it ended."""
    command = ["sh", "-c", '"$@"; "$@"', "sh", sys.executable, "-c", CONNECT, str(port), "1"]
    done = runs("--", *command)
    assert done.stdout == "0\n111\n0\n111\n"
    assert "xdpsim: sh (exit code 0): 4 allowed, 0 denied in 2 processes" in done.stderr
    assert done.stderr.count("connect 2 allowed") == 2


def test_json_is_a_stream_of_calls_and_a_summary(runs: Runs, port: int) -> None:
    """A line a call as it ends, the account last; stdout is untouched."""
    done = runs("-j", "--", sys.executable, "-c", CONNECT, str(port), "1")
    assert done.stdout == "0\n111\n"
    first, second, summary = lines(done.stderr)
    assert [each["event"] for each in (first, second, summary)] == ["call", "call", "summary"]
    assert (first["call"], first["address"], first["outcome"], first["result"]) == (
        "connect",
        f"127.0.0.1:{port}",
        "allowed",
        0,
    )
    assert (second["address"], second["errno"]) == ("127.0.0.1:1", "ECONNREFUSED")
    assert abs(first["time"] - time.time()) < 60
    assert summary["totals"] == {"allowed": 2, "denied": 0}
    assert summary["exit_code"] == 0
    assert [each["calls"] for each in summary["processes"]] == [{"connect": {"allowed": 2}}]
    assert summary["coverage"]["observed"]


def test_a_log_has_everything_and_stderr_nothing(runs: Runs, port: int, tmp_path: Path) -> None:
    """With --log, calls and account go to the file; with -j as JSON lines."""
    log = tmp_path / "log"
    done = runs("--log", str(log), "--", sys.executable, "-c", CONNECT, str(port))
    assert done.stderr == ""
    call, total, *_ = log.read_text().splitlines()
    assert f"connect 127.0.0.1:{port} allowed" in call
    assert "1 allowed, 0 denied" in total
    done = runs("-j", "--log", str(log), "--", sys.executable, "-c", CONNECT, str(port))
    assert done.stderr == ""
    assert [each["event"] for each in lines(log.read_text())] == ["call", "summary"]


def test_a_log_on_a_full_disk_is_told_once(runs: Runs, port: int) -> None:
    """The command goes on; success becomes 125, as the log is not what was asked for, any other exit code stays."""
    command = [sys.executable, "-c", CONNECT, str(port), str(port)]
    done = runs("--log", "/dev/full", "--", *command, code=125)
    assert done.stdout == "0\n0\n"
    assert done.stderr == "xdpsim: --log /dev/full: No space left on device; what follows is not in it\n"
    runs("--log", "/dev/full", "--", "sh", "-c", "exit 3", code=3)


def test_nobody_reads_what_is_said(runs: Runs, port: int) -> None:
    """A closed stderr changes nothing for the command."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        runs.words("run", "-j", "--", sys.executable, "-c", CONNECT, str(port)),
        stdout=subprocess.PIPE,
        stderr=write,
        env=runs.environment(),
        timeout=60,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stdout) == (0, b"0\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT])
def test_signals_are_the_commands(runs: Runs, number: signal.Signals) -> None:
    """It may take them; we end when it ends."""
    script = f"trap 'echo taken; exit 9' {number.name.removeprefix('SIG')}; echo ready; while :; do sleep 0.05; done"
    child = runs.started("--", "sh", "-c", script)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(number)
    out, err = child.communicate(timeout=_PATIENCE)
    assert (child.returncode, out) == (9, "taken\n"), err


def test_a_signal_that_ends_the_command_is_told_as_a_shell_does(runs: Runs) -> None:
    """SIGTERM to us ends the command, and the exit code says by what."""
    child = runs.started("--", "sh", "-c", "echo ready; exec sleep 60")
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.terminate()
    _, err = child.communicate(timeout=_PATIENCE)
    assert child.returncode == 143
    assert "xdpsim: sh (killed by SIGTERM)" in err


def test_ctrl_c_reaches_the_command_once(runs: Runs, tmp_path: Path) -> None:
    """The keys of a terminal go to the whole group; we do not repeat them."""
    counted = tmp_path / "counted"
    script = f"trap 'echo x >> {counted}' INT; echo ready; i=0; while [ $i -lt 20 ]; do i=$((i+1)); sleep 0.05; done"
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(sys.executable, runs.words("run", "--", "sh", "-c", script), runs.environment())
    shown = b""
    while b"ready" not in shown:
        shown += os.read(terminal, 1024)
    os.write(terminal, b"\x03")
    try:
        while os.read(terminal, 1024):
            pass
    except OSError:  # it has ended
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    assert counted.read_text() == "x\n"


def test_processes_left_behind_are_waited_for(runs: Runs, port: int, tmp_path: Path) -> None:
    """Their calls go on to be answered, and that they are waited for is said once."""
    script = f'(sleep 0.5; "$@" > {tmp_path / "late"}) & exit 5'
    done = runs("--", "sh", "-c", script, "sh", sys.executable, "-c", CONNECT, str(port), code=5)
    assert (tmp_path / "late").read_text() == "0\n"
    assert done.stderr.count("sh has ended, waiting for") == 1
    assert "connect 1 allowed" in done.stderr


def test_processes_left_behind_can_be_ended(runs: Runs) -> None:
    """--kill-rest ends those that listen to SIGTERM, and then those that do not."""
    begun = time.monotonic()
    done = runs("--kill-rest", "--", "sh", "-c", "(trap '' TERM; while :; do sleep 1; done) & sleep 60 & exit 0")
    assert time.monotonic() - begun < 30
    assert "ending 2" in done.stderr or "ending 3" in done.stderr or "ending 1" in done.stderr


def test_a_signal_goes_to_what_is_left(runs: Runs) -> None:
    """When the command has ended, SIGTERM is for its descendants."""
    child = runs.started("--", "sh", "-c", "sleep 60 & exit 4")
    assert child.stderr is not None
    assert "waiting for" in child.stderr.readline()
    child.terminate()
    child.communicate(timeout=_PATIENCE)
    assert child.returncode == 4


def test_one_supervisor_in_another(runs: Runs) -> None:
    """The kernel has room for one listener: the inner one says so, and runs nothing."""
    done = runs("--", *runs.words("run", "--", "echo", "inner"), code=125)
    assert done.stdout == ""
    assert "supervised itself" in done.stderr.splitlines()[0]


def test_a_killed_supervisor_leaves_no_record(runs: Runs) -> None:
    """After kill -9 the command's socket calls fail at once, and whoever looks removes the record."""
    script = (
        "import socket, time\nprint('ready', flush=True); time.sleep(1.5)\n"
        "try: socket.socket().connect(('127.0.0.1', 1))\nexcept OSError as e: print(e.errno, flush=True)"
    )
    child = runs.started("--", sys.executable, "-c", script, stderr=subprocess.DEVNULL)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    assert len(list(runs.folder.glob("runs/*.json"))) == 1
    child.kill()
    child.wait()
    assert child.stdout.readline() == "38\n"  # ENOSYS
    child.stdout.close()
    assert runs.json("link", "show") == []


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) takes privileges away")
def test_no_privileges_are_needed(runs: Runs, port: int) -> None:
    """Without capabilities, no_new_privs is set, and calls are seen all the same."""
    script = 'grep NoNewPrivs /proc/self/status; "$@"'
    done = subprocess.run(
        [
            *("setpriv", "--inh-caps=-all", "--bounding-set=-all"),
            *runs.words("run", "--", "sh", "-c", script, "sh", sys.executable, "-c", CONNECT, str(port)),
        ],
        env=runs.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["NoNewPrivs:", "1", "0"], done.stderr
    assert "1 allowed" in done.stderr


def test_runs_are_listed_while_they_live(runs: Runs) -> None:
    """A run without programs has a record and no links."""
    child = runs.started("--", "sh", "-c", "echo ready; read line", stdin=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    (record,) = runs.folder.glob("runs/*.json")
    assert json.loads(record.read_text())["command"][0] == "sh"
    assert runs.json("link", "show") == []
    assert runs.json("cgroup", "tree") == []
    child.terminate()
    child.communicate(timeout=_PATIENCE)


def test_a_folder_for_records_is_not_needed(port: int) -> None:
    """Where no record can be kept, the command runs all the same, and it is said."""
    done = subprocess.run(
        [sys.executable, "-m", "xdp.cli", "run", "--", sys.executable, "-c", CONNECT, str(port)],
        env=environment(XDPSIM_RUN="/proc/no-such"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "0\n")
    assert done.stderr.startswith("xdpsim: not listed for other terminals: ")
