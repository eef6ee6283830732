/* SPDX-License-Identifier: Apache-2.0 */
/* The attacker's child: it makes a ring, submits and becomes the victim, HOW the environment says. */
#include "submitter.h"

#include <sched.h>
#include <semaphore.h>
#include <sys/prctl.h>

#define STACK_SIZE 65536

struct submitter self;

static void make_ring_and_submit(void)
{
	struct hello hello;
	char byte;

	memset(&hello, 0, sizeof(hello));
	ring_init(&self.ring, 16, self.flags);
	hello.child = self.indirect ? getpid() : 0;
	hello.fd = self.ring.fd;
	if (self.prepare)
		self.prepare(&self.ring);
	hello.p = self.ring.p;
	EXPECT_EQ(OK(write(self.hello, &hello, sizeof(hello))), sizeof(hello));
	EXPECT_EQ(OK(read(self.welcome, &byte, 1)), 1);
	self.submit(&self.ring);
}

void scene_become_victim(void)
{
	execv(self.argv[0], (char **)self.argv);
	FAIL("%s: %s", self.argv[0], strerror(errno));
}

static void *exec_thread(void *unused)
{
	(void)unused;
	scene_become_victim();
	return NULL;
}

static void *submit_thread(void *done)
{
	make_ring_and_submit();
	sem_post(done);
	pause(); /* its end would end what it has submitted */
	return NULL;
}

static int both(void *unused)
{
	(void)unused;
	make_ring_and_submit();
	scene_become_victim();
	return 1;
}

/* A process that shares something with the submitter, and keeps it as it was. Ends with the victim. */
static int sibling(void *closes)
{
	if (closes)
		close(self.execed);
	syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	syscall(SYS_write, self.settled[1], ".", 1);
	while (pause() < 0) {
	}
	return 1;
}

static pid_t clone_with(int (*fn)(void *), int flags, void *arg)
{
	char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return (pid_t)OK(clone(fn, stack + STACK_SIZE, flags | SIGCHLD, arg));
}

static void keep_sibling(int flags, void *closes)
{
	char byte;

	OK(pipe2(self.settled, O_CLOEXEC));
	clone_with(sibling, flags, closes);
	EXPECT_EQ(OK(read(self.settled[0], &byte, 1)), 1);
}

void submit_and_exec(void)
{
	const char *how = choice("HOW", "exec");
	pthread_t thread;
	pid_t child;
	sem_t done;

	if (strcmp(how, "clone_vm") == 0)
		keep_sibling(CLONE_VM, &self);
	if (strcmp(how, "clone_files") == 0)
		keep_sibling(CLONE_FILES, NULL);
	if (strcmp(how, "vfork") == 0) {
		self.indirect = true;
		child = clone_with(both, CLONE_VM | CLONE_VFORK, NULL);
		close(self.execed);
		_exit(WEXITSTATUS(wait_child(child)));
	}
	if (strcmp(how, "by_another_thread") == 0) {
		make_ring_and_submit();
		EXPECT_EQ(pthread_create(&thread, NULL, exec_thread, NULL), 0);
		for (;;)
			pause();
	}
	if (strcmp(how, "of_another_thread") == 0) {
		sem_init(&done, 0, 0);
		EXPECT_EQ(pthread_create(&thread, NULL, submit_thread, &done), 0);
		while (sem_wait(&done) < 0) {
		}
		scene_become_victim();
	}
	both(NULL);
}

/* Harmless things where the victim will have its secrets. */
void hold_harmless(void)
{
	int harmless = (int)OK(memfd_create("harmless", 0));

	EXPECT_EQ(OK(write(harmless, "harmless", 8)), 8);
	OK(dup2(harmless, VICTIM_FD));
	strcpy(held_page(at("secret")) + SECRET_AT, "harmless");
	put_message();
}
