/* Contexts of the program types, return values, arguments of helpers, packets of classic loads. */
#include "common.h"
#include <linux/bpf_perf_event.h>
#include <linux/pkt_cls.h>

struct {
    __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
    __type(key, __u32);
    __type(value, __u32);
} events SEC(".maps");

SEC("cgroup/connect4") int ok_address_rewritten(struct bpf_sock_addr *ctx)
{
    if (ctx->user_port == bpf_htons(80))
        ctx->user_port = bpf_htons(8080);
    if (ctx->user_ip4 == bpf_htonl(0x7f000001))
        ctx->user_ip4 = bpf_htonl(0x7f000002);
    return 1;
}

SEC("cgroup/connect4") int bad_address_of_another_family(struct bpf_sock_addr *ctx)
{
    return ctx->user_ip6[0] & 1;
}

SEC("cgroup/connect6") int ok_long_address(struct bpf_sock_addr *ctx)
{
    ctx->user_ip6[0] = ctx->user_ip6[3];
    return 1;
}

SEC("cgroup/connect4") int bad_return_of_connect(struct bpf_sock_addr *ctx)
{
    return 2;
}

SEC("cgroup/bind4") int ok_return_of_bind(struct bpf_sock_addr *ctx)
{
    return 3;
}

SEC("cgroup/bind4") int bad_return_of_bind(struct bpf_sock_addr *ctx)
{
    return ctx->user_port;
}

SEC("cgroup/recvmsg4") int bad_return_of_recvmsg(struct bpf_sock_addr *ctx)
{
    return 0;
}

SEC("cgroup/sendmsg4") int ok_source_rewritten(struct bpf_sock_addr *ctx)
{
    ctx->msg_src_ip4 = 0;
    return 1;
}

SEC("cgroup/connect4") int bad_source_of_connect(struct bpf_sock_addr *ctx)
{
    ctx->msg_src_ip4 = 0;
    return 1;
}

SEC("cgroup/connect4") int bad_field_read_only(struct bpf_sock_addr *ctx)
{
    ctx->family = 2;
    return 1;
}

SEC("cgroup/getsockname4") int ok_name_rewritten(struct bpf_sock_addr *ctx)
{
    ctx->user_ip4 = 1;
    return 1;
}

SEC("cgroup/sock_create") int ok_socket_marked(struct bpf_sock *ctx)
{
    ctx->mark = 3;
    ctx->priority = 1;
    return ctx->family == 2;
}

SEC("cgroup/sock_create") int bad_socket_field_written(struct bpf_sock *ctx)
{
    ctx->protocol = 3;
    return 1;
}

SEC("cgroup/post_bind4") int ok_port_after_bind(struct bpf_sock *ctx)
{
    return ctx->src_port != 22 && ctx->src_ip4 != 0;
}

SEC("cgroup/sock_create") int bad_port_before_bind(struct bpf_sock *ctx)
{
    return ctx->src_ip4 != 0;
}

SEC("sockops") int ok_operation(struct bpf_sock_ops *ctx)
{
    switch (ctx->op) {
    case BPF_SOCK_OPS_RWND_INIT:
        ctx->reply = 10;
        break;
    case BPF_SOCK_OPS_RTT_CB:
        ctx->sk_txhash = ctx->args[0];
        break;
    default:
        bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
    }
    return 1;
}

SEC("sockops") int bad_operation_written(struct bpf_sock_ops *ctx)
{
    ctx->op = 1;
    return 1;
}

SEC("sockops") int ok_options_of_tcp(struct bpf_sock_ops *ctx)
{
    int size = 1500;
    bpf_setsockopt(ctx, 6, 2, &size, sizeof size);
    return 1;
}

SEC("sockops") int bad_return_of_an_operation(struct bpf_sock_ops *ctx)
{
    return 2;
}

SEC("socket") int ok_socket_filter(struct __sk_buff *skb)
{
    __u8 protocol;
    if (bpf_skb_load_bytes(skb, 23, &protocol, 1))
        return 0;
    skb->cb[0] = protocol;
    return protocol == IPPROTO_UDP ? skb->len : 0;
}

SEC("socket") int bad_packet_of_a_socket_filter(struct __sk_buff *skb)
{
    void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
    return data < end ? 1 : 0;
}

SEC("socket") int bad_mark_of_a_socket_filter(struct __sk_buff *skb)
{
    skb->mark = 1;
    return 0;
}

unsigned long long load_half(void *skb, unsigned long long at) asm("llvm.bpf.load.half");
unsigned long long load_byte(void *skb, unsigned long long at) asm("llvm.bpf.load.byte");

SEC("socket") int ok_classic_loads(struct __sk_buff *skb)
{
    if (load_half(skb, 12) != ETH_P_IP)
        return 0;
    return load_byte(skb, 14 + (load_byte(skb, 14) & 15) * 4);
}

SEC("xdp") int bad_classic_loads(struct xdp_md *ctx)
{
    return load_half(ctx, 12);
}

SEC("tc") int ok_classifier(struct __sk_buff *skb)
{
    skb->mark = skb->hash;
    skb->tc_index = 3;
    skb->priority = skb->vlan_tci & 7;
    return TC_ACT_OK;
}

SEC("tc") int bad_length_written(struct __sk_buff *skb)
{
    skb->len = 3;
    return TC_ACT_OK;
}

SEC("action") int ok_action(struct __sk_buff *skb)
{
    __u16 port = bpf_htons(53);
    bpf_skb_store_bytes(skb, 36, &port, 2, BPF_F_RECOMPUTE_CSUM);
    bpf_l4_csum_replace(skb, 40, 0, port, 2);
    return TC_ACT_SHOT;
}

