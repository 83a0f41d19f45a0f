// error: map_oob
// line: 34
// Goes round an array of 16 elements 17 times.
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
int loop_one_too_far(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;
    __u32 key = 0;
    struct table *table = bpf_map_lookup_elem(&tables, &key);

    if (!table || data + 14 > data_end)
        return XDP_PASS;
#pragma clang loop unroll(disable) vectorize(disable)
#ifdef FIXED
    for (int i = 0; i < 16; i++)
#else
    for (int i = 0; i <= 16; i++)
#endif
        *(volatile __u32 *)&table->seen[i] = i;
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
