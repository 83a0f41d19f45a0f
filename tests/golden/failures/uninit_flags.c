// error: uninit_reg
// line: 25
// Passes flags that were never set.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 16);
    __type(key, __u32);
    __type(value, __u64);
} counters SEC(".maps");

SEC("xdp")
int uninit_flags(struct xdp_md *ctx)
{
    __u32 key = ctx->rx_queue_index;
    __u64 value = 1;
#ifdef FIXED
    __u64 flags = BPF_ANY;
#else
    __u64 flags;
#endif

    bpf_map_update_elem(&counters, &key, &value, flags);
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
