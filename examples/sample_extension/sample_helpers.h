/* For programs of type `sample`: their context, their helpers, their kind of map.
 *
 * SPDX-License-Identifier: MIT
 */
#pragma once

#include <linux/bpf.h>

#define SAMPLE_PASS 0
#define SAMPLE_NOTE 1
#define SAMPLE_STOP 2

#define SAMPLE_MAP_TYPE_WINDOW 0x20001

struct sample_context {
	void *data;
	void *data_end;
	__u32 kind;
	__u16 port;
	__u32 mark;
};

/* percent hundredths of number */
static __u64 (*const bpf_sample_share)(__u32 number, __u32 percent) = (void *)0x20001;
/* the sum of size bytes */
static __u64 (*const bpf_sample_checksum)(const void *data, __u32 size) = (void *)0x20002;
/* the hook's name, cut to size; how many bytes it has */
static long (*const bpf_sample_name)(void *out, __u32 size) = (void *)0x20003;
/* remembers a number in a window; the mean of what it holds then */
static __u64 (*const bpf_sample_window_add)(void *window, __u64 number) = (void *)0x20004;
/* how many events there were, this one counted */
static __u64 (*const bpf_sample_event_number)(struct sample_context *context) = (void *)0x20005;
/* how large a number is, from 0 to 7: needs no check before it is used as an index of eight */
static __u64 (*const bpf_sample_grade)(__u32 number) = (void *)0x20006;
/* where pattern begins in data, or -ENOENT */
static long (*const bpf_sample_find)(const void *data, __u32 size, const void *pattern, __u32 pattern_size) = (void *)0x20007;
