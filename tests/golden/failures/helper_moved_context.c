// error: helper_arg
// line: 13
// Passes the address of a field where the context is wanted.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int helper_moved_context(struct xdp_md *ctx)
{
#ifdef FIXED
    return bpf_xdp_adjust_head(ctx, 4) ? XDP_DROP : XDP_PASS;
#else
    return bpf_xdp_adjust_head((void *)&ctx->data_end, 4) ? XDP_DROP : XDP_PASS;
#endif
}

char LICENSE[] SEC("license") = "GPL";
