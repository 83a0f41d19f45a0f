/* A reflector: pings and UDP packets go back to where they came from, from the driver, without the host's stack.
 *
 * What changes in a packet changes its checksums. They are repaired from the difference (RFC 1624), not computed anew:
 * the swap of two addresses or ports leaves a sum as it is, and each other change is one 16-bit word.
 *
 * SPDX-License-Identifier: MIT
 */
#include "frame.h"

#include <linux/udp.h>

#define TTL 64

struct counters {
	__u64 pings;
	__u64 datagrams;
	__u64 others;
};

/* Global data without initial value: .bss. */
struct counters counters;

/* Reflect datagrams for this port only; 0 stands for every port. */
__be16 udp_port = 0;

/* RFC 1624, equation 3: HC' = ~(~HC + ~m + m'). All three are taken as they stand in the packet; the sum does not care
 * about byte order. */
static __always_inline __u16 repaired(__u16 checksum, __u16 before, __u16 after)
{
	__u32 sum = (__u16)~checksum + (__u16)~before + after;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline void turn_ethernet(struct ethhdr *ethernet)
{
	__u8 address[ETH_ALEN];

	__builtin_memcpy(address, ethernet->h_source, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, address, ETH_ALEN);
}

static __always_inline void turn_ipv4(struct iphdr *ip)
{
	__be16 *hops = (__be16 *)&ip->ttl; /* with the protocol in the same word */
	__be16 fresh = bpf_htons(TTL << 8 | ip->protocol);
	__be32 address = ip->saddr;

	ip->saddr = ip->daddr;
	ip->daddr = address;
	ip->check = repaired(ip->check, *hops, fresh);
	*hops = fresh;
}

static __always_inline bool turn_ping(struct cursor *frame)
{
	struct icmp_header *icmp;

	if (!take(frame, icmp) || icmp->type != ICMP_ECHO || icmp->code != 0)
		return false;
	icmp->checksum = repaired(icmp->checksum, bpf_htons(ICMP_ECHO << 8), bpf_htons(ICMP_ECHOREPLY << 8));
	icmp->type = ICMP_ECHOREPLY;
	__sync_fetch_and_add(&counters.pings, 1);
	return true;
}

static __always_inline bool turn_datagram(struct cursor *frame)
{
	struct udphdr *udp;
	__be16 port;

	if (!take(frame, udp) || (udp_port && udp->dest != udp_port))
		return false;
	port = udp->source;
	if (port == udp->dest) /* two reflectors would send such a packet back and forth for ever */
		return false;
	udp->source = udp->dest;
	udp->dest = port;
	__sync_fetch_and_add(&counters.datagrams, 1);
	return true;
}

/* Multicast and broadcast have many receivers; their answers would all go to one sender. */
static __always_inline bool is_for_one(const struct ethhdr *ethernet, const struct iphdr *ip)
{
	return !(ethernet->h_dest[0] & 1) && (ip->daddr & bpf_htonl(0xf0000000)) != bpf_htonl(0xe0000000) &&
	       ip->daddr != bpf_htonl(INADDR_BROADCAST);
}

SEC("xdp")
int xdp_reflect(struct xdp_md *ctx)
{
	struct cursor frame = frame_of(ctx);
	struct ethhdr *ethernet;
	bool turned = false;
	struct iphdr *ip;

	if (!take(&frame, ethernet) || ethernet->h_proto != bpf_htons(ETH_P_IP))
		goto pass;
	if (!take_ipv4(&frame, &ip) || ip->frag_off & bpf_htons(IP_MORE | IP_OFFSET) || !is_for_one(ethernet, ip))
		goto pass;
	if (ip->protocol == IPPROTO_ICMP)
		turned = turn_ping(&frame);
	else if (ip->protocol == IPPROTO_UDP)
		turned = turn_datagram(&frame);
	if (!turned)
		goto pass;
	turn_ipv4(ip);
	turn_ethernet(ethernet);
	return XDP_TX;
pass:
	__sync_fetch_and_add(&counters.others, 1);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual MIT/GPL";
