"""The ingress block: the host's stack sees nothing of an interface, packet sockets see everything.

A tc filter at clsact's ingress runs after packet sockets took their copy; cls_bpf in direct-action mode with the
two-instruction program "drop" blocks on kernels that lack cls_matchall. Where cls_bpf is missing, nftables' netdev
family does the same. Programs of the tcx kind run before clsact and are not held back.
Not here: which frames a filter lets through; that is decided above, on the packet socket's copy.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self, final

from netdev.errors import InterfaceError
from netdev.topology.links import Link, find_link, present
from netdev.topology.netlink import Flag, Netlink, Request, pack_attributes, unpack_attributes

__all__ = ["IngressBlock", "NftablesBlock", "NoClassifierError"]

_TC: Final = struct.Struct("=BxxxiIII")  # tcmsg: family, ifindex, handle, parent, info
_CLSACT: Final = 0xFFFF0000
_CLSACT_PARENT: Final = 0xFFFFFFF1
_INGRESS: Final = 0xFFFFFFF2
_EGRESS: Final = 0xFFFFFFF3
_ETH_P_ALL: Final = 0x0003
_TCA_KIND: Final = 1
_TCA_OPTIONS: Final = 2
_TCA_BPF_FD: Final = 6
_TCA_BPF_NAME: Final = 7
_TCA_BPF_FLAGS: Final = 8
_DIRECT_ACTION: Final = 1
_NAME: Final = b"xdpsim_block\0"

_SYS_BPF: Final = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280, "s390x": 351, "ppc64le": 361}
_PROG_LOAD: Final = 5
_SCHED_CLS: Final = 3
_SHOT: Final = 2
_NOT_BUILT_IN: Final = (errno.ENOENT, errno.EOPNOTSUPP)


class NoClassifierError(InterfaceError):
    """The kernel was built without what a block by tc needs."""


def _drop_program() -> int:
    """A descriptor of the program `return TC_ACT_SHOT`, loaded by bpf(2)."""
    code = struct.pack("=BBhi", 0xB7, 0, 0, _SHOT) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    instructions = ctypes.create_string_buffer(code)
    license_ = ctypes.create_string_buffer(b"MIT")
    attribute = ctypes.create_string_buffer(
        struct.pack(
            "=IIQQIIQII16s",
            *(_SCHED_CLS, len(code) // 8, ctypes.addressof(instructions), ctypes.addressof(license_)),
            *(0, 0, 0, 0, 0, b"xdpsim_block"),
        )
    )
    number = _SYS_BPF.get(os.uname().machine)
    if number is None:
        raise InterfaceError(f"the ingress block is not known on {os.uname().machine}")
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.syscall(number, _PROG_LOAD, attribute, len(attribute) - 1))
    if fd < 0:
        reason = ctypes.get_errno()
        if reason in {errno.EPERM, errno.EACCES}:
            raise InterfaceError("changing interfaces needs CAP_NET_ADMIN and CAP_BPF: run as root")
        if reason == errno.ENOSYS:
            raise NoClassifierError("this kernel has no bpf(2)")
        raise InterfaceError(f"the ingress block cannot be loaded: {os.strerror(reason)}")
    return fd


@contextlib.contextmanager
def _loaded() -> Iterator[int]:
    fd = _drop_program()
    try:
        yield fd
    finally:
        os.close(fd)


def _qdiscs(netlink: Netlink, index: int) -> tuple[str, ...]:
    """The kinds of ingress queueing disciplines (clsact, ingress) on an interface."""
    found = []
    for message in netlink.dump(Request.GET_QDISC, _TC.pack(0, index, 0, 0, 0)):
        _, at, _, parent, _ = _TC.unpack_from(message.body)
        if at == index and parent == _CLSACT_PARENT:
            kind = dict(unpack_attributes(message.body[_TC.size :]))[_TCA_KIND]
            found.append(kind.rstrip(b"\0").decode())
    return tuple(found)


def _filters(netlink: Netlink, index: int, parent: int) -> tuple[tuple[int, int, bytes], ...]:
    """(priority, handle, name of the program) of the filters at a hook; chains' heads have handle 0."""
    found = []
    dumped = netlink.dump(
        Request.GET_FILTER, _TC.pack(0, index, 0, parent, 0), missing=(errno.EINVAL, errno.EOPNOTSUPP)
    )
    for message in dumped:
        _, at, handle, _, info = _TC.unpack_from(message.body)
        if at != index:
            continue
        options = dict(unpack_attributes(message.body[_TC.size :])).get(_TCA_OPTIONS, b"")
        found.append((info >> 16, handle, dict(unpack_attributes(options)).get(_TCA_BPF_NAME, b"")))
    return tuple(found)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class IngressBlock:
    """clsact's ingress with the drop filter at `priority`, before every other; `qdisc` tells whether ours is new."""

    link: Link
    priority: int
    qdisc: bool

    @classmethod
    def plan(cls, name: str) -> Self:
        """Block `name`; InterfaceError when another filter already has the first priority."""
        link = find_link(name)
        with Netlink() as netlink:
            taken = [priority for priority, _, _ in _filters(netlink, link.index, _INGRESS)]
            if 1 in taken:
                raise InterfaceError(
                    f"{name} has a tc ingress filter of priority 1, which would run before the block: remove or renumber it"
                )
            return cls(link=link, priority=1, qdisc=not _qdiscs(netlink, link.index))

    def do(self) -> None:
        """Make the discipline if there is none, then the filter."""
        index = present(self.link).index
        with _loaded() as fd, Netlink() as netlink:
            if self.qdisc:
                body = _TC.pack(0, index, _CLSACT, _CLSACT_PARENT, 0) + pack_attributes([(_TCA_KIND, b"clsact\0")])
                flags, allowed = Flag.CREATE | Flag.EXCLUSIVE, (errno.EEXIST, *_NOT_BUILT_IN)
                if not netlink.request(Request.NEW_QDISC, body, flags=flags, allowed=allowed) and not _qdiscs(
                    netlink, index
                ):
                    raise NoClassifierError(f"{self.link.name}: this kernel has no clsact")
            options = pack_attributes(
                [
                    (_TCA_BPF_FD, struct.pack("=I", fd)),
                    (_TCA_BPF_NAME, _NAME),
                    (_TCA_BPF_FLAGS, struct.pack("=I", _DIRECT_ACTION)),
                ]
            )
            body = self._target(index) + pack_attributes([(_TCA_KIND, b"bpf\0"), (_TCA_OPTIONS, options)])
            flags = Flag.CREATE | Flag.EXCLUSIVE
            if not netlink.request(Request.NEW_FILTER, body, flags=flags, allowed=_NOT_BUILT_IN):
                raise NoClassifierError(f"{self.link.name}: this kernel has no cls_bpf")

    def _target(self, index: int) -> bytes:
        protocol = int.from_bytes(_ETH_P_ALL.to_bytes(2, "big"), "little")
        return _TC.pack(0, index, 1, _INGRESS, self.priority << 16 | protocol)

    def undo(self) -> str:
        """Remove our filter, and the discipline if it was ours and nobody uses it by now."""
        link = present(self.link)
        with Netlink() as netlink:
            ours = [row for row in _filters(netlink, link.index, _INGRESS) if row == (self.priority, 1, _NAME)]
            if ours:
                netlink.request(Request.DELETE_FILTER, self._target(link.index), allowed=(errno.ENOENT, errno.EINVAL))
            left = _filters(netlink, link.index, _INGRESS) + _filters(netlink, link.index, _EGRESS)
            if self.qdisc and not left and _qdiscs(netlink, link.index) == ("clsact",):
                body = _TC.pack(0, link.index, _CLSACT, _CLSACT_PARENT, 0)
                netlink.request(Request.DELETE_QDISC, body, allowed=(errno.ENOENT, errno.EINVAL))
        return f"{link.name} takes in frames as before"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NftablesBlock:
    """A table of nftables' netdev family, whose ingress chain drops everything on one interface."""

    link: Link
    table: str

    @classmethod
    def plan(cls, name: str) -> Self:
        """Block `name`; InterfaceError when there is no `nft`."""
        if shutil.which("nft") is None:
            raise InterfaceError(f"{name} cannot be blocked: neither cls_bpf nor nft is there")
        link = find_link(name)
        return cls(link=link, table=f"xdpsim_block_{link.index}")

    def do(self) -> None:
        """Make the table with its chain."""
        name = present(self.link).name
        text = (
            f"table netdev {self.table} {{\n\tchain ingress {{\n"
            f'\t\ttype filter hook ingress device "{name}" priority -500; policy drop;\n\t}}\n}}\n'
        )
        self._nft(["-f", "-"], text)

    def undo(self) -> str:
        """Delete the table where it is."""
        if f"table netdev {self.table}\n" in self._nft(["list", "tables", "netdev"], "") + "\n":
            self._nft(["delete", "table", "netdev", self.table], "")
        return f"{self.link.name} takes in frames as before"

    @staticmethod
    def _nft(arguments: list[str], text: str) -> str:
        try:
            done = subprocess.run(["nft", *arguments], input=text, capture_output=True, text=True, check=False)
        except OSError as error:
            raise InterfaceError(f"nft cannot be run: {error.strerror}") from None
        if done.returncode:
            raise InterfaceError(f"nft: {' '.join(done.stderr.split())}")
        return done.stdout
