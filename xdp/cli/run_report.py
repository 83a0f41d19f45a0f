"""What `run` says: to stderr, or to the file that was named, as text or as JSON lines. Never to stdout, which is the command's.

Not here: what is counted (run_ledger.py).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self, TextIO, final

from runtime.errors import DeviceError
from xdp.cli.output import Output
from xdp.cli.run_ledger import Entry, Ledger, as_line, ended

__all__ = ["Coverage", "Report"]

_MOST_FAILURES = 5


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Which calls are decided about, which only noted, and which nobody looks at; `refused` is not allowed at all.

    Words are the last ones of sections: connect4, bind6.
    """

    enforced: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()
    untouched: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def document(self) -> dict[str, list[str]]:
        """As JSON has it."""
        return {
            "enforced": list(self.enforced),
            "observed": list(self.observed),
            "not_enforced": list(self.untouched),
            "refused": list(self.refused),
        }

    @property
    def text(self) -> str:
        """As a line."""
        rows = (
            ("enforced", self.enforced),
            ("observed", self.observed),
            ("not enforced", self.untouched),
            ("refused", self.refused),
        )
        return "; ".join(f"{name}: {', '.join(_paired(words))}" for name, words in rows if words)


def _paired(words: tuple[str, ...]) -> list[str]:
    """Where both families of a place are there, the place without a family."""
    both = {word[:-1] for word in words if word[-1] == "4" and f"{word[:-1]}6" in words}
    return list(dict.fromkeys(word[:-1] if word[:-1] in both and word[-1] in "46" else word for word in words))


@final
class Report:
    """Lines into a file or stderr. `failed`: some could not be written."""

    def __init__(self, output: Output, file: TextIO | None, name: str) -> None:
        self._output = output
        self._file = file
        self._name = name
        self.failed = False
        self._dirty = False

    @classmethod
    @contextmanager
    def opened(cls, path: str | None, output: Output) -> Iterator[Self]:
        """To that file, which is made anew, or to stderr. Raises DeviceError."""
        if path is None:
            yield cls(output, None, "stderr")
            return
        try:
            file = open(path, "w", encoding="utf-8", errors="backslashreplace")  # noqa: PTH123, SIM115 - closed below
        except OSError as error:
            raise DeviceError(f"--log {path}: {error.strerror}") from error
        report = cls(output, file, path)
        try:
            yield report
        finally:
            report.flush()
            with suppress(OSError):
                file.close()

    def call(self, entry: Entry) -> None:
        """A call has ended: a line in the file; on stderr only as JSON."""
        if self._output.json:
            self._line(as_line({"event": "call", **entry.document}))
        elif self._file is not None:
            self._line(entry.text)

    def printed(self, text: str) -> None:
        """A line that a program has printed (trace_printk)."""
        self._line(as_line({"event": "print", "text": text}) if self._output.json else f"printk: {text}")

    def note(self, message: str) -> None:
        """Something that the user should know now."""
        if self._output.json:
            self._line(as_line({"event": "note", "text": message}))
        else:
            _say(f"xdpsim: {message}")

    def summary(self, ledger: Ledger, *, coverage: Coverage, code: int, **rest: Any) -> None:
        """The account at the end."""
        if self._output.json:
            document = {
                "event": "summary",
                **rest,
                "exit_code": code,
                "totals": ledger.totals,
                "processes": ledger.document,
                "coverage": coverage.document,
            }
            self._line(as_line(document))
        else:
            first, *lines = ledger.text.splitlines()
            first = f"xdpsim: {rest['command'][0]} ({ended(code)}): {first}"
            for line in (first, *lines, f"  {coverage.text}", *_troubles(rest["failures"], rest["lost"])):
                self._line(line)
        self.flush()

    def flush(self) -> None:
        """Let what was written be seen by others."""
        if self._file is None or not self._dirty or self.failed:
            return
        self._dirty = False
        try:
            self._file.flush()
        except OSError as error:
            self._broken(error)

    def _line(self, line: str) -> None:
        if self._file is None:
            _say(line)
        elif not self.failed:
            self._dirty = True
            try:
                self._file.write(line + "\n")
            except OSError as error:
                self._broken(error)

    def _broken(self, error: OSError) -> None:
        """Said once; what the command may and may not is decided as before."""
        self.failed = True
        self._output.error(f"--log {self._name}: {error.strerror}; what follows is not in it")
        if self._file is not None:
            with suppress(OSError):  # what is still held goes nowhere
                os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), self._file.fileno(), inheritable=False)


def _troubles(failures: list[str], lost: int) -> Iterator[str]:
    for each in failures[:_MOST_FAILURES]:
        yield f"  trouble: {each}"
    if len(failures) > _MOST_FAILURES:
        yield f"  trouble: {len(failures) - _MOST_FAILURES:,} more"
    if lost:
        yield f"  not counted: {lost:,} calls came faster than they could be noted down"


def _say(line: str) -> None:
    with suppress(OSError):  # nobody listens; the exit code is the command's all the same
        print(line, file=sys.stderr, flush=True)
