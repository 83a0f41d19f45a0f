"""`xdpsim run`: a command and all that it starts, with programs that decide about their socket calls.

Not here: the supervision (netdev.interpose), the programs (run_programs.py), the account (run_ledger.py).
"""

from __future__ import annotations

import os
import stat
import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from runtime.errors import DeviceError
from xdp.cli.exits import Exit
from xdp.cli.output import Output
from xdp.cli.progress import telling_of_compilation, watched
from xdp.cli.run_ledger import Ledger
from xdp.cli.run_report import Coverage, Report
from xdp.cli.run_rest import adopt, descendants, reap
from xdp.cli.run_signals import Relay, held_back
from xdp.live.registry import State, start_time
from xdp.live.runs import Run, Runs, cgroup_of

if TYPE_CHECKING:
    from netdev.interpose import Child, Supervisor
    from xdp.cli.run_programs import Programs

__all__ = ["run"]

_STDERR: Final = 2
_TICK: Final = 0.1  # seconds between two looks at the supervisor's log
_MERCY: Final = 2.0  # seconds from SIGTERM to SIGKILL for processes that are left behind


def run(arguments: Namespace, output: Output) -> int:
    """Run the command; its exit code."""
    command: list[str] | None = arguments.command_line
    if not command:
        arguments.wrong("which command? write it behind '--'")
        raise AssertionError
    refused = _unfit(command[0])
    if refused is not None:
        code, line = refused
        output.error(line)
        return code
    with ExitStack() as stack:
        stack.enter_context(telling_of_compilation(output.note if watched(output) else None))
        report = stack.enter_context(Report.opened(arguments.log, output))
        return _Running(arguments, command, report, stack).whole()


def _unfit(name: str) -> tuple[Exit, str] | None:
    """Why there is nothing to be run by that name, with the exit code of env(1); None when there is."""
    places = [name] if "/" in name else [os.path.join(each or ".", name) for each in os.get_exec_path()]  # noqa: PTH118
    found = [each for each in places if os.path.exists(each)]  # noqa: PTH110 - a name may hold anything
    if not found:
        return Exit.NOT_FOUND, f"cannot run {name}: no such command"
    if any(stat.S_ISREG(Path(each).stat().st_mode) and os.access(each, os.X_OK) for each in found):
        return None
    why = "it is a folder" if Path(found[0]).is_dir() else "it is not executable"
    return Exit.NOT_EXECUTABLE, f"cannot run {name}: {why}"


