// error: ctx
// line: 13
// Writes a field of the context.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int context_written(struct xdp_md *ctx)
{
#ifdef FIXED
    return bpf_redirect(2, 0);
#else
    ctx->ingress_ifindex = 2;
    return XDP_PASS;
#endif
}

char LICENSE[] SEC("license") = "GPL";
