/* SPDX-License-Identifier: Apache-2.0 */
/* The lane (contrib/lane/): io_uring_enter(2) without the daemon, as far as it goes. In the handler of SIGSYS, and where
 * patch.c calls, all other signals are blocked, so no handler of the program's comes in between, nor leaves with
 * siglongjmp. */
#include "trap.h"

#define URINGFS_LANE
#define LANE_BLOCK(old) ((void)(old))
#define LANE_UNBLOCK(old) ((void)(old))
#define LANE_IS_RING(fd) trap_check_ring(fd)
#include "wire.h"

bool trap_lane(struct trap_enter *e)
{
	struct lane_call c = {(int)e->fd, e->to_submit, e->min_complete, e->flags, (void *)e->arg, e->argsz, 0};
	bool whole = lane_enter(&c);

	e->to_submit = c.to_submit;
	e->taken = c.taken;
	return whole;
}

void trap_lane_begin(int fd)
{
	if (!trap_state.no_lane)
		lane_begin(fd);
}

bool trap_lane_is_the_end(long error)
{
	return lane_is_the_end((int)-error);
}

bool trap_lane_failed(int fd, long error)
{
	if (!trap_state.no_lane)
		lane_failed(fd, (int)-error);
	return trap_lane_is_the_end(error);
}
