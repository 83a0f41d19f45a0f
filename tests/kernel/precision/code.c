/* What compilers make of plain C: copies, switches, masks, byte orders, widths, loops. */
#include "common.h"

#define VALUE \
    __u32 key = 1; \
    struct value *v = bpf_map_lookup_elem(&values, &key); \
    if (!v) \
        return 0

SEC("xdp") int ok_switch(struct xdp_md *ctx)
{
    VALUE;
    __u32 i;
    switch (ctx->rx_queue_index) {
    case 0: i = 3; break;
    case 1: i = 17; break;
    case 2: i = 63; break;
    case 7: i = 9; break;
    case 9: i = 22; break;
    case 30: i = 1; break;
    default: i = 0;
    }
    return v->bytes[i];
}

SEC("xdp") int ok_switch_table(struct xdp_md *ctx)
{
    VALUE;
    __u32 i = ctx->rx_queue_index, at = 0;
    switch (i) {
    case 0: at = 10; break;
    case 1: at = 31; break;
    case 2: at = 5; break;
    case 3: at = 60; break;
    case 4: at = 44; break;
    case 5: at = 2; break;
    }
    return v->bytes[at];
}

SEC("xdp") int bad_switch_table(struct xdp_md *ctx)
{
    VALUE;
    __u32 i = ctx->rx_queue_index, at = 0;
    switch (i) {
    case 0: at = 10; break;
    case 1: at = 31; break;
    case 2: at = 5; break;
    case 3: at = 160; break;
    case 4: at = 44; break;
    case 5: at = 2; break;
    }
    return v->bytes[at];
}

SEC("xdp") int ok_memset(struct xdp_md *ctx)
{
    VALUE;
    struct value copy;
    __builtin_memset(&copy, 0, sizeof copy);
    __builtin_memcpy(copy.bytes, v->bytes, 33);
    return bpf_map_update_elem(&values, &key, &copy, 0);
}

SEC("xdp") int ok_compared_memory(struct xdp_md *ctx)
{
    VALUE;
    return __builtin_memcmp(v->bytes, v->bytes + 8, 8) ? 1 : 2;
}

SEC("xdp") int ok_struct_copied(struct xdp_md *ctx)
{
    VALUE;
    struct value copy = *v;
    HIDE(key);
    copy.size++;
    *v = copy;
    return 0;
}

SEC("xdp") int ok_sign_extended(struct xdp_md *ctx)
{
    VALUE;
    int i = *(__s8 *)v->bytes;
    if (i < 0)
        i = -i;
    return v->bytes[i & 63];
}

SEC("xdp") int hard_sign_extended_and_compared(struct xdp_md *ctx)
{
    VALUE;
    long i = *(__s16 *)v->bytes;
    if (i < -32 || i > 31)
        return 0;
    return v->bytes[32 + i];
}

SEC("xdp") int bad_sign_extended_and_compared(struct xdp_md *ctx)
{
    VALUE;
    long i = *(__s16 *)v->bytes;
    if (i < -33 || i > 31)
        return 0;
    return v->bytes[32 + i];
}

SEC("xdp") int ok_swapped(struct xdp_md *ctx)
{
    VALUE;
    __u16 i = bpf_ntohs(*(__u16 *)v->bytes);
    return i < 64 ? v->bytes[i] : 0;
}

SEC("xdp") int bad_swapped_after_the_test(struct xdp_md *ctx)
{
    VALUE;
    __u16 i = *(__u16 *)v->bytes;
    if (i >= 64)
        return 0;
    i = bpf_ntohs(i);
    HIDE(i);
    return v->bytes[i];
}

SEC("xdp") int ok_bit_field(struct xdp_md *ctx)
{
    VALUE;
    struct { __u32 low : 6, middle : 5, high : 21; } bits;
    __builtin_memcpy(&bits, v->bytes, 4);
    return v->bytes[bits.low] + v->bytes[bits.middle];
}

SEC("xdp") int bad_bit_field(struct xdp_md *ctx)
{
    VALUE;
    struct { __u32 low : 7, middle : 5, high : 20; } bits;
    __builtin_memcpy(&bits, v->bytes, 4);
    return v->bytes[bits.low] + v->bytes[bits.middle];
}

SEC("xdp") int ok_minimum(struct xdp_md *ctx)
{
    VALUE;
    __u32 i = v->index > 63 ? 63 : v->index;
    HIDE(i);
    return i <= 63 ? v->bytes[i] : 0;
}

SEC("xdp") int ok_clamped(struct xdp_md *ctx)
{
    VALUE;
    __u64 i = v->sum;
    if (i > 63)
        i = 63;
    return v->bytes[i];
}

SEC("xdp") int ok_clamped_32(struct xdp_md *ctx)
{
    VALUE;
    __u32 i = v->index;
    if (i > 63)
        i = 63;
    return v->bytes[i];
}

SEC("xdp") int ok_divided(struct xdp_md *ctx)
{
    VALUE;
    __u16 i = *(__u16 *)v->bytes;
    return v->bytes[i / 1024];
}

