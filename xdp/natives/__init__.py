"""Compiled loops for packages that have no compiler: the wire's captures and ports get theirs here, at the joint.

Not here: natives that are linked into programs.
"""

from xdp.natives.capture import NATIVE
from xdp.natives.ports import LOOPS
from xdp.natives.supervise import INTERPOSE

__all__ = ["INTERPOSE", "LOOPS", "NATIVE"]
