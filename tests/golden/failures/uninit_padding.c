// warning: uninit_stack
// Looks up a key of which the padding was not set.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct key {
    __u8 protocol;
    __u32 source;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 16);
    __type(key, struct key);
    __type(value, __u64);
} flows SEC(".maps");

SEC("xdp")
int uninit_padding(struct xdp_md *ctx)
{
#ifdef FIXED
    struct key key;

    __builtin_memset(&key, 0, sizeof(key));
    key.protocol = 6;
    key.source = ctx->ingress_ifindex;
#else
    struct key key = {.protocol = 6, .source = ctx->ingress_ifindex};
#endif
    return bpf_map_lookup_elem(&flows, &key) ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
