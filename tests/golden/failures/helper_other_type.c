// error: helper
// line: 15
// Calls a helper of another program type.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int helper_other_type(struct xdp_md *ctx)
{
    __u8 first = 0;

#ifdef FIXED
    if (bpf_xdp_load_bytes(ctx, 0, &first, sizeof(first)))
#else
    if (bpf_skb_load_bytes(ctx, 0, &first, sizeof(first)))
#endif
        return XDP_DROP;
    return first ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
