// error: stale_pointer
// line: 22
// Goes on with the pointers from before bpf_xdp_adjust_head.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int stale_adjust_head(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;
    __u8 *byte = data;

    if ((void *)(byte + 8) > data_end || bpf_xdp_adjust_head(ctx, 4))
        return XDP_DROP;
#ifdef FIXED
    byte = (void *)(long)ctx->data;
    data_end = (void *)(long)ctx->data_end;
    if ((void *)(byte + 1) > data_end)
        return XDP_DROP;
#endif
    return *byte ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
