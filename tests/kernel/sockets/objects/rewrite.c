/* Rewrites addresses, ports and the source of datagrams as the map says, on every way. */
#include "sockets.h"

enum what {
	ADDRESS = 1,
	PORT = 2,
	SOURCE = 4,
};

struct target {
	__u32 way;
	__u32 port;
	__u32 ip[4];
};

struct change {
	__u32 what;
	__u32 port;
	__u32 ip[4];
	__u32 source[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct target);
	__type(value, struct change);
} changes SEC(".maps");

static __always_inline int rewrite(struct bpf_sock_addr *ctx, enum way way)
{
	struct target key = { .way = way, .port = bpf_ntohs(ctx->user_port) };
	struct change *change;

	address_of(ctx, way, key.ip);
	change = bpf_map_lookup_elem(&changes, &key);
	if (!change) {
		key.port = 0; /* whatever its port */
		change = bpf_map_lookup_elem(&changes, &key);
	}
	if (!change)
		return 1;
	if (change->what & PORT)
		ctx->user_port = bpf_htons(change->port);
	if (change->what & ADDRESS) {
		if (way & 1) {
			ctx->user_ip4 = change->ip[0];
		} else {
			ctx->user_ip6[0] = change->ip[0];
			ctx->user_ip6[1] = change->ip[1];
			ctx->user_ip6[2] = change->ip[2];
			ctx->user_ip6[3] = change->ip[3];
		}
	}
	if (change->what & SOURCE) {
		if (way == SENDMSG4)
			ctx->msg_src_ip4 = change->source[0];
		if (way == SENDMSG6) {
			ctx->msg_src_ip6[0] = change->source[0];
			ctx->msg_src_ip6[1] = change->source[1];
			ctx->msg_src_ip6[2] = change->source[2];
			ctx->msg_src_ip6[3] = change->source[3];
		}
	}
	return 1;
}

EVERY_WAY(rewrite)
