// error: leak
// line: 27
// Keeps a packet pointer in a map for the next packet.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 16);
    __type(key, __u32);
    __type(value, __u64);
} places SEC(".maps");

SEC("xdp")
int leak_map_store(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;
    __u32 key = 0;
    __u64 *place = bpf_map_lookup_elem(&places, &key);

    if (!place)
        return XDP_PASS;
#ifdef FIXED
    *place = data_end - data;
#else
    *place = (long)data;
#endif
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
