/* SPDX-License-Identifier: Apache-2.0 */
/* A program with rights that opens a ring and then drops them: it goes on, with what it has then. As root, or as
 * a set-user-ID program. */
#include "scene.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>

#define USER_ID 54321 /* attack.py */

static struct ring ring;
static int secret;

static void begin(unsigned flags)
{
	int32_t slots[2] = {-1, -1};

	secret = (int)OK(open(at("secret"), O_RDONLY));
	ring_init(&ring, 8, flags);
	EXPECT_EQ(sys_register(ring.fd, IORING_REGISTER_FILES, slots, 2), 0);
}

static int finish(void)
{
	struct cqe cqe;

	EXPECT_EQ(ring_submit_wait(&ring, 1), 1);
	EXPECT(ring_reap(&ring, &cqe));
	note("res=%d", cqe.res);
	return cqe.res;
}

static int open_secret(void)
{
	queue(&ring, IORING_OP_OPENAT, AT_FDCWD, at("secret"), 0, 0)->file_index = 1;
	return finish();
}

/* What it has opened it may read on. */
static void works(void)
{
	static char data[SECRET_SIZE];

	ring_nop(&ring, 1);
	EXPECT_EQ(finish(), 0);
	queue(&ring, IORING_OP_READ, secret, data, sizeof(data), 0);
	EXPECT_EQ(finish(), strlen(SECRET_TEXT) + 1);
	EXPECT(memmem(data, sizeof(data), SECRET_TEXT, strlen(SECRET_TEXT)) != NULL);
}

static void become_user(void)
{
	OK(setresgid(USER_ID, USER_ID, USER_ID));
	OK(setresuid(USER_ID, USER_ID, USER_ID));
}

TEST(a_daemon_that_becomes_a_user)
{
	begin(0);
	EXPECT_EQ(open_secret(), 0);
	OK(setgroups(0, NULL));
	become_user();
	works();
	EXPECT_EQ(open_secret(), -EACCES);
}

TEST(a_daemon_that_keeps_its_user_and_drops_capabilities)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct none[2] = {{0}};

	begin(0);
	OK(syscall(SYS_capset, &header, none));
	works();
	queue(&ring, IORING_OP_SOCKET, AF_PACKET, NULL, 0, SOCK_RAW)->file_index = 1;
	EXPECT_EQ(finish(), -EPERM);
}

TEST(a_daemon_that_takes_new_groups_of_less)
{
	gid_t group = USER_ID;

	begin(0);
	OK(setgroups(1, &group));
	become_user();
	works();
}

TEST(a_daemon_whose_poller_goes_on)
{
	struct cqe cqe;

	begin(IORING_SETUP_SQPOLL);
	become_user();
	ring_nop(&ring, 7);
	ring_store_tail(&ring);
	EXPECT(enter(ring.fd, 1, 1, IORING_ENTER_SQ_WAKEUP | GETEVENTS) >= 0);
	cqe = ring_wait(&ring);
	note("user_data=%llu res=%d", (unsigned long long)cqe.user_data, cqe.res);
}

/* By turns, as a server that serves users does. */
TEST(a_server_to_and_fro)
{
	begin(0);
	for (int i = 0; i < 2; i++) {
		OK(seteuid(USER_ID));
		works();
		EXPECT_EQ(open_secret(), -EACCES);
		OK(seteuid(0));
		works();
		EXPECT_EQ(open_secret(), 0);
	}
}

/* The rights are the effective ones, while it has them. */
TEST(a_setuid_program_with_a_ring_of_its_own)
{
	EXPECT(getuid() != 0);
	EXPECT_EQ(geteuid(), 0);
	begin(0);
	works();
	EXPECT_EQ(open_secret(), 0);
	OK(setresuid(getuid(), getuid(), getuid()));
	works();
	EXPECT_EQ(open_secret(), -EACCES);
}

/* A child that is less than who has opened the ring. */
TEST(a_child_that_becomes_a_user)
{
	pid_t pid;

	begin(0);
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		OK(setgroups(0, NULL));
		become_user();
		works();
		EXPECT_EQ(open_secret(), -EACCES);
		fflush(stdout);
		_exit(0);
	}
	expect_child_ok(pid);
}
