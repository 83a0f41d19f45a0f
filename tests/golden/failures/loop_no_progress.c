// error: loop
// line: 17
// Walks options by their length, which may be 0.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int loop_no_progress(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;
    __u8 *option = data;

#ifdef FIXED
    for (int i = 0; i < 10 && (void *)(option + 2) <= data_end; i++) {
#else
    while ((void *)(option + 2) <= data_end) {
#endif
        if (option[0] == 68)
            return XDP_DROP;
        option += option[1];
    }
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
