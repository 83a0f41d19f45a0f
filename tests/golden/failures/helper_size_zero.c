// error: helper_arg
// line: 17
// Passes a size that may be 0.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int helper_size_zero(struct xdp_md *ctx)
{
    char buffer[64] = {};
    __u32 size = ctx->rx_queue_index & 63;

#ifdef FIXED
    if (size == 0)
        return XDP_DROP;
#endif
    return bpf_xdp_load_bytes(ctx, 0, buffer, size) ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
