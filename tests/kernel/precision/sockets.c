/* Maps of sockets that programs change. */
#include "common.h"

struct {
    __uint(type, BPF_MAP_TYPE_SOCKMAP);
    __uint(max_entries, 2);
    __type(key, __u32);
    __type(value, __u64);
} places SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_SOCKHASH);
    __uint(max_entries, 2);
    __type(key, __u32);
    __type(value, __u64);
} names SEC(".maps");

#define COPY(from, to) \
    __u32 key = 0; \
    struct bpf_sock *sk = bpf_map_lookup_elem(&from, &key); \
    if (!sk) \
        return 0; \
    key = 1; \
    bpf_map_update_elem(&to, &key, sk, 0); \
    bpf_sk_release(sk); \
    return 0

#define DELETE(map) \
    __u32 key = 0; \
    return bpf_map_delete_elem(&map, &key) & 1

SEC("tc") int ok_socket_copied(struct __sk_buff *skb) { COPY(places, names); }
SEC("xdp") int ok_socket_copied_of_a_driver(struct xdp_md *ctx) { COPY(names, places); }
SEC("socket") int ok_socket_deleted_of_a_filter(struct __sk_buff *skb) { DELETE(places); }
SEC("sockops") int bad_socket_copied_of_operations(struct bpf_sock_ops *ctx) { COPY(places, names); }
SEC("cgroup_skb/ingress") int bad_socket_copied_of_a_group(struct __sk_buff *skb) { COPY(places, names); }
SEC("tp/syscalls/sys_enter_openat") int bad_socket_copied_of_a_trace(void *ctx) { COPY(places, names); }
SEC("tc") int ok_socket_deleted(struct __sk_buff *skb) { DELETE(places); }
SEC("sockops") int ok_socket_deleted_of_operations(struct bpf_sock_ops *ctx) { DELETE(names); }
SEC("cgroup/connect4") int bad_socket_deleted_of_addresses(struct bpf_sock_addr *ctx) { DELETE(names); }

SEC("tc") int bad_socket_of_the_packet_unchecked(struct __sk_buff *skb)
{
    __u32 key = 0;
    bpf_map_update_elem(&places, &key, skb->sk, 0);
    return 0;
}

SEC("tc") int ok_socket_of_the_packet(struct __sk_buff *skb)
{
    __u32 key = 0;
    if (skb->sk)
        bpf_map_update_elem(&places, &key, skb->sk, 0);
    return 0;
}

SEC("tc") int ok_socket_of_the_packet_once(struct __sk_buff *skb)
{
    __u32 key = 0;
    struct bpf_sock *sk = skb->sk;
    if (!sk)
        return 0;
    bpf_map_update_elem(&places, &key, sk, 0);
    return 0;
}

SEC("tc") int bad_number_as_a_socket(struct __sk_buff *skb)
{
    __u32 key = 0;
    __u64 value = 1;
    bpf_map_update_elem(&places, &key, &value, 0);
    return 0;
}

SEC("tc") int bad_released_socket(struct __sk_buff *skb)
{
    __u32 key = 0;
    struct bpf_sock *sk = bpf_map_lookup_elem(&places, &key);
    if (!sk)
        return 0;
    bpf_sk_release(sk);
    bpf_map_update_elem(&names, &key, sk, 0);
    return 0;
}

SEC("tc") int bad_copied_socket_kept(struct __sk_buff *skb)
{
    __u32 key = 0;
    struct bpf_sock *sk = bpf_map_lookup_elem(&places, &key);
    if (sk)
        bpf_map_update_elem(&names, &key, sk, 0);
    return 0;
}
