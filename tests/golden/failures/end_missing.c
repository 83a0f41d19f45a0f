// error: cfg
// line: 15
// Promises the compiler that a place is never reached, and there is no return.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int end_missing(struct xdp_md *ctx)
{
    if (ctx->rx_queue_index == 0)
        return XDP_DROP;
#ifdef FIXED
    return XDP_PASS;
#else
    bpf_get_smp_processor_id();
    __builtin_unreachable();
#endif
}

char LICENSE[] SEC("license") = "GPL";
