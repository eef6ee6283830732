/* SPDX-License-Identifier: Apache-2.0 */
/* A control write that its thread does not wait for (io_submit(2), as the kernel's io_uring would do it, too): the
 * thread executes a privileged program meanwhile. On the kernel: io_uring_enter(2), which it waits for. */
#include "scene.h"

#include <linux/aio_abi.h>

#define ENTRIES 8192
#define ROUNDS 3

static int64_t result;

static void enter_and_go_on(struct ring *r, unsigned n)
{
	static struct uringfs_enter message;
	static struct iocb cb;
	struct iocb *list[] = {&cb};
	aio_context_t context = 0;

	message.hdr = (struct uringfs_hdr){URINGFS_CMD_ENTER, sizeof(message)};
	message.result = (uint64_t)(uintptr_t)&result;
	message.to_submit = n;
	cb = (struct iocb){.aio_lio_opcode = IOCB_CMD_PWRITE,
			   .aio_fildes = (uint32_t)r->fd,
			   .aio_buf = (uint64_t)(uintptr_t)&message,
			   .aio_nbytes = sizeof(message),
			   .aio_offset = URINGFS_OFF_CTL};
	OK(syscall(SYS_io_setup, 1, &context));
	EXPECT_EQ(OK(syscall(SYS_io_submit, context, 1, list)), 1);
}

/* The attack comes last, when the victim is there. */
static void submit_many(struct ring *r)
{
	unsigned n = ENTRIES - 1;

	ring_close(r);
	ring_init(r, ENTRIES, 0);
	dup2(r->fd, KEEP_FD);
	for (unsigned i = 0; i < n; i++)
		ring_nop(r, LATER);
	queue_attack(r);
	ring_store_tail(r);
	if (on_uringfs())
		enter_and_go_on(r, ENTRIES);
	else
		EXPECT_EQ(enter(r->fd, ENTRIES, 0, 0), ENTRIES);
}

TEST(a_control_write_that_nobody_waits_for)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct scene s;

		scene_begin(&s, 0, submit_many);
		scene_end(&s);
		scene_forget(&s);
	}
}
