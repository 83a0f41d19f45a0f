"""C programs of any size for measuring the verifier: a parser of headers, then many small stages over what it found.

Not here: measuring. The stages are what network programs are made of: lookups whose result is tested, counters behind pointers,
keys and hashes that are spilled, switches, further headers at offsets that the packet gives, bounded loops.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

__all__ = ["INSTRUCTIONS_PER_STAGE", "source"]

INSTRUCTIONS_PER_STAGE: Final = 19
"""What clang makes of one stage, on average."""

_PRELUDE: Final = """
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct key { __u32 source, target; __u16 sport, dport; __u8 protocol, flags; __u16 zone; };
struct rule { __u64 packets, bytes; __u32 low, high, mark, limit; __u64 seen; };
struct {
	__uint(type, BPF_MAP_TYPE_HASH); __type(key, struct key); __type(value, struct rule); __uint(max_entries, 4096);
} rules SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY); __type(key, __u32); __type(value, struct rule); __uint(max_entries, 256);
} tallies SEC(".maps");
struct { __u64 passed, dropped; __u32 limit, mark; } config;
char LICENSE[] SEC("license") = "GPL";
"""

_BEGIN: Final = """
SEC("xdp") int %(name)s(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;
	struct key key = {};
	struct rule *rule;
	__u32 hash = ctx->rx_queue_index, index = 0, mark = ctx->ingress_ifindex;
	__u64 length, now = bpf_ktime_get_ns();
	__u16 kind;
	void *at = ethernet + 1;

	if (at > end)
		return XDP_DROP;
	kind = ethernet->h_proto;
	for (int i = 0; i < 2; i++) {
		if (kind != bpf_htons(ETH_P_8021Q) && kind != bpf_htons(ETH_P_8021AD))
			break;
		if (at + 4 > end)
			return XDP_DROP;
		key.zone = *(__u16 *)at;
		kind = *(__u16 *)(at + 2);
		at += 4;
	}
	if (kind == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = at;
		if (at + sizeof(*ip) > end || ip->ihl < 5)
			return XDP_DROP;
		key.source = ip->saddr;
		key.target = ip->daddr;
		key.protocol = ip->protocol;
		at += ip->ihl * 4;
	} else if (kind == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = at;
		if (at + sizeof(*ip) > end)
			return XDP_DROP;
		key.source = ip->saddr.in6_u.u6_addr32[3];
		key.target = ip->daddr.in6_u.u6_addr32[3];
		key.protocol = ip->nexthdr;
		at += sizeof(*ip);
	} else {
		return XDP_PASS;
	}
	if (at + 160 > end)
		return XDP_DROP;
	length = *(__u16 *)(at + 4);
	if (key.protocol == IPPROTO_TCP || key.protocol == IPPROTO_UDP) {
		key.sport = *(__u16 *)at;
		key.dport = *(__u16 *)(at + 2);
	}
"""

_END: Final = """
	if (mark >> 31 || (mark ^ hash) == 0x%(stamp)x) {
		config.dropped++;
		return XDP_DROP;
	}
	config.passed++;
	return XDP_PASS;
}
"""

_STAGES: Final = (
    """
	key.flags = %(small)d;
	rule = bpf_map_lookup_elem(&rules, &key);
	if (rule) {
		rule->packets++;
		rule->bytes += length;
		if (rule->low <= key.dport && key.dport <= rule->high)
			mark |= rule->mark;
		if (rule->limit && rule->packets > rule->limit)
			mark |= 1u << 31;
	}
""",
    """
	index = %(small)d + (hash & 63);
	rule = bpf_map_lookup_elem(&tallies, &index);
	if (!rule)
		return XDP_ABORTED;
	rule->packets++;
	rule->seen = now;
	if (rule->mark > %(word)d)
		hash ^= rule->low;
""",
    """
	hash += key.source ^ %(word)du;
	hash = (hash << %(shift)d | hash >> (32 - %(shift)d)) * 0x9E3779B1u;
	hash ^= key.target + (__u32)length;
	hash -= (hash >> 16) + mark;
""",
    """
	switch (*(__u8 *)(at + %(small)d %% 16)) {
	case 1: mark += %(word)d; break;
	case 17: mark ^= hash; break;
	case 58: mark |= 1u << 31; break;
	case 132: mark |= 1 << %(shift)d; break;
	default: hash++;
	}
""",
    """
	if (at + (hash & 31) + 8 <= end) {
		__u8 *more = at + (hash & 31);
		hash += more[0] << 8 | more[%(small)d %% 8];
		if (more[3] == %(small)d)
			mark += more[5];
	}
""",
    """
	if (*(__u8 *)(at + 1) & 2) {
		__u32 *words = at + %(small)d;
		hash += words[0] + words[1];
		if (words[2] > %(word)du)
			words[3] = mark;
	}
""",
    """
	for (int i = 0; i < 8; i++)
		hash = hash * 31 + ((__u8 *)&key)[i] + (mark >> i);
""",
    """
	index = *(__u32 *)(at + %(small)d %% 12);
	if (index == %(word)du || (index & 0xff00) == %(small)d << 8)
		mark |= %(word)d;
	else if (index > %(word)du && *(__u8 *)(at + 3) < %(small)d)
		mark |= 1u << 31;
""",
    """
	if (length > config.limit + %(small)d) {
		struct rule fresh = {.packets = 1, .bytes = length, .mark = mark, .seen = now, .low = hash};
		bpf_map_update_elem(&rules, &key, &fresh, BPF_ANY);
	}
""",
)


def source(stages: Sequence[int], seed: int) -> str:
    """A C file with one program for each number of stages; the same for the same seed."""
    draw = random.Random(seed)
    return _PRELUDE + "".join(_program(f"program_{i}", count, draw) for i, count in enumerate(stages))


def _program(name: str, stages: int, draw: random.Random) -> str:
    middle = "".join(draw.choice(_STAGES) % _numbers(draw) for _ in range(stages))
    return _BEGIN % {"name": name} + middle + _END % {"stamp": draw.getrandbits(31)}


def _numbers(draw: random.Random) -> dict[str, int]:
    return {"small": draw.randrange(1, 128), "word": draw.getrandbits(20), "shift": draw.randrange(3, 29)}
