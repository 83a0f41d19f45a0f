"""The words of `xdpsim net`: rows for the table of commands.

Not here: the work. `OBJECT dev IF overwrite` is bpftool's word grammar, so these words are one list that `phrase` takes apart.
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import dataclass
from typing import Final, final

__all__ = [
    "Phrase",
    "attach_words",
    "detach_words",
    "device_words",
    "phrase",
    "repair_words",
    "show_words",
    "top_words",
]

_HOOKS: Final = ("xdp", "xdpgeneric", "xdpdrv", "xdpoffload")
_LONGEST_NAME: Final = 15
_VERDICTS: Final = ("aborted", "drop", "pass", "tx", "redirect")


@final
class _Words:
    """Bare words may stand between options, as bpftool's do."""

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and not word.startswith("-")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """What the words say: `object` is empty where none is wanted, `interface` is empty where it may be; `number`: of a program."""

    object: str = ""
    interface: str = ""
    overwrite: bool = False
    number: int | None = None


def phrase(arguments: Namespace) -> Phrase:
    """The words of the command, taken apart; what is wrong with them ends the command as argparse does."""
    words = [*arguments.words, *getattr(arguments, "extras", ())]
    rest, said = list(words), ""
    if rest and rest[0] in _HOOKS:
        rest = rest[1:]
    if arguments.wants_object:
        if not rest or rest[0] == "dev":
            arguments.wrong(f"which object? {arguments.form}")
        said, rest = rest[0], rest[1:]
    name = ""
    if rest:
        if rest[0] != "dev" or len(rest) < 2:
            arguments.wrong(f"{rest[0]!r}: {arguments.form}")
        name, rest = rest[1], rest[2:]
    elif arguments.wants_interface:
        arguments.wrong(f"which interface? {arguments.form}")
    overwrite = arguments.wants_object and rest[:1] == ["overwrite"]
    rest = rest[1:] if overwrite else rest
    number = None
    if arguments.wants_id and rest[:1] == ["id"] and len(rest) > 1 and rest[1].isdecimal():
        number, rest = int(rest[1]), rest[2:]
    if rest:
        arguments.wrong(f"{rest[0]!r}: {arguments.form}")
    if len(name.encode()) > _LONGEST_NAME or "/" in name:
        arguments.wrong(f"{name!r} cannot be the name of an interface")
    return Phrase(object=said, interface=name, overwrite=overwrite, number=number)


def _phrased(
    parser: ArgumentParser, form: str, *, wants_object: bool, wants_interface: bool, wants_id: bool = False
) -> None:
    parser.add_argument("words", nargs="*", metavar="WORD", help=form)
    parser.usage = f"{parser.prog} {form} [options]"
    parser.set_defaults(
        form=form,
        wants_object=wants_object,
        wants_interface=wants_interface,
        wants_id=wants_id,
        wrong=parser.error,
        extra_words=_Words(),
    )


def attach_words(parser: ArgumentParser) -> None:
    """The words of `net attach OBJECT dev IF [overwrite]`."""
    _phrased(parser, "OBJECT dev IF [overwrite]", wants_object=True, wants_interface=True)
    add = parser.add_argument
    add("--prog", metavar="NAME", help="the program, where the object holds several")
    add(
        "--mode",
        choices=("monitor", "inline", "host"),
        help="monitor: watch a copy, enforce nothing; inline: stand between IF and --peer; "
        "host: stand between IF and this host (with --peer: inline)",
    )
    add("--peer", metavar="IF", help="the other interface of inline mode")
    add("--peer-prog", metavar="NAME", help="the program for frames that come from the peer (default: they pass)")
    add("--peer-object", metavar="OBJECT", help="where that program is, if not in OBJECT")
    add(
        "--backend",
        choices=("auto", "afpacket", "libpcap", "tap"),
        default="auto",
        help="how frames are taken (default: the fastest that works)",
    )
    add(
        "--queues",
        metavar="N",
        type=_from_one,
        default=1,
        help="workers, each with its share of the flows (default: 1)",
    )
    add("--promisc", action="store_true", help="receive what is addressed to others, too")
    add(
        "--latency",
        choices=("normal", "low"),
        default="normal",
        help="low: each frame is judged as soon as it comes, at the price of throughput (default: within a millisecond)",
    )
    add("--dry-run", action="store_true", help="count verdicts and pass everything")
    add("--revert-after", metavar="SECONDS", type=_seconds, help="detach unless 'net confirm' comes before")
    add("--force", action="store_true", help="attach although the rehearsal says that it locks you out")
    add("--priority", metavar="N", type=_priority, help="place in the chain of programs, lowest first (default: 50)")
    add(
        "--chain-on",
        metavar="VERDICT,…",
        type=_verdicts,
        help="on which of its verdicts the next program of the chain is asked (default: pass)",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--detach-on-exit", action="store_true", help="stay here; Ctrl-C detaches")
    where.add_argument("--daemon", action="store_true", help="go on in the background (the default)")


def detach_words(parser: ArgumentParser) -> None:
    """The words of `net detach dev IF [id N]`."""
    _phrased(parser, "dev IF [id N]", wants_object=False, wants_interface=True, wants_id=True)
    parser.add_argument("--prog", metavar="NAME", help="take only this program out of the chain")


def device_words(parser: ArgumentParser) -> None:
    """The words of commands that want `dev IF`."""
    _phrased(parser, "dev IF", wants_object=False, wants_interface=True)


def show_words(parser: ArgumentParser) -> None:
    """The words of `net show [dev IF]`."""
    _phrased(parser, "[dev IF]", wants_object=False, wants_interface=False)
    parser.add_argument("--all", action="store_true", help="of every network namespace, not only of this one")


def top_words(parser: ArgumentParser) -> None:
    """The words of `net top [dev IF]`."""
    _phrased(parser, "[dev IF]", wants_object=False, wants_interface=False)
    parser.add_argument(
        "--interval", metavar="SECONDS", type=_seconds, default=1.0, help="between two views (default: 1)"
    )
    parser.add_argument("--count", metavar="N", type=_from_one, help="end after N views (default: go on)")


def repair_words(parser: ArgumentParser) -> None:
    """The words of `net repair`: none."""
    parser.set_defaults(words=[])


def _number(text: str, low: int, high: int) -> int:
    try:
        number = int(text, 0)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a number") from None
    if not low <= number <= high:
        raise ArgumentTypeError(f"{text} is not between {low} and {high}")
    return number


def _from_one(text: str) -> int:
    return _number(text, 1, 1 << 31)


def _priority(text: str) -> int:
    return _number(text, 0, 1 << 31)


def _verdicts(text: str) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(each.strip().lower().removeprefix("xdp_") for each in text.split(",")))
    if wrong := [each for each in chosen if each not in _VERDICTS]:
        raise ArgumentTypeError(f"{wrong[0]!r} is no verdict: there are {', '.join(_VERDICTS)}")
    return chosen


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds") from None
    if not 0.01 <= number <= 1e7:
        raise ArgumentTypeError(f"{text} is not between 0.01 and 10,000,000 seconds")
    return number
