// error: uninit_reg
// line: 17
// Passes a size that was never set.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int uninit_size(struct xdp_md *ctx)
{
    char buffer[16] = {};
#ifdef FIXED
    __u32 size = sizeof(buffer);
#else
    __u32 size;
#endif

    if (bpf_xdp_load_bytes(ctx, 0, buffer, size))
        return XDP_DROP;
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
