/* A tunnel's entry: each IPv4 or IPv6 packet is wrapped into an outer IPv4 header (RFC 2003, RFC 4213) and sent on.
 *
 * bpf_xdp_adjust_head moves the start of the frame 20 bytes ahead. Every pointer into the packet is void after that: the
 * program has to take the headers anew, and the verifier insists on it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "frame.h"

#include <linux/ipv6.h>

#define TTL 64

enum outcome {
	WRAPPED,
	NOT_IP,
	TOO_LONG, /* with another header it would be longer than an IPv4 packet can be */
	NO_ROOM,  /* the driver leaves no room in front of the frame */
	OUTCOMES,
};

struct tunnel {
	__be32 source;
	__be32 destination;
	__u8 next_hop[ETH_ALEN];
	__u8 tos;
	__u8 ttl;
};

/* One element, from user space. While its destination is zero, the addresses are those of the documentation. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct tunnel);
	__uint(max_entries, 1);
} tunnel SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, OUTCOMES);
} outcomes SEC(".maps");

static __always_inline int count(enum outcome outcome, int verdict)
{
	__u32 key = outcome;
	__u64 *packets = bpf_map_lookup_elem(&outcomes, &key);

	if (packets)
		*packets += 1;
	return verdict;
}

/* The length of the packet inside, from its own header: a short frame is padded behind it. 0 when there is none. */
static __always_inline __u32 inner_length(struct cursor *frame, __be16 protocol)
{
	if (protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip;

		return take(frame, ip) ? bpf_ntohs(ip->tot_len) : 0;
	}
	if (protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip;

		return take(frame, ip) ? bpf_ntohs(ip->payload_len) + sizeof(*ip) : 0;
	}
	return 0;
}

static __always_inline __u16 folded(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* The header in front: what every packet of the tunnel has in common, and its own length. */
static __always_inline void write_outer(struct iphdr *ip, const struct tunnel *to, __u32 length, __u8 protocol)
{
	bool configured = to->destination != 0;

	ip->version = 4;
	ip->ihl = sizeof(*ip) / 4;
	ip->tos = to->tos;
	ip->tot_len = bpf_htons(length + sizeof(*ip));
	ip->id = 0;
	ip->frag_off = bpf_htons(0x4000); /* do not fragment: then the id means nothing (RFC 6864) */
	ip->ttl = to->ttl ? to->ttl : TTL;
	ip->protocol = protocol;
	ip->check = 0;
	ip->saddr = configured ? to->source : bpf_htonl(0xc0000201);       /* 192.0.2.1 */
	ip->daddr = configured ? to->destination : bpf_htonl(0xc6336401); /* 198.51.100.1 */
	ip->check = folded(bpf_csum_diff(NULL, 0, (__be32 *)ip, sizeof(*ip), 0));
}

SEC("xdp")
int xdp_encap(struct xdp_md *ctx)
{
	struct cursor frame = frame_of(ctx);
	struct ethhdr *ethernet, moved;
	struct tunnel *to;
	struct iphdr *outer;
	__u32 length, key = 0;
	__u8 protocol;

	if (!take(&frame, ethernet))
		return count(NOT_IP, XDP_PASS);
	length = inner_length(&frame, ethernet->h_proto);
	if (!length)
		return count(NOT_IP, XDP_PASS);
	if (length > 0xffff - sizeof(*outer))
		return count(TOO_LONG, XDP_DROP);
	protocol = ethernet->h_proto == bpf_htons(ETH_P_IP) ? IPPROTO_IPIP : IPPROTO_IPV6;
	moved = *ethernet;
	to = bpf_map_lookup_elem(&tunnel, &key);
	if (!to)
		return XDP_ABORTED;
	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*outer)))
		return count(NO_ROOM, XDP_DROP);

	frame = frame_of(ctx);
	if (!take(&frame, ethernet) || !take(&frame, outer))
		return XDP_ABORTED;
	*ethernet = moved;
	ethernet->h_proto = bpf_htons(ETH_P_IP);
	if (to->destination)
		__builtin_memcpy(ethernet->h_dest, to->next_hop, ETH_ALEN);
	write_outer(outer, to, length, protocol);
	return count(WRAPPED, XDP_TX);
}

char _license[] SEC("license") = "Dual MIT/GPL";
