// error: call
// line: 13
// A function calls itself.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

static __attribute__((noinline)) __u32 depth(__u32 n)
{
    asm volatile("" : "+r"(n));
#ifdef FIXED
    return n > 9 ? 9 : n;
#else
    return n > 9 ? n : depth(n + 1) / 3;
#endif
}

SEC("xdp")
int call_recursion(struct xdp_md *ctx)
{
    return depth(ctx->rx_queue_index) ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
