// error: ptr_arith
// line: 33
// Takes an index of 32 bits from the packet.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct table {
    __u32 seen[16];
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct table);
} tables SEC(".maps");

SEC("xdp")
int map_index_unbounded(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;
    __u32 key = 0;
    struct table *table = bpf_map_lookup_elem(&tables, &key);

    if (!table || data + 14 > data_end)
        return XDP_PASS;
    __u32 index = *(__u32 *)data;
#ifdef FIXED
    if (index >= 16)
        return XDP_DROP;
#endif
    table->seen[index] = 1;
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
