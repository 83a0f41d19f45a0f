// error: stack
// line: 19
// Lets a helper write up to 255 bytes into a buffer of 64.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int stack_size_too_large(struct xdp_md *ctx)
{
    char buffer[64] = {};
#ifdef FIXED
    __u32 size = ctx->rx_queue_index & 63;
#else
    __u32 size = ctx->rx_queue_index & 255;
#endif

    if (size == 0)
        return XDP_DROP;
    return bpf_xdp_load_bytes(ctx, 0, buffer, size) ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
