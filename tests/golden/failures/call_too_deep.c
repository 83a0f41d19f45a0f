// error: call
// line: 15
// Nine functions are active at once; the limit is eight.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define LEVEL(name, inner)                              \
    static __attribute__((noinline)) int name(int n)    \
    {                                                   \
        asm volatile("" : "+r"(n));                     \
        return inner + 1;                               \
    }

LEVEL(one, n)
LEVEL(two, one(n))
LEVEL(three, two(n))
LEVEL(four, three(n))
LEVEL(five, four(n))
LEVEL(six, five(n))
LEVEL(seven, six(n))
#ifdef FIXED
LEVEL(eight, n)
#else
LEVEL(eight, seven(n))
#endif

SEC("xdp")
int call_too_deep(struct xdp_md *ctx)
{
    return eight(ctx->rx_queue_index) ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