SEC("cgroup_skb/egress") int ok_egress(struct __sk_buff *skb)
{
    void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
    if (data + sizeof(struct iphdr) > end)
        return 1;
    return ((struct iphdr *)data)->ttl & 3;
}

SEC("cgroup_skb/ingress") int bad_return_of_ingress(struct __sk_buff *skb)
{
    return 2;
}

SEC("kprobe/do_nothing") int ok_registers(void *ctx)
{
    unsigned long *regs = ctx;
    struct value v = {.sum = regs[14]};
    __u64 key = bpf_get_current_pid_tgid();
    bpf_get_current_comm(v.bytes, 16);
    bpf_map_update_elem(&table, &key, &v, BPF_ANY);
    return 0;
}

SEC("kprobe/do_nothing") int bad_registers_written(void *ctx)
{
    ((unsigned long *)ctx)[14] = 0;
    return 0;
}

SEC("kprobe/do_nothing") int bad_kernel_memory_read(void *ctx)
{
    unsigned long *regs = ctx;
    return *(int *)regs[14];
}

SEC("kprobe/do_nothing") int ok_kernel_memory_probed(void *ctx)
{
    unsigned long *regs = ctx;
    int value = 0;
    bpf_probe_read_kernel(&value, sizeof value, (void *)regs[14]);
    return value & 1;
}

SEC("tracepoint/syscalls/sys_enter_openat") int ok_tracepoint(__u64 *ctx)
{
    char name[32];
    long n = bpf_probe_read_user_str(name, sizeof name, (void *)ctx[3]);
    if (n <= 0 || n > 32)
        return 0;
    bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, name, n);
    return 0;
}

SEC("tracepoint/syscalls/sys_enter_openat") int ok_string_size(__u64 *ctx)
{
    __u32 key = 0;
    struct value *v = bpf_map_lookup_elem(&values, &key);
    if (!v)
        return 0;
    long n = bpf_probe_read_user_str(v->bytes, 32, (void *)ctx[3]);
    if (n < 0)
        return 0;
    bpf_probe_read_user_str(v->bytes + n, 32, (void *)ctx[4]);
    return 0;
}

SEC("tracepoint/syscalls/sys_enter_openat") int bad_string_size(__u64 *ctx)
{
    __u32 key = 0;
    struct value *v = bpf_map_lookup_elem(&values, &key);
    if (!v)
        return 0;
    long n = bpf_probe_read_user_str(v->bytes, 32, (void *)ctx[3]);
    if (n < 0)
        return 0;
    bpf_probe_read_user_str(v->bytes + n, 64, (void *)ctx[4]);
    return 0;
}

SEC("raw_tracepoint/sys_enter") int ok_raw_tracepoint(struct bpf_raw_tracepoint_args *ctx)
{
    return ctx->args[1] & 1;
}

SEC("perf_event") int ok_perf_event(struct bpf_perf_event_data *ctx)
{
    return ctx->sample_period > 100 && ctx->addr;
}

SEC("perf_event") int bad_perf_event_written(struct bpf_perf_event_data *ctx)
{
    ctx->sample_period = 3;
    return 0;
}

SEC("tc") int ok_size_variable(struct __sk_buff *skb)
{
    __u8 room[64];
    __u32 n = skb->len;
    if (n == 0 || n > 64)
        return 0;
    bpf_skb_load_bytes(skb, 0, room, n);
    return 0;
}

SEC("tc") int bad_size_may_be_zero(struct __sk_buff *skb)
{
    __u8 room[64];
    __u32 n = skb->len;
    if (n > 64)
        return 0;
    bpf_skb_load_bytes(skb, 0, room, n);
    return 0;
}

SEC("tc") int bad_size_too_large(struct __sk_buff *skb)
{
    __u8 room[64];
    __u32 n = skb->len;
    if (n == 0 || n > 65)
        return 0;
    bpf_skb_load_bytes(skb, 0, room, n);
    return 0;
}

SEC("tc") int bad_size_signed(struct __sk_buff *skb)
{
    __u8 room[64];
    int n = skb->len;
    HIDE(n);
    if (n > 64)
        return 0;
    bpf_skb_load_bytes(skb, 0, room, n);
    return 0;
}

SEC("tc") int ok_checksum_of_nothing(struct __sk_buff *skb)
{
    __be32 to[2] = {1, 2};
    return bpf_csum_diff(0, 0, to, sizeof to, 0) & 1;
}

SEC("tc") int ok_printed(struct __sk_buff *skb)
{
    bpf_printk("%d bytes", skb->len);
    return 0;
}

SEC("xdp") int bad_helper_of_another_type(struct xdp_md *ctx)
{
    return bpf_skb_pull_data((void *)ctx, 3);
}

SEC("xdp") int bad_context_moved(struct xdp_md *ctx)
{
    void *moved = ctx;
    HIDE(moved);
    moved += 4;
    HIDE(moved);
    return bpf_xdp_adjust_head(moved, 4);
}

SEC("xdp") int bad_context_written(struct xdp_md *ctx)
{
    ctx->rx_queue_index = 1;
    return 0;
}

SEC("xdp") int bad_field_of_devmap(struct xdp_md *ctx)
{
    return ctx->egress_ifindex & 1;
}

SEC("xdp/devmap") int ok_field_of_devmap(struct xdp_md *ctx)
{
    return ctx->egress_ifindex & 1;
}

SEC("xdp") int ok_return_of_anything(struct xdp_md *ctx)
{
    return ctx->rx_queue_index;
}