SEC("xdp") int ok_divided_by_a_variable(struct xdp_md *ctx)
{
    VALUE;
    return (v->size / v->index) & 1;
}

SEC("xdp") int ok_division_of_signed(struct xdp_md *ctx)
{
    VALUE;
    long a = v->sum & 0xffff, b = a / 2;
    return b >= 0 && b < 64 ? v->bytes[b] : 0;
}

SEC("xdp") int ok_loop_counted(struct xdp_md *ctx)
{
    VALUE;
    __u32 sum = 0;
    LOOP for (int i = 0; i < 64; i++)
        sum += v->bytes[i];
    return sum & 1;
}

SEC("xdp") int bad_loop_counted_too_far(struct xdp_md *ctx)
{
    VALUE;
    __u32 sum = 0;
    LOOP for (int i = 0; i <= (int)(sizeof(struct value) - offsetof(struct value, bytes)); i++)
        sum += v->bytes[i];
    return sum & 1;
}

SEC("xdp") int ok_loop_down(struct xdp_md *ctx)
{
    VALUE;
    __u32 sum = 0;
    LOOP for (int i = 63; i >= 0; i--)
        sum += v->bytes[i];
    return sum & 1;
}

SEC("xdp") int ok_loop_bound_variable(struct xdp_md *ctx)
{
    VALUE;
    __u32 sum = 0, n = v->size & 63;
    LOOP for (__u32 i = 0; i < n; i++)
        sum += v->bytes[i];
    return sum & 1;
}

SEC("xdp") int bad_loop_bound_unknown(struct xdp_md *ctx)
{
    VALUE;
    __u32 sum = 0, n = v->size;
    LOOP for (__u32 i = 0; i < n; i++)
        sum += v->bytes[i];
    return sum & 1;
}

SEC("xdp") int ok_loop_not_equal(struct xdp_md *ctx)
{
    VALUE;
    __u32 sum = 0;
    LOOP for (__u8 *p = v->bytes; p != v->bytes + 64; p++)
        sum += *p;
    return sum & 1;
}

SEC("xdp") int ok_loops_nested(struct xdp_md *ctx)
{
    VALUE;
    __u32 sum = 0;
    LOOP for (int i = 0; i < 8; i++)
        LOOP for (int j = 0; j < 8; j++)
            sum += v->bytes[i * 8 + j];
    return sum & 1;
}

SEC("xdp") int ok_loop_searching(struct xdp_md *ctx)
{
    VALUE;
    int i;
    LOOP for (i = 0; i < 63; i++)
        if (v->bytes[i] == '/')
            break;
    return v->bytes[i + 1];
}

SEC("xdp") int bad_loop_searching(struct xdp_md *ctx)
{
    VALUE;
    int i;
    LOOP for (i = 0; i < 73; i++)
        if (v->sum == i)
            break;
    return *(volatile __u8 *)(v->bytes + i + 8);
}

SEC("xdp") int ok_array_on_the_stack(struct xdp_md *ctx)
{
    volatile __u8 room[64] = {0};
    room[ctx->rx_queue_index & 63] = 1;
    return room[ctx->ingress_ifindex & 63];
}

SEC("xdp") int bad_array_on_the_stack(struct xdp_md *ctx)
{
    volatile __u8 room[64] = {0};
    __u32 i = ctx->rx_queue_index & 1023;
    room[i] = 1;
    return room[1];
}

SEC("xdp") int ok_correlated_flags(struct xdp_md *ctx)
{
    VALUE;
    __u32 i = v->index, good = i < 64;
    HIDE(good);
    if (i >= 64)
        return 0;
    return good ? v->bytes[i] : v->bytes[0];
}

SEC("xdp") int more_shifts_by_variables(struct xdp_md *ctx)
{
    VALUE;
    return v->bytes[1u << (v->index & 3)] + v->bytes[(v->size >> (v->index & 7)) & 31];
}

SEC("xdp") int ok_xor_of_small(struct xdp_md *ctx)
{
    VALUE;
    return v->bytes[(v->index & 15) ^ (v->size & 63)] + v->bytes[(v->index & 15) | 48];
}

SEC("xdp") int ok_atomics(struct xdp_md *ctx)
{
    VALUE;
    __u64 old = __sync_fetch_and_add(&v->sum, 2);
    __sync_fetch_and_add(&v->size, 1);
    return old & 1;
}

SEC("xdp") int bad_atomic_on_the_packet(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    if (data + 8 > end)
        return 0;
    __sync_fetch_and_add((__u64 *)data, 1);
    return 0;
}

SEC("xdp") int ok_high_half(struct xdp_md *ctx)
{
    VALUE;
    __u64 x = v->sum;
    return v->bytes[x >> 58] + v->bytes[(__u32)(x >> 32) >> 26];
}

SEC("xdp") int ok_truncated(struct xdp_md *ctx)
{
    VALUE;
    __u8 i = v->sum;
    return i < 64 ? v->bytes[i] : 0;
}

SEC("xdp") int bad_truncated_only_for_the_test(struct xdp_md *ctx)
{
    VALUE;
    __u64 i = v->sum;
    if ((__u8)i >= 64)
        return 0;
    return v->bytes[i];
}
