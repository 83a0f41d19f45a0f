/* For measuring: one longest-prefix match among 10,000 prefixes for each frame, with an address that changes from frame
 * to frame (see hash_lookup.c). The addresses lie in 10.0.0.0/8: fill the table with
 *
 *     prefix(i) = 10.(i / 256).(i % 256).0/24, for i in 0 … 9999
 *
 * XDP_PASS says that a prefix was found, XDP_DROP that none was.
 *
 * SPDX-License-Identifier: MIT
 */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define PREFIXES 10000

struct prefix {
	__u32 length; /* in bits */
	__be32 address;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct prefix);
	__type(value, __u32);
	__uint(max_entries, PREFIXES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} routes SEC(".maps");

__u32 state;

SEC("xdp")
int xdp_lpm(struct xdp_md *ctx)
{
	__u32 next = state * 1664525 + 1013904223;
	__u32 route = (next >> 16) * PREFIXES >> 16;
	struct prefix key = {
		.length = 32,
		.address = bpf_htonl(10u << 24 | route << 8 | (next >> 8 & 0xff)),
	};

	(void)ctx;
	state = next;
	return bpf_map_lookup_elem(&routes, &key) ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "Dual MIT/GPL";
