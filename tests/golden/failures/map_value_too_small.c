// error: map_oob
// line: 26
// Reads 8 bytes of a value that has 4.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 16);
    __type(key, __u32);
    __type(value, __u32);
} counters SEC(".maps");

SEC("xdp")
int map_value_too_small(struct xdp_md *ctx)
{
    __u32 key = 0;
#ifdef FIXED
    __u32 *value = bpf_map_lookup_elem(&counters, &key);
#else
    __u64 *value = bpf_map_lookup_elem(&counters, &key);
#endif

    if (!value)
        return XDP_PASS;
    *value += 1;
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
