// error: map_oob
// line: 35
// Makes an index of a digit and compares it with the upper limit only.
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
int map_index_negative(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;
    __u32 key = 0;
    struct table *table = bpf_map_lookup_elem(&tables, &key);

    if (!table || data + 14 > data_end)
        return XDP_PASS;
    long index = (long)*(__u8 *)data - 48;
#ifdef FIXED
    if (index < 0 || index >= 16)
#else
    if (index >= 16)
#endif
        return XDP_DROP;
    table->seen[index] = 1;
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
