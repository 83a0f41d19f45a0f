/* For measuring: one lookup in a large hash table for each frame, with a key that changes from frame to frame.
 *
 * The key does not come from the frame, so that a run which shows the program the same frame a million times (the
 * kernel's BPF_PROG_TEST_RUN) looks up as many keys as a replay does. A linear congruential generator picks a number
 * i in [0, 65536), and the key is i times an odd constant: fill the table with
 *
 *     key(i) = i * 0x9E3779B1 modulo 2^32, for i in 0 … 65535
 *
 * XDP_PASS says that the key was found, XDP_DROP that it was not.
 *
 * SPDX-License-Identifier: MIT
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define SPREAD 0x9E3779B1u

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 65536);
} table SEC(".maps");

__u32 state;

SEC("xdp")
int xdp_hash(struct xdp_md *ctx)
{
	__u32 next = state * 1664525 + 1013904223;
	__u32 key = (next >> 16) * SPREAD;

	(void)ctx;
	state = next;
	return bpf_map_lookup_elem(&table, &key) ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "Dual MIT/GPL";
