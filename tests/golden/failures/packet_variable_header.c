// error: packet_oob
// line: 24
// Finds the TCP header by the length of the IP header and does not check that it is there.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int packet_variable_header(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;
    struct iphdr *ip = data + sizeof(struct ethhdr);

    if ((void *)(ip + 1) > data_end)
        return XDP_DROP;
    struct tcphdr *tcp = (void *)ip + ip->ihl * 4;
#ifdef FIXED
    if ((void *)(tcp + 1) > data_end)
        return XDP_DROP;
#endif
    if (tcp->syn)
        return XDP_DROP;
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
