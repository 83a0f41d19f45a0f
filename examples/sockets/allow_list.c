/* Only what is on the list may be connected, bound or sent to; the rest is refused, and written down as rows that fit the list. */
#include "sockets.h"

enum call {
	CONNECT = 1,
	BIND,
	SEND,
};

struct endpoint {
	__u16 call;
	__u16 protocol;
	__u32 port; /* of binds to port 0: 0 */
	struct address address;
};

#define ROWS(NAME) \
	struct { \
		__uint(type, BPF_MAP_TYPE_HASH); \
		__uint(max_entries, 4096); \
		__type(key, struct endpoint); \
		__type(value, __u64); \
	} NAME SEC(".maps")

ROWS(allowed);
ROWS(refused); /* and how often; where nothing is enforced, this is what the list lacks */

static __always_inline int judge(const struct bpf_sock_addr *ctx, enum call call, struct address address)
{
	struct endpoint key = { call, ctx->protocol, bpf_ntohs(ctx->user_port), address };
	__u64 one = 1, *times;

	if (bpf_map_lookup_elem(&allowed, &key))
		return 1;
	times = bpf_map_lookup_elem(&refused, &key);
	if (times)
		__sync_fetch_and_add(times, 1);
	else
		bpf_map_update_elem(&refused, &key, &one, BPF_NOEXIST);
	return 0;
}

SEC("cgroup/connect4") int connect4(struct bpf_sock_addr *ctx) { return judge(ctx, CONNECT, address4(ctx)); }
SEC("cgroup/connect6") int connect6(struct bpf_sock_addr *ctx) { return judge(ctx, CONNECT, address6(ctx)); }
SEC("cgroup/bind4") int bind4(struct bpf_sock_addr *ctx) { return judge(ctx, BIND, address4(ctx)); }
SEC("cgroup/bind6") int bind6(struct bpf_sock_addr *ctx) { return judge(ctx, BIND, address6(ctx)); }
SEC("cgroup/sendmsg4") int sendmsg4(struct bpf_sock_addr *ctx) { return judge(ctx, SEND, address4(ctx)); }
SEC("cgroup/sendmsg6") int sendmsg6(struct bpf_sock_addr *ctx) { return judge(ctx, SEND, address6(ctx)); }
