/* A parser that only counts: Ethernet, VLAN and QinQ, IPv4, IPv6 with extension headers, and what they carry.
 *
 * Counting is a function of its own (not inlined), which the program calls at each of its ends.
 *
 * SPDX-License-Identifier: MIT
 */
#include "frame.h"

#include <linux/ipv6.h>

#define MAX_EXTENSIONS 6
#define NO_PROTOCOL 256 /* row of `protocols` for frames whose transport protocol is not known */

enum event {
	CUT,             /* a header is not all in the frame */
	VLAN,            /* the frame has a tag */
	FRAGMENT,        /* a fragment after the first: nothing of the transport header is in it */
	LONG_CHAIN,      /* more extension headers than are followed */
	ETHERTYPES_FULL, /* an EtherType that `ethertypes` had no room for */
	EVENTS,
};

struct tally {
	__u64 packets;
	__u64 bytes;
};

/* By IP protocol number, IPv4 and IPv6 alike. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct tally);
	__uint(max_entries, NO_PROTOCOL + 1);
} protocols SEC(".maps");

/* By EtherType behind the tags; a row appears with the first frame of its kind. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __be16);
	__type(value, __u64);
	__uint(max_entries, 64);
} ethertypes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, EVENTS);
} events SEC(".maps");

/* The start of every IPv6 extension header. */
struct extension {
	__u8 next;
	__u8 length; /* in units that depend on the header */
	__be16 more;
};

static __noinline int count_protocol(__u32 protocol, __u64 bytes)
{
	struct tally *tally = bpf_map_lookup_elem(&protocols, &protocol);

	if (!tally)
		return 0;
	tally->packets++;
	tally->bytes += bytes;
	return 1;
}

static __noinline int note(__u32 event)
{
	__u64 *packets = bpf_map_lookup_elem(&events, &event);

	if (!packets)
		return 0;
	*packets += 1;
	return 1;
}

static __always_inline void count_ethertype(__be16 protocol)
{
	__u64 *packets = bpf_map_lookup_elem(&ethertypes, &protocol);
	__u64 first = 1;

	if (packets)
		__sync_fetch_and_add(packets, 1);
	else if (bpf_map_update_elem(&ethertypes, &protocol, &first, BPF_NOEXIST))
		note(ETHERTYPES_FULL);
}

static __always_inline __u32 ipv4_protocol(struct cursor *frame)
{
	struct iphdr *ip;

	if (!take_ipv4(frame, &ip)) {
		note(CUT);
		return NO_PROTOCOL;
	}
	if (!is_first_fragment(ip))
		note(FRAGMENT);
	return ip->protocol;
}

/* Follow the chain of extension headers to the protocol at its end. */
static __always_inline __u32 ipv6_protocol(struct cursor *frame)
{
	struct ipv6hdr *ip;
	__u32 protocol;

	if (!take(frame, ip)) {
		note(CUT);
		return NO_PROTOCOL;
	}
	protocol = ip->nexthdr;
#pragma unroll
	for (int headers = 0; headers < MAX_EXTENSIONS; headers++) {
		struct extension *extension;
		__u32 rest;

		if (protocol != IPPROTO_HOPOPTS && protocol != IPPROTO_ROUTING && protocol != IPPROTO_FRAGMENT &&
		    protocol != IPPROTO_DSTOPTS && protocol != IPPROTO_AH)
			return protocol;
		if (!take(frame, extension)) {
			note(CUT);
			return NO_PROTOCOL;
		}
		if (protocol == IPPROTO_FRAGMENT) {
			if (extension->more & bpf_htons(0xfff8)) {
				note(FRAGMENT);
				return extension->next;
			}
			rest = 8;
		} else if (protocol == IPPROTO_AH) {
			rest = (extension->length + 2) * 4;
		} else {
			rest = (extension->length + 1) * 8;
		}
		protocol = extension->next;
		if (!skip(frame, rest - sizeof(*extension))) {
			note(CUT);
			return NO_PROTOCOL;
		}
	}
	note(LONG_CHAIN);
	return NO_PROTOCOL;
}

SEC("xdp")
int xdp_parse(struct xdp_md *ctx)
{
	struct cursor frame = frame_of(ctx);
	__u64 bytes = bytes_left(&frame);
	__u32 protocol = NO_PROTOCOL;
	__be16 ethertype;

	if (!take_ethernet(&frame, &ethertype)) {
		note(CUT);
		return XDP_PASS;
	}
	if (bytes - bytes_left(&frame) > sizeof(struct ethhdr))
		note(VLAN);
	count_ethertype(ethertype);
	if (ethertype == bpf_htons(ETH_P_IP))
		protocol = ipv4_protocol(&frame);
	else if (ethertype == bpf_htons(ETH_P_IPV6))
		protocol = ipv6_protocol(&frame);
	count_protocol(protocol, bytes);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual MIT/GPL";
