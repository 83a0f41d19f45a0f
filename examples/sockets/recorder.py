"""`python -m examples.sockets.recorder record|enforce FILE -- COMMAND…`: an allow-list that a command writes by being run.

`record` enforces nothing; what the (empty) list would have refused becomes the list: a map file, as `xdpsim … --map allowed=FILE`
takes. `enforce` lets the command do what is in the file, and says what it refused.

Not here: the list's lookup (allow_list.c).
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
from ipaddress import IPv6Address
from pathlib import Path

from examples.sockets.supervised import supervised
from runtime.maps import dump, fill

_CALLS = {1: "connect", 2: "bind", 3: "send"}
_PROTOCOLS = {6: "tcp", 17: "udp"}


def sentence(key: bytes) -> str:
    """An endpoint as people write it."""
    call, protocol, port = struct.unpack_from("=HHI", key)
    address = IPv6Address(key[8:24])
    host = f"[{address}]" if address.ipv4_mapped is None else str(address.ipv4_mapped)
    return f"{_CALLS.get(call, call)} {_PROTOCOLS.get(protocol, protocol)} {host}:{port}"


def main(words: list[str] | None = None) -> int:
    """Run the command; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=("record", "enforce"))
    parser.add_argument("file", type=Path)
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args(words)
    recording = arguments.mode == "record"
    with supervised("allow_list.o", observe=recording) as session:
        if not recording:
            fill(session.obj.maps["allowed"], json.loads(arguments.file.read_text()))
        code = session.run(arguments.command)
        refused = session.obj.maps["refused"]
        for key, times in sorted(refused.items()):
            word = "allow" if recording else "refused"
            print(f"{word} {sentence(key)} ({int.from_bytes(times, sys.byteorder)})")
        if recording:
            arguments.file.write_text(json.dumps(dump(refused), indent=1) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
