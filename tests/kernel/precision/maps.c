/* Values with variable indices, null, constants, global variables, spills. */
#include "common.h"

const volatile __u32 limit = 40;
const volatile __u8 letters[16] = "abcdefghijklmnop";
static const __u32 squares[8] = {0, 1, 4, 9, 16, 25, 36, 49};
__u64 counters[16];
__u32 last;
int zeroed;

SEC("xdp") int ok_null_tested(struct xdp_md *ctx)
{
    __u64 key = 1;
    struct value *v = bpf_map_lookup_elem(&table, &key);
    if (!v)
        return XDP_DROP;
    v->sum++;
    return XDP_PASS;
}

SEC("xdp") int bad_null_not_tested(struct xdp_md *ctx)
{
    __u64 key = 1;
    struct value *v = bpf_map_lookup_elem(&table, &key);
    v->sum++;
    return XDP_PASS;
}

SEC("xdp") int bad_other_lookup_tested(struct xdp_md *ctx)
{
    __u64 key = 1, other = 2;
    struct value *v = bpf_map_lookup_elem(&table, &key);
    struct value *w = bpf_map_lookup_elem(&table, &other);
    if (!v)
        return XDP_DROP;
    w->sum++;
    return XDP_PASS;
}

SEC("xdp") int ok_null_shared(struct xdp_md *ctx)
{
    __u64 key = 1;
    struct value *v = bpf_map_lookup_elem(&table, &key), *copy = v;
    HIDE(copy);
    if (!v)
        return XDP_DROP;
    return copy ? copy->size & 1 : 0;
}

SEC("xdp") int ok_index_masked(struct xdp_md *ctx)
{
    __u32 key = 1;
    struct value *v = bpf_map_lookup_elem(&values, &key);
    return v ? v->bytes[v->index & 63] : 0;
}

SEC("xdp") int bad_index_masked_too_wide(struct xdp_md *ctx)
{
    __u32 key = 1;
    struct value *v = bpf_map_lookup_elem(&values, &key);
    return v ? v->bytes[v->index & 127] : 0;
}

SEC("xdp") int ok_index_compared(struct xdp_md *ctx)
{
    __u32 key = 1;
    struct value *v = bpf_map_lookup_elem(&values, &key);
    if (!v)
        return 0;
    __u32 i = v->index;
    return i < 64 ? v->bytes[i] : 0;
}

SEC("xdp") int bad_index_compared_signed(struct xdp_md *ctx)
{
    __u32 key = 1;
    struct value *v = bpf_map_lookup_elem(&values, &key);
    if (!v)
        return 0;
    long i = (__s32)v->index;
    HIDE(i);
    return i < 64 ? v->bytes[i] : 0;
}

SEC("xdp") int bad_index_read_twice(struct xdp_md *ctx)
{
    __u32 key = 1;
    volatile struct value *v = bpf_map_lookup_elem(&values, &key);
    if (!v)
        return 0;
    return v->index < 64 ? v->bytes[v->index] : 0;
}

SEC("xdp") int ok_index_modulo(struct xdp_md *ctx)
{
    __u32 key = 1;
    struct value *v = bpf_map_lookup_elem(&values, &key);
    return v ? v->bytes[v->index % 64] : 0;
}

SEC("xdp") int ok_index_shifted(struct xdp_md *ctx)
{
    __u32 key = 1;
    struct value *v = bpf_map_lookup_elem(&values, &key);
    return v ? v->bytes[v->index >> 26] : 0;
}

SEC("xdp") int bad_index_shifted_too_little(struct xdp_md *ctx)
{
    __u32 key = 1;
    struct value *v = bpf_map_lookup_elem(&values, &key);
    return v ? v->bytes[v->index >> 24] : 0;
}

SEC("xdp") int ok_range_of_two_bounds(struct xdp_md *ctx)
{
    __u32 key = 1;
    struct value *v = bpf_map_lookup_elem(&values, &key);
    if (!v)
        return 0;
    __u32 i = v->index;
    if (i < 5000 || i >= 5064)
        return 0;
    return v->bytes[i - 5000];
}

SEC("xdp") int ok_sum_of_two(struct xdp_md *ctx)
{
    __u32 key = 1;
    struct value *v = bpf_map_lookup_elem(&values, &key);
    if (!v)
        return 0;
    return v->bytes[(v->index & 31) + (v->size & 31)];
}

