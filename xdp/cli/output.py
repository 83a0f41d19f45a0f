"""One writer for people and machines: plain text, or JSON on stdout and nothing else.

Not here: what is written.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any, final

__all__ = ["Output"]


@final
@dataclass(frozen=True, slots=True)
class Output:
    """Where a command's results go. `json`: one JSON document on stdout; `pretty`: indented."""

    json: bool = False
    pretty: bool = False

    def emit(self, document: Any, text: str) -> None:
        """The result: `document` as JSON, or `text` as it is."""
        if self.json:
            print(json.dumps(document, indent=2 if self.pretty else None, default=str))
        elif text:
            print(text)

    def error(self, message: str, **fields: Any) -> None:
        """A failure: {"error": …} on stdout with JSON, else one line on stderr."""
        line = " ".join(message.split())
        if self.json:
            print(json.dumps({"error": line, **fields}, indent=2 if self.pretty else None, default=str))
        else:
            print(f"xdpsim: {line}", file=sys.stderr)

    def note(self, message: str) -> None:
        """A remark on stderr, for people; JSON readers are spared."""
        if not self.json:
            print(message, file=sys.stderr)
