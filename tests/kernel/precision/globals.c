/* Global functions: what the kernel verifies on its own, and we with its calls first. */
#include "common.h"

#define __arg_ctx __attribute__((btf_decl_tag("arg:ctx")))
#define __arg_nonnull __attribute__((btf_decl_tag("arg:nonnull")))

struct pair {
    __u64 first, second;
};

__attribute__((noinline)) int add_both(struct pair *p)
{
    if (!p)
        return 0;
    return p->first + p->second;
}

__attribute__((noinline)) int add_all(struct pair *p __arg_nonnull)
{
    return p->first + p->second;
}

__attribute__((noinline)) int unchecked(struct pair *p)
{
    return p->first;
}

__attribute__((noinline)) int spread(__u32 x)
{
    return (x >> 3) ^ 5;
}

__attribute__((noinline)) int beyond(struct pair *p)
{
    __u64 *words = (__u64 *)p;

    if (!p)
        return 0;
    return words[2];
}

__attribute__((noinline)) int length_of(struct xdp_md *ctx)
{
    return ctx->data_end - ctx->data;
}

__attribute__((noinline)) int length_of_any(void *any __arg_ctx)
{
    struct xdp_md *ctx = any;

    return ctx->data_end - ctx->data;
}

__attribute__((noinline)) int moves(struct xdp_md *ctx)
{
    return bpf_xdp_adjust_head(ctx, 4);
}

__attribute__((noinline)) int many_bits(struct xdp_md *ctx, struct pair *p)
{
    if (!p)
        return 0;
    p->first += ctx->rx_queue_index;
#pragma unroll
    for (int i = 0; i < 24; i++) {
        if (bpf_get_prandom_u32() > 9)
            p->first += 1ULL << i;
        if (p->first == 77 * i)
            p->second = p->first ^ i;
    }
    return p->second;
}

SEC("xdp") int ok_global_with_memory(struct xdp_md *ctx)
{
    struct pair p = {ctx->rx_queue_index, 2};

    return add_both(&p) & 1;
}

SEC("xdp") int ok_global_with_null(struct xdp_md *ctx)
{
    return add_both(0) & 1;
}

SEC("xdp") int ok_global_never_null(struct xdp_md *ctx)
{
    struct pair p = {ctx->rx_queue_index, 2};

    return add_all(&p) & 1;
}

SEC("xdp") int bad_global_null_where_none_may_be(struct xdp_md *ctx)
{
    __u32 key = 1;

    return add_all(bpf_map_lookup_elem(&values, &key)) & 1;
}

SEC("xdp") int more_global_not_null_in_fact(struct xdp_md *ctx)
{
    struct pair p = {ctx->rx_queue_index, 2};

    return unchecked(&p) & 1;
}

SEC("xdp") int bad_global_null_in_fact(struct xdp_md *ctx)
{
    return unchecked(0) & 1;
}

SEC("xdp") int ok_global_with_number(struct xdp_md *ctx)
{
    return spread(ctx->rx_queue_index) & 1;
}

SEC("xdp") int bad_global_beyond_its_memory(struct xdp_md *ctx)
{
    struct pair p = {ctx->rx_queue_index, 2};

    return beyond(&p) & 1;
}

SEC("xdp") int ok_global_with_context(struct xdp_md *ctx)
{
    return length_of(ctx) & 1;
}

SEC("xdp") int ok_global_with_tagged_context(struct xdp_md *ctx)
{
    return length_of_any(ctx) & 1;
}

SEC("xdp") int bad_global_moves_the_packet(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

    if (data + 8 > end)
        return 0;
    moves(ctx);
    return *(__u8 *)data;
}

SEC("xdp") int ok_global_with_map_value(struct xdp_md *ctx)
{
    __u32 key = 1;
    struct pair *p = bpf_map_lookup_elem(&values, &key);

    return add_both(p) & 1;
}

SEC("xdp") int ok_global_called_often(struct xdp_md *ctx)
{
    struct pair p = {ctx->rx_queue_index, 2};
    int sum = 0;

#pragma unroll
    for (int i = 0; i < 12; i++)
        sum += many_bits(ctx, &p);
    return sum & 1;
}

SEC("xdp") int bad_global_memory_too_small(struct xdp_md *ctx)
{
    __u64 one = ctx->rx_queue_index;

    HIDE(one);
    return beyond((struct pair *)&one) & 1;
}

SEC("xdp") int bad_global_moved_context(struct xdp_md *ctx)
{
    return length_of((void *)ctx + 4) & 1;
}
