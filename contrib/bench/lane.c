/* SPDX-License-Identifier: Apache-2.0 */
/* The enter and the register of a program that includes uringfs.h with the lane. */
#define URINGFS_LANE
#include "bench.h"

int lane_backend_enter(struct ring *ring, unsigned to_submit, unsigned min_complete, unsigned flags)
{
	return uringfs_enter(ring->fd, to_submit, min_complete, flags, NULL);
}

int lane_backend_reg(struct ring *ring, unsigned opcode, void *arg, unsigned nr_args)
{
	return uringfs_register(ring->fd, opcode, arg, nr_args);
}
