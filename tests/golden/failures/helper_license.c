// error: helper
// line: 10
// Calls a helper that only GPL programs may call.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int helper_license(struct xdp_md *ctx)
{
    bpf_printk("queue %d", ctx->rx_queue_index);
    return XDP_PASS;
}

#ifdef FIXED
char LICENSE[] SEC("license") = "GPL";
#else
char LICENSE[] SEC("license") = "Proprietary";
#endif
