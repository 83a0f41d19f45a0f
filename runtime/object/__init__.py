"""ELF objects, BTF and relocations: bytes in, `ObjectSpec` out.

Not here: files, and which program type a section name stands for.
"""

from runtime.object.read import read_object

__all__ = ["read_object"]
