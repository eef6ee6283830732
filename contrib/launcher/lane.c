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

static uint64_t block(void)
{
	const uint64_t handlers = ~TRAP_SIGSYS_BIT;
	uint64_t old = 0;

	RAW(SYS_rt_sigprocmask, SIG_SETMASK, &handlers, &old, sizeof(old));
	return old;
}

uint64_t trap_lane_registers(int fd, uint32_t opcode)
{
	uint64_t old, before;

	if (trap_state.no_lane)
		return 0;
	old = block();
	before = lane_registers(fd, opcode);
	RAW(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, sizeof(old));
	return before;
}

void trap_lane_registered(int fd, uint32_t opcode, uintptr_t arg, uint32_t nr_args, long ret, uint64_t before)
{
	uint64_t old = block();

	lane_registered(fd, opcode, arg, nr_args, ret, before);
	RAW(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, sizeof(old));
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
