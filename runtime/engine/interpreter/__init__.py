"""The reference engine: every instruction as a small Python function, every access checked.

Not here: speed. What a program means is what this engine does; the others are compared with it.
"""

from runtime.engine.interpreter.executable import InterpreterEngine, InterpreterExecutable

__all__ = ["InterpreterEngine", "InterpreterExecutable"]
