// error: loop
// line: 15
// Loops until a random number is even.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int loop_waits_for_chance(struct xdp_md *ctx)
{
#ifdef FIXED
    for (int i = 0; i < 100; i++)
        if (!(bpf_get_prandom_u32() & 1))
            break;
#else
    while (bpf_get_prandom_u32() & 1)
        ;
#endif
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
