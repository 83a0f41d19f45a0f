"""What the engine is taught by default: extensions, and the registry that everybody uses.

Not here: the rows' contents (context, helpers, verdict).
"""

from __future__ import annotations

import sys
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runtime.helpers import CORE_HELPERS
from runtime.maps import CORE_MAP_KINDS
from runtime.spec import AttachType, Extension, ProgramType, Registry, Section
from xdp.context import XDP_MD
from xdp.driver import drive, drive_with_origins
from xdp.events import EVENT_HELPERS, EVENT_MAP_KINDS, PACKET_NATIVES
from xdp.helpers import XDP_HELPER_NUMBERS, XDP_HELPERS
from xdp.linux import LINUX_HELPER_ROWS, LINUX_MAP_KINDS, LINUX_PROGRAM_TYPES, LINUX_SECTIONS, LINUX_STRUCTS
from xdp.maps import XDP_MAP_KINDS
from xdp.verdict import VERDICTS

if TYPE_CHECKING:
    from runtime.loader import Program

__all__ = ["CORE_EXTENSION", "EVENTS_EXTENSION", "LINUX_EXTENSION", "XDP_EXTENSION", "default_registry"]

_ENTRY_POINTS: Final = "xdpsim.extensions"


def _face(program: Program) -> Any:
    from xdp.hooks.xdp import XdpProgram

    return XdpProgram(program)


CORE_EXTENSION: Final = Extension(name="core", helpers=CORE_HELPERS, map_kinds=CORE_MAP_KINDS)

EVENTS_EXTENSION: Final = Extension(name="events", helpers=EVENT_HELPERS, map_kinds=EVENT_MAP_KINDS)

XDP_EXTENSION: Final = Extension(
    name="xdp",
    program_types=(
        ProgramType(
            name="xdp",
            linux_type=6,
            context=XDP_MD,
            helpers=XDP_HELPER_NUMBERS,
            driver=drive,
            origin_driver=drive_with_origins,
            verdicts=VERDICTS,
            natives=PACKET_NATIVES,
            face=_face,
            attach_types=(
                AttachType(name="xdp", linux=37, helpers=XDP_HELPER_NUMBERS),
                AttachType(name="devmap", linux=33, helpers=XDP_HELPER_NUMBERS),
                AttachType(name="cpumap", linux=35, helpers=XDP_HELPER_NUMBERS),
            ),
        ),
    ),
    helpers=XDP_HELPERS,
    map_kinds=XDP_MAP_KINDS,
    sections=(
        Section(prefix="xdp", program_type="xdp", attach_type="xdp", parameter=True),
        Section(prefix="xdp.frags", program_type="xdp", attach_type="xdp", parameter=True),
        Section(prefix="xdp/devmap", program_type="xdp", attach_type="devmap"),
        Section(prefix="xdp.frags/devmap", program_type="xdp", attach_type="devmap"),
        Section(prefix="xdp/cpumap", program_type="xdp", attach_type="cpumap"),
        Section(prefix="xdp.frags/cpumap", program_type="xdp", attach_type="cpumap"),
    ),
)

_RUNNING: Final = (CORE_EXTENSION, EVENTS_EXTENSION, XDP_EXTENSION)
_RUN_HERE: Final = frozenset(row.id for extension in _RUNNING for row in extension.helpers)
_MADE_HERE: Final = frozenset(row.id for extension in _RUNNING for row in extension.map_kinds)

LINUX_EXTENSION: Final = Extension(
    name="linux",
    program_types=LINUX_PROGRAM_TYPES,
    helpers=tuple(row for row in LINUX_HELPER_ROWS if row.id not in _RUN_HERE),
    map_kinds=tuple(row for row in LINUX_MAP_KINDS if row.id not in _MADE_HERE),
    sections=LINUX_SECTIONS,
    structs=LINUX_STRUCTS,
)
"""The other program types of Linux, and the helpers and maps that nothing here runs: for verification."""


@cache
def default_registry() -> Registry:
    """The core, XDP, Linux's other program types, and what installed packages add through the entry-point group `xdpsim.extensions`."""
    extra: tuple[Extension, ...] = ()
    if _announced():
        from importlib.metadata import entry_points  # costs as much as reading a small object

        extra = tuple(point.load() for point in entry_points(group=_ENTRY_POINTS))
    return Registry((*_RUNNING, LINUX_EXTENSION, *extra))


def _announced() -> bool:
    """Whether an installed package may have entry points for us; True where only importlib.metadata can tell."""
    for place in dict.fromkeys(sys.path):
        folder = Path(place or ".")
        if folder.is_file():  # an archive
            return True
        for file in (*folder.glob("*.dist-info/entry_points.txt"), *folder.glob("*.egg-info/entry_points.txt")):
            try:
                if _ENTRY_POINTS.encode() in file.read_bytes():
                    return True
            except OSError:
                return True
    finders = (each for each in sys.meta_path if each is not PathFinder)
    return any(hasattr(each, "find_distributions") for each in finders)
