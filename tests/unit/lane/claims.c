/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that wait for their file in calls that wait, too: they stay queued, and whose they are to submit. */
#include "daemon.h"

#include <sys/socket.h>

static struct ring r;
static int pair[2], kept;
static char byte;
static const uint64_t no_signals;

static long keep_file(struct lane_job *job, int fd)
{
	(void)job;
	__atomic_fetch_add(&kept, 1, __ATOMIC_RELAXED);
	return dup(fd);
}

static void drop_file(int fd)
{
	__atomic_fetch_sub(&kept, 1, __ATOMIC_RELAXED);
	close(fd);
}

static void make(void)
{
	ring_make(&r, 8, 16, 0);
	r.host.keep_file = keep_file;
	r.host.drop_file = drop_file;
	r.lane.wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) + 1;
	CHECK(r.lane.wake > 0);
	CHECK_EQ(fcntl(r.lane.wake - 1, LANE_SETSIG, LANE_WAKE_MARK), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	kept = 0;
}

static void end(void)
{
	CHECK_EQ(kept, 0);
	CHECK_EQ(r.lane.page->claimed, 0);
	if (r.lane.wake > 0)
		close(r.lane.wake - 1);
	close(pair[0]);
	close(pair[1]);
	ring_free(&r);
}

static struct io_uring_sqe *receive(void)
{
	struct io_uring_sqe *sqe = ring_sqe(&r, IORING_OP_RECV, pair[0]);

	sqe->addr = (uint64_t)(uintptr_t)&byte;
	sqe->len = 1;
	return sqe;
}

static struct lane_claim none(void)
{
	struct lane_claim k = {0, 0, -1, -1, 0, false, false, false, 0};

	return k;
}

static struct lane_call call(uint32_t to_submit, uint32_t wait, struct lane_claim *k)
{
	struct lane_call c = {
		-1, to_submit, wait, IORING_ENTER_GETEVENTS, NULL, 0, 0, NULL, 0, false, false, 0, 0, 0, k,
		0,  false,     false};

	return c;
}

static bool claims(uint32_t to_submit, uint32_t wait)
{
	struct lane_claim k = none();
	struct lane_call c = call(to_submit, wait, &k);
	bool claimed;

	CHECK(!lane_enter_ring(&r.lane, &c));
	claimed = k.serial && c.sleep_on;
	CHECK_EQ(claimed, r.lane.page->claimed != 0);
	if (k.fd >= 0)
		drop_file(k.fd);
	r.lane.page->claimed = r.lane.page->sleepers = 0;
	return claimed;
}

/* It is not taken before there is something to receive. */
static void test_received(void)
{
	struct lane_claim k = none();
	struct lane_call c = call(2, 2, &k);

	make();
	ring_sqe(&r, IORING_OP_NOP, -1);
	receive();
	CHECK(!lane_enter_ring(&r.lane, &c));
	CHECK(c.sleep_on && k.serial);
	CHECK_EQ(c.taken, 1);
	CHECK_EQ(c.to_submit, 1);
	CHECK_EQ(lane_word(r.lane.rings, LANE_SQ_HEAD), 1);
	CHECK_EQ(lane_poll_claim(&k, lane_now() + 1000, &no_signals), -ETIMEDOUT);
	CHECK_EQ(send(pair[1], "x", 1, 0), 1);
	CHECK_EQ(lane_poll_claim(&k, LANE_EVER, &no_signals), 1);
	c.sleep_on = NULL;
	CHECK(lane_enter_ring(&r.lane, &c));
	CHECK_EQ(c.taken, 1);
	CHECK_EQ(r.lane.page->sleepers, 0);
	ring_expect(&r, 1, 0);
	ring_expect(&r, 2, 1);
	drop_file(k.fd);
	end();
}

