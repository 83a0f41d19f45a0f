/* A dispatcher: one program looks at the frame and hands it to another by a tail call, which never returns.
 *
 * The table of programs is filled by the object itself (.values below); user space can replace an entry while frames
 * pass. A call of an empty entry fails, and the caller goes on behind it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "frame.h"

#include <linux/tcp.h>
#include <linux/udp.h>

#define MAX_PING 1024 /* bytes of IPv4 packet */

enum handler {
	ICMP,
	TCP,
	UDP,
	FRAGMENT, /* empty: left to user space */
	HANDLERS,
};

struct tally {
	__u64 passed;
	__u64 dropped;
};

/* One row a handler, and one for what no handler took. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct tally);
	__uint(max_entries, HANDLERS + 1);
} tallies SEC(".maps");

int handle_icmp(struct xdp_md *ctx);
int handle_tcp(struct xdp_md *ctx);
int handle_udp(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(max_entries, HANDLERS);
	__array(values, int(struct xdp_md *));
} handlers SEC(".maps") = {
	.values = {
		[ICMP] = handle_icmp,
		[TCP] = handle_tcp,
		[UDP] = handle_udp,
	},
};

static __always_inline int finish(__u32 handler, int verdict)
{
	struct tally *tally = bpf_map_lookup_elem(&tallies, &handler);

	if (!tally)
		return XDP_ABORTED;
	if (verdict == XDP_DROP)
		tally->dropped++;
	else
		tally->passed++;
	return verdict;
}

/* The IPv4 header, and the frame behind it. A tail call passes nothing but the context on: each handler starts anew. */
static __always_inline bool find_ipv4(struct cursor *frame, struct iphdr **ip)
{
	__be16 protocol;

	return take_ethernet(frame, &protocol) && protocol == bpf_htons(ETH_P_IP) && take_ipv4(frame, ip);
}

/* Pings are small; large ones are an old attack. */
SEC("xdp")
int handle_icmp(struct xdp_md *ctx)
{
	struct cursor frame = frame_of(ctx);
	struct icmp_header *icmp;
	struct iphdr *ip;

	if (!find_ipv4(&frame, &ip) || !take(&frame, icmp))
		return finish(ICMP, XDP_DROP);
	if (icmp->type == ICMP_ECHO && bpf_ntohs(ip->tot_len) > MAX_PING)
		return finish(ICMP, XDP_DROP);
	return finish(ICMP, XDP_PASS);
}

/* No flag at all, FIN with SYN, or all of FIN, PSH and URG: no stack sends these, scanners do. */
SEC("xdp")
int handle_tcp(struct xdp_md *ctx)
{
	struct cursor frame = frame_of(ctx);
	struct tcphdr *tcp;
	struct iphdr *ip;
	__u8 flags;

	if (!find_ipv4(&frame, &ip) || !take(&frame, tcp))
		return finish(TCP, XDP_DROP);
	flags = ((__u8 *)tcp)[13] & 0x3f;
	if (!flags || (flags & 0x03) == 0x03 || (flags & 0x29) == 0x29)
		return finish(TCP, XDP_DROP);
	return finish(TCP, XDP_PASS);
}

/* Port 0 is nobody's, and a length that the frame cannot hold is a lie. */
SEC("xdp")
int handle_udp(struct xdp_md *ctx)
{
	struct cursor frame = frame_of(ctx);
	struct udphdr *udp;
	struct iphdr *ip;

	if (!find_ipv4(&frame, &ip) || !take(&frame, udp) || !udp->source || !udp->dest)
		return finish(UDP, XDP_DROP);
	if (bpf_ntohs(udp->len) < sizeof(*udp))
		return finish(UDP, XDP_DROP);
	return finish(UDP, XDP_PASS);
}

SEC("xdp")
int xdp_dispatch(struct xdp_md *ctx)
{
	struct cursor frame = frame_of(ctx);
	struct iphdr *ip;

	if (!find_ipv4(&frame, &ip))
		return finish(HANDLERS, XDP_PASS);
	if (!is_first_fragment(ip))
		bpf_tail_call(ctx, &handlers, FRAGMENT);
	else if (ip->protocol == IPPROTO_ICMP)
		bpf_tail_call(ctx, &handlers, ICMP);
	else if (ip->protocol == IPPROTO_TCP)
		bpf_tail_call(ctx, &handlers, TCP);
	else if (ip->protocol == IPPROTO_UDP)
		bpf_tail_call(ctx, &handlers, UDP);
	return finish(HANDLERS, XDP_PASS);
}

char _license[] SEC("license") = "Dual MIT/GPL";
