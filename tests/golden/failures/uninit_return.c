// error: uninit_reg
// line: 16
// Ends without a return value.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u64 packets;

SEC("xdp")
int uninit_return(struct xdp_md *ctx)
{
    packets++;
#ifdef FIXED
    return XDP_PASS;
#endif
}

char LICENSE[] SEC("license") = "GPL";
