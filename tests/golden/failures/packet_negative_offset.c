// error: packet_oob
// line: 19
// Reads what stood before the start of the frame.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int packet_negative_offset(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;
    __u8 *byte = data;

    if ((void *)(byte + 1) > data_end)
        return XDP_DROP;
#ifdef FIXED
    return byte[0] ? XDP_PASS : XDP_DROP;
#else
    return byte[-1] ? XDP_PASS : XDP_DROP;
#endif
}

char LICENSE[] SEC("license") = "GPL";
