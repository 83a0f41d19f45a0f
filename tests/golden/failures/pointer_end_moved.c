// error: ptr_arith
// line: 19
// Reads the last byte of a frame backwards from its end.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int pointer_end_moved(struct xdp_md *ctx)
{
#ifdef FIXED
    __u8 last;

    if (bpf_xdp_load_bytes(ctx, bpf_xdp_get_buff_len(ctx) - 1, &last, 1))
        return XDP_DROP;
    return last ? XDP_PASS : XDP_DROP;
#else
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;
    __u8 *last = data_end - 1;

    if ((void *)last < data)
        return XDP_DROP;
    return *last ? XDP_PASS : XDP_DROP;
#endif
}

char LICENSE[] SEC("license") = "GPL";
