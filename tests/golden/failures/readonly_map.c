// error: readonly
// line: 29
// Writes a value of a map that user space alone may write.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#ifdef FIXED
#define FLAGS 0
#else
#define FLAGS BPF_F_RDONLY_PROG
#endif

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 16);
    __type(key, __u32);
    __type(value, __u64);
    __uint(map_flags, FLAGS);
} limits SEC(".maps");

SEC("xdp")
int readonly_map(struct xdp_md *ctx)
{
    __u32 key = 0;
    __u64 *limit = bpf_map_lookup_elem(&limits, &key);

    if (!limit)
        return XDP_PASS;
    *limit = 0;
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
