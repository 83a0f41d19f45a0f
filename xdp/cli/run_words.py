"""The words of `xdpsim run`, `cgroup` and `link`: rows for the table of commands.

Not here: the work.
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Final

__all__ = ["assignment", "cgroup_words", "is_run", "link_words", "run_words", "without_command"]

_RUN: Final = "run"
_END: Final = "--"


def is_run(words: list[str]) -> bool:
    """Whether the words are those of `run`."""
    return next((word for word in words if not word.startswith("-")), "") == _RUN


def without_command(words: list[str]) -> tuple[list[str], list[str] | None]:
    """The words before the `--` of `run`, and the command behind it; None when there is none."""
    if not is_run(words) or _END not in words:
        return words, None
    at = words.index(_END)
    return words[:at], words[at + 1 :]


def run_words(parser: ArgumentParser) -> None:
    """The words of `run`; the command behind `--` is not argparse's."""
    parser.usage = f"{parser.prog} [options] -- COMMAND [ARGS…]"
    add = parser.add_argument
    add(
        "--attach",
        metavar="OBJECT[:PROG]",
        action="append",
        default=[],
        help="programs that decide: those of an object (ELF, or a .c file), or one of them; without any, calls are only noted",
    )
    add(
        "--policy",
        choices=("enforce", "observe"),
        default="enforce",
        help="observe: note what would be denied or redirected, and let it happen (default: enforce)",
    )
    add(
        "--on-error",
        choices=("deny", "allow"),
        default="deny",
        help="what becomes of a call that cannot be judged (default: deny)",
    )
    add(
        "--rules",
        choices=("linux", "windows"),
        default="linux",
        help="whose order and merging hold where Linux and eBPF for Windows have the same place (default: linux)",
    )
    add(
        "--map",
        metavar="NAME=FILE",
        type=assignment,
        action="append",
        default=[],
        help="fill a map from JSON before the command runs",
    )
    add("--log", metavar="FILE", help="a line for each call, and the account; -j: JSON lines")
    add("--kill-rest", action="store_true", help="end the processes that the command leaves behind, instead of waiting")
    add("--interpreter", action="store_true", help="without compiled code: starts sooner, each call takes longer")
    parser.epilog = (
        "The exit code is the command's, 128+N after signal N; 125: xdpsim failed, 126: the command cannot be run, "
        "127: there is none. Its stdout is left alone: the account, and with -j a JSON line a call, go to stderr or --log."
    )
    parser.set_defaults(wrong=parser.error, command_line=None, stray=" (write -- before the command)")


def assignment(text: str) -> tuple[str, str]:
    """NAME=FILE."""
    name, separator, path = text.partition("=")
    if not (name and separator and path):
        raise ArgumentTypeError(f"{text!r} is not NAME=FILE")
    return name, path


def cgroup_words(parser: ArgumentParser) -> None:
    """The words of `cgroup show` and `cgroup tree`."""
    parser.add_argument("path", metavar="CGROUP", nargs="?", help="a folder of the cgroup hierarchy (default: all)")


def link_words(parser: ArgumentParser) -> None:
    """The words of `link show`."""
    parser.add_argument("words", metavar="WORD", nargs="*", help="id NUMBER")
