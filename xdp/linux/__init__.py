"""Program types of Linux beside the hooks that run here: what verification must know of them.

Not here: anything that runs them; they have no driver.
"""

from xdp.linux.helpers import LINUX_HELPER_ROWS, helper_numbers
from xdp.linux.maps import LINUX_MAP_KINDS
from xdp.linux.programs import LINUX_PROGRAM_TYPES
from xdp.linux.sections import LINUX_SECTIONS
from xdp.linux.structs import LINUX_STRUCTS

__all__ = [
    "LINUX_HELPER_ROWS",
    "LINUX_MAP_KINDS",
    "LINUX_PROGRAM_TYPES",
    "LINUX_SECTIONS",
    "LINUX_STRUCTS",
    "helper_numbers",
]
