// error: leak
// line: 13
// Returns the address of the packet.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int leak_return(struct xdp_md *ctx)
{
#ifdef FIXED
    return (void *)(long)ctx->data == (void *)(long)ctx->data_end ? XDP_DROP : XDP_PASS;
#else
    return ctx->data;
#endif
}

char LICENSE[] SEC("license") = "GPL";
