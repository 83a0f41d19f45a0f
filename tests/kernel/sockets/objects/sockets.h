/* What the objects of these tests share: the ways to attach, a log that keeps its order, whole reads of the context. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#ifndef AF_INET
#define AF_INET 2
#define AF_INET6 10
#endif

enum way {
	CONNECT4 = 1, CONNECT6, BIND4, BIND6, SENDMSG4, SENDMSG6,
	RECVMSG4, RECVMSG6, GETPEERNAME4, GETPEERNAME6, GETSOCKNAME4, GETSOCKNAME6,
};

#define ROOM 64

/* A word of a structure, by an instruction that the compiler neither moves nor merges with another branch's. */
#define WORD(POINTER, TYPE, FIELD, INDEX) ({ \
	__u32 word_; \
	asm volatile("%0 = *(u32 *)(%1 + %2)" \
		     : "=r"(word_) \
		     : "r"(POINTER), "i"(__builtin_offsetof(TYPE, FIELD) + 4 * (INDEX))); \
	word_; \
})

/* The next free row of a log; rows behind the last are lost. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} written SEC(".maps");

static __always_inline __u32 next_row(void)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&written, &zero);

	return count ? __sync_fetch_and_add(count, 1) : ROOM;
}

/* The address of the call, for a way of either family: the other family's words stay zero. */
static __always_inline void address_of(const struct bpf_sock_addr *ctx, enum way way, __u32 ip[4])
{
	if (way & 1) {
		ip[0] = ctx->user_ip4;
		ip[1] = ip[2] = ip[3] = 0;
	} else {
		ip[0] = ctx->user_ip6[0];
		ip[1] = ctx->user_ip6[1];
		ip[2] = ctx->user_ip6[2];
		ip[3] = ctx->user_ip6[3];
	}
}

/* A program for each way, all with the same body. */
#define EVERY_WAY(BODY) \
	SEC("cgroup/connect4") int connect4(struct bpf_sock_addr *ctx) { return BODY(ctx, CONNECT4); } \
	SEC("cgroup/connect6") int connect6(struct bpf_sock_addr *ctx) { return BODY(ctx, CONNECT6); } \
	SEC("cgroup/bind4") int bind4(struct bpf_sock_addr *ctx) { return BODY(ctx, BIND4); } \
	SEC("cgroup/bind6") int bind6(struct bpf_sock_addr *ctx) { return BODY(ctx, BIND6); } \
	SEC("cgroup/sendmsg4") int sendmsg4(struct bpf_sock_addr *ctx) { return BODY(ctx, SENDMSG4); } \
	SEC("cgroup/sendmsg6") int sendmsg6(struct bpf_sock_addr *ctx) { return BODY(ctx, SENDMSG6); } \
	SEC("cgroup/recvmsg4") int recvmsg4(struct bpf_sock_addr *ctx) { return BODY(ctx, RECVMSG4); } \
	SEC("cgroup/recvmsg6") int recvmsg6(struct bpf_sock_addr *ctx) { return BODY(ctx, RECVMSG6); } \
	SEC("cgroup/getpeername4") int getpeername4(struct bpf_sock_addr *ctx) { return BODY(ctx, GETPEERNAME4); } \
	SEC("cgroup/getpeername6") int getpeername6(struct bpf_sock_addr *ctx) { return BODY(ctx, GETPEERNAME6); } \
	SEC("cgroup/getsockname4") int getsockname4(struct bpf_sock_addr *ctx) { return BODY(ctx, GETSOCKNAME4); } \
	SEC("cgroup/getsockname6") int getsockname6(struct bpf_sock_addr *ctx) { return BODY(ctx, GETSOCKNAME6); }

char _license[] SEC("license") = "GPL";
