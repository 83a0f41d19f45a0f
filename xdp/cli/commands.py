"""The table of commands: words, one-sentence summary, arguments, and where the work is done.

Not here: the work. A command's module is imported only when the command was chosen.
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from xdp.cli.map_rows import MAP_COMMANDS, map_words, program_words
from xdp.cli.net_words import attach_words, detach_words, device_words, repair_words, show_words, top_words
from xdp.cli.run_words import assignment, cgroup_words, link_words, run_words

__all__ = ["COMMANDS", "Command"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """`module`.`function`(arguments, output) → exit code."""

    words: tuple[str, ...]
    summary: str
    configure: Callable[[ArgumentParser], None]
    module: str
    function: str = "run"


def _count(text: str) -> int:
    try:
        number = int(text, 0)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a number") from None
    if number < 1:
        raise ArgumentTypeError(f"{text} is below 1")
    return number


def _natural(text: str) -> int:
    try:
        number = int(text, 0)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= number < 1 << 32:
        raise ArgumentTypeError(f"{text} is not between 0 and 4294967295")
    return number


def _replay(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("object", metavar="OBJECT", help="ELF object, or a .c file for clang")
    add("captures", metavar="CAPTURE", nargs="+", help="pcap or pcapng, plain, gzip or zstd")
    add("--prog", metavar="NAME", help="the program, where the object holds several")
    add("--engine", choices=("jit", "interpreter", "kernel"), default="jit", help="what runs it (default: jit)")
    add(
        "--compare",
        choices=("jit", "interpreter", "kernel"),
        metavar="ENGINE",
        help="run ENGINE beside it, report the first difference",
    )
    add("--verdicts", metavar="FILE", help="one JSON line a frame")
    add("--hash", action="store_true", help="with --verdicts: SHA-256 of each frame as the program left it")
    add("--out", metavar="DIR", help="frames by verdict, as pcapng")
    add("--plot", metavar="FILE", help="passed and dropped over the capture's time, as SVG")
    add(
        "--map",
        metavar="NAME=FILE",
        type=assignment,
        action="append",
        default=[],
        help="fill a map from JSON before the run",
    )
    add("--dump-maps", metavar="FILE", help="all maps after the run, as JSON ('-' for stdout)")
    add("--loop", metavar="N", type=_count, default=1, help="replay N times")
    add("--limit", metavar="N", type=_count, help="stop after N frames")
    add(
        "--clock",
        choices=("packet", "wall"),
        default="packet",
        help="where bpf_ktime_get_ns takes the time (default: the capture)",
    )
    add("--seed", metavar="N", type=_natural, default=0, help="start of bpf_get_prandom_u32's sequence")
    add("--ifindex", metavar="N", type=_natural, default=1, help="ctx->ingress_ifindex (default: 1)")
    add("--queue", metavar="N", type=_natural, default=0, help="ctx->rx_queue_index (default: 0)")
    add("--wrap", action="store_true", help="give frames of other link types an Ethernet header")


def _verify(parser: ArgumentParser) -> None:
    parser.add_argument("object", metavar="OBJECT", help="ELF object, or a .c file for clang")
    parser.add_argument("--prog", metavar="NAME", help="only this program")
    parser.add_argument("--type", metavar="TYPE", help="program type, or a section name that stands for one")
    parser.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="what led to the failure (with -j: all that is known of it); -vv: every state, in the kernel's log form",
    )
    parser.add_argument("--witness", metavar="FILE", help="of a rejected program: the packet that confirms it, as pcap")
    add = parser.add_argument
    add(
        "--leaks", choices=("reject", "warn"), default="reject", help="addresses that others can read (default: reject)"
    )
    add(
        "--uninitialised-stack",
        choices=("warn", "allow"),
        default="warn",
        help="reads of stack that was not written (default: warn)",
    )
    add("--unreachable", choices=("warn", "allow"), default="warn", help="code that is never run (default: warn)")
    add(
        "--division-by-zero", choices=("warn", "allow"), default="allow", help="divisors that may be 0 (default: allow)"
    )


def _dump(parser: ArgumentParser) -> None:
    parser.add_argument("form", choices=("xlated", "ir", "asm"), help="bytecode, LLVM IR or native assembly")
    parser.add_argument("object", metavar="OBJECT", help="ELF object, or a .c file for clang")
    parser.add_argument("--prog", metavar="NAME", help="only this program")
    parser.epilog = "After these, with xlated: linum (line numbers), opcodes (the encoded bytes)."
    parser.set_defaults(extras=[], extra_words=("linum", "opcodes"))


def _nothing(_parser: ArgumentParser) -> None:
    """No words of its own."""


def _group(parser: ArgumentParser) -> None:
    parser.add_argument("group", choices=("prog_types", "map_types", "attach_types", "helpers"), help="what to list")


COMMANDS: tuple[Command, ...] = (
    Command(
        words=("replay",),
        summary="Run a program over captures: verdicts, timings, maps.",
        configure=_replay,
        module="xdp.cli.replay",
    ),
    Command(
        words=("verify",),
        summary="Say of each program of an object whether it is safe, and if not, why.",
        configure=_verify,
        module="xdp.cli.verify",
    ),
    Command(
        words=("prog", "dump"),
        summary="Show a program as bytecode with source lines, LLVM IR or native assembly.",
        configure=_dump,
        module="xdp.cli.prog",
    ),
    Command(
        words=("net", "attach"),
        summary="Attach a program to an interface; in the background unless told otherwise.",
        configure=attach_words,
        module="xdp.cli.net_attach",
    ),
    Command(
        words=("net", "detach"),
        summary="End an attachment; the interface is as it was before. With --prog or id: take one program out.",
        configure=detach_words,
        module="xdp.cli.net",
        function="detach",
    ),
    Command(
        words=("net", "show"),
        summary="Show what is attached.",
        configure=show_words,
        module="xdp.cli.net",
        function="show",
    ),
    Command(
        words=("net", "top"),
        summary="Show rates, losses and CPU of what is attached, live.",
        configure=top_words,
        module="xdp.cli.net_top",
    ),
    Command(
        words=("net", "confirm"),
        summary="Keep an attachment that --revert-after would end.",
        configure=device_words,
        module="xdp.cli.net",
        function="confirm",
    ),
    Command(
        words=("net", "repair"),
        summary="Restore interfaces that a crash or a power cut left changed.",
        configure=repair_words,
        module="xdp.cli.net",
        function="repair",
    ),
    *(
        Command(words=("prog", word), summary=summary, configure=program_words, module="xdp.cli.prog_show")
        for word, summary in (("show", "List the programs of live attachments."), ("list", "The same as prog show."))
    ),
    *(
        Command(words=("map", word), summary=summary, configure=map_words, module="xdp.cli.map", function=function)
        for word, function, summary in MAP_COMMANDS
    ),
    Command(
        words=("run",),
        summary="Run a command and all that it starts; programs decide about their socket calls.",
        configure=run_words,
        module="xdp.cli.run",
    ),
    *(
        Command(
            words=("cgroup", word), summary=summary, configure=cgroup_words, module="xdp.cli.cgroup", function=function
        )
        for word, function, summary in (
            ("show", "show", "List the programs of commands under supervision: all, or those of a cgroup."),
            ("list", "show", "The same as cgroup show."),
            ("tree", "tree", "The same, and those of the cgroups below it."),
        )
    ),
    *(
        Command(words=("link", word), summary=summary, configure=link_words, module="xdp.cli.link", function="show")
        for word, summary in (("show", "List attachments."), ("list", "The same as link show."))
    ),
    Command(
        words=("feature", "probe"),
        summary="Say of program types, map types and helpers whether they run here, or are only verified.",
        configure=_nothing,
        module="xdp.cli.feature",
        function="probe",
    ),
    Command(
        words=("feature", "list_builtins"),
        summary="List names: prog_types, map_types, attach_types or helpers.",
        configure=_group,
        module="xdp.cli.feature",
        function="builtins",
    ),
    Command(
        words=("feature", "table"),
        summary="Print what is supported as Markdown (docs/support.md).",
        configure=_nothing,
        module="xdp.cli.feature",
        function="table",
    ),
)
