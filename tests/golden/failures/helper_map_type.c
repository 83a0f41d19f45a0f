// error: helper_arg
// line: 21
// Makes a tail call through a hash map.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
#ifdef FIXED
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
#else
    __uint(type, BPF_MAP_TYPE_HASH);
#endif
    __uint(max_entries, 4);
    __type(key, __u32);
    __type(value, __u32);
} programs SEC(".maps");

SEC("xdp")
int helper_map_type(struct xdp_md *ctx)
{
    bpf_tail_call(ctx, &programs, 0);
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
