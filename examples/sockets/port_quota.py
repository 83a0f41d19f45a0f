"""`python -m examples.sockets.port_quota`: a program that leaks ports, beside one that does not, under a quota for each process.

Not here: the leaking program (leak.py) and the quota (port_quota.c).
"""

from __future__ import annotations

import argparse
import struct
import sys
from pathlib import Path

from examples.sockets.supervised import supervised

LEAK = str(Path(__file__).with_name("leak.py"))
_ENTRY = struct.Struct("=II64s")


def main(words: list[str] | None = None) -> int:
    """Run both, and show what the program's map holds; 0 when only the leaking one was stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quota", type=int, default=4, help="ports a process may hold (4)")
    parser.add_argument("--leak", type=int, default=10, help="ports that the leaking program wants (10)")
    arguments = parser.parse_args(words)
    with supervised("port_quota.o") as session:
        session.obj.maps["quota"].update(bytes(4), struct.pack("=I", arguments.quota))
        leaking = session.run([sys.executable, LEAK, str(arguments.leak)])
        modest = session.run([sys.executable, LEAK, str(arguments.quota)])
        print(f"\n{'process':>8}  {'ports':>5}  {'denied':>6}  program")
        for key, value in session.obj.maps["processes"].items():
            ports, denied, app = _ENTRY.unpack(value)
            print(f"{int.from_bytes(key, sys.byteorder):>8}  {ports:>5}  {denied:>6}  {app.rstrip(bytes(1)).decode()}")
    stopped = arguments.leak > arguments.quota
    return 0 if (leaking, modest) == (int(stopped), 0) else 1


if __name__ == "__main__":
    sys.exit(main())
