/* Addresses as arguments and in comparisons: what tells nobody where memory lies, and what does. */
#include "common.h"

struct record {
    __u64 common;
    __u32 place;
    __u32 id;
};

SEC("tp/syscalls/sys_enter_openat") int ok_text_of_a_record(struct record *ctx)
{
    char text[16];
    bpf_probe_read_kernel_str(text, sizeof text, (void *)ctx + (__u16)ctx->place);
    return text[0];
}

SEC("tp/syscalls/sys_enter_openat") int ok_text_behind_it(struct record *ctx)
{
    char text[16];
    char *from = (void *)ctx + (__u16)ctx->place;
    bpf_probe_read_kernel_str(text, sizeof text, from + ctx->id % 8 - 4);
    return text[0];
}

SEC("tp/syscalls/sys_enter_openat") int bad_text_of_a_record_read_by_hand(struct record *ctx)
{
    return *((char *)ctx + (__u16)ctx->place);
}

SEC("tp/syscalls/sys_enter_openat") int bad_context_anywhere(struct record *ctx)
{
    char text[16];
    bpf_get_stack((void *)ctx + (__u16)ctx->place, text, sizeof text, 0);
    return text[0];
}

SEC("tp/syscalls/sys_enter_openat") int bad_context_moved_back(struct record *ctx)
{
    __u64 by = (__u16)ctx->place;
    char *from = (char *)ctx;
    from += by;
    HIDE(from);
    from -= by;
    HIDE(from);
    return *(__u32 *)(from + 8);
}

SEC("tp/syscalls/sys_enter_openat") int ok_source_is_the_context(struct record *ctx)
{
    struct record copy;
    bpf_probe_read_kernel(&copy, sizeof copy, ctx);
    return copy.id;
}

SEC("tp/syscalls/sys_enter_openat") int ok_source_is_a_value(struct record *ctx)
{
    __u32 key = 1, copy = 0;
    struct value *v = bpf_map_lookup_elem(&values, &key);
    bpf_probe_read_kernel(&copy, sizeof copy, v);
    return copy;
}

SEC("tp/syscalls/sys_enter_openat") int ok_source_is_the_stack(struct record *ctx)
{
    __u64 from = 3, copy = 0;
    HIDE(from);
    bpf_probe_read_kernel(&copy, sizeof copy, &from);
    return copy;
}

SEC("tp/syscalls/sys_enter_openat") int bad_target_is_the_context(struct record *ctx)
{
    __u64 from = 3;
    bpf_probe_read_kernel(ctx, 8, &from);
    return 0;
}

SEC("tp/syscalls/sys_enter_openat") int less_pointer_as_a_flag(struct record *ctx)
{
    __u32 key = 1;
    struct value v = {};
    bpf_map_update_elem(&values, &key, &v, (__u64)&v & ~0ull);
    return 0;
}

SEC("xdp") int ok_packet_is_not_null(struct xdp_md *ctx)
{
    __u32 data = ctx->data, end = ctx->data_end;
    if (!data || !end)
        return XDP_PASS;
    __u8 *p = (void *)(long)data;
    if (p + 1 > (__u8 *)(long)end)
        return XDP_PASS;
    return *p;
}

struct locked {
    struct bpf_spin_lock lock;
    __u32 count;
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct locked);
} locks SEC(".maps");

NOINLINE int quick(__u32 x)
{
    HIDE(x);
    return x + 1;
}

__attribute__((noinline)) int for_all(__u32 x)
{
    HIDE(x);
    return x + 2;
}

NOINLINE int by_another(__u32 x)
{
    return for_all(x) + 1;
}

SEC("tc") int ok_function_under_a_lock(struct __sk_buff *skb)
{
    __u32 key = 0;
    struct locked *v = bpf_map_lookup_elem(&locks, &key);
    if (!v)
        return 0;
    bpf_spin_lock(&v->lock);
    v->count = quick(skb->len);
    bpf_spin_unlock(&v->lock);
    return 0;
}

SEC("tc") int bad_global_function_under_a_lock(struct __sk_buff *skb)
{
    __u32 key = 0;
    struct locked *v = bpf_map_lookup_elem(&locks, &key);
    if (!v)
        return 0;
    bpf_spin_lock(&v->lock);
    v->count = for_all(skb->len);
    bpf_spin_unlock(&v->lock);
    return 0;
}

SEC("tc") int bad_global_function_of_a_function_under_a_lock(struct __sk_buff *skb)
{
    __u32 key = 0;
    struct locked *v = bpf_map_lookup_elem(&locks, &key);
    if (!v)
        return 0;
    bpf_spin_lock(&v->lock);
    v->count = by_another(skb->len);
    bpf_spin_unlock(&v->lock);
    return 0;
}

SEC("tc") int ok_global_function_before_a_lock(struct __sk_buff *skb)
{
    __u32 key = 0, found = for_all(skb->len);
    struct locked *v = bpf_map_lookup_elem(&locks, &key);
    if (!v)
        return 0;
    bpf_spin_lock(&v->lock);
    v->count = found;
    bpf_spin_unlock(&v->lock);
    return 0;
}
