/* Connections and datagrams to blocked prefixes fail; the longest prefix decides, so exceptions can be made. */
#include "sockets.h"

struct prefix {
	__u32 length; /* of 128 bits; IPv4: 96 more than as usually written */
	struct address address;
};

struct rule {
	__u32 blocked; /* 0: an exception */
	__u32 hits;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, struct rule);
} rules SEC(".maps");

static __always_inline int judge(struct address to)
{
	struct prefix key = { 128, to };
	struct rule *rule = bpf_map_lookup_elem(&rules, &key);

	if (!rule)
		return 1;
	__sync_fetch_and_add(&rule->hits, 1);
	return !rule->blocked;
}

SEC("cgroup/connect4") int connect4(struct bpf_sock_addr *ctx) { return judge(address4(ctx)); }
SEC("cgroup/connect6") int connect6(struct bpf_sock_addr *ctx) { return judge(address6(ctx)); }
SEC("cgroup/sendmsg4") int sendmsg4(struct bpf_sock_addr *ctx) { return judge(address4(ctx)); }
SEC("cgroup/sendmsg6") int sendmsg6(struct bpf_sock_addr *ctx) { return judge(address6(ctx)); }
