"""Compiled loops for packages that have no compiler: the wire's captures get theirs here, at the joint.

Not here: natives that are linked into programs.
"""

from xdp.natives.capture import NATIVE

__all__ = ["NATIVE"]
