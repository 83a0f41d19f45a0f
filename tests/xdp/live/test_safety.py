"""The rehearsal: frames that keep a host reachable, and what is said of a program that drops them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.loader import load
from tests.support.commands import EXAMPLES
from xdp.extension import default_registry
from xdp.live.safety import Finding, Session, frames, judge, rehearse, session
from xdp.verdict import Verdict

MAC = bytes.fromhex("020000000001")
SSH4 = Session(client=IPv4Address("198.51.100.7"), client_port=50000, server=IPv4Address("192.0.2.9"), server_port=22)
SSH6 = Session(client=IPv6Address("2001:db8::7"), client_port=50000, server=IPv6Address("2001:db8::9"), server_port=22)


@pytest.mark.parametrize("ssh", [None, SSH4, SSH6])
def test_frames_are_what_their_names_say(ssh: Session | None) -> None:
    """Another implementation (scapy) takes each frame apart, finds the layer that its name promises, and makes the same checksums."""
    scapy = pytest.importorskip("scapy.all")
    layers = {
        "ARP request": "ARP",
        "ARP reply": "ARP",
        "IPv6 neighbour solicitation": "ICMPv6ND_NS",
        "IPv6 neighbour advertisement": "ICMPv6ND_NA",
        "IPv6 router solicitation": "ICMPv6ND_RS",
        "IPv6 router advertisement": "ICMPv6ND_RA",
        "DHCP offer": "DHCP",
        "DHCP acknowledgement": "DHCP",
        "DHCPv6 advertisement": "DHCP6_Advertise",
        "DHCPv6 reply": "DHCP6_Reply",
        "DNS reply": "DNS",
        "ICMP echo request": "ICMP",
        "ICMP echo reply": "ICMP",
        "SSH: the answer to a connection": "TCP",
        "SSH: data": "TCP",
    }
    made = list(frames(MAC, ssh))
    assert len(made) == (15 if ssh else 13)
    for name, frame, of_ssh in made:
        packet = scapy.Ether(frame)
        assert packet.haslayer(layers[name]), name
        assert of_ssh == name.startswith("SSH")
        again = scapy.Ether(frame)
        for layer in ("IP", "UDP", "TCP", "ICMP"):
            if again.haslayer(layer):
                del again[layer].chksum
        for layer in again.layers():
            if layer.__name__.startswith("ICMPv6ND_N") or layer.__name__.startswith("ICMPv6ND_R"):
                del again[layer].cksum
        assert bytes(again) == frame, name


def _rehearsed(name: str, ssh: Session | None = None) -> tuple[Finding, ...]:
    with load(EXAMPLES / name, registry=default_registry()) as loaded:
        return rehearse(loaded.program(), mac=MAC, ssh=ssh)


def test_a_program_that_passes_all_is_not_warned_of() -> None:
    """Nothing to say, nothing certain."""
    found = _rehearsed("pass.o", SSH4)
    assert {each.verdict for each in found} == {Verdict.XDP_PASS}
    assert judge(found, mode="host", ssh_here=True).warnings == ()


def test_a_dos_filter_lets_the_host_live() -> None:
    """The example that is meant for hosts drops nothing of the set."""
    judged = judge(_rehearsed("dos_filter.o", SSH4), mode="host", ssh_here=True)
    assert (judged.warnings, judged.certain) == ((), "")


FINDINGS = st.lists(
    st.builds(Finding, name=st.text(min_size=1), verdict=st.sampled_from(list(Verdict)), ssh=st.booleans()), max_size=8
)


@given(FINDINGS, st.sampled_from(["inline", "host"]), st.booleans())
def test_every_loss_is_named_and_only_certain_ones_refuse(found: list[Finding], mode: str, here: bool) -> None:
    """One warning for each frame that does not arrive; refusal when nothing does, or when the session ends in host mode."""
    judged = judge(found, mode=mode, ssh_here=here)
    lost = [each for each in found if each.verdict is not Verdict.XDP_PASS]
    assert len(judged.warnings) == len(lost)
    everything = bool(found) and len(lost) == len(found)
    session_ends = mode == "host" and here and any(each.ssh for each in lost)
    assert bool(judged.certain) == (everything or session_ends)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("198.51.100.7 50000 192.0.2.9 22", SSH4),
        ("::ffff:198.51.100.7 50000 ::ffff:192.0.2.9 22", SSH4),
        ("2001:db8::7%eth0 50000 2001:db8::9 22", SSH6),
        ("", None),
        ("nonsense", None),
        ("a 1 b 2", None),
        ("1.2.3.4 x 1.2.3.4 22", None),
    ],
)
def test_the_session_is_read_from_the_environment(text: str, expected: Session | None) -> None:
    """SSH_CONNECTION in the forms that sshd writes; anything else is no session."""
    assert session({"SSH_CONNECTION": text}) == expected
