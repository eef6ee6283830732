/* SPDX-License-Identifier: Apache-2.0 */
/* io_uring_params.features, and that every feature of ours is one of the kernel's. */
#include "harness.h"

TEST(features)
{
	struct ring r;

	ring_init(&r, 4, 0);
	note("0x%x", r.p.features & 0x3ffff);
}

TEST(features_of_a_polled_ring)
{
	struct ring r;

	ring_init(&r, 4, IORING_SETUP_SQPOLL);
	note("0x%x", r.p.features & 0x3ffff);
}
