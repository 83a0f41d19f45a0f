// error: packet_oob
// line: 23
// Checks the Ethernet header and reads the IP header behind it.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int packet_ethernet_only(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;
    struct ethhdr *eth = data;
    struct iphdr *ip = (void *)(eth + 1);

#ifdef FIXED
    if ((void *)(ip + 1) > data_end)
#else
    if ((void *)(eth + 1) > data_end)
#endif
        return XDP_DROP;
    if (ip->protocol == 17)
        return XDP_DROP;
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
