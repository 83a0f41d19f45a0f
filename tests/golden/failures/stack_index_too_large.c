// error: stack
// line: 21
// Takes an index of 8 bits from the packet for an array of 64 on the stack.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int stack_index_too_large(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;
    volatile char seen[64] = {};

    if (data + 1 > data_end)
        return XDP_DROP;
#ifdef FIXED
    __u32 index = *(__u8 *)data & 63;
#else
    __u32 index = *(__u8 *)data;
#endif
    seen[index] = 1;
    return seen[0] ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
