// error: insn
// line: 15
// Shifts a number of 64 bits by 64.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int shift_past_width(struct xdp_md *ctx)
{
    __u64 queue = ctx->rx_queue_index;

#ifdef FIXED
    asm volatile("%0 <<= 63" : "+r"(queue));
#else
    asm volatile("%0 <<= 64" : "+r"(queue));
#endif
    return queue ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
