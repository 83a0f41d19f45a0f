/* Room per base, variable offsets, options, extension headers, TLVs. */
#include "common.h"

#define START void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end

SEC("xdp") int ok_header(struct xdp_md *ctx)
{
    START;
    struct ethhdr *eth = data;
    if ((void *)(eth + 1) > end)
        return XDP_DROP;
    return eth->h_proto == bpf_htons(ETH_P_IP) ? XDP_PASS : XDP_DROP;
}

SEC("xdp") int bad_header_unchecked(struct xdp_md *ctx)
{
    START;
    struct ethhdr *eth = data;
    if (data > end)
        return XDP_DROP;
    return eth->h_proto == bpf_htons(ETH_P_IP) ? XDP_PASS : XDP_DROP;
}

SEC("xdp") int bad_header_off_by_one(struct xdp_md *ctx)
{
    START;
    if (data + 14 > end)
        return XDP_DROP;
    return *(__u8 *)(data + 14);
}

SEC("xdp") int ok_header_at_or_behind(struct xdp_md *ctx)
{
    START;
    if (data + 13 >= end)
        return XDP_DROP;
    return *(__u8 *)(data + 13);
}

SEC("xdp") int ok_end_compared_first(struct xdp_md *ctx)
{
    START;
    if (end < data + 20)
        return XDP_DROP;
    return *(__u8 *)(data + 19);
}

SEC("xdp") int bad_end_compared_wrongly(struct xdp_md *ctx)
{
    START;
    if (end > data + 20)
        return XDP_DROP;
    return *(__u8 *)(data + 19);
}

SEC("xdp") int ok_options(struct xdp_md *ctx)
{
    START;
    struct ethhdr *eth = data;
    struct iphdr *ip = (void *)(eth + 1);
    if ((void *)(ip + 1) > end)
        return XDP_DROP;
    struct udphdr *udp = (void *)ip + ip->ihl * 4;
    if ((void *)(udp + 1) > end)
        return XDP_DROP;
    return udp->dest == bpf_htons(53) ? XDP_TX : XDP_PASS;
}

SEC("xdp") int bad_options_of_another_base(struct xdp_md *ctx)
{
    START;
    struct iphdr *ip = data;
    if (data + 80 > end)
        return XDP_DROP;
    struct udphdr *udp = (void *)ip + ip->ihl * 4 + ip->tos * 4;
    return udp->dest;
}

SEC("xdp") int ok_two_bases(struct xdp_md *ctx)
{
    START;
    if (data + 40 > end)
        return XDP_DROP;
    __u8 *first = data + (*(__u8 *)data & 15);
    __u8 *second = data + (*(__u8 *)(data + 1) & 15);
    if ((void *)first + 8 > end || (void *)second + 4 > end)
        return XDP_DROP;
    return first[7] + second[3];
}

SEC("xdp") int bad_two_bases_mixed(struct xdp_md *ctx)
{
    START;
    if (data + 40 > end)
        return XDP_DROP;
    __u8 *first = data + *(__u8 *)data;
    __u8 *second = data + *(__u8 *)(data + 1);
    if ((void *)first + 8 > end)
        return XDP_DROP;
    return second[3];
}

SEC("xdp") int ok_vlans(struct xdp_md *ctx)
{
    START;
    __u8 *at = data + 12;
    UNROLL for (int i = 0; i < 3; i++) {
        if ((void *)at + 4 > end)
            return XDP_DROP;
        if (*(__u16 *)at != bpf_htons(ETH_P_8021Q))
            break;
        at += 4;
    }
    if ((void *)at + 2 > end)
        return XDP_DROP;
    return *(__u16 *)at == bpf_htons(ETH_P_IP) ? XDP_PASS : XDP_DROP;
}

SEC("xdp") int more_tcp_options(struct xdp_md *ctx)
{
    START;
    __u8 *at = data + 54;
    LOOP for (int i = 0; i < 40; i++) {
        if ((void *)at + 2 > end)
            return XDP_PASS;
        if (at[0] == 0)
            return XDP_PASS;
        if (at[0] == 1) {
            at += 1;
            continue;
        }
        if (at[0] == 2)
            return XDP_TX;
        __u8 size = at[1];
        if (size < 2)
            return XDP_DROP;
        at += size;
    }
    return XDP_DROP;
}

SEC("xdp") int bad_tcp_options_unchecked(struct xdp_md *ctx)
{
    START;
    __u8 *at = data + 54;
    if ((void *)at + 2 > end)
        return XDP_PASS;
    LOOP for (int i = 0; i < 40; i++) {
        if (at[0] == 2)
            return XDP_TX;
        at += at[1];
    }
    return XDP_DROP;
}

SEC("xdp") int ok_extension_headers(struct xdp_md *ctx)
{
    START;
    __u8 next;
    struct ipv6hdr *ip = data + 14;
    __u8 *at = (void *)(ip + 1);
    if ((void *)at > end)
        return XDP_DROP;
    next = ip->nexthdr;
    UNROLL for (int i = 0; i < 4; i++) {
        if (next != 0 && next != 43 && next != 60)
            break;
        if ((void *)at + 8 > end)
            return XDP_DROP;
        next = at[0];
        at += (at[1] + 1) * 8;
    }
    if (next != IPPROTO_UDP || (void *)at + 8 > end)
        return XDP_PASS;
    return *(__u16 *)(at + 2) == bpf_htons(53) ? XDP_TX : XDP_PASS;
}

