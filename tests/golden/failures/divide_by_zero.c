// error: insn
// line: 15
// Divides by the constant 0.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int divide_by_zero(struct xdp_md *ctx)
{
    __u64 queue = ctx->rx_queue_index;

#ifdef FIXED
    asm volatile("%0 /= 2" : "+r"(queue));
#else
    asm volatile("%0 /= 0" : "+r"(queue));
#endif
    return queue ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
