// error: null_deref
// line: 26
// Tests the result of a lookup on one of two paths.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 16);
    __type(key, __u32);
    __type(value, __u64);
} counters SEC(".maps");

SEC("xdp")
int null_one_path(struct xdp_md *ctx)
{
    __u32 key = 0;
    __u64 *value = bpf_map_lookup_elem(&counters, &key);

#ifdef FIXED
    if (!value)
#else
    if (ctx->rx_queue_index && !value)
#endif
        return XDP_PASS;
    *value += 1;
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
