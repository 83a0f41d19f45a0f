/* Reads parts of fields and writes double words: every width that the kernel allows. */
#include "sockets.h"

struct widths {
	__u8 ip_bytes[16];
	__u16 ip_halves[8];
	__u64 ip_doubles[2];
	__u8 port_bytes[4];
	__u16 port_halves[2];
	__u8 source_bytes[16];
	__u64 source_doubles[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ROOM);
	__type(key, __u32);
	__type(value, struct widths);
} parts SEC(".maps");

struct words {
	__u64 ip[2];
	__u64 source[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct words);
} stored SEC(".maps");

#define AT(TYPE, FIELD, OFFSET) \
	(*(volatile TYPE *)((void *)ctx + __builtin_offsetof(struct bpf_sock_addr, FIELD) + (OFFSET)))

#define PORT_PARTS \
	for (int i = 0; i < 4; i++) \
		row.port_bytes[i] = AT(__u8, user_port, i); \
	row.port_halves[0] = AT(__u16, user_port, 0); \
	row.port_halves[1] = AT(__u16, user_port, 2);

static __always_inline void keep(const struct widths *row)
{
	__u32 index = next_row();

	bpf_map_update_elem(&parts, &index, row, BPF_ANY);
}

static __always_inline int four(struct bpf_sock_addr *ctx, enum way way)
{
	struct widths row = {};

	PORT_PARTS
#pragma unroll
	for (int i = 0; i < 4; i++)
		row.ip_bytes[i] = AT(__u8, user_ip4, i);
	row.ip_halves[0] = AT(__u16, user_ip4, 0);
	row.ip_halves[1] = AT(__u16, user_ip4, 2);
	if (way == SENDMSG4) {
#pragma unroll
		for (int i = 0; i < 4; i++)
			row.source_bytes[i] = AT(__u8, msg_src_ip4, i);
	}
	keep(&row);
	return 1;
}

static __always_inline int six(struct bpf_sock_addr *ctx, enum way way)
{
	__u32 kind = way;
	struct words *words = bpf_map_lookup_elem(&stored, &kind);
	struct widths row = {};

	PORT_PARTS
#pragma unroll
	for (int i = 0; i < 16; i++)
		row.ip_bytes[i] = AT(__u8, user_ip6, i);
#pragma unroll
	for (int i = 0; i < 8; i++)
		row.ip_halves[i] = AT(__u16, user_ip6, 2 * i);
	row.ip_doubles[0] = AT(__u64, user_ip6, 0);
	row.ip_doubles[1] = AT(__u64, user_ip6, 8);
	if (way == SENDMSG6) {
#pragma unroll
		for (int i = 0; i < 16; i++)
			row.source_bytes[i] = AT(__u8, msg_src_ip6, i);
		row.source_doubles[0] = ctx->msg_src_ip6[0] | (__u64)ctx->msg_src_ip6[1] << 32;
		row.source_doubles[1] = ctx->msg_src_ip6[2] | (__u64)ctx->msg_src_ip6[3] << 32;
	}
	keep(&row);
	if (!words)
		return 1;
	AT(__u64, user_ip6, 0) = words->ip[0];
	AT(__u64, user_ip6, 8) = words->ip[1];
	return 1;
}

SEC("cgroup/connect4") int connect4(struct bpf_sock_addr *ctx) { return four(ctx, CONNECT4); }
SEC("cgroup/bind4") int bind4(struct bpf_sock_addr *ctx) { return four(ctx, BIND4); }
SEC("cgroup/sendmsg4") int sendmsg4(struct bpf_sock_addr *ctx) { return four(ctx, SENDMSG4); }
SEC("cgroup/connect6") int connect6(struct bpf_sock_addr *ctx) { return six(ctx, CONNECT6); }
SEC("cgroup/bind6") int bind6(struct bpf_sock_addr *ctx) { return six(ctx, BIND6); }
SEC("cgroup/sendmsg6") int sendmsg6(struct bpf_sock_addr *ctx) { return six(ctx, SENDMSG6); }
