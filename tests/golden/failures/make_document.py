"""Makes docs/verification-failures.md: of each code a program that provokes it, the message, the cause and the fix.

Not here: the programs (the C files beside this one) and the messages (the verifier). `python -m tests.golden.failures.make_document`
writes the document anew.
"""

from __future__ import annotations

import contextlib
import difflib
import io
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from runtime.errors import VerificationError
from runtime.verifier import FailureCode, Policy, WarningCode
from tests.golden.failures.cases import CASES, FOLDER, Case, compiled, judge, resolved
from tests.golden.failures.prose import PROSE, WARNINGS
from xdp.cli import main
from xdp.cli.exits import Exit

__all__ = ["DOCUMENT", "document"]

DOCUMENT: Final = FOLDER.parents[2] / "docs" / "verification-failures.md"
_WIDTH: Final = 120

_HEAD: Final = """\
# Verification failures

One section for each code in which `xdpsim verify` sorts rejections; the codes are stable (`FailureCode`, and `code` with
`-j -v`). Each shows the smallest program of `tests/golden/failures/` that is rejected with it, the message, what causes
it and what removes it. Tests check that all programs there are rejected at the line that they name, and that their
fixes are enough for our verifier and for the kernel's.

This file is generated: edit `tests/golden/failures/prose.py` and run `python -m tests.golden.failures.make_document`.
"""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """What is printed of a program, of what kind that is, and the line of its text that is named; 0 without one."""

    title: str
    printed: str
    line: int


def document() -> str:
    """The whole document; needs clang."""
    parts = [_HEAD]
    parts.append("| code | meaning |\n| --- | --- |")
    parts[-1] += "".join(f"\n| [`{code}`](#{code}) | {PROSE[code].meaning} |" for code in FailureCode) + "\n"
    parts += [_section(code) for code in FailureCode]
    parts.append(_warned())
    return "\n".join(parts)


def _section(code: FailureCode) -> str:
    prose = PROSE[code]
    cases = sorted((case for case in CASES if case.error == code), key=lambda case: (_lines(case), case.name))
    text = f"## {code}\n\n{prose.meaning}\n\n"
    if cases:
        text += _example(cases[0], _rejection(cases[0]))
    text += f"{_filled('**Cause.** ' + prose.cause)}\n\n{_filled('**Fix.** ' + prose.fix)}\n"
    if cases:
        text += _difference(cases[0])
    if cases[1:]:
        text += "\nOther programs with this code:\n\n" + "".join(map(_link, cases[1:]))
    return text


def _filled(paragraph: str) -> str:
    return textwrap.fill(paragraph, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _lines(case: Case) -> int:
    return len(resolved(case, fixed=False).splitlines())


def _link(case: Case) -> str:
    return f"- [`{case.name}.c`](../tests/golden/failures/{case.name}.c): {case.mistake}\n"


def _example(case: Case, verdict: _Verdict) -> str:
    source = resolved(case, fixed=False)
    named = source.splitlines()[verdict.line - 1].strip() if verdict.line else ""
    text = f"{case.mistake} [`{case.name}.c`](../tests/golden/failures/{case.name}.c)\n\n```c\n{source}```\n\n"
    text += f"{verdict.title}:\n\n```\n{verdict.printed}\n```\n\n"
    return text + (f"Line {verdict.line} is `{named}`.\n\n" if named else "")


def _difference(case: Case) -> str:
    before, after = (resolved(case, fixed=fixed).splitlines() for fixed in (False, True))
    lines = [each for each in difflib.unified_diff(before, after, n=1, lineterm="") if not each.startswith("---")]
    shown = [each for each in lines if not each.startswith(("+++", "@@"))]
    return "\n```diff\n" + "\n".join(shown) + "\n```\n"


def _rejection(case: Case) -> _Verdict:
    """What is said of the wrong program, compiled as it is shown."""
    data = compiled(case.name, resolved(case, fixed=False))
    try:
        judge(case, data)
    except VerificationError as error:
        line = int(error.source.rpartition(":")[2]) if case.line else 0
        if case.steps == Policy().steps:
            title = f"**Message**, as `xdpsim verify {case.name}.o` prints it"
            return _Verdict(title=title, printed=_printed(case, data), line=line)
        title = f"**Message**, the log's first lines, with a budget of {case.steps} steps instead of {Policy().steps}"
        return _Verdict(title=title, printed="\n".join(error.log.splitlines()[:2]), line=line)
    raise AssertionError(f"{case.name} is accepted")


def _printed(case: Case, data: bytes) -> str:
    """The program, the cause, the fix and the witness, as the command prints them."""
    out = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(out):
        target = Path(folder) / f"{case.name}.o"
        target.write_bytes(data)
        code = main(["verify", str(target)])
    assert code == Exit.REJECTED, case.name
    return "\n".join(out.getvalue().splitlines()[:4])


def _warned() -> str:
    text = "## Warnings\n\nThese programs are accepted with a warning, since what they do is harmless here, or a matter of policy.\n"
    for code in WarningCode:
        text += f"\n### {code} (warning)\n\n{_filled(WARNINGS[code])}\n"
        for case in (case for case in CASES if case.warning == code):
            (warning,) = judge(case, compiled(case.name, resolved(case, fixed=False))).warnings
            title = f"**Warning**, among what `xdpsim verify {case.name}.o` prints"
            verdict = _Verdict(title=title, printed=f"warning: {warning}", line=0)
            text += "\n" + _example(case, verdict) + "**Fix.**\n" + _difference(case)
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(document())
