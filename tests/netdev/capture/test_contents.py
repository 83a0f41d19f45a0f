"""How files are mapped: large ones with the advice that lets the kernel read them in huge pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from netdev.capture import open_capture
from tests.support.captures import pcap, record

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def _flags(path: Path) -> list[str]:
    """The kernel's flags of the mapping of that file in this process."""
    found = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        found = found or line.endswith(str(path))
        if found and line.startswith("VmFlags:"):
            return line.split()[1:]
    return []


@pytest.mark.skipif(not HUGE_PAGES.exists(), reason="this kernel has no huge pages")
@pytest.mark.parametrize(("size", "advised"), [(60, False), (200_000, True)])
def test_large_files_are_advised_to_be_read_in_huge_pages(tmp_path: Path, size: int, advised: bool) -> None:
    """From 2 MiB on the mapping has the flag of the advice, below not."""
    path = tmp_path / "some.pcap"
    path.write_bytes(pcap(*[record(bytes(size))] * 12))
    with open_capture(path) as capture:
        assert len(capture) == 12
        flags = _flags(path)
        assert flags
        assert ("hg" in flags) == advised
