// error: loop
// line: 16
// Waits for another program to set a flag.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

volatile __u32 ready;

SEC("xdp")
int loop_waits_for_flag(struct xdp_md *ctx)
{
#ifdef FIXED
    if (!ready)
        return XDP_DROP;
#else
    while (!ready)
        ;
#endif
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
