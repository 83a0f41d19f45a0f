/* Three programs of one way, which say who ran and what each saw, and do as the map says. */
#include "sockets.h"

struct step {
	__u32 program;
	__u32 ip;
	__u32 port;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ROOM);
	__type(key, __u32);
	__type(value, struct step);
} steps SEC(".maps");

struct plan {
	__u32 verdict;
	__u32 port; /* 0: left as it is */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct plan);
} plans SEC(".maps");

static __always_inline int take(struct bpf_sock_addr *ctx, __u32 program)
{
	struct step row = { program, ctx->user_ip4, bpf_ntohs(ctx->user_port) };
	struct plan *plan = bpf_map_lookup_elem(&plans, &program);
	__u32 index = next_row();

	bpf_map_update_elem(&steps, &index, &row, BPF_ANY);
	if (!plan)
		return 1;
	if (plan->port)
		ctx->user_port = bpf_htons(plan->port);
	return plan->verdict & 1;
}

SEC("cgroup/connect4") int first(struct bpf_sock_addr *ctx) { return take(ctx, 1); }
SEC("cgroup/connect4") int second(struct bpf_sock_addr *ctx) { return take(ctx, 2); }
SEC("cgroup/connect4") int third(struct bpf_sock_addr *ctx) { return take(ctx, 3); }
