/* TCP connections over IPv4 go to a local proxy, which finds where they were meant to go by the port that they come from. */
#include "sockets.h"

struct destination {
	__u32 ip;   /* as in the packet */
	__u32 port; /* as one writes it */
};

/* Where the proxy listens; port 0: nothing is redirected. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct destination);
} proxy SEC(".maps");

/* By the socket's cookie, from connect on. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct destination);
} meant SEC(".maps");

/* By the source port that the proxy sees, from when the connection is established. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct destination);
} callers SEC(".maps");

SEC("cgroup/connect4") int redirect(struct bpf_sock_addr *ctx)
{
	__u32 zero = 0;
	struct destination *to = bpf_map_lookup_elem(&proxy, &zero);
	struct destination was = { ctx->user_ip4, bpf_ntohs(ctx->user_port) };
	__u64 cookie = bpf_get_socket_cookie(ctx);

	if (!to || !to->port || ctx->protocol != IPPROTO_TCP || (to->ip == was.ip && to->port == was.port))
		return 1;
	bpf_map_update_elem(&meant, &cookie, &was, BPF_ANY);
	ctx->user_ip4 = to->ip;
	ctx->user_port = bpf_htons(to->port);
	return 1;
}

SEC("sockops") int established(struct bpf_sock_ops *ctx)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct destination *was;
	__u32 port;

	if (ctx->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		return 1;
	was = bpf_map_lookup_elem(&meant, &cookie);
	if (!was)
		return 1;
	port = ctx->local_port;
	bpf_map_update_elem(&callers, &port, was, BPF_ANY);
	return 1;
}

/* The caller sees the end that it asked for. */
SEC("cgroup/getpeername4") int peer(struct bpf_sock_addr *ctx)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct destination *was = bpf_map_lookup_elem(&meant, &cookie);

	if (was) {
		ctx->user_ip4 = was->ip;
		ctx->user_port = bpf_htons(was->port);
	}
	return 1;
}
