"""Our verdict beside the kernel's, program by program.

    python -m tests.kernel.verdicts [--steps N] [--brief] OBJECT…

Not here: how verdicts are reached. Exits with 1 when a difference is not covered by a row of policies.py, and with 2 when
the kernel cannot be asked.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from runtime.verifier import Policy
from tests.kernel.verdicts.compare import compare
from tests.kernel.verdicts.libbpf import Libbpf
from tests.kernel.verdicts.policies import explain
from tests.kernel.verdicts.verdict import Pair

_CELLS = ("both accept", "only kernel", "only us", "both reject", "not judged")


def main(arguments: list[str] | None = None) -> int:
    """Print a line a program and a table by type; returns the exit status."""
    parser = argparse.ArgumentParser(prog="verdicts", description=__doc__)
    parser.add_argument("objects", nargs="+", type=Path, metavar="OBJECT")
    parser.add_argument("--steps", type=int, default=Policy().steps, help="our budget for a program")
    parser.add_argument("--brief", action="store_true", help="only differences")
    options = parser.parse_args(arguments)
    try:
        library = Libbpf()
    except OSError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    policy = Policy(steps=options.steps)
    table: Counter[tuple[str, str]] = Counter()
    unexplained = 0
    for path in options.objects:
        for pair in compare(path, library, policy=policy):
            table[pair.type_name, _cell(pair)] += 1
            named = "" if pair.agree else getattr(explain(pair), "name", "UNEXPLAINED")
            unexplained += named == "UNEXPLAINED"
            if named or not options.brief:
                sys.stdout.write(_line(path, pair, named) + "\n")
                sys.stdout.flush()
    sys.stdout.write(_table(table))
    sys.stdout.write(f"{unexplained} unexplained\n")
    return 1 if unexplained else 0


def _cell(pair: Pair) -> str:
    match pair.ours.accepted, pair.kernel.accepted:
        case (None, _) | (_, None):
            return "not judged"
        case True, True:
            return "both accept"
        case True, False:
            return "only us"
        case False, True:
            return "only kernel"
        case _:
            return "both reject"


def _line(path: Path, pair: Pair, named: str) -> str:
    """object:program  type  ours  kernel  steps  milliseconds  [policy]  reasons."""
    ours, kernel = pair.ours, pair.kernel
    head = f"{path.name}:{pair.name}\t{pair.type_name}\tours {ours.word}\tkernel {kernel.word}"
    head += f"\t{ours.steps}/{kernel.steps} steps\t{ours.seconds * 1e3:.1f}/{kernel.seconds * 1e3:.1f} ms"
    if not named:
        return head
    return f"{head}\t[{named}]\tours: {ours.code} {ours.message}\tkernel: {kernel.message}"


def _table(table: Counter[tuple[str, str]]) -> str:
    rows: Iterable[str] = sorted({kind for kind, _ in table})
    lines = [f"{'type':<20}" + "".join(f"{each:>13}" for each in _CELLS)]
    lines.extend(f"{row:<20}" + "".join(f"{table[row, cell]:>13}" for cell in _CELLS) for row in rows)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
