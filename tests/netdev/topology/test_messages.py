"""The kernel's messages taken apart and put together: nothing is lost, and time passes."""

from __future__ import annotations

import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netdev.topology import hold_groups
from netdev.topology.addresses import address_key, retarget_address
from netdev.topology.netlink import pack_attributes, unpack_attributes
from netdev.topology.routes import mentions, redirect_route, route_key
from tests.support.hosts import tap
from tests.support.wires import pair, privileged

_FOREVER = 0xFFFFFFFF


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40))))
def test_attributes_go_there_and_back(attributes: list[tuple[int, bytes]]) -> None:
    """Packing and unpacking keep every attribute and their order."""
    assert unpack_attributes(pack_attributes(attributes)) == tuple(attributes)


@given(st.binary(max_size=60))
def test_any_bytes_can_be_unpacked(data: bytes) -> None:
    """Bytes that are no attributes end the walk, they do not raise or loop."""
    unpack_attributes(data)


def _address(preferred: int, valid: int) -> bytes:
    local = socket.inet_aton("10.0.0.1")
    life = struct.pack("=IIII", preferred, valid, 5, 6)
    return struct.pack("=BBBBI", 2, 24, 0x80, 0, 7) + pack_attributes(
        [
            (1, local),
            (2, local),
            (3, b"eth0:web\0"),
            (6, life),
            (8, struct.pack("=I", 0x80 | 0x200)),
        ]
    )


@pytest.mark.parametrize(
    ("before", "elapsed", "after"),
    [
        ((100, 200), 50, (50, 150)),
        ((100, 200), 150, (0, 50)),
        ((100, 200), 200, None),
        ((_FOREVER, _FOREVER), 10**6, (_FOREVER, _FOREVER)),
        ((0, _FOREVER), 10, (0, _FOREVER)),
    ],
)
def test_lifetimes_go_on(before: tuple[int, int], elapsed: int, after: tuple[int, int] | None) -> None:
    """An address that was elsewhere for a while has that much less to live, or is dead."""
    moved = retarget_address(_address(*before), 9, label=("eth0", "up0"), elapsed=elapsed)
    if after is None:
        assert moved is None
        return
    assert moved is not None
    values = dict(unpack_attributes(moved[8:]))
    assert struct.unpack("=II", values[6][:8]) == after
    assert values[3] == b"up0:web\0"
    assert struct.unpack("=I", values[8])[0] == 0x200
    assert struct.unpack_from("=BBBBI", moved) == (2, 24, 0, 0, 9)
    assert address_key(moved) == address_key(_address(*before))


def _route(attributes: list[tuple[int, bytes]]) -> bytes:
    return struct.pack("=BBBBBBBBI", 10, 64, 0, 0, 254, 3, 0, 1, 0) + pack_attributes(attributes)


def test_a_multipath_route_is_redirected_in_place() -> None:
    """Only the nexthop that names the interface changes; weights, gateways and the other stay."""
    gateway = pack_attributes([(5, bytes(16))])
    hops = [struct.pack("=HBBi", 8 + len(gateway), 4, 2, index) + gateway for index in (3, 4)]
    body = _route([(1, bytes(16)), (9, b"".join(hops))])
    moved = redirect_route(body, 3, 9)
    assert moved is not None
    assert mentions(body, 3)
    assert mentions(moved, 9)
    assert mentions(moved, 4)
    assert not mentions(moved, 3)
    back = redirect_route(moved, 9, 3)
    assert back == body


def test_an_expiry_goes_on_and_ends() -> None:
    """A route that expires keeps its time; two that differ only in it are the same, one without an expiry is another."""
    body = _route([(4, struct.pack("=i", 3)), (23, struct.pack("=I", 100))])
    later = redirect_route(body, 3, 3, elapsed=40)
    assert later is not None
    assert dict(unpack_attributes(later[12:]))[23] == struct.pack("=I", 60)
    assert route_key(later) == route_key(body) != route_key(_route([(4, struct.pack("=i", 3))]))
    assert redirect_route(body, 3, 3, elapsed=100) is None


@pytest.mark.root
@pytest.mark.skipif(not privileged(), reason="needs root and iproute2: namespaces")
def test_groups_are_held_on_the_upper_interface() -> None:
    """A group joined on the lower interface is joined on the upper one, and left again."""
    with pair() as ends, ends.host.entered():
        fd = tap("up0", ends.host.mac("eth0"))
        ends.host.ip("link", "set", "dev", "up0", "up")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as member:
            index = socket.if_nametoindex("eth0")
            group = socket.inet_aton("239.1.2.3")
            member.setsockopt(socket.IPPROTO_IP, 35, group + struct.pack("=4si", bytes(4), index))
            with hold_groups("eth0", "up0") as held:
                assert held.groups == ("239.1.2.3",)
                assert "239.1.2.3" in ends.host.ip("maddress", "show", "dev", "up0")
            assert "239.1.2.3" not in ends.host.ip("maddress", "show", "dev", "up0")
        os.close(fd)