@final
@dataclass(slots=True)
class _Running:
    """One run, from its programs to its end."""

    arguments: Namespace
    command: list[str]
    report: Report
    stack: ExitStack

    def whole(self) -> int:
        """Everything; the command's exit code, unless the report could not be written."""
        arguments = self.arguments
        inherited = _inherited()
        with held_back():
            import numpy as np  # makes threads when it is imported

            from netdev.errors import InterfaceError
            from netdev.interpose import Supervisor
            from xdp.cli.run_programs import Programs, loops

            del np
        programs = self.stack.enter_context(
            Programs.opened(
                arguments.attach,
                policy=arguments.policy,
                rules=arguments.rules,
                maps=arguments.map,
                interpreter=arguments.interpreter,
            )
        )
        relay = self.stack.enter_context(Relay())
        supervisor = self.stack.enter_context(
            Supervisor(programs.policy, on_error=arguments.on_error, loops=loops(interpreter=arguments.interpreter))
        )
        listed = _Listed(self.command, arguments, programs, self.report.note)
        self.stack.callback(listed.forget)
        adopt()
        listed.write(0)  # before the command can tell anybody to look
        begun = time.monotonic()
        try:
            child = supervisor.run(self.command, env=_environment(), mask=relay.mask, pass_fds=inherited)
        except InterfaceError as error:
            raise DeviceError(f"{self.command[0]} was not run: {error}") from error
        listed.write(child.pid)
        ledger = Ledger()
        collect = partial(self._collect, supervisor, programs, ledger)
        code = self._followed(child, relay, collect)
        self._rest(supervisor, child, relay, collect)
        collect()
        self._account(supervisor, ledger, programs.coverage(), code=code, seconds=time.monotonic() - begun)
        return Exit.SUPERVISOR if self.report.failed and code == 0 else code

    def _account(
        self, supervisor: Supervisor, ledger: Ledger, coverage: Coverage, *, code: int, seconds: float
    ) -> None:
        from netdev.interpose import SocketCall

        calls = [each.name.lower() for each in SocketCall]  # those are in the coverage of the programs
        self.report.summary(
            ledger,
            command=self.command,
            code=code,
            policy=self.arguments.policy,
            on_error=self.arguments.on_error,
            coverage=coverage,
            system=[asdict(row) for row in supervisor.coverage() if row.what not in calls],
            failures=list(supervisor.failures),
            lost=supervisor.lost,
            seconds=round(seconds, 6),
        )

    def _followed(self, child: Child, relay: Relay, collect: Callable[[], None]) -> int:
        """Until the command ends; its exit code."""
        while True:
            with suppress(TimeoutError):
                return child.wait(0)
            relay.wait(_TICK, [child.pid])
            reap(child.pid)
            collect()

    def _rest(self, supervisor: Supervisor, child: Child, relay: Relay, collect: Callable[[], None]) -> None:
        """Until the processes that the command left behind have ended, too."""
        until = time.monotonic() + _MERCY
        told = False
        while not supervisor.wait_for_all(0):
            rest = list(descendants())
            if rest and not told:
                told = True
                self._tell_of(rest)
                if self.arguments.kill_rest:
                    _kill(rest, "SIGTERM")
            if rest and self.arguments.kill_rest and time.monotonic() > until:
                _kill(rest, "SIGKILL")
            relay.wait(_TICK, rest)
            reap(child.pid)
            collect()

    def _tell_of(self, rest: list[int]) -> None:
        names = ", ".join(f"{_comm(pid)} ({pid})" for pid in rest[:8]) + (" …" if len(rest) > 8 else "")
        count = f"{len(rest)} process{'' if len(rest) == 1 else 'es'} of it"
        what = "ending" if self.arguments.kill_rest else "waiting for"
        hint = "" if self.arguments.kill_rest else "; --kill-rest ends what is left behind"
        self.report.note(f"{self.command[0]} has ended, {what} {count}: {names}{hint}")

    def _collect(self, supervisor: Supervisor, programs: Programs, ledger: Ledger) -> None:
        for event in supervisor.events():
            self.report.call(ledger.add(event))
        for line in programs.printed():
            self.report.printed(line)
        self.report.flush()


@final
class _Listed:
    """The record by which other terminals see the run; a run that cannot be listed goes on without."""

    def __init__(
        self, command: list[str], arguments: Namespace, programs: Programs, note: Callable[[str], None]
    ) -> None:
        self._runs: Runs | None = None
        try:
            state = State()
            state.prepare()
            number = state.new_id()
            programs.number(state)
            self._runs = Runs(state)
        except (DeviceError, OSError) as error:
            note(f"not listed for other terminals: {error}")
            return
        self._run = Run(
            id=number,
            pid=os.getpid(),
            started=start_time(os.getpid()),
            command=tuple(command),
            policy=arguments.policy,
            on_error=arguments.on_error,
            begun_at=time.time(),
            cgroup=cgroup_of("self"),
            programs=programs.programs,
            maps=programs.maps,
            links=programs.links,
        )
        with suppress(OSError):
            self._run = replace(self._run, cgroup_id=Path(self._run.cgroup).stat().st_ino)

    def write(self, child: int) -> None:
        """Let it be seen."""
        if self._runs is not None:
            with suppress(DeviceError):
                self._runs.write(replace(self._run, child=child))

    def forget(self) -> None:
        """Take it away."""
        if self._runs is not None:
            with suppress(OSError):
                self._runs.remove(self._run.id)


def _inherited() -> tuple[int, ...]:
    """Descriptors that our caller gave us for the command, as a shell's `3<file` does."""
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers, not files
        with suppress(OSError):
            if int(name) > _STDERR and os.get_inheritable(int(name)):
                found.append(int(name))
    return tuple(found)


def _environment() -> dict[str, str]:
    """The environment as our caller gave it: the interpreter may have put a locale into it (PEP 538)."""
    kept = dict(os.environ)
    with suppress(OSError):
        if b"LC_CTYPE=" not in Path("/proc/self/environ").read_bytes():
            kept.pop("LC_CTYPE", None)
    return kept


def _kill(pids: list[int], name: str) -> None:
    import signal

    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.Signals[name])


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "?"
