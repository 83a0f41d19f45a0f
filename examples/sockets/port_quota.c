/* A quota of ports for every process: binds beyond it are denied, and those of other processes go on. */
#include "sockets.h"

#define NAME 64

struct process {
	__u32 ports;
	__u32 denied;
	char app[NAME];
};

/* How many ports a process may hold; 0: any number. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} quota SEC(".maps");

/* By process id. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct process);
} processes SEC(".maps");

static __always_inline struct process *process_of(const struct bind_md *ctx)
{
	__u64 key = ctx->process_id;
	struct process *found = bpf_map_lookup_elem(&processes, &key);
	const __u8 *name = ctx->app_id_start, *end = ctx->app_id_end;
	struct process new = {};

	if (found || ctx->operation != BIND_OPERATION_BIND)
		return found;
	for (int i = 0; i < NAME - 1; i++) {
		if (name + i + 1 > end)
			break;
		new.app[i] = name[i];
	}
	bpf_map_update_elem(&processes, &key, &new, BPF_NOEXIST);
	return bpf_map_lookup_elem(&processes, &key);
}

SEC("bind") int port_quota(struct bind_md *ctx)
{
	__u32 zero = 0;
	__u32 *most = bpf_map_lookup_elem(&quota, &zero);
	struct process *process;

	if (!most || !*most)
		return BIND_PERMIT_SOFT;
	process = process_of(ctx);
	if (!process)
		return BIND_PERMIT_SOFT;
	if (ctx->operation == BIND_OPERATION_UNBIND && process->ports)
		process->ports--;
	if (ctx->operation != BIND_OPERATION_BIND)
		return BIND_PERMIT_SOFT;
	if (process->ports >= *most) {
		process->denied++;
		return BIND_DENY;
	}
	process->ports++;
	return BIND_PERMIT_SOFT;
}
