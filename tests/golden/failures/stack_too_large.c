// error: stack
// line: 13
// Two functions with a buffer of 300 bytes each call one another.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#ifdef FIXED
#define SIZE 200
#else
#define SIZE 300
#endif

static __attribute__((noinline)) int inner(struct xdp_md *ctx)
{
    char buffer[SIZE] = {};

    return bpf_xdp_load_bytes(ctx, 0, buffer, sizeof(buffer)) ? 0 : buffer[0];
}

SEC("xdp")
int stack_too_large(struct xdp_md *ctx)
{
    char buffer[SIZE] = {};

    bpf_xdp_load_bytes(ctx, 0, buffer, sizeof(buffer));
    return inner(ctx) == buffer[0] ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
