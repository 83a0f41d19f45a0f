/* Watches events: remembers how long their data is, marks those that are longer than usual, stops what says "quit".
 *
 * SPDX-License-Identifier: MIT
 */
#include "sample_helpers.h"

#include <bpf/bpf_helpers.h>

struct {
	__uint(type, SAMPLE_MAP_TYPE_WINDOW);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} lengths SEC(".maps");

__u64 grades[8];
char hook[8];

SEC("sample")
int watch(struct sample_context *ctx)
{
	const char quit[4] = {'q', 'u', 'i', 't'};
	void *data = ctx->data;
	__u64 length = ctx->data_end - data;
	__u64 usual = bpf_sample_window_add(&lengths, length);

	if (bpf_sample_event_number(ctx) == 1)
		bpf_sample_name(hook, sizeof(hook));
	grades[bpf_sample_grade(length)]++;
	if (data + 4 > ctx->data_end)
		return SAMPLE_PASS;
	if (bpf_sample_find(data, 4, quit, sizeof(quit)) == 0)
		return SAMPLE_STOP;
	if (length <= usual)
		return SAMPLE_PASS;
	ctx->mark = bpf_sample_share(length - usual, 50) + bpf_sample_checksum(data, 4);
	*(char *)data = '!';
	return SAMPLE_NOTE;
}

char _license[] SEC("license") = "MIT";
