"""Programs on live interfaces: attached, replaced, counted, detached.

Not here: captures (xdp.offline) and where frames come from (netdev).
"""

from __future__ import annotations

__all__: list[str] = []
