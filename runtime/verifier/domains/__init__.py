"""Abstract numbers: the 64-bit domain that the verifier computes in.

Not here: pointers, registers, states. The functions are those of one `ScalarDomain(64)`; tests make smaller ones.
"""

from typing import Final

from runtime.verifier.domains.arithmetic import concrete
from runtime.verifier.domains.comparison import holds
from runtime.verifier.domains.scalar import Branches, Scalar, ScalarDomain
from runtime.verifier.domains.word import View, Word

__all__ = ["DOMAIN", "Branches", "Scalar", "ScalarDomain", "View", "Word", "concrete", "holds"]

DOMAIN: Final = ScalarDomain(64)
