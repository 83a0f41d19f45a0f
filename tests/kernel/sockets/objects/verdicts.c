/* Verdicts beyond yes and no: an errno of the program's own, and binding without the privilege for low ports. */
#include "sockets.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __s64);
} errors SEC(".maps");

static __always_inline int refuse(void)
{
	__u32 zero = 0;
	__s64 *error = bpf_map_lookup_elem(&errors, &zero);

	if (error)
		bpf_set_retval(-*error);
	return 0;
}

SEC("cgroup/connect4") int connect4(struct bpf_sock_addr *ctx) { return refuse(); }
SEC("cgroup/sendmsg4") int sendmsg4(struct bpf_sock_addr *ctx) { return refuse(); }
SEC("cgroup/bind4") int bind4(struct bpf_sock_addr *ctx) { return 3; }
SEC("cgroup/bind6") int bind6(struct bpf_sock_addr *ctx) { return 2; }
