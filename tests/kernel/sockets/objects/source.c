/* Binds sockets that connect to a source of their own, and keeps what bpf_bind said. */
#include "sockets.h"
#include <linux/in.h>
#include <linux/in6.h>

struct source {
	__u32 ip[4];
	__u32 port;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32); /* CONNECT4 or CONNECT6 */
	__type(value, struct source);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ROOM);
	__type(key, __u32);
	__type(value, __s64);
} results SEC(".maps");

static __always_inline void keep(__s64 result)
{
	__u32 index = next_row();

	bpf_map_update_elem(&results, &index, &result, BPF_ANY);
}

SEC("cgroup/connect4") int connect4(struct bpf_sock_addr *ctx)
{
	__u32 way = CONNECT4;
	struct source *source = bpf_map_lookup_elem(&sources, &way);
	struct sockaddr_in address = { .sin_family = AF_INET };

	if (!source)
		return 1;
	address.sin_addr.s_addr = source->ip[0];
	address.sin_port = bpf_htons(source->port);
	keep(bpf_bind(ctx, (struct sockaddr *)&address, sizeof(address)));
	return 1;
}

SEC("cgroup/connect6") int connect6(struct bpf_sock_addr *ctx)
{
	__u32 way = CONNECT6;
	struct source *source = bpf_map_lookup_elem(&sources, &way);
	struct sockaddr_in6 address = { .sin6_family = AF_INET6 };

	if (!source)
		return 1;
	__builtin_memcpy(&address.sin6_addr, source->ip, 16);
	address.sin6_port = bpf_htons(source->port);
	keep(bpf_bind(ctx, (struct sockaddr *)&address, sizeof(address)));
	return 1;
}
