// error: packet_oob
// line: 21
// Leaves when the header is there, and reads it when it is not.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int packet_wrong_direction(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;
    struct ethhdr *eth = data;

#ifdef FIXED
    if (data + sizeof(*eth) > data_end)
#else
    if (data + sizeof(*eth) <= data_end)
#endif
        return XDP_PASS;
    if (eth->h_proto == 0)
        return XDP_DROP;
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
