// error: bad_deref
// line: 19
// Counts with an atomic operation in the packet.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int atomic_packet(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;
    __u64 *count = data;

    if ((void *)(count + 1) > data_end)
        return XDP_DROP;
#ifdef FIXED
    *count += 1;
#else
    __sync_fetch_and_add(count, 1);
#endif
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
