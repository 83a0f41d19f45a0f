// error: helper_arg
// line: 22
// Takes the size for a helper from the packet, without an upper limit.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int helper_size_unbounded(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;
    char buffer[64] = {};

    if (data + 4 > data_end)
        return XDP_DROP;
    __u32 size = *(__u32 *)data;
#ifdef FIXED
    size &= 63;
#endif
    if (size == 0)
        return XDP_DROP;
    return bpf_xdp_load_bytes(ctx, 0, buffer, size) ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
