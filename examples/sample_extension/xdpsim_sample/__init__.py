"""An extension of xdpsim: program type `sample`, seven helpers, a kind of map, and a hook that is fired from Python."""

from xdpsim_sample.extension import EXTENSION
from xdpsim_sample.hook import Outcome, SampleHook, Verdict, fire

__all__ = ["EXTENSION", "Outcome", "SampleHook", "Verdict", "fire"]
