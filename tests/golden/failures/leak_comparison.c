// error: leak
// line: 18
// Compares the address of the packet with a number.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u64 large;

SEC("xdp")
int leak_comparison(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;

#ifdef FIXED
    if (data_end - data > 1000)
#else
    if (data > (void *)1000)
#endif
        large++;
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
