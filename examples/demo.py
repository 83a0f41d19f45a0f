"""The demonstration that `make demo` runs: an attack capture through a filter, with a table, a list and a picture."""

from __future__ import annotations

import argparse
import sys
import time
from ipaddress import IPv4Address
from pathlib import Path

import runtime
import xdp
from runtime.errors import XdpsimError
from xdp.picture import draw

ROOT = Path(__file__).parents[1]
TOP = 8


def main() -> int:
    """Replay, and show what the program did and what its map says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("capture", nargs="?", type=Path, default=ROOT / "pcaps" / "syn-flood-mixed.pcap")
    parser.add_argument("--picture", type=Path, default=Path("demo.svg"))
    arguments = parser.parse_args()
    started = time.monotonic()

    obj = runtime.load(ROOT / "examples" / "dos_filter.o", registry=xdp.default_registry())
    program = obj.programs["xdp_filter"]
    report = xdp.replay(program, arguments.capture, timeline=True)

    print(f"{report.program} over {arguments.capture.name}: {report.packets:,} packets, verified and compiled\n")
    for verdict, count in report.verdicts.items():
        print(f"  {verdict:<13}{count:>9,}  {100 * count / report.packets:5.1f} %")
    print(f"\n  {report.packets_per_second:,} packets/s, {report.ns_per_packet} ns/packet in native code")

    print("\ntop dropped sources, from the program's map 'dropped':")
    dropped: dict[IPv4Address, int] = dict(obj.maps["dropped"].typed.items())
    for address, packets in sorted(dropped.items(), key=lambda each: -each[1])[:TOP]:
        print(f"  {address!s:<16}{packets:>9,}")
    print(f"  ({len(dropped):,} sources in all)")

    draw(report, arguments.picture)
    print(f"\npicture: {arguments.picture} (passed and dropped over the capture's time)")
    print(f"done in {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (XdpsimError, OSError) as error:
        sys.exit(f"demo: {error}")
