"""The ingress block by nftables, for kernels without cls_bpf: nothing reaches the stack, packet sockets see all, and it goes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from netdev.backends import open_packet
from netdev.errors import InterfaceError
from netdev.topology import Journal, block_ingress
from netdev.topology.block import IngressBlock, NftablesBlock, NoClassifierError
from tests.support.live_links import until
from tests.support.wires import pair, privileged

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not privileged(), reason="needs root: network namespaces"),
]
needs_nft = pytest.mark.skipif(
    shutil.which("nft") is None,
    reason="there is no nft here: the block by nftables is not tried (apt-get install nftables)",
)


def _refused(_name: str) -> None:
    raise NoClassifierError("no cls_bpf")


@needs_nft
def test_nftables_blocks_and_lets_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the first way is refused the second blocks; packet sockets see the frames; undone, the stack answers again."""
    monkeypatch.setattr(IngressBlock, "plan", _refused)
    with pair() as ends:
        ping = ["ping", "-n", "-c1", "-W1", "10.9.0.2"]
        assert ends.client.run(ping).returncode == 0
        with ends.host.entered():
            journal = Journal.begin(tmp_path, "eth0")
            block_ingress(journal, "eth0")
            port = open_packet("eth0")
            assert "table netdev xdpsim_block_" in ends.host.run(["nft", "list", "ruleset"]).stdout
            assert ends.client.run(ping, check=False).returncode == 1
            until(lambda: len(port.receive(64)) > 0)
            port.close()
            assert not journal.revert().problems
        assert ends.host.run(["nft", "list", "ruleset"]).stdout == ""
        assert ends.client.run(ping).returncode == 0


def test_without_nft_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says that neither way is there."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InterfaceError, match="neither cls_bpf nor nft is there"):
        NftablesBlock.plan("lo")
