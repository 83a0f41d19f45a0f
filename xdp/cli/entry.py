"""One command from its words to its exit code: a table of commands, one writer, one place where failures become exit codes.

Not here: what commands do; each noun has its file. Nothing heavy is imported before a command is chosen.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import Final, NoReturn

from xdp.cli.commands import COMMANDS, Command
from xdp.cli.exits import Exit
from xdp.cli.output import Output
from xdp.cli.run_words import is_run, without_command

__all__ = ["run"]

_STDOUT: Final = 1
_STDERR: Final = 2


def run(argv: Sequence[str] | None) -> int:
    """Run the command of these words, or of the process's own; returns the exit code."""
    _open_what_is_closed()
    signal.signal(signal.SIGTERM, _terminated)
    words, command_line = without_command(list(sys.argv[1:] if argv is None else argv))
    output = Output(
        json=_wants(words, "-j", "--json") or _wants(words, "-p", "--pretty"),
        pretty=_wants(words, "-p", "--pretty"),
        aside=is_run(words),
    )
    try:
        arguments = _parsed(output, words)
        if command_line is not None:
            arguments.command_line = command_line
        command: Command = arguments.command
        carry_out = getattr(import_module(command.module), command.function)
        code: int = carry_out(arguments, output)
        sys.stdout.flush()
    except KeyboardInterrupt:
        output.error("interrupted; files that were not finished have been removed")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.PIPE
    except Exception as error:  # noqa: BLE001  the one place that turns failures into a line and a code
        return _failed(error, output)
    return code


def _open_what_is_closed() -> None:
    """Standard streams that were closed (`>&-`) lead nowhere, so that no file that is opened later takes their place."""
    if None not in (sys.stdin, sys.stdout, sys.stderr):
        return
    lowest = os.open(os.devnull, os.O_RDWR)
    while lowest <= _STDERR:
        lowest = os.open(os.devnull, os.O_RDWR)
    os.close(lowest)
    sys.stdout = sys.stdout or os.fdopen(_STDOUT, "w")
    sys.stderr = sys.stderr or os.fdopen(_STDERR, "w")


def _wants(words: Sequence[str], *names: str) -> bool:
    return any(word in names for word in words)


def _terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(Exit.TERMINATED)


def _failed(error: Exception, output: Output) -> int:
    from xdp.cli.failures import failure

    if "trace" in os.environ.get("XDPSIM_DEBUG", ""):
        raise error
    code, line, fields = failure(error)
    output.error(line, **fields)
    return Exit.SUPERVISOR if output.aside else code


def _parsed(output: Output, words: Sequence[str]) -> argparse.Namespace:
    """The words by the table; what argparse cannot place may only be the bare words that end a command, as in bpftool."""
    parser = _parser(output)
    arguments, rest = parser.parse_known_args(words)
    wrong = [word for word in rest if word not in getattr(arguments, "extra_words", ())]
    if wrong:
        parser.error(f"unrecognized arguments: {' '.join(wrong)}{getattr(arguments, 'stray', '')}")
    if rest:
        arguments.extras = rest
    return arguments


class _Parser(argparse.ArgumentParser):
    """argparse with our one-line errors and our exit code."""

    out = Output()

    def error(self, message: str) -> NoReturn:
        self.out.error(f"{message} (see '{self.prog} --help')")
        raise SystemExit(Exit.SUPERVISOR if self.out.aside else Exit.USAGE)


def _parser(output: Output) -> argparse.ArgumentParser:
    _Parser.out = output
    shared = _Parser(add_help=False)
    shared.add_argument("-j", "--json", action="store_true", default=argparse.SUPPRESS, help="JSON on stdout")
    shared.add_argument("-p", "--pretty", action="store_true", default=argparse.SUPPRESS, help="indented JSON")
    parser = _Parser(
        prog="xdpsim",
        description="Verify, compile and run eBPF programs over captures, on interfaces and on the socket calls of commands.",
        parents=[shared],
        epilog="Exit codes: 0 done, 1 rejected or different, 2 usage, 3 bad input, 4 the system refused, 70 our bug; "
        "of run: the command's.",
    )
    parser.add_argument("-V", "--version", action=_Version, help="version and exit")
    nodes: dict[tuple[str, ...], argparse._SubParsersAction[_Parser]] = {
        (): parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    }
    for command in COMMANDS:
        for depth in range(1, len(command.words)):
            head = command.words[:depth]
            if head not in nodes:
                group = nodes[head[:-1]].add_parser(head[-1], help=f"{head[-1]} commands", parents=[shared])
                nodes[head] = group.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
        leaf = nodes[command.words[:-1]].add_parser(
            command.words[-1], help=command.summary, description=command.summary, parents=[shared]
        )
        command.configure(leaf)
        leaf.set_defaults(command=command)
    return parser


class _Version(argparse.Action):
    """Reads the version only when asked."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:  # noqa: A002
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_rest: object, **_more: object) -> None:
        from importlib.metadata import version

        print(f"xdpsim {version('xdpsim')}")
        parser.exit()
