/* Writes down every field of the context and everything the helpers tell, and lets every call go on. */
#include "sockets.h"

struct observation {
	__u32 way;
	__u32 user_family;
	__u32 user_ip[4];
	__u32 user_port;
	__u32 family;
	__u32 type;
	__u32 protocol;
	__u32 source[4];
	__u32 uid;
	__u32 gid;
	__u64 pid_tgid;
	__u64 cookie;
	__u64 netns_cookie;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ROOM);
	__type(key, __u32);
	__type(value, struct observation);
} seen SEC(".maps");

static __always_inline int observe(struct bpf_sock_addr *ctx, enum way way)
{
	struct observation row = { .way = way };
	__u32 index = next_row();
	__u64 ids = bpf_get_current_uid_gid();

	row.user_family = ctx->user_family;
	address_of(ctx, way, row.user_ip);
	row.user_port = ctx->user_port;
	row.family = ctx->family;
	row.type = ctx->type;
	row.protocol = ctx->protocol;
	if (way == SENDMSG4)
		row.source[0] = ctx->msg_src_ip4;
	if (way == SENDMSG6) {
		row.source[0] = ctx->msg_src_ip6[0];
		row.source[1] = ctx->msg_src_ip6[1];
		row.source[2] = ctx->msg_src_ip6[2];
		row.source[3] = ctx->msg_src_ip6[3];
	}
	row.uid = ids;
	row.gid = ids >> 32;
	row.pid_tgid = bpf_get_current_pid_tgid();
	row.cookie = bpf_get_socket_cookie(ctx);
	row.netns_cookie = bpf_get_netns_cookie(ctx);
	bpf_get_current_comm(row.comm, sizeof(row.comm));
	bpf_map_update_elem(&seen, &index, &row, BPF_ANY);
	return 1;
}

EVERY_WAY(observe)
