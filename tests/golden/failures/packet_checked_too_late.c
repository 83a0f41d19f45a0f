// error: packet_oob
// line: 16
// Reads first and checks afterwards.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int packet_checked_too_late(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;
    volatile struct ethhdr *eth = data;

#ifndef FIXED
    __u16 protocol = eth->h_proto;
#endif
    if (data + sizeof(*eth) > data_end)
        return XDP_DROP;
#ifdef FIXED
    __u16 protocol = eth->h_proto;
#endif
    return protocol ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
