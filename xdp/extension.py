"""What the engine is taught by default: extensions, and the registry that everybody uses.

Not here: the rows' contents (context, helpers, verdict).
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from runtime.catalogue import Catalogue, Change
from runtime.errors import InputError
from runtime.helpers import CORE_HELPERS
from runtime.maps import CORE_MAP_KINDS
from runtime.spec import AttachType, Extension, ProgramType, Registry, Section
from xdp.context import XDP_MD
from xdp.discovery import installed, warn
from xdp.driver import drive, drive_with_origins
from xdp.events import EVENT_HELPERS, EVENT_MAP_KINDS, PACKET_NATIVES
from xdp.helpers import XDP_HELPER_NUMBERS, XDP_HELPERS
from xdp.linux import LINUX_HELPER_ROWS, LINUX_MAP_KINDS, LINUX_PROGRAM_TYPES, LINUX_SECTIONS, LINUX_STRUCTS
from xdp.maps import XDP_MAP_KINDS
from xdp.sockets import REDIRECT_HELPERS, SOCKET_PROGRAM_TYPES, SOCKET_SECTIONS
from xdp.verdict import VERDICTS

if TYPE_CHECKING:
    from runtime.loader import Program

__all__ = [
    "CORE_EXTENSION",
    "EVENTS_EXTENSION",
    "LINUX_EXTENSION",
    "SOCKETS_EXTENSION",
    "XDP_EXTENSION",
    "catalogue",
    "default_registry",
    "register",
    "withdraw",
]


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


def _sock_addr_face(program: Program) -> Any:
    from xdp.hooks.sock_addr import SockAddrProgram

    return SockAddrProgram(program)


def _sock_ops_face(program: Program) -> Any:
    from xdp.hooks.sock_ops import SockOpsProgram

    return SockOpsProgram(program)


def _bind_face(program: Program) -> Any:
    from xdp.hooks.bind import BindProgram

    return BindProgram(program)


_FACES: Final = {"cgroup_sock_addr": _sock_addr_face, "sock_ops": _sock_ops_face, "bind": _bind_face}

SOCKETS_EXTENSION: Final = Extension(
    name="sockets",
    program_types=tuple(replace(each, face=_FACES[each.name]) for each in SOCKET_PROGRAM_TYPES),
    helpers=REDIRECT_HELPERS,
    sections=SOCKET_SECTIONS,
)

_RUNNING: Final = (CORE_EXTENSION, EVENTS_EXTENSION, XDP_EXTENSION, SOCKETS_EXTENSION)
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
def catalogue() -> Catalogue:
    """The extensions of this process: the core, events, XDP, sockets, Linux's other program types, and those of installed packages.

    A package whose extension does not load is passed over, with a line on standard error.
    """
    made = Catalogue(Registry((*_RUNNING, LINUX_EXTENSION)))
    for found in installed():
        fault = found.fault
        if found.extension is not None:
            try:
                made.register(found.extension)
            except InputError as error:
                fault = str(error)
        if fault:
            warn(found, fault)
    return made


def default_registry() -> Registry:
    """What the extensions of this process say now."""
    return catalogue().registry


def register(extension: Extension) -> Change:
    """Teach this process an extension; attached programs that waited for it run again. Raises InputError."""
    return catalogue().register(extension)


def withdraw(name: str) -> Change:
    """Forget an extension; attached programs that use it have stopped when this returns. Raises InputError."""
    return catalogue().withdraw(name)
