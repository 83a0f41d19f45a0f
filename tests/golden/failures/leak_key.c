// error: leak
// line: 23
// Gives a helper a key that holds a pointer.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 16);
    __type(key, __u64);
    __type(value, __u64);
} seen SEC(".maps");

SEC("xdp")
int leak_key(struct xdp_md *ctx)
{
#ifdef FIXED
    __u64 key = ctx->rx_queue_index;
#else
    __u64 key = (long)ctx;
#endif

    return bpf_map_lookup_elem(&seen, &key) ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
