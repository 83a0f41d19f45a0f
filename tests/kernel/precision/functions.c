/* Calls: pointers to the stack, depth, results, callbacks, tail calls, global functions. */
#include "common.h"

struct {
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
    __uint(max_entries, 2);
    __type(key, __u32);
    __type(value, __u32);
} jumps SEC(".maps");

NOINLINE void fill(__u64 *out, __u64 value)
{
    out[0] = value;
    out[1] = 0;
}

NOINLINE int parse(void *data, void *end, __u32 *at)
{
    if (data + 14 > end)
        return -1;
    *at = 14;
    return *(__u16 *)(data + 12);
}

NOINLINE __u32 masked(__u32 x)
{
    HIDE(x);
    return x & 63;
}

NOINLINE struct value *found(__u64 key)
{
    return bpf_map_lookup_elem(&table, &key);
}

NOINLINE void count(void)
{
    struct value *v = found(1);
    if (v)
        v->sum++;
}

SEC("xdp") int ok_pointer_to_the_stack_given(struct xdp_md *ctx)
{
    __u64 pair[2];
    fill(pair, 7);
    return pair[0] + pair[1];
}

SEC("xdp") int hard_place_written_by_a_function(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    __u32 at = 0;
    if (parse(data, end, &at) < 0)
        return XDP_DROP;
    return *(__u8 *)(data + at - 1);
}

SEC("xdp") int ok_result_bounded(struct xdp_md *ctx)
{
    __u64 key = 1;
    struct value *v = bpf_map_lookup_elem(&table, &key);
    return v ? v->bytes[masked(v->index)] : 0;
}

SEC("xdp") int ok_lookup_returned(struct xdp_md *ctx)
{
    struct value *v = found(5);
    return v ? v->size & 1 : 0;
}

SEC("xdp") int bad_lookup_returned_unchecked(struct xdp_md *ctx)
{
    return found(5)->size;
}

SEC("xdp") int ok_nothing_returned(struct xdp_md *ctx)
{
    count();
    count();
    return 0;
}

#define LEVEL(n, m) \
    NOINLINE int level##n(__u32 x) { __u32 keep = x + n; HIDE(keep); return level##m(keep) + keep; }
NOINLINE int level0(__u32 x) { HIDE(x); return x; }
LEVEL(1, 0) LEVEL(2, 1) LEVEL(3, 2) LEVEL(4, 3) LEVEL(5, 4) LEVEL(6, 5) LEVEL(7, 6)

SEC("xdp") int ok_eight_frames(struct xdp_md *ctx)
{
    return level6(ctx->rx_queue_index);
}

SEC("xdp") int bad_nine_frames(struct xdp_md *ctx)
{
    return level7(ctx->rx_queue_index);
}

NOINLINE int large(__u32 x)
{
    volatile __u8 room[200] = {0};
    room[x & 127] = 1;
    return room[1];
}

NOINLINE int larger(__u32 x)
{
    volatile __u8 room[300] = {0};
    room[x & 127] = 1;
    return room[1] + large(x);
}

SEC("xdp") int ok_stack_in_all(struct xdp_md *ctx)
{
    return large(ctx->rx_queue_index) + large(3);
}

SEC("xdp") int bad_stack_in_all(struct xdp_md *ctx)
{
    volatile __u8 room[64] = {0};
    room[ctx->rx_queue_index & 63] = 1;
    return larger(ctx->rx_queue_index) + room[2];
}

SEC("xdp") int ok_tail_call(struct xdp_md *ctx)
{
    bpf_tail_call(ctx, &jumps, 1);
    return XDP_PASS;
}

SEC("xdp") int ok_tail_call_at_variable(struct xdp_md *ctx)
{
    bpf_tail_call(ctx, &jumps, ctx->rx_queue_index);
    return XDP_PASS;
}

NOINLINE int jump(struct xdp_md *ctx)
{
    bpf_tail_call(ctx, &jumps, 0);
    return 3;
}

SEC("xdp") int ok_tail_call_from_a_function(struct xdp_md *ctx)
{
    volatile int r = jump(ctx);
    return r;
}

SEC("xdp") int bad_packet_stale_after_tail_call(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    if (data + 1 > end)
        return 0;
    jump(ctx);
    return *(__u8 *)data;
}

struct sum {
    __u64 total;
    struct xdp_md *ctx;
};