SEC("xdp") int ok_offset_kept_in_a_number(struct xdp_md *ctx)
{
    START;
    __u32 offset = 14;
    if (data + 15 > end)
        return XDP_DROP;
    offset += (*(__u8 *)(data + 14) & 15) * 4;
    if (data + offset + 4 > end)
        return XDP_DROP;
    return *(__u8 *)(data + offset + 3);
}

SEC("xdp") int bad_offset_too_large(struct xdp_md *ctx)
{
    START;
    if (data + 15 > end)
        return XDP_DROP;
    __u64 offset = *(__u32 *)(data + 4);
    __u8 *at = data + offset;
    if ((void *)at + 4 > end)
        return XDP_DROP;
    return at[3];
}

SEC("xdp") int ok_offset_limited(struct xdp_md *ctx)
{
    START;
    if (data + 15 > end)
        return XDP_DROP;
    __u64 offset = *(__u32 *)(data + 4);
    if (offset > 1500)
        return XDP_DROP;
    __u8 *at = data + offset;
    if ((void *)at + 4 > end)
        return XDP_DROP;
    return at[3];
}

SEC("xdp") int bad_negative_offset(struct xdp_md *ctx)
{
    START;
    if (data + 20 > end)
        return XDP_DROP;
    long offset = *(__s8 *)(data + 4);
    __u8 *at = data + 16 + offset;
    if ((void *)at + 1 > end)
        return XDP_DROP;
    return at[0];
}

SEC("xdp") int ok_write(struct xdp_md *ctx)
{
    START;
    __u8 mac[6];
    if (data + 14 > end)
        return XDP_DROP;
    __builtin_memcpy(mac, data, 6);
    __builtin_memcpy(data, data + 6, 6);
    __builtin_memcpy(data + 6, mac, 6);
    return XDP_TX;
}

SEC("xdp") int bad_stale_after_adjust(struct xdp_md *ctx)
{
    START;
    if (data + 34 > end)
        return XDP_DROP;
    if (bpf_xdp_adjust_head(ctx, 14))
        return XDP_DROP;
    return *(__u8 *)data;
}

SEC("xdp") int ok_reloaded_after_adjust(struct xdp_md *ctx)
{
    if (bpf_xdp_adjust_head(ctx, -20))
        return XDP_DROP;
    START;
    if (data + 34 > end)
        return XDP_DROP;
    __builtin_memset(data, 0, 34);
    return XDP_TX;
}

SEC("xdp") int ok_metadata(struct xdp_md *ctx)
{
    if (bpf_xdp_adjust_meta(ctx, -8))
        return XDP_PASS;
    __u32 *meta = (void *)(long)ctx->data_meta;
    void *data = (void *)(long)ctx->data;
    if ((void *)(meta + 2) > data)
        return XDP_PASS;
    meta[0] = 1;
    meta[1] = 2;
    return XDP_PASS;
}

SEC("xdp") int bad_metadata_against_the_end(struct xdp_md *ctx)
{
    __u32 *meta = (void *)(long)ctx->data_meta;
    void *end = (void *)(long)ctx->data_end;
    if ((void *)(meta + 2) > end)
        return XDP_PASS;
    meta[1] = 2;
    return XDP_PASS;
}

SEC("xdp") int ok_checksum(struct xdp_md *ctx)
{
    START;
    struct iphdr *ip = data + 14;
    if ((void *)(ip + 1) > end)
        return XDP_DROP;
    __u32 sum = 0;
    __u16 *words = (void *)ip;
    UNROLL for (int i = 0; i < 10; i++)
        sum += words[i];
    sum = (sum & 0xffff) + (sum >> 16);
    ip->check = ~(__u16)(sum + (sum >> 16));
    return XDP_TX;
}

SEC("xdp") int ok_checksum_of_all(struct xdp_md *ctx)
{
    START;
    __u32 sum = 0;
    __u16 *at = data;
    LOOP for (int i = 0; i < 750; i++) {
        if ((void *)(at + 1) > end)
            break;
        sum += *at++;
    }
    return sum & 1 ? XDP_PASS : XDP_DROP;
}

SEC("tc") int ok_classifier_pull(struct __sk_buff *skb)
{
    void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
    if (data + 34 > end) {
        if (bpf_skb_pull_data(skb, 34))
            return 0;
        data = (void *)(long)skb->data;
        end = (void *)(long)skb->data_end;
        if (data + 34 > end)
            return 0;
    }
    return *(__u8 *)(data + 33);
}

SEC("tc") int bad_classifier_stale_after_pull(struct __sk_buff *skb)
{
    void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
    if (data + 34 > end)
        return 0;
    bpf_skb_pull_data(skb, 64);
    return *(__u8 *)(data + 33);
}

SEC("cgroup_skb/ingress") int bad_read_only_packet_written(struct __sk_buff *skb)
{
    void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
    if (data + 4 > end)
        return 1;
    *(__u32 *)data = 0;
    return 1;
}

SEC("xdp") int ok_packet_as_key(struct xdp_md *ctx)
{
    START;
    if (data + 14 > end)
        return XDP_DROP;
    return bpf_map_lookup_elem(&table, data + 6) ? XDP_PASS : XDP_DROP;
}

SEC("xdp") int bad_packet_as_key_too_short(struct xdp_md *ctx)
{
    START;
    if (data + 13 > end)
        return XDP_DROP;
    return bpf_map_lookup_elem(&table, data + 6) ? XDP_PASS : XDP_DROP;
}
