// error: align
// line: 32
// Counts with an atomic operation on a packed member.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct row {
    __u32 kind;
    __u64 packets;
#ifdef FIXED
};
#else
} __attribute__((packed));
#endif

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 16);
    __type(key, __u32);
    __type(value, struct row);
} rows SEC(".maps");

SEC("xdp")
int atomic_unaligned(struct xdp_md *ctx)
{
    __u32 key = 0;
    struct row *row = bpf_map_lookup_elem(&rows, &key);

    if (!row)
        return XDP_PASS;
    __u64 *packets = (void *)row + __builtin_offsetof(struct row, packets);
    __sync_fetch_and_add(packets, 1);
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
