// error: insn
// line: 11
// Makes room on the stack as other processors do.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int __attribute__((naked)) frame_pointer_written(struct xdp_md *ctx)
{
#ifndef FIXED
    asm volatile("r10 += -8");
#endif
    asm volatile("r0 = 2");
    asm volatile("exit");
}

char LICENSE[] SEC("license") = "GPL";
