// error: packet_oob
// line: 19
// Reads the Ethernet header of a frame that may be empty.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int packet_unchecked(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;
    struct ethhdr *eth = data;

#ifdef FIXED
    if (data + sizeof(*eth) > data_end)
        return XDP_DROP;
#endif
    if (eth->h_proto == 0)
        return XDP_DROP;
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
