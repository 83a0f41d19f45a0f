// error: retval
// line: 13
// A callback of bpf_loop returns the sum; 0 goes on and 1 stops.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

static long add(__u32 index, __u64 *sum)
{
    *sum += index;
#ifdef FIXED
    return 0;
#else
    return *sum;
#endif
}

SEC("xdp")
int callback_return(struct xdp_md *ctx)
{
    __u64 sum = ctx->ingress_ifindex;

    bpf_loop(10, add, &sum, 0);
    return sum ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
