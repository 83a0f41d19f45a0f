/* DNS amplification: an attacker sends small questions with the victim's address as source to many open resolvers,
 * and the large answers flood the victim. Dropped here are answers (UDP from port 53) that
 *
 *   - nobody asked for: no question with that client, server, port and id went by before;
 *   - are larger than DNS over UDP should be;
 *   - answer an ANY question, which hardly anybody asks for other than to get large answers.
 *
 * Where the hook sees incoming frames only, no question ever goes by: set policy.only_asked to 0 there.
 *
 * SPDX-License-Identifier: MIT
 */
#include "frame.h"

#include <linux/udp.h>

#define DNS_PORT 53
#define DNS_RESPONSE 0x8000
#define QTYPE_ANY 255
#define MAX_LABELS 8
#define MAX_LABEL 63

enum outcome {
	OTHER,
	QUESTION,
	ANSWER,
	FRAGMENT,
	UNSOLICITED,
	TOO_LARGE,
	ANY_ANSWER,
	OUTCOMES,
};

struct dns_header {
	__be16 id;
	__be16 flags;
	__be16 questions;
	__be16 answers;
	__be16 authorities;
	__be16 additionals;
};

/* A question that waits for its answer. */
struct question {
	__be32 client;
	__be32 server;
	__be16 port;
	__be16 id;
};

struct policy {
	__u32 only_asked; /* drop answers that nobody asked for */
	__u32 max_bytes;  /* of the UDP payload: 1,232 is what resolvers agreed on in 2020 */
};

struct policy policy = {
	.only_asked = 1,
	.max_bytes = 1232,
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct question);
	__type(value, __u64);
	__uint(max_entries, 32768);
} questions SEC(".maps");

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

/* Whether the first question of a message asks for ANY. Its name is a chain of labels, each with its length in front,
 * and a name of more labels than are followed here gets the benefit of the doubt. */
static __always_inline bool asks_any(struct cursor message)
{
	__be16 *type;
	__u8 *length;

#pragma unroll
	for (int labels = 0; labels < MAX_LABELS; labels++) {
		if (!take(&message, length) || *length > MAX_LABEL)
			return false;
		if (!*length)
			return take(&message, type) && *type == bpf_htons(QTYPE_ANY);
		if (!skip(&message, *length))
			return false;
	}
	return false;
}

static __always_inline int judge_answer(const struct iphdr *ip, const struct udphdr *udp, const struct dns_header *dns,
					struct cursor *frame)
{
	struct question asked = {
		.client = ip->daddr,
		.server = ip->saddr,
		.port = udp->dest,
		.id = dns->id,
	};

	if (policy.only_asked && bpf_map_delete_elem(&questions, &asked))
		return count(UNSOLICITED, XDP_DROP);
	if (bpf_ntohs(udp->len) > policy.max_bytes + sizeof(*udp))
		return count(TOO_LARGE, XDP_DROP);
	if (dns->questions && asks_any(*frame))
		return count(ANY_ANSWER, XDP_DROP);
	return count(ANSWER, XDP_PASS);
}

static __always_inline int note_question(const struct iphdr *ip, const struct udphdr *udp, const struct dns_header *dns)
{
	struct question asked = {
		.client = ip->saddr,
		.server = ip->daddr,
		.port = udp->source,
		.id = dns->id,
	};
	__u64 now = bpf_ktime_get_ns();

	bpf_map_update_elem(&questions, &asked, &now, BPF_ANY);
	return count(QUESTION, XDP_PASS);
}

SEC("xdp")
int xdp_dns(struct xdp_md *ctx)
{
	struct cursor frame = frame_of(ctx);
	struct dns_header *dns;
	struct udphdr *udp;
	struct iphdr *ip;
	__be16 protocol;

	if (!take_ethernet(&frame, &protocol) || protocol != bpf_htons(ETH_P_IP))
		return count(OTHER, XDP_PASS);
	if (!take_ipv4(&frame, &ip) || ip->protocol != IPPROTO_UDP)
		return count(OTHER, XDP_PASS);
	if (!is_first_fragment(ip)) /* of no use to anyone without the first, which has the ports and is judged */
		return count(FRAGMENT, XDP_PASS);
	if (!take(&frame, udp) || !take(&frame, dns))
		return count(OTHER, XDP_PASS);
	if (udp->source == bpf_htons(DNS_PORT) && dns->flags & bpf_htons(DNS_RESPONSE))
		return judge_answer(ip, udp, dns, &frame);
	if (udp->dest == bpf_htons(DNS_PORT) && !(dns->flags & bpf_htons(DNS_RESPONSE)))
		return note_question(ip, udp, dns);
	return count(OTHER, XDP_PASS);
}

char _license[] SEC("license") = "Dual MIT/GPL";
