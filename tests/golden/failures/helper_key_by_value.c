// error: helper_arg
// line: 21
// Passes a key where a pointer to the key is wanted.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 16);
    __type(key, __u32);
    __type(value, __u64);
} counters SEC(".maps");

SEC("xdp")
int helper_key_by_value(struct xdp_md *ctx)
{
    __u32 key = ctx->rx_queue_index;
#ifdef FIXED
    __u64 *value = bpf_map_lookup_elem(&counters, &key);
#else
    __u64 *value = bpf_map_lookup_elem(&counters, (void *)(long)key);
#endif

    return value ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
