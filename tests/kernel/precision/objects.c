/* References, locks, memory from helpers, maps inside maps, timers. */
#include "common.h"

struct locked {
    struct bpf_spin_lock lock;
    __u32 count;
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 2);
    __type(key, __u32);
    __type(value, struct locked);
} locks SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096);
} ring SEC(".maps");

struct inner {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 4);
    __type(key, __u32);
    __type(value, __u64);
} first SEC(".maps"), second SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
    __uint(max_entries, 2);
    __type(key, __u32);
    __array(values, struct inner);
} outer SEC(".maps") = {.values = {&first, &second}};

SEC("xdp") int ok_record(struct xdp_md *ctx)
{
    __u64 *record = bpf_ringbuf_reserve(&ring, 16, 0);
    if (!record)
        return 0;
    record[0] = ctx->rx_queue_index;
    record[1] = 2;
    bpf_ringbuf_submit(record, 0);
    return 1;
}

SEC("xdp") int bad_record_kept(struct xdp_md *ctx)
{
    __u64 *record = bpf_ringbuf_reserve(&ring, 16, 0);
    if (!record)
        return 0;
    record[0] = 1;
    return 1;
}

SEC("xdp") int bad_record_kept_on_one_path(struct xdp_md *ctx)
{
    __u64 *record = bpf_ringbuf_reserve(&ring, 16, 0);
    if (!record)
        return 0;
    if (ctx->rx_queue_index == 3)
        return 1;
    bpf_ringbuf_discard(record, 0);
    return 1;
}

SEC("xdp") int bad_record_behind(struct xdp_md *ctx)
{
    __u64 *record = bpf_ringbuf_reserve(&ring, 16, 0);
    if (!record)
        return 0;
    record[2] = 1;
    bpf_ringbuf_submit(record, 0);
    return 1;
}

SEC("xdp") int bad_record_after_submit(struct xdp_md *ctx)
{
    volatile __u64 *record = bpf_ringbuf_reserve(&ring, 16, 0);
    if (!record)
        return 0;
    bpf_ringbuf_submit((void *)record, 0);
    record[0] = 1;
    return 1;
}

SEC("xdp") int bad_record_submitted_twice(struct xdp_md *ctx)
{
    __u64 *record = bpf_ringbuf_reserve(&ring, 16, 0);
    if (!record)
        return 0;
    bpf_ringbuf_submit(record, 0);
    bpf_ringbuf_submit(record, 0);
    return 1;
}

SEC("xdp") int bad_record_unchecked(struct xdp_md *ctx)
{
    __u64 *record = bpf_ringbuf_reserve(&ring, 16, 0);
    record[0] = 1;
    bpf_ringbuf_submit(record, 0);
    return 1;
}

SEC("xdp") int ok_record_at_variable(struct xdp_md *ctx)
{
    __u8 *record = bpf_ringbuf_reserve(&ring, 16, 0);
    if (!record)
        return 0;
    record[ctx->rx_queue_index & 15] = 1;
    bpf_ringbuf_submit(record, 0);
    return 1;
}

SEC("xdp") int ok_output(struct xdp_md *ctx)
{
    __u64 data = 3;
    return bpf_ringbuf_output(&ring, &data, sizeof data, 0) & 1;
}

SEC("tc") int ok_socket_looked_up(struct __sk_buff *skb)
{
    struct bpf_sock_tuple tuple = {.ipv4 = {.sport = 1, .dport = 2}};
    struct bpf_sock *sk = bpf_sk_lookup_tcp(skb, &tuple, sizeof tuple.ipv4, -1, 0);
    if (!sk)
        return 0;
    __u32 mark = sk->mark;
    bpf_sk_release(sk);
    return mark & 1;
}

SEC("tc") int bad_socket_not_released(struct __sk_buff *skb)
{
    struct bpf_sock_tuple tuple = {.ipv4 = {.sport = 1, .dport = 2}};
    return bpf_sk_lookup_tcp(skb, &tuple, sizeof tuple.ipv4, -1, 0) ? 1 : 0;
}

SEC("tc") int bad_socket_used_after_release(struct __sk_buff *skb)
{
    struct bpf_sock_tuple tuple = {.ipv4 = {.sport = 1, .dport = 2}};
    struct bpf_sock *sk = bpf_sk_lookup_tcp(skb, &tuple, sizeof tuple.ipv4, -1, 0);
    if (!sk)
        return 0;
    bpf_sk_release(sk);
    return sk->mark & 1;
}

SEC("tc") int bad_socket_unchecked(struct __sk_buff *skb)
{
    struct bpf_sock_tuple tuple = {.ipv4 = {.sport = 1, .dport = 2}};
    struct bpf_sock *sk = bpf_sk_lookup_tcp(skb, &tuple, sizeof tuple.ipv4, -1, 0);
    bpf_sk_release(sk);
    return 0;
}

SEC("cgroup_skb/ingress") int ok_socket_of_the_context(struct __sk_buff *skb)
{
    struct bpf_sock *sk = skb->sk;
    if (!sk)
        return 1;
    sk = bpf_sk_fullsock(sk);
    return sk ? sk->mark & 1 : 1;
}

SEC("cgroup_skb/ingress") int bad_socket_of_the_context_unchecked(struct __sk_buff *skb)
{
    struct bpf_sock *sk = bpf_sk_fullsock(skb->sk);
    return sk ? sk->mark & 1 : 1;
}

SEC("cgroup_skb/ingress") int bad_part_of_a_socket_only(struct __sk_buff *skb)
{
    struct bpf_sock *sk = skb->sk;
    return sk ? sk->mark & 1 : 1;
}

