// error: null_deref
// line: 29
// Moves the result of a lookup and tests the moved pointer.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct flow {
    __u64 packets;
    __u64 bytes;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 16);
    __type(key, __u32);
    __type(value, struct flow);
} flows SEC(".maps");

SEC("xdp")
int null_arithmetic(struct xdp_md *ctx)
{
    __u32 key = 0;
    struct flow *flow = bpf_map_lookup_elem(&flows, &key);

#ifdef FIXED
    if (!flow)
        return XDP_PASS;
#endif
    __u64 *bytes = &flow->bytes;
    asm volatile("" : "+r"(bytes));
    if (!bytes)
        return XDP_PASS;
    *bytes += 1;
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
