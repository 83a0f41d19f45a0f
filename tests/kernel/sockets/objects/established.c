/* Writes down the connections that are established, and when they are closed. */
#include "sockets.h"

struct connection {
	__u32 op, family;
	__u32 remote_ip4, local_ip4, remote_ip6[4], local_ip6[4];
	__u32 remote_port, local_port;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ROOM);
	__type(key, __u32);
	__type(value, struct connection);
} connections SEC(".maps");

SEC("sockops") int established(struct bpf_sock_ops *ctx)
{
	struct connection row = { .op = ctx->op, .family = ctx->family };
	__u32 index;

	if (ctx->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB && ctx->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		return 1;
	index = next_row();
	if (ctx->family == AF_INET) {
		row.remote_ip4 = WORD(ctx, struct bpf_sock_ops, remote_ip4, 0);
		row.local_ip4 = WORD(ctx, struct bpf_sock_ops, local_ip4, 0);
	} else {
		row.remote_ip6[0] = WORD(ctx, struct bpf_sock_ops, remote_ip6, 0);
		row.remote_ip6[1] = WORD(ctx, struct bpf_sock_ops, remote_ip6, 1);
		row.remote_ip6[2] = WORD(ctx, struct bpf_sock_ops, remote_ip6, 2);
		row.remote_ip6[3] = WORD(ctx, struct bpf_sock_ops, remote_ip6, 3);
		row.local_ip6[0] = WORD(ctx, struct bpf_sock_ops, local_ip6, 0);
		row.local_ip6[1] = WORD(ctx, struct bpf_sock_ops, local_ip6, 1);
		row.local_ip6[2] = WORD(ctx, struct bpf_sock_ops, local_ip6, 2);
		row.local_ip6[3] = WORD(ctx, struct bpf_sock_ops, local_ip6, 3);
	}
	row.remote_port = ctx->remote_port;
	row.local_port = ctx->local_port;
	bpf_map_update_elem(&connections, &index, &row, BPF_ANY);
	return 1;
}