SEC("xdp") int bad_product(struct xdp_md *ctx)
{
    __u32 key = 1;
    struct value *v = bpf_map_lookup_elem(&values, &key);
    if (!v)
        return 0;
    return v->bytes[(v->index & 15) * (v->size & 15)];
}

SEC("xdp") int ok_constant_from_rodata(struct xdp_md *ctx)
{
    __u32 key = 1;
    struct value *v = bpf_map_lookup_elem(&values, &key);
    if (!v)
        return 0;
    return v->bytes[limit];
}

SEC("xdp") int ok_rodata_at_variable(struct xdp_md *ctx)
{
    return letters[ctx->rx_queue_index & 15] + squares[ctx->rx_queue_index & 7];
}

SEC("xdp") int bad_rodata_behind(struct xdp_md *ctx)
{
    __u32 i = ctx->rx_queue_index & 255;
    HIDE(i);
    return *(volatile __u8 *)((const volatile __u8 *)letters + i);
}

SEC("xdp") int ok_dead_branch_by_rodata(struct xdp_md *ctx)
{
    __u32 key = 1;
    struct value *v = bpf_map_lookup_elem(&values, &key);
    if (!v)
        return 0;
    return limit == 41 ? *(__u8 *)((void *)v + 100000) : 1;
}

SEC("xdp") int ok_globals(struct xdp_md *ctx)
{
    __u32 i = ctx->rx_queue_index;
    if (i >= 16)
        i = 0;
    counters[i]++;
    last = i;
    return zeroed;
}

SEC("xdp") int bad_globals_unchecked(struct xdp_md *ctx)
{
    counters[ctx->rx_queue_index]++;
    return 0;
}

SEC("xdp") int ok_globals_atomic(struct xdp_md *ctx)
{
    __sync_fetch_and_add(&counters[ctx->rx_queue_index & 15], 1);
    return 0;
}

SEC("xdp") int ok_index_kept_across_a_call(struct xdp_md *ctx)
{
    __u32 key = 1, i = ctx->rx_queue_index & 63;
    struct value *v = bpf_map_lookup_elem(&values, &key);
    return v ? v->bytes[i] : 0;
}

SEC("xdp") int ok_many_kept_across_a_call(struct xdp_md *ctx)
{
    __u32 key = 1, a = ctx->rx_queue_index & 7, b = ctx->ingress_ifindex & 7, c = ctx->data_end - ctx->data;
    __u32 d = (a * 3 + b) & 15, e = (b * 5 + a) & 15, f = c & 31;
    HIDE(d);
    HIDE(e);
    HIDE(f);
    d &= 15;
    e &= 15;
    f &= 31;
    struct value *v = bpf_map_lookup_elem(&values, &key);
    if (!v)
        return 0;
    return v->bytes[a] + v->bytes[b] + v->bytes[d] + v->bytes[e] + v->bytes[f] + v->bytes[a + b];
}

SEC("xdp") int ok_initialised_key(struct xdp_md *ctx)
{
    struct {
        __u32 a;
        __u16 b, pad;
    } key = {.a = ctx->rx_queue_index, .b = 2};
    return bpf_map_lookup_elem(&table, &key) ? 1 : 0;
}

SEC("xdp") int ok_update(struct xdp_md *ctx)
{
    __u64 key = 3;
    struct value v = {.size = 1};
    bpf_map_update_elem(&table, &key, &v, BPF_ANY);
    bpf_map_delete_elem(&table, &key);
    return 0;
}

SEC("xdp") int bad_update_from_too_little(struct xdp_md *ctx)
{
    __u64 key = 3;
    __u8 v[16] = {0};
    bpf_map_update_elem(&table, &key, v, BPF_ANY);
    return 0;
}

SEC("xdp") int ok_value_as_key(struct xdp_md *ctx)
{
    __u64 key = 3;
    struct value *v = bpf_map_lookup_elem(&table, &key);
    if (!v)
        return 0;
    v = bpf_map_lookup_elem(&table, &v->sum);
    return v ? v->size & 1 : 0;
}

SEC("xdp") int bad_value_as_key_behind(struct xdp_md *ctx)
{
    __u64 key = 3;
    struct value *v = bpf_map_lookup_elem(&table, &key);
    if (!v)
        return 0;
    v = bpf_map_lookup_elem(&table, (void *)&v->sum + 4);
    return v ? v->size & 1 : 0;
}
