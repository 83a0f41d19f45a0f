/* Functions that helpers call: timers, areas of memory, records of users. */
#include "common.h"

struct timed {
    struct bpf_timer timer;
    __u64 count;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 2);
    __type(key, __u64);
    __type(value, struct timed);
} timers SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_USER_RINGBUF);
    __uint(max_entries, 4096);
} from_users SEC(".maps");

struct area;
struct record;
struct task_struct;

#define TIMER(function) \
    __u64 key = 1; \
    struct timed *v = bpf_map_lookup_elem(&timers, &key); \
    if (!v) \
        return 0; \
    return bpf_timer_set_callback(&v->timer, function) & 1

static int counts(void *map, __u64 *key, struct timed *v)
{
    v->count += *key;
    return 0;
}

static int starts_again(void *map, __u64 *key, struct timed *v)
{
    bpf_timer_start(&v->timer, 1000, 0);
    return 0;
}

static int looks_up(void *map, __u64 *key, struct timed *v)
{
    __u64 other = *key + 1;
    struct timed *next = bpf_map_lookup_elem(map, &other);
    if (next)
        next->count = v->count;
    bpf_map_delete_elem(map, key);
    return 0;
}

static int returns_one(void *map, __u64 *key, struct timed *v)
{
    return 1;
}

static int returns_a_count(void *map, __u64 *key, struct timed *v)
{
    return v->count;
}

static int writes_the_key(void *map, __u64 *key, struct timed *v)
{
    *key = 3;
    return 0;
}

static int reads_behind_the_key(void *map, __u64 *key, struct timed *v)
{
    v->count = key[1];
    return 0;
}

static int writes_behind_the_value(void *map, __u64 *key, struct timed *v)
{
    (&v->count)[1] = 1;
    return 0;
}

static int touches_the_timer(void *map, __u64 *key, struct timed *v)
{
    *(__u32 *)&v->timer = 1;
    return 0;
}

static int forgets_to_look(void *map, __u64 *key, struct timed *v)
{
    struct timed *next = bpf_map_lookup_elem(map, key);
    next->count = 1;
    return 0;
}

SEC("tc") int ok_timer_counts(struct __sk_buff *skb) { TIMER(counts); }
SEC("tc") int ok_timer_starts_again(struct __sk_buff *skb) { TIMER(starts_again); }
SEC("tc") int ok_timer_looks_up(struct __sk_buff *skb) { TIMER(looks_up); }
SEC("tc") int bad_timer_returns_one(struct __sk_buff *skb) { TIMER(returns_one); }
SEC("tc") int bad_timer_returns_a_count(struct __sk_buff *skb) { TIMER(returns_a_count); }
SEC("tc") int bad_timer_writes_the_key(struct __sk_buff *skb) { TIMER(writes_the_key); }
SEC("tc") int bad_timer_reads_behind_the_key(struct __sk_buff *skb) { TIMER(reads_behind_the_key); }
SEC("tc") int bad_timer_writes_behind_the_value(struct __sk_buff *skb) { TIMER(writes_behind_the_value); }
SEC("tc") int bad_timer_touches_itself(struct __sk_buff *skb) { TIMER(touches_the_timer); }
SEC("tc") int bad_timer_forgets_to_look(struct __sk_buff *skb) { TIMER(forgets_to_look); }

SEC("tc") int bad_timer_of_another_map(struct __sk_buff *skb)
{
    __u64 key = 1;
    struct timed *v = bpf_map_lookup_elem(&timers, &key);
    return v ? bpf_timer_init(&v->timer, &table, 1) & 1 : 0;
}

SEC("tc") int bad_timer_of_no_value(struct __sk_buff *skb)
{
    __u64 key = 1;
    return bpf_timer_set_callback(bpf_map_lookup_elem(&timers, &key), counts) & 1;
}

struct seen {
    __u64 areas;
    __u32 flags;
};

static long sees(struct task_struct *task, struct area *area, struct seen *seen)
{
    seen->areas++;
    return 0;
}

static long sees_too_much(struct task_struct *task, struct area *area, struct seen *seen)
{
    (&seen->areas)[2] = 1;
    return 0;
}

static long writes_an_area(struct task_struct *task, __u64 *area, struct seen *seen)
{
    *area = 1;
    return 0;
}

static long answers_two(struct task_struct *task, struct area *area, struct seen *seen)
{
    return 2;
}

#define FIND(function) \
    struct seen seen = {}; \
    bpf_find_vma(bpf_get_current_task_btf(), 4096, function, &seen, 0); \
    return seen.areas & 1

SEC("raw_tp/sys_enter") int ok_area(void *ctx) { FIND(sees); }
SEC("raw_tp/sys_enter") int bad_area_sees_too_much(void *ctx) { FIND(sees_too_much); }
SEC("raw_tp/sys_enter") int bad_area_written(void *ctx) { FIND(writes_an_area); }
SEC("raw_tp/sys_enter") int bad_area_answers_two(void *ctx) { FIND(answers_two); }

SEC("raw_tp/sys_enter") int bad_area_of_no_task(void *ctx)
{
    struct seen seen = {};
    bpf_find_vma(ctx, 4096, sees, &seen, 0);
    return 0;
}

static long drains(struct record *record, struct seen *seen)
{
    seen->areas++;
    return 0;
}

static long drains_by_hand(__u64 *record, struct seen *seen)
{
    seen->areas += *record;
    return 0;
}

static long drains_too_much(struct record *record, struct seen *seen)
{
    (&seen->areas)[2] = 1;
    return 0;
}

static long drains_two(struct record *record, struct seen *seen)
{
    return 2;
}

#define DRAIN(map, function) \
    struct seen seen = {}; \
    bpf_user_ringbuf_drain(map, function, &seen, 0); \
    return seen.areas & 1

SEC("raw_tp/sys_enter") int ok_records(void *ctx) { DRAIN(&from_users, drains); }
SEC("raw_tp/sys_enter") int bad_records_by_hand(void *ctx) { DRAIN(&from_users, drains_by_hand); }
SEC("raw_tp/sys_enter") int bad_records_too_much(void *ctx) { DRAIN(&from_users, drains_too_much); }
SEC("raw_tp/sys_enter") int bad_records_answer_two(void *ctx) { DRAIN(&from_users, drains_two); }
SEC("raw_tp/sys_enter") int bad_records_of_another_map(void *ctx) { DRAIN(&values, drains); }
