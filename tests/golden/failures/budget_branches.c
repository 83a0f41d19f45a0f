// error: budget
// steps: 20000
// Collects 40 bits one by one: 2^40 paths, each with a number of its own.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int budget_branches(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;
    __u8 *byte = data;
    __u64 bits = 0;

    if (data + 64 > data_end)
        return XDP_DROP;
#ifdef FIXED
    for (int i = 0; i < 6; i++)
#else
    for (int i = 0; i < 40; i++)
#endif
        if (byte[i] > 9) {
            bits |= 1UL << i;
            asm volatile("" : "+r"(bits));
        }
    return byte[bits & 63] ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
