// error: stale_pointer
// line: 29
// Calls a function that moves the packet, and goes on with the old pointer.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

static __attribute__((noinline)) int strip(struct xdp_md *ctx)
{
    return bpf_xdp_adjust_head(ctx, 4);
}

SEC("xdp")
int stale_in_function(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;
    __u8 *byte = data;

    if ((void *)(byte + 8) > data_end)
        return XDP_DROP;
#ifdef FIXED
    int first = *byte;
    if (strip(ctx))
        return XDP_DROP;
    return first ? XDP_PASS : XDP_DROP;
#else
    if (strip(ctx))
        return XDP_DROP;
    return *byte ? XDP_PASS : XDP_DROP;
#endif
}

char LICENSE[] SEC("license") = "GPL";
