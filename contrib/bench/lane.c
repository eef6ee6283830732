/* SPDX-License-Identifier: Apache-2.0 */
/* The enter of a program that includes uringfs.h with the lane. */
#define URINGFS_LANE
#include "bench.h"

int lane_backend_enter(struct ring *ring, unsigned to_submit, unsigned min_complete, unsigned flags)
{
	return uringfs_enter(ring->fd, to_submit, min_complete, flags, NULL);
}
