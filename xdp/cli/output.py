"""One writer for people and machines: plain text, or JSON on stdout and nothing else.

Not here: what is written.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TextIO, final

__all__ = ["Output"]


@final
@dataclass(frozen=True, slots=True)
class Output:
    """Where a command's results go. `json`: one JSON document on stdout; `pretty`: indented.

    `aside`: stdout is not ours, what would go there goes to stderr.
    """

    json: bool = False
    pretty: bool = False
    aside: bool = False

    def emit(self, document: Any, text: str) -> None:
        """The result: `document` as JSON, or `text` as it is."""
        if self.json:
            print(json.dumps(document, indent=2 if self.pretty else None, default=str), file=self.stream)
        elif text:
            print(text, file=self.stream)

    @property
    def stream(self) -> TextIO:
        """Where results go."""
        return sys.stderr if self.aside else sys.stdout

    def error(self, message: str, **fields: Any) -> None:
        """A failure: {"error": …} on stdout with JSON, else one line on stderr, which is also where it goes when stdout takes no more."""
        line = " ".join(message.split())
        if self.json:
            try:
                document = {"error": line, **fields}
                print(
                    json.dumps(document, indent=2 if self.pretty else None, default=str), file=self.stream, flush=True
                )
            except OSError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())  # what is still held goes nowhere
            else:
                return
        with suppress(OSError):  # the exit code tells it, too
            print(f"xdpsim: {line}", file=sys.stderr)

    def note(self, message: str) -> None:
        """A remark on stderr, for people; JSON readers are spared."""
        if not self.json:
            print(message, file=sys.stderr)
