// error: ctx
// line: 13
// Reads one byte of a field of four.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int context_width(struct xdp_md *ctx)
{
#ifdef FIXED
    __u32 queue = ctx->rx_queue_index & 255;
#else
    __u32 queue = *(volatile __u8 *)&ctx->rx_queue_index;
#endif

    return queue ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
