"""Helper functions of programs: the rows of Linux, and natives for those that every program type may call.

Not here: helpers of particular hooks.
"""

from runtime.helpers.core import CORE_HELPERS
from runtime.helpers.linux import LINUX_HELPERS, linux_helper

__all__ = ["CORE_HELPERS", "LINUX_HELPERS", "linux_helper"]
