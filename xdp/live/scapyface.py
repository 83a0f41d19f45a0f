"""scapy's face: a socket for `sniff` that shows what a program lets through.

    sniff(opened_socket=FilterSocket(program, iface="eth0"), …)

scapy carries one packet at a time through Python: for looking and trying, not for load.
Not here: bridge_and_sniff; `XdpProgram.as_xfrm()` gives what it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xdp.verdict import Verdict

if TYPE_CHECKING:
    from xdp.hooks import XdpProgram

__all__ = ["FilterSocket"]


class FilterSocket:
    """Reads from a scapy socket (or one made for `iface`) and gives the packets that the program passes, as it left them.

    Packets with other verdicts are counted in `counts`, by verdict's name, and not shown. Made as an instance of scapy's
    SuperSocket when it is called, so that scapy is imported only then.
    """

    counts: dict[str, int]

    def __new__(cls, program: XdpProgram, *, socket: Any = None, iface: str | None = None) -> Any:
        """The socket."""
        from scapy.config import conf
        from scapy.supersocket import SuperSocket

        inner = conf.L2listen(iface=iface) if socket is None else socket

        base: Any = SuperSocket

        class _Socket(base):  # type: ignore[misc]  # scapy's types do not foresee sockets over sockets
            def __init__(self) -> None:
                self.ins = self.outs = inner
                self.counts = dict.fromkeys((each.name for each in Verdict), 0)
                self.iface = getattr(inner, "iface", iface)

            def fileno(self) -> int:
                return int(inner.fileno())

            def recv(self, size: int = 0xFFFF, **options: Any) -> Any:
                packet = inner.recv(size, **options)
                if packet is None:
                    return None
                done = program.run(packet)
                self.counts[done.verdict.name] += 1
                if done.verdict is not Verdict.XDP_PASS:
                    return None
                if done.data == bytes(packet):
                    return packet
                changed = type(packet)(done.data)
                changed.time, changed.sniffed_on = packet.time, packet.sniffed_on
                return changed

            def send(self, packet: Any) -> Any:
                return inner.send(packet)

            def close(self) -> None:
                inner.close()

        return _Socket()
