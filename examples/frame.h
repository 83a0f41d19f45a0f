/* What every example needs to walk a frame: take one header after another, never past the end.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>

#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define IP_OFFSET 0x1fff /* the fragment offset in iphdr.frag_off */
#define IP_MORE 0x2000   /* more fragments follow */

struct vlan_tag {
	__be16 control;
	__be16 protocol;
};

/* <linux/icmp.h> draws in headers of the C library, which has none for BPF. */
struct icmp_header {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 rest;
};

#define ICMP_ECHOREPLY 0
#define ICMP_ECHO 8

/* What is left of a frame. */
struct cursor {
	void *at;
	void *end;
};

static __always_inline struct cursor frame_of(const struct xdp_md *ctx)
{
	struct cursor frame = {
		.at = (void *)(long)ctx->data,
		.end = (void *)(long)ctx->data_end,
	};

	return frame;
}

static __always_inline __u64 bytes_left(const struct cursor *frame)
{
	return frame->end - frame->at;
}

/* Go `size` bytes on, if the frame has them. This comparison with the end is what the verifier wants to see before it
 * lets a program look at the bytes. */
static __always_inline bool skip(struct cursor *frame, __u64 size)
{
	if (frame->at + size > frame->end)
		return false;
	frame->at += size;
	return true;
}

/* Let `header` point at the next header of the frame and go on behind it; false when the frame is cut before its end. */
#define take(frame, header) ((header) = (frame)->at, skip((frame), sizeof(*(header))))

/* The Ethernet header and up to two VLAN tags (802.1Q, 802.1ad), with the EtherType behind them. */
static __always_inline bool take_ethernet(struct cursor *frame, __be16 *protocol)
{
	struct ethhdr *ethernet;

	if (!take(frame, ethernet))
		return false;
	*protocol = ethernet->h_proto;
#pragma unroll
	for (int tags = 0; tags < 2; tags++) {
		struct vlan_tag *tag;

		if (*protocol != bpf_htons(ETH_P_8021Q) && *protocol != bpf_htons(ETH_P_8021AD))
			break;
		if (!take(frame, tag))
			return false;
		*protocol = tag->protocol;
	}
	return true;
}

/* An IPv4 header with its options; false when it is cut or contradicts itself. */
static __always_inline bool take_ipv4(struct cursor *frame, struct iphdr **ip)
{
	if (!take(frame, *ip) || (*ip)->version != 4 || (*ip)->ihl < 5)
		return false;
	return skip(frame, (*ip)->ihl * 4 - sizeof(**ip));
}

/* Whether a packet carries the start of what it transports: fragments after the first do not. */
static __always_inline bool is_first_fragment(const struct iphdr *ip)
{
	return !(ip->frag_off & bpf_htons(IP_OFFSET));
}
