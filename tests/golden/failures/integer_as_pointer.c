// error: bad_deref
// line: 20
// Takes a number of the context for an address.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int integer_as_pointer(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;
#ifdef FIXED
    __u8 *byte = data;
#else
    __u8 *byte = (void *)(long)ctx->ingress_ifindex;
#endif

    if (data + 1 > data_end)
        return XDP_DROP;
    return *byte ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
