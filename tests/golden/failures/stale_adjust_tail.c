// error: stale_pointer
// line: 21
// Writes through the pointers from before bpf_xdp_adjust_tail.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int stale_adjust_tail(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;
    __u8 *byte = data;

    if ((void *)(byte + 8) > data_end)
        return XDP_DROP;
#ifdef FIXED
    *byte = 0;
    bpf_xdp_adjust_tail(ctx, -4);
#else
    bpf_xdp_adjust_tail(ctx, -4);
    *byte = 0;
#endif
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
