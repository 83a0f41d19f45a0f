/* The smallest program: every frame goes on to the host.
 *
 * SPDX-License-Identifier: MIT
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp")
int xdp_pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

char _license[] SEC("license") = "MIT";
