// error: packet_oob
// line: 17
// Reads metadata that nobody may have put before the frame.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int packet_metadata_unchecked(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    __u32 *mark = (void *)(long)ctx->data_meta;

#ifdef FIXED
    if ((void *)(mark + 1) > data)
        return XDP_PASS;
#endif
    return *mark ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
