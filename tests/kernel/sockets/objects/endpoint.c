/* Writes down what ctx->sk tells of the socket. */
#include "sockets.h"

struct socket {
	__u32 way;
	__u32 bound_dev_if, family, type, protocol, mark, priority;
	__u32 src_ip4, src_ip6[4], src_port;
	__u32 dst_ip4, dst_ip6[4], dst_port;
	__u32 state;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ROOM);
	__type(key, __u32);
	__type(value, struct socket);
} ends SEC(".maps");

static __always_inline int look(struct bpf_sock_addr *ctx, enum way way)
{
	struct bpf_sock *sk = ctx->sk;
	struct socket row = { .way = way };
	__u32 index = next_row();

	if (!sk)
		return 1;
	row.bound_dev_if = sk->bound_dev_if;
	row.family = sk->family;
	row.type = sk->type;
	row.protocol = sk->protocol;
	row.mark = sk->mark;
	row.priority = sk->priority;
	row.src_port = sk->src_port;
	row.dst_port = sk->dst_port;
	row.state = sk->state;
	if (sk->family == AF_INET) {
		row.src_ip4 = WORD(sk, struct bpf_sock, src_ip4, 0);
		row.dst_ip4 = WORD(sk, struct bpf_sock, dst_ip4, 0);
	} else {
		row.src_ip6[0] = WORD(sk, struct bpf_sock, src_ip6, 0);
		row.src_ip6[1] = WORD(sk, struct bpf_sock, src_ip6, 1);
		row.src_ip6[2] = WORD(sk, struct bpf_sock, src_ip6, 2);
		row.src_ip6[3] = WORD(sk, struct bpf_sock, src_ip6, 3);
		row.dst_ip6[0] = WORD(sk, struct bpf_sock, dst_ip6, 0);
		row.dst_ip6[1] = WORD(sk, struct bpf_sock, dst_ip6, 1);
		row.dst_ip6[2] = WORD(sk, struct bpf_sock, dst_ip6, 2);
		row.dst_ip6[3] = WORD(sk, struct bpf_sock, dst_ip6, 3);
	}
	bpf_map_update_elem(&ends, &index, &row, BPF_ANY);
	return 1;
}

EVERY_WAY(look)