SEC("sockops") int ok_socket_of_an_operation(struct bpf_sock_ops *ctx)
{
    struct bpf_sock *sk = ctx->sk;
    if (!sk)
        return 1;
    struct bpf_tcp_sock *tcp = bpf_tcp_sock(sk);
    return tcp ? tcp->snd_cwnd & 1 : 0;
}

struct timed {
    struct bpf_timer timer;
    __u64 count;
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 2);
    __type(key, __u32);
    __type(value, struct timed);
} timers SEC(".maps");

NOINLINE int fire(void *map, int *key, struct timed *value)
{
    volatile __u8 room[256] = {0};
    return room[69];
}

NOINLINE int fire_too_large(void *map, int *key, struct timed *value)
{
    volatile __u8 room[300] = {0};
    return room[69] + fire(map, key, value);
}

#define TIMER \
    __u32 key = 1; \
    volatile __u8 room[256] = {0}; \
    struct timed *v = bpf_map_lookup_elem(&timers, &key); \
    if (!v) \
        return 0

SEC("tc") int ok_timer(struct __sk_buff *skb)
{
    TIMER;
    bpf_timer_init(&v->timer, &timers, 1);
    bpf_timer_set_callback(&v->timer, fire);
    bpf_timer_start(&v->timer, 1000, 0);
    return room[3];
}

SEC("tc") int bad_stack_of_a_timer(struct __sk_buff *skb)
{
    TIMER;
    bpf_timer_set_callback(&v->timer, fire_too_large);
    return room[3];
}

SEC("tc") int bad_stack_of_a_callback_that_is_called(struct __sk_buff *skb)
{
    TIMER;
    fire(&timers, (int *)&key, v);
    bpf_timer_set_callback(&v->timer, fire);
    return room[3];
}

SEC("tc") int bad_timer_touched(struct __sk_buff *skb)
{
    __u32 key = 1;
    struct timed *v = bpf_map_lookup_elem(&timers, &key);
    return v ? *(__u8 *)&v->timer : 0;
}

SEC("tc") int ok_lock(struct __sk_buff *skb)
{
    __u32 key = 1;
    struct locked *v = bpf_map_lookup_elem(&locks, &key);
    if (!v)
        return 0;
    bpf_spin_lock(&v->lock);
    v->count++;
    bpf_spin_unlock(&v->lock);
    return 0;
}

SEC("tc") int bad_lock_kept(struct __sk_buff *skb)
{
    __u32 key = 1;
    struct locked *v = bpf_map_lookup_elem(&locks, &key);
    if (!v)
        return 0;
    bpf_spin_lock(&v->lock);
    v->count++;
    return 0;
}

SEC("tc") int bad_lock_taken_twice(struct __sk_buff *skb)
{
    __u32 key = 1;
    struct locked *v = bpf_map_lookup_elem(&locks, &key);
    if (!v)
        return 0;
    bpf_spin_lock(&v->lock);
    bpf_spin_lock(&v->lock);
    bpf_spin_unlock(&v->lock);
    return 0;
}

SEC("tc") int bad_call_under_lock(struct __sk_buff *skb)
{
    __u32 key = 1;
    struct locked *v = bpf_map_lookup_elem(&locks, &key);
    if (!v)
        return 0;
    bpf_spin_lock(&v->lock);
    v->count = bpf_get_prandom_u32();
    bpf_spin_unlock(&v->lock);
    return 0;
}

SEC("tc") int bad_lock_touched(struct __sk_buff *skb)
{
    __u32 key = 1;
    struct locked *v = bpf_map_lookup_elem(&locks, &key);
    return v ? *(__u32 *)&v->lock : 0;
}

SEC("tc") int bad_another_lock_released(struct __sk_buff *skb)
{
    __u32 key = 1, other = 0;
    struct locked *v = bpf_map_lookup_elem(&locks, &key);
    struct locked *w = bpf_map_lookup_elem(&locks, &other);
    if (!v || !w)
        return 0;
    bpf_spin_lock(&v->lock);
    bpf_spin_unlock(&w->lock);
    return 0;
}

SEC("xdp") int ok_inner_map(struct xdp_md *ctx)
{
    __u32 key = 1;
    void *inner = bpf_map_lookup_elem(&outer, &key);
    if (!inner)
        return 0;
    __u64 *v = bpf_map_lookup_elem(inner, &key);
    return v ? *v & 1 : 0;
}

SEC("xdp") int bad_inner_map_unchecked(struct xdp_md *ctx)
{
    __u32 key = 1;
    __u64 *v = bpf_map_lookup_elem(bpf_map_lookup_elem(&outer, &key), &key);
    return v ? *v & 1 : 0;
}

SEC("xdp") int bad_inner_value_unchecked(struct xdp_md *ctx)
{
    __u32 key = 1;
    void *inner = bpf_map_lookup_elem(&outer, &key);
    if (!inner)
        return 0;
    __u64 *v = bpf_map_lookup_elem(inner, &key);
    return *v & 1;
}

SEC("xdp") int bad_inner_map_read(struct xdp_md *ctx)
{
    __u32 key = 1;
    __u64 *inner = bpf_map_lookup_elem(&outer, &key);
    if (!inner)
        return 0;
    *inner = 3;
    return 0;
}

SEC("xdp") int bad_outer_map_updated(struct xdp_md *ctx)
{
    __u32 key = 1;
    return bpf_map_update_elem(&outer, &key, &key, 0) & 1;
}
