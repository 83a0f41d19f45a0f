/* Protection against denial of service: a list of blocked sources, and a rate limit for every other source.
 *
 * The limit is a token bucket in its "virtual scheduling" form. Per source, `due` is the time at which its bucket would
 * be full again; a packet moves it ahead by what the packet costs, and a source whose `due` is further ahead than the
 * burst allows has used up its tokens. One word of state, no division, no timer.
 *
 * A TCP SYN costs as much as `syn_factor` packets: floods of connection attempts hit the limit long before
 * sessions do that transfer data.
 *
 * SPDX-License-Identifier: MIT
 */
#include "frame.h"

#include <linux/tcp.h>

#define SOURCES 65536

enum reason {
	PASSED,
	NOT_IPV4,
	MALFORMED,
	BLOCKED,
	TOO_FAST,
	REASONS,
};

struct tally {
	__u64 packets;
	__u64 bytes;
};

struct source {
	__u64 due;     /* nanoseconds: when the bucket is full again */
	__u64 passed;  /* packets */
	__u64 dropped; /* packets */
};

struct limit {
	__u64 packet_ns;  /* what a packet costs: 1 s / (packets per second) */
	__u64 burst_ns;   /* how far ahead of the clock a source may be */
	__u64 syn_factor; /* how many packets a TCP SYN counts for */
};

/* Global data: the loader puts these values into a map, where user space can change them while the program runs. */
struct limit limit = {
	.packet_ns = 1000000, /* 1,000 packets/s */
	.burst_ns = 100 * 1000000,
	.syn_factor = 10,
};

/* Sources that user space blocks. The value counts the packets stopped, from whatever was written. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __be32);
	__type(value, __u64);
	__uint(max_entries, 16384);
} blocked SEC(".maps");

/* One bucket a source. When there are too many, the least recently seen source is forgotten. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, __be32);
	__type(value, struct source);
	__uint(max_entries, SOURCES);
} sources SEC(".maps");

/* Who was dropped how often, blocked or too fast: what an operator wants to read first. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, __be32);
	__type(value, __u64);
	__uint(max_entries, SOURCES);
} dropped SEC(".maps");

/* By reason; one copy a CPU, so that counting needs no atomics. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct tally);
	__uint(max_entries, REASONS);
} counters SEC(".maps");

static __always_inline int count(const struct xdp_md *ctx, enum reason reason, int verdict)
{
	__u32 key = reason;
	struct tally *tally = bpf_map_lookup_elem(&counters, &key);
	struct cursor frame = frame_of(ctx);

	if (tally) {
		tally->packets++;
		tally->bytes += bytes_left(&frame);
	}
	return verdict;
}

/* Write a dropped packet down under its source. */
static __always_inline void blame(__be32 address)
{
	__u64 *packets = bpf_map_lookup_elem(&dropped, &address);
	__u64 first = 1;

	if (packets)
		__sync_fetch_and_add(packets, 1);
	else
		bpf_map_update_elem(&dropped, &address, &first, BPF_ANY);
}

static __always_inline bool is_blocked(__be32 address)
{
	__u64 *stopped = bpf_map_lookup_elem(&blocked, &address);

	if (!stopped)
		return false;
	__sync_fetch_and_add(stopped, 1);
	return true;
}

/* Whether a source still has tokens for a packet of that cost. Two CPUs that judge the same source at once may let one
 * packet too many pass; that is cheaper than a lock. */
static __always_inline bool has_tokens(__be32 address, __u64 cost)
{
	struct source *source = bpf_map_lookup_elem(&sources, &address);
	__u64 now = bpf_ktime_get_ns();
	__u64 start = now;

	if (!source) {
		struct source fresh = { .due = now + cost, .passed = 1 };

		bpf_map_update_elem(&sources, &address, &fresh, BPF_ANY);
		return true;
	}
	if (source->due > now)
		start = source->due;
	if (start - now > limit.burst_ns) {
		source->dropped++;
		return false;
	}
	source->due = start + cost;
	source->passed++;
	return true;
}

static __always_inline __u64 cost_of(const struct iphdr *ip, struct cursor *payload)
{
	struct tcphdr *tcp;

	if (ip->protocol != IPPROTO_TCP || !is_first_fragment(ip))
		return limit.packet_ns;
	if (!take(payload, tcp) || !tcp->syn || tcp->ack)
		return limit.packet_ns;
	return limit.packet_ns * limit.syn_factor;
}

SEC("xdp")
int xdp_filter(struct xdp_md *ctx)
{
	struct cursor frame = frame_of(ctx);
	struct iphdr *ip;
	__be16 protocol;
	__be32 address;

	if (!take_ethernet(&frame, &protocol))
		return count(ctx, MALFORMED, XDP_DROP);
	if (protocol != bpf_htons(ETH_P_IP))
		return count(ctx, NOT_IPV4, XDP_PASS);
	if (!take_ipv4(&frame, &ip))
		return count(ctx, MALFORMED, XDP_DROP);
	address = ip->saddr;
	if (is_blocked(address)) {
		blame(address);
		return count(ctx, BLOCKED, XDP_DROP);
	}
	if (!has_tokens(address, cost_of(ip, &frame))) {
		blame(address);
		return count(ctx, TOO_FAST, XDP_DROP);
	}
	return count(ctx, PASSED, XDP_PASS);
}

char _license[] SEC("license") = "Dual MIT/GPL";
