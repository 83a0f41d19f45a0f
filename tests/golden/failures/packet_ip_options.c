// error: packet_oob
// line: 23
// Checks the IP header without options and reads an option.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int packet_ip_options(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data;
    void *data_end = (void *)(long)ctx->data_end;
    struct iphdr *ip = data + sizeof(struct ethhdr);
    __u8 *option = (void *)(ip + 1);

    if ((void *)(ip + 1) > data_end || ip->ihl == 5)
        return XDP_PASS;
#ifdef FIXED
    if ((void *)(option + 1) > data_end)
        return XDP_DROP;
#endif
    if (*option == 131)
        return XDP_DROP;
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