/* A POLL_ADD waits for what it asks for. */
static void test_polled(void)
{
	struct lane_claim k = none();
	struct lane_call c = call(1, 1, &k);
	struct io_uring_sqe *sqe;
	char buf[4096] = "";

	make();
	while (send(pair[0], buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
	sqe = ring_sqe(&r, IORING_OP_POLL_ADD, pair[0]);
	sqe->poll32_events = POLLOUT;
	CHECK(!lane_enter_ring(&r.lane, &c));
	CHECK(c.sleep_on && k.serial);
	CHECK_EQ(send(pair[1], "x", 1, 0), 1); /* which is not what it waits for */
	CHECK_EQ(lane_poll_claim(&k, lane_now() + 1000, &no_signals), -ETIMEDOUT);
	while (recv(pair[1], buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
	CHECK_EQ(lane_poll_claim(&k, LANE_EVER, &no_signals), 1);
	c.sleep_on = NULL;
	CHECK(lane_enter_ring(&r.lane, &c));
	CHECK_EQ(c.taken, 1);
	ring_expect(&r, 1, POLLOUT);
	drop_file(k.fd);
	end();
}

/* The program has closed it meanwhile: the request has its file. */
static void test_closed(void)
{
	struct lane_claim k = none();
	struct lane_call c = call(1, 1, &k);

	make();
	receive();
	CHECK(!lane_enter_ring(&r.lane, &c) && k.serial);
	CHECK_EQ(send(pair[1], "x", 1, 0), 1);
	close(pair[0]);
	CHECK(lane_enter_ring(&r.lane, &c));
	ring_expect(&r, 1, 1);
	drop_file(k.fd);
	end();
}

/* It goes to the daemon after all, which asks for the descriptor of the SQE: that is still the file it was. */
static void test_lent(bool replaced)
{
	struct lane_claim k = none();
	struct lane_call c = call(1, 1, &k);
	struct io_uring_sqe *sqe;
	struct lane_loan loan;
	int number;

	make();
	sqe = receive();
	number = sqe->fd;
	CHECK(!lane_enter_ring(&r.lane, &c) && k.serial);
	loan = lane_lend(&r.lane, &k);
	CHECK(!loan.fd);
	close(number);
	if (replaced)
		CHECK_EQ(dup2(pair[1], number), number);
	loan = lane_lend(&r.lane, &k);
	CHECK_EQ(sqe->fd, k.fd);
	lane_return(&loan);
	CHECK_EQ(sqe->fd, number);
	loan = lane_lend(&r.lane, &k);
	sqe->fd = 4711; /* it is the next request by now */
	lane_return(&loan);
	CHECK_EQ(sqe->fd, 4711);
	r.lane.page->sq_head++;
	loan = lane_lend(&r.lane, &k);
	CHECK(!loan.fd);
	r.lane.page->claimed = 0;
	drop_file(k.fd);
	end();
}

/* A child by fork leaves the call as if it were submitted: it is, by the parent. */
static void test_in_a_child(void)
{
	struct lane_claim k = none();
	struct lane_call c = call(1, 1, &k);

	make();
	receive();
	CHECK(!lane_enter_ring(&r.lane, &c) && k.serial);
	drop_file(k.fd);
	r.lane.holder = 2;
	c.error = -EINTR;
	lane_enter_ring(&r.lane, &c);
	CHECK_EQ(c.taken, 1);
	CHECK_EQ(c.to_submit, 0);
	CHECK_EQ(k.fd, -1);
	CHECK_EQ(r.lane.page->claimed >> 16, 1);
	r.lane.page->claimed = 0;
	end();
}

/* A process that takes no part has submitted it: what is left is the wait. */
static void test_submitted_by_another(void)
{
	struct lane_claim k = none();
	struct lane_call c = call(1, 1, &k);

	make();
	receive();
	CHECK(!lane_enter_ring(&r.lane, &c) && k.serial);
	r.lane.page->sq_head++;
	CHECK(!lane_enter_ring(&r.lane, &c));
	CHECK_EQ(c.taken, 1);
	CHECK_EQ(c.to_submit, 0);
	drop_file(k.fd);
	end();
}

/* The program has closed our eventfd, and has a file of its own under that number. */
static void test_a_number_that_is_the_programs(void)
{
	int ends[2];
	char got[8];

	make();
	CHECK_EQ(pipe2(ends, O_NONBLOCK), 0);
	CHECK_EQ(dup2(ends[1], r.lane.wake - 1), r.lane.wake - 1);
	lane_signal(&r.lane);
	CHECK_EQ(read(ends[0], got, sizeof(got)), -1);
	receive();
	CHECK(!claims(1, 1));
	CHECK_EQ(r.lane.wake, -1);
	CHECK_EQ(write(ends[1], "x", 1), 1);
	close(ends[0]);
	close(ends[1]);
	end();
}

static void test_the_daemons(void)
{
	make();
	receive();
	receive();
	CHECK(!claims(2, 1)); /* more than one */
	CHECK(!claims(1, 0)); /* no wait */
	CHECK(claims(1, 1));
	r.lane.page->attention = URINGFS_LANE_WORK;
	CHECK(!claims(1, 1));
	r.lane.page->attention = 0;
	close(r.lane.wake - 1);
	CHECK(!claims(1, 1));
	end();
	make();
	receive()->msg_flags = MSG_DONTWAIT;
	CHECK(!claims(1, 1));
	end();
	make();
	CHECK_EQ(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
	receive();
	CHECK(!claims(1, 1));
	end();
}

/* A file that is ready, but has nothing: at last it is the daemon's. */
static void test_again_and_again(void)
{
	struct lane_claim k = none();
	struct lane_call c = call(1, 1, &k);

	make();
	receive();
	for (unsigned i = 0; i < LANE_TRIES; i++) {
		CHECK(!lane_enter_ring(&r.lane, &c) && k.serial);
		k.tries++;
	}
	c.sleep_on = NULL;
	CHECK(!lane_enter_ring(&r.lane, &c) && !c.sleep_on);
	CHECK_EQ(c.to_submit, 1);
	lane_end_claim(&r.lane, &k); /* when the daemon has it */
	drop_file(k.fd);
	end();
}

/* Time, or a signal: it is still to be submitted. */
static void test_it_is_over(int error)
{
	struct lane_claim k = none();
	struct lane_call c = call(1, 1, &k);

	make();
	receive();
	c.until = LANE_EVER;
	CHECK(!lane_enter_ring(&r.lane, &c) && k.serial);
	c.sleep_on = NULL;
	c.error = error;
	c.until = error ? LANE_EVER : lane_now();
	CHECK(!lane_enter_ring(&r.lane, &c) && !c.sleep_on);
	CHECK_EQ(c.error, error ? error : -ETIME);
	CHECK_EQ(c.to_submit, 1);
	CHECK(k.serial);
	lane_end_claim(&r.lane, &k);
	drop_file(k.fd);
	end();
}

/* Before it is claimed: the daemon finds that, too. */
static void test_it_is_over_at_once(void)
{
	struct lane_claim k = none();
	struct lane_call c = call(1, 1, &k);

	make();
	receive();
	c.until = lane_now();
	CHECK(!lane_enter_ring(&r.lane, &c) && !k.serial && !c.sleep_on);
	CHECK_EQ(c.error, 0);
	CHECK_EQ(c.to_submit, 1);
	drop_file(k.fd);
	end();
}

/* Who has claimed it is gone: the next call submits both, and counts its own. */
static void test_nobody_answers(uint32_t holder)
{
	struct lane_call c = call(1, 0, NULL);

	make();
	receive();
	r.lane.page->claimed = holder << 16 | 1;
	CHECK_EQ(send(pair[1], "x", 1, 0), 1);
	ring_sqe(&r, IORING_OP_NOP, -1);
	CHECK(lane_enter_ring(&r.lane, &c));
	CHECK_EQ(c.taken, 1);
	CHECK_EQ(r.kicks, holder != 1); /* another process's: by the daemon */
	ring_expect(&r, 1, 1);
	ring_expect(&r, 2, 0);
	end();
}

static void *submit_behind(void *unused)
{
	struct lane_call c = call(1, 0, NULL);

	ring_sqe(&r, IORING_OP_NOP, -1);
	CHECK(lane_enter_ring(&r.lane, &c));
	CHECK_EQ(c.taken, 1);
	return unused;
}

/* Another call comes: this one submits what it has claimed first. Here by taking it off the ring. */
static void test_recalled(void)
{
	struct lane_claim k = none();
	struct lane_call c = call(1, 2, &k);
	pthread_t thread;

	make();
	receive();
	CHECK(!lane_enter_ring(&r.lane, &c) && k.serial);
	CHECK_EQ(pthread_create(&thread, NULL, submit_behind, NULL), 0);
	CHECK_EQ(lane_poll_claim(&k, LANE_EVER, &no_signals), 1);
	CHECK(!lane_enter_ring(&r.lane, &c));
	CHECK(k.recalled);
	CHECK_EQ(c.to_submit, 1);
	r.lane.page->sq_head++; /* as the daemon does */
	lane_end_claim(&r.lane, &k);
	pthread_join(thread, NULL);
	CHECK_EQ(ring_ready(&r), 1);
	ring_expect(&r, 2, 0);
	drop_file(k.fd);
	end();
}

/* Another thread completes a request of user_data 7. */
static void post_seven(struct lane_pass *p)
{
	memset(p, 0, sizeof(*p));
	p->lane = &r.lane;
	CHECK(lane_lock(&r.lane) && lane_look(p));
	lane_complete(p, 7, &(struct lane_done){0, 0, false, -1}, true);
	lane_leave(p);
}

/* Whoever posts enough wakes it, by the eventfd. */
static void test_another_posts(void)
{
	struct lane_claim k = none();
	struct lane_call c = call(1, 1, &k);
	struct lane_pass p;

	make();
	receive();
	CHECK(!lane_enter_ring(&r.lane, &c) && k.serial);
	post_seven(&p);
	CHECK_EQ(lane_poll_claim(&k, LANE_EVER, &no_signals), 1);
	CHECK_EQ(k.tries, 0);
	ring_expect(&r, 7, 0);
	r.lane.page->claimed = 0;
	drop_file(k.fd);
	end();
}

/* ... also if a third thread has reaped that by then: io_cqring_wait() is for the tail, not for what is left. */
static void test_another_posts_and_reaps(void)
{
	struct lane_claim k = none();
	struct lane_call c = call(1, 1, &k);
	struct lane_pass p;

	make();
	receive();
	CHECK(!lane_enter_ring(&r.lane, &c) && k.serial);
	post_seven(&p);
	ring_expect(&r, 7, 0);
	c.sleep_on = NULL;
	CHECK(!lane_enter_ring(&r.lane, &c) && !c.sleep_on && k.serial);
	r.lane.page->sq_head++; /* as the daemon does */
	lane_end_claim(&r.lane, &k);
	c.to_submit = 0;
	CHECK(lane_enter_ring(&r.lane, &c));
	drop_file(k.fd);
	end();
}

/* Of another process it is the daemon who does. */
static void test_another_process(void)
{
	struct lane_pass p;

	make();
	r.lane.page->sleepers = URINGFS_LANE_POLLS | 2 << 16 | 1;
	r.lane.page->wake_at = 1;
	post_seven(&p);
	CHECK(lane_is_wanted(&p));
	CHECK_EQ(r.lane.page->sleepers, (URINGFS_LANE_POLLS | 2 << 16));
	ring_expect(&r, 7, 0);
	end();
}

int main(void)
{
	test_received();
	test_polled();
	test_closed();
	test_lent(false);
	test_lent(true);
	test_in_a_child();
	test_submitted_by_another();
	test_a_number_that_is_the_programs();
	test_the_daemons();
	test_again_and_again();
	test_it_is_over(0);
	test_it_is_over(-EINTR);
	test_it_is_over_at_once();
	test_nobody_answers(1);
	test_nobody_answers(2);
	test_recalled();
	test_another_posts();
	test_another_posts_and_reaps();
	test_another_process();
	return 0;
}
