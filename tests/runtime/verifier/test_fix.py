"""Proposed fixes name the edges of the packet as the source does, however it writes them.

Not here: the fixes of whole programs (tests/golden/test_failures.py).
"""

from __future__ import annotations

import re

import pytest

from runtime.errors import VerificationError
from tests.support.sources import needs_clang, open_c

pytestmark = needs_clang

_SOURCES = {
    "both in a line": """
SEC("xdp") int prog(struct xdp_md *ctx) {
	unsigned char *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	if (data + 4 > end) return XDP_DROP;
	return data[4] ? XDP_PASS : XDP_DROP;
}
""",
    "the end in a condition of the same line": """
SEC("xdp") int prog(struct xdp_md *ctx) {
	char *d = (void *)(long)ctx->data; if (d + 4 > (char *)(long)ctx->data_end) return XDP_DROP;
	return d[4] ? XDP_PASS : XDP_DROP;
}
""",
    "a length": """
SEC("xdp") int prog(struct xdp_md *ctx) {
	unsigned char *d = (void *)(long)ctx->data;
	long length = (long)ctx->data_end - (long)ctx->data;
	if (length < 4) return XDP_DROP;
	return d[4] ? XDP_PASS : XDP_DROP;
}
""",
    "an outcome": """
SEC("xdp") int prog(struct xdp_md *ctx) {
	unsigned char *d = (void *)(long)ctx->data;
	int bad = d + 4 > (unsigned char *)(long)ctx->data_end;
	if (bad) return XDP_DROP;
	return d[4] ? XDP_PASS : XDP_DROP;
}
""",
}


@pytest.mark.parametrize("name", _SOURCES)
def test_the_fix_is_enough_however_edges_are_written(name: str) -> None:
    """The proposed line, put where it says, makes the program safe."""
    lines = _SOURCES[name].splitlines()
    with open_c("\n".join(lines)) as loaded, pytest.raises(VerificationError) as caught:
        _ = loaded.program("prog").verified
    proposed = re.fullmatch(r"add `(.+)` before line \d+", caught.value.fix)
    assert proposed, caught.value.fix
    at = next(number for number, line in enumerate(lines) if "[4]" in line)
    lines.insert(at, proposed[1])
    with open_c("\n".join(lines)) as loaded:
        assert loaded.program("prog").verified
