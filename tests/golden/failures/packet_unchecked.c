// error: packet_oob
// line: 16
// Reads the first byte of a frame that may be empty.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int packet_unchecked(struct xdp_md *ctx)
{
    __u8 *first = (void *)(long)ctx->data;

#ifdef FIXED
    if ((void *)(first + 1) > (void *)(long)ctx->data_end)
        return XDP_DROP;
#endif
    return *first ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
