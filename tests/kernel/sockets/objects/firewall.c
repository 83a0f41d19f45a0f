/* Denies by port and by prefix, and counts: each call by thread, user and name, each denial by way. */
#include "sockets.h"

struct prefix4 {
	__u32 length;
	__u32 ip;
};

struct prefix6 {
	__u32 length;
	__u32 ip[4];
};

struct name {
	char text[16];
};

#define COUNTS(NAME, KEY) \
	struct { \
		__uint(type, BPF_MAP_TYPE_HASH); \
		__uint(max_entries, 64); \
		__type(key, KEY); \
		__type(value, __u64); \
	} NAME SEC(".maps")

COUNTS(ports, __u32);
COUNTS(threads, __u64);
COUNTS(users, __u64);
COUNTS(names, struct name);
COUNTS(sockets, __u64);
COUNTS(denied, __u32);

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 64);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix4);
	__type(value, __u64);
} blocked4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 64);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix6);
	__type(value, __u64);
} blocked6 SEC(".maps");

static __always_inline void count(void *map, const void *key)
{
	__u64 one = 1;
	__u64 *times = bpf_map_lookup_elem(map, key);

	if (times)
		__sync_fetch_and_add(times, 1);
	else
		bpf_map_update_elem(map, key, &one, BPF_NOEXIST);
}

/* A prefix says by its value whether it is blocked (1) or an exception (0). */
static __always_inline int is_blocked(const __u32 ip[4], enum way way)
{
	__u64 *found;

	if (way & 1) {
		struct prefix4 key = { .length = 32, .ip = ip[0] };

		found = bpf_map_lookup_elem(&blocked4, &key);
	} else {
		struct prefix6 key = { .length = 128, .ip = { ip[0], ip[1], ip[2], ip[3] } };

		found = bpf_map_lookup_elem(&blocked6, &key);
	}
	return found && *found;
}

static __always_inline int judge(struct bpf_sock_addr *ctx, enum way way)
{
	__u64 thread = bpf_get_current_pid_tgid(), user = bpf_get_current_uid_gid();
	__u64 cookie = bpf_get_socket_cookie(ctx);
	__u32 port = bpf_ntohs(ctx->user_port), kind = way;
	struct name comm = {};
	__u32 ip[4];

	count(&threads, &thread);
	count(&users, &user);
	count(&sockets, &cookie);
	bpf_get_current_comm(comm.text, sizeof(comm.text));
	count(&names, &comm);
	address_of(ctx, way, ip);
	if (!is_blocked(ip, way) && !bpf_map_lookup_elem(&ports, &port))
		return 1;
	count(&denied, &kind);
	return 0;
}

SEC("cgroup/connect4") int connect4(struct bpf_sock_addr *ctx) { return judge(ctx, CONNECT4); }
SEC("cgroup/connect6") int connect6(struct bpf_sock_addr *ctx) { return judge(ctx, CONNECT6); }
SEC("cgroup/bind4") int bind4(struct bpf_sock_addr *ctx) { return judge(ctx, BIND4); }
SEC("cgroup/bind6") int bind6(struct bpf_sock_addr *ctx) { return judge(ctx, BIND6); }
SEC("cgroup/sendmsg4") int sendmsg4(struct bpf_sock_addr *ctx) { return judge(ctx, SENDMSG4); }
SEC("cgroup/sendmsg6") int sendmsg6(struct bpf_sock_addr *ctx) { return judge(ctx, SENDMSG6); }
