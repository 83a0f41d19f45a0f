/* A port filter: TCP and UDP packets for a port that user space closed are dropped, everything else passes.
 *
 * IPv4 with options, IPv6 without extension headers, up to two VLAN tags. A fragment after the first carries no ports; it passes,
 * and without its beginning nobody can put the datagram together.
 *
 * SPDX-License-Identifier: MIT
 */
#include "frame.h"

#include <linux/ipv6.h>

/* By protocol and destination port, as they stand in the packet. */
struct service {
	__u8 protocol;
	__u8 zero;
	__be16 port;
};

struct ports {
	__be16 source;
	__be16 target;
};

/* Closed ports. The value counts the packets stopped, from whatever was written. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct service);
	__type(value, __u64);
	__uint(max_entries, 1024);
} closed SEC(".maps");

/* Packets by verdict: XDP_DROP is row 1, XDP_PASS row 2. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 5);
} verdicts SEC(".maps");

static __always_inline int count(__u32 verdict)
{
	__u64 *packets = bpf_map_lookup_elem(&verdicts, &verdict);

	if (packets)
		__sync_fetch_and_add(packets, 1);
	return verdict;
}

/* Go behind the IP header; the protocol of what is there, or 0 where there are no ports to look at. */
static __always_inline __u8 transport(struct cursor *frame)
{
	struct ipv6hdr *ip6;
	struct iphdr *ip;
	__be16 protocol;

	if (!take_ethernet(frame, &protocol))
		return 0;
	if (protocol == bpf_htons(ETH_P_IP))
		return take_ipv4(frame, &ip) && is_first_fragment(ip) ? ip->protocol : 0;
	if (protocol == bpf_htons(ETH_P_IPV6))
		return take(frame, ip6) ? ip6->nexthdr : 0;
	return 0;
}

SEC("xdp")
int xdp_ports(struct xdp_md *ctx)
{
	struct cursor frame = frame_of(ctx);
	struct service service = {};
	struct ports *ports;
	__u64 *stopped;

	service.protocol = transport(&frame);
	if (service.protocol != IPPROTO_TCP && service.protocol != IPPROTO_UDP)
		return count(XDP_PASS);
	if (!take(&frame, ports))
		return count(XDP_PASS);
	service.port = ports->target;
	stopped = bpf_map_lookup_elem(&closed, &service);
	if (!stopped)
		return count(XDP_PASS);
	__sync_fetch_and_add(stopped, 1);
	return count(XDP_DROP);
}

char _license[] SEC("license") = "Dual MIT/GPL";
