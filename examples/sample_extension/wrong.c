/* What the verifier refuses.
 *
 * SPDX-License-Identifier: MIT
 */
#include "sample_helpers.h"

#include <bpf/bpf_helpers.h>

SEC("sample")
int writes(struct sample_context *ctx)
{
	ctx->kind = 1;
	return SAMPLE_PASS;
}

SEC("sample")
int reads(struct sample_context *ctx)
{
	return *(char *)ctx->data == '!' ? SAMPLE_NOTE : SAMPLE_PASS;
}

SEC("sample")
int returns(struct sample_context *ctx)
{
	return ctx->port;
}

char _license[] SEC("license") = "MIT";
