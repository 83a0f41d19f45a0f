// error: ctx
// line: 16
// Uses the context of another program type.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
#ifdef FIXED
int context_other_type(struct xdp_md *ctx)
{
    return ctx->ingress_ifindex == 1 ? XDP_PASS : XDP_DROP;
}
#else
int context_other_type(struct __sk_buff *ctx)
{
    return ctx->ifindex == 1 ? XDP_PASS : XDP_DROP;
}
#endif

char LICENSE[] SEC("license") = "GPL";
