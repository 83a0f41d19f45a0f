// error: uninit_reg
// line: 17
// Expects r1 to survive a call, in assembly.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int __attribute__((naked)) uninit_after_call(struct xdp_md *ctx)
{
#ifdef FIXED
    asm volatile("r6 = r1");
    asm volatile("call 7");
    asm volatile("r1 = r6");
#else
    asm volatile("call 7");
#endif
    asm volatile("r0 = *(u32 *)(r1 + 16)");
    asm volatile("exit");
}

char LICENSE[] SEC("license") = "GPL";