static long add(__u32 index, void *p)
{
    struct sum *s = p;
    s->total += index;
    return 0;
}

static long read_value(__u32 index, void *p)
{
    struct value *v = p;
    if (index >= 64)
        return 1;
    return v->bytes[index] & 1;
}

static long read_value_unchecked(__u32 index, void *p)
{
    struct value *v = p;
    return v->bytes[index] & 1;
}

static long stop_or_not(__u32 index, void *p)
{
    return index;
}

SEC("xdp") int ok_loop_with_a_sum(struct xdp_md *ctx)
{
    struct sum s = {.ctx = ctx};
    bpf_loop(1000000, add, &s, 0);
    return s.total & 1;
}

SEC("xdp") int bad_context_of_a_loop_no_stack(struct xdp_md *ctx)
{
    struct value *v = found(1);
    if (!v)
        return 0;
    bpf_loop(v->size, read_value, v, 0);
    return 1;
}

struct chosen {
    struct value *v;
};

static long read_chosen(__u32 index, void *p)
{
    struct value *v = ((struct chosen *)p)->v;
    if (index >= 64)
        return 1;
    v->sum += v->bytes[index];
    return 0;
}

SEC("xdp") int ok_loop_bound_from_a_value(struct xdp_md *ctx)
{
    struct chosen c = {.v = found(1)};
    if (!c.v)
        return 0;
    bpf_loop(c.v->size, read_chosen, &c, 0);
    return 1;
}

static long read_chosen_unchecked(__u32 index, void *p)
{
    struct value *v = ((struct chosen *)p)->v;
    v->sum += v->bytes[index];
    return 0;
}

SEC("xdp") int bad_loop_over_a_value_unchecked(struct xdp_md *ctx)
{
    struct chosen c = {.v = found(1)};
    if (!c.v)
        return 0;
    bpf_loop(c.v->size, read_chosen_unchecked, &c, 0);
    return 1;
}

SEC("xdp") int bad_loop_index_unchecked(struct xdp_md *ctx)
{
    struct value *v = found(1);
    if (!v)
        return 0;
    bpf_loop(100, read_value_unchecked, v, 0);
    return 1;
}

SEC("xdp") int bad_loop_result(struct xdp_md *ctx)
{
    bpf_loop(100, stop_or_not, 0, 0);
    return 1;
}

struct bpf_map;

static long visit(struct bpf_map *map, const void *key, void *value, void *p)
{
    struct sum *s = p;
    struct value *v = value;
    s->total += v->sum;
    v->sum = 0;
    return s->total > 1000;
}

static long visit_behind(struct bpf_map *map, const void *key, void *value, void *p)
{
    return *(__u8 *)(value + sizeof(struct value)) & 1;
}

SEC("xdp") int ok_for_each(struct xdp_md *ctx)
{
    struct sum s = {};
    bpf_for_each_map_elem(&values, visit, &s, 0);
    bpf_for_each_map_elem(&table, visit, &s, 0);
    return s.total & 1;
}

SEC("xdp") int bad_for_each_behind(struct xdp_md *ctx)
{
    bpf_for_each_map_elem(&values, visit_behind, 0, 0);
    return 0;
}

__attribute__((noinline)) int global_half(__u32 x)
{
    return x / 2;
}

SEC("xdp") int ok_global_function(struct xdp_md *ctx)
{
    return global_half(ctx->rx_queue_index) & 1;
}

SEC("xdp") int more_result_of_a_global_function(struct xdp_md *ctx)
{
    struct value *v = found(1);
    return v ? v->bytes[global_half(6)] : 0;
}

__attribute__((noinline)) int global_context(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    return data + 1 > end ? 0 : *(__u8 *)data;
}

SEC("xdp") int ok_global_function_with_context(struct xdp_md *ctx)
{
    return global_context(ctx) & 1;
}

__attribute__((noinline)) int global_memory(const struct sum *s)
{
    return s ? s->total & 1 : 0;
}

__attribute__((noinline)) int global_memory_unchecked(const struct sum *s)
{
    return s->total & 1;
}

SEC("xdp") int ok_global_function_with_memory(struct xdp_md *ctx)
{
    struct sum s = {.total = ctx->rx_queue_index};
    return global_memory(&s);
}

SEC("xdp") int more_global_function_with_memory_unchecked(struct xdp_md *ctx)
{
    struct sum s = {.total = ctx->rx_queue_index};
    return global_memory_unchecked(&s);
}
