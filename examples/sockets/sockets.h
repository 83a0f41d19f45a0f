/* What the programs about socket calls share: addresses of both families as 16 bytes, and the context of bind programs. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17

/* An IPv4 address stands in its last four bytes behind ::ffff, so one map serves both families. */
struct address {
	__u32 word[4];
};

static __always_inline struct address address4(const struct bpf_sock_addr *ctx)
{
	struct address found = { { 0, 0, bpf_htonl(0xffff), ctx->user_ip4 } };

	return found;
}

static __always_inline struct address address6(const struct bpf_sock_addr *ctx)
{
	struct address found = { { ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3] } };

	return found;
}

/* The context of programs in sections "bind", in the layout of eBPF for Windows: pointers have 64 bits. */
struct bind_md {
	__u8 *app_id_start; /* the path of the program that calls */
	__u8 *app_id_end;
	__u64 process_id;
	__u8 socket_address[16];
	__u8 socket_address_length;
	__u32 operation;
	__u8 protocol;
};

enum bind_operation {
	BIND_OPERATION_BIND,
	BIND_OPERATION_POST_BIND,
	BIND_OPERATION_UNBIND,
};

enum bind_action {
	BIND_PERMIT_SOFT,
	BIND_DENY,
	BIND_REDIRECT,
	BIND_PERMIT_HARD,
};

char _license[] SEC("license") = "Dual MIT/GPL";
