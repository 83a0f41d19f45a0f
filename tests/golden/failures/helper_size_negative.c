// error: helper_arg
// line: 24
// Compares a signed size with the upper limit only.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int helper_size_negative(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;
    char buffer[64] = {};

    if (data + 4 > data_end)
        return XDP_DROP;
    long size = *(__s32 *)data;
#ifdef FIXED
    if (size < 1 || size > 64)
#else
    if (size > 64)
#endif
        return XDP_DROP;
    asm volatile("" : "+r"(size));
    return bpf_xdp_load_bytes(ctx, 0, buffer, size) ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
