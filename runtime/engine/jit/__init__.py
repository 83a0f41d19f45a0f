"""The engine that translates verified programs to machine code with LLVM.

Not here: natives (runtime.native compiles them), verification, the driver of a batch (program types bring theirs).
"""

from runtime.engine.jit.executable import JitEngine, JitExecutable

__all__ = ["JitEngine", "JitExecutable"]
