// error: readonly
// line: 16
// Writes a constant of .rodata.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const volatile __u32 limit = 100;
__u32 current = 100;

SEC("xdp")
int readonly_constant(struct xdp_md *ctx)
{
#ifdef FIXED
    current = ctx->rx_queue_index;
#else
    *(volatile __u32 *)&limit = ctx->rx_queue_index;
#endif
    return limit > current ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
