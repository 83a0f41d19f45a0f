// error: ptr_arith
// line: 16
// Makes a hash of an address.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int pointer_multiplied(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;

#ifdef FIXED
    __u64 hash = (__u64)(data_end - data) * 2654435761;
#else
    __u64 hash = (__u64)(long)data * 2654435761;
#endif
    return hash >> 63;
}

char LICENSE[] SEC("license") = "GPL";
