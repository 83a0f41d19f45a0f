// error: align
// line: 13
// Writes 8 bytes to an odd place of the stack, in assembly.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int stack_unaligned(struct xdp_md *ctx)
{
#ifdef FIXED
    asm volatile("*(u64 *)(r10 - 16) = %0" : : "r"(1L) : "memory");
#else
    asm volatile("*(u64 *)(r10 - 13) = %0" : : "r"(1L) : "memory");
#endif
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
