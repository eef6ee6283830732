/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of a program. Between two of them nothing runs but what is held. */
#include "gen.h"

#define CANCEL_OP (1U << 5) /* IORING_ASYNC_CANCEL_OP */

static struct ring *ring;
static bool skips; /* IOSQE_CQE_SKIP_SUCCESS is used: then nothing can drain any more */
static uint64_t taken;
static unsigned region;

void steps_start(struct ring *r)
{
	ring = r;
	skips = ONE_IN(3);
}

static struct request *some_held(void)
{
	struct request *found = NULL;
	unsigned n = 0;

	for (unsigned i = 0; i < nr_requests; i++)
		if (requests[i].held && ONE_IN(++n))
			found = &requests[i];
	return found;
}

static void take_held(void)
{
	taken = 0;
	for (unsigned i = 0; i < nr_requests; i++)
		if (requests[i].held && requests[i].obj != OBJ_NONE)
			taken |= 1ULL << requests[i].obj | sqe_also(&requests[i].sqe);
}

/* ---- chains of a batch ---- */

static void put_links(struct io_uring_sqe *s, unsigned n, bool hard)
{
	for (unsigned i = 0; i + 1 < n; i++)
		s[i].flags |= hard && rnd(2) ? IOSQE_IO_HARDLINK : IOSQE_IO_LINK;
}

static void add_chain(bool drains)
{
	struct making m = {
		.taken = taken, .drains = drains, .cuttable = true, .skip = skips && ONE_IN(3), .region_size = PAGE};
	unsigned n = ONE_IN(2) ? 1 : 1 + rnd(MAX_CHAIN - 1);
	struct io_uring_sqe s[MAX_CHAIN + 1];

	for (unsigned i = 0; i < n; i++) {
		m.worker = n > 1 || drains;
		m.last = -1;
		m.region = arena + (region++ % ARENA_REGIONS) * PAGE;
		sqe_random(&s[i], &m);
		if (m.skip && (i + 1 < n || (n == 1 && s[i].opcode == IORING_OP_NOP)) && rnd(2)) {
			s[i].flags |= IOSQE_CQE_SKIP_SUCCESS;
			if (n == 1)
				s[i].flags &= ~IOSQE_ASYNC; /* over once it is submitted */
		}
		if (drains && ONE_IN(4))
			s[i].flags |= IOSQE_IO_DRAIN;
	}
	if (!m.skip && ONE_IN(6)) {
		sqe_link_timeout(&s[n++], false);
		m.cuttable = false;
	}
	put_links(s, n, !m.skip);
	taken |= m.own;
	run_add(s, n, m.cuttable && !m.skip);
}

static void add_held(void)
{
	struct io_uring_sqe s[2];
	struct request *h;
	int obj = sqe_held(&s[0], taken);

	if (obj < 0)
		return;
	if (obj != OBJ_NONE)
		taken |= 1ULL << obj | sqe_also(&s[0]);
	if (ONE_IN(4) && s[0].opcode != IORING_OP_TIMEOUT) {
		s[0].flags |= IOSQE_IO_LINK;
		sqe_link_timeout(&s[1], true); /* which ends it */
		run_add(s, 2, false);
		return;
	}
	h = run_add(s, 1, true);
	h->held = true;
	h->obj = obj;
}

/* ---- ends of what is held ---- */

static void cancel_sqe(struct io_uring_sqe *s, struct request *h)
{
	s->opcode = IORING_OP_ASYNC_CANCEL;
	s->fd = -1;
	s->addr = h->user_data;
	if (h->obj != OBJ_NONE && ONE_IN(2)) {
		const struct object *o = &objects[h->obj];

		s->addr = 0;
		s->fd = o->rfd;
		s->cancel_flags = IORING_ASYNC_CANCEL_FD;
		if (ONE_IN(3)) {
			s->fd = o->rslot;
			s->cancel_flags |= IORING_ASYNC_CANCEL_FD_FIXED;
		}
	}
	if (ONE_IN(3))
		s->cancel_flags |= IORING_ASYNC_CANCEL_ALL;
}

/* By a request of the family's own. True: it goes on pending. */
static bool remove_sqe(struct io_uring_sqe *s, struct request *h)
{
	s->fd = -1;
	s->addr = h->user_data;
	if (h->sqe.opcode == IORING_OP_POLL_ADD) {
		s->opcode = IORING_OP_POLL_REMOVE;
		if (h->sqe.len || rnd(2))
			return false;
		s->len = IORING_POLL_UPDATE_EVENTS;
		s->poll32_events = (uint32_t)PICK(POLLIN, POLLIN | POLLRDHUP, POLLIN | POLLPRI);
		return true;
	}
	s->opcode = IORING_OP_TIMEOUT_REMOVE;
	if (rnd(2))
		return false;
	s->timeout_flags = IORING_TIMEOUT_UPDATE;
	s->addr2 = ONE_IN(2) ? an_hour() : a_moment();
	return s->addr2 == an_hour();
}

/* A multishot that may need the last of its buffers the next time. */
static bool spent(const struct request *h)
{
	return h->sqe.flags & IOSQE_BUFFER_SELECT && sqe_multishot(&h->sqe) && h->more_due >= MULTISHOTS;
}

static void fill_sqe(struct io_uring_sqe *s, struct request *h)
{
	s->opcode = IORING_OP_WRITE;
	s->fd = objects[h->obj].wfd;
	s->addr = small_number(); /* an eventfd has room for many of them */
	s->len = 8;
}

/* One request which ends a held one; it stands alone, so that nothing but it decides. A multishot goes on, and
 * ends when the CQ is full: it is triggered where nothing else completes. */
static void end_by_request(bool alone)
{
	struct request *h = some_held();
	struct io_uring_sqe s;
	bool multishot, stays = false;

	if (!h)
		return;
	multishot = sqe_multishot(&h->sqe);
	memset(&s, 0, sizeof(s));
	if (ONE_IN(3) && h->obj != OBJ_NONE && objects[h->obj].writes < 12 && (alone || !multishot) && !spent(h) &&
	    h->obj != OBJ_LISTENER) {
		objects[h->obj].writes++;
		fill_sqe(&s, h);
		stays = multishot;
		h->more_due += stays;
	} else if (ONE_IN(2) && (h->sqe.opcode == IORING_OP_POLL_ADD || h->sqe.opcode == IORING_OP_TIMEOUT))
		stays = remove_sqe(&s, h);
	else
		cancel_sqe(&s, h);
	run_add(&s, 1, true);
	if (!stays)
		run_released(h);
}

static void fill_from_outside(void)
{
	struct request *h = some_held();
	uint64_t data[] = {3, 4};
	bool empty;

	if (!h || h->obj == OBJ_NONE || objects[h->obj].writes >= 12 || spent(h))
		return;
	empty = !world_ready(h->obj);
	objects[h->obj].writes++;
	if (sqe_multishot(&h->sqe))
		h->more_due++;
	else
		run_released(h);
	if (h->obj == OBJ_LISTENER)
		world_connect();
	else
		EXPECT_EQ(write(objects[h->obj].wfd, data, 8), 8);
	if (h->sqe.opcode == IORING_OP_POLL_ADD && ONE_IN(2) && empty) /* over before anyone looks */
		EXPECT_EQ(read(objects[h->obj].rfd, data, 8), 8);
}

static void release_all(int opcode)
{
	for (unsigned i = 0; i < nr_requests; i++)
		if (requests[i].held && (opcode < 0 || requests[i].sqe.opcode == opcode))
			run_released(&requests[i]);
}

static void cancel_many(void)
{
	struct io_uring_sqe s;

	memset(&s, 0, sizeof(s));
	s.opcode = IORING_OP_ASYNC_CANCEL;
	s.fd = -1;
	s.cancel_flags = IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY;
	if (ONE_IN(2)) {
		s.cancel_flags = IORING_ASYNC_CANCEL_ALL | CANCEL_OP;
		s.len = (uint32_t)PICK(IORING_OP_READ, IORING_OP_POLL_ADD, IORING_OP_TIMEOUT, IORING_OP_RECV,
				       IORING_OP_RECVMSG, OP_READ_MULTISHOT, IORING_OP_ACCEPT);
	}
	run_add(&s, 1, true);
	release_all(s.cancel_flags & CANCEL_OP ? (int)s.len : -1);
}

static void cancel_synchronously(void)
{
	struct io_uring_sync_cancel_reg reg;
	struct request *h = some_held();

	if (!h)
		return;
	memset(&reg, 0, sizeof(reg));
	reg.addr = h->user_data;
	reg.fd = -1;
	reg.timeout.tv_sec = reg.timeout.tv_nsec = -1;
	if (ONE_IN(3))
		reg.flags = IORING_ASYNC_CANCEL_ALL;
	say("sync cancel: %d", sys_register(ring->fd, IORING_REGISTER_SYNC_CANCEL, &reg, 1));
	run_released(h);
}

/* ---- steps ---- */

/* ---- system calls that are wrong ---- */

/* With an argument that faults: whatever the code, it fails, or does nothing. */
static void register_noise(void)
{
	static const unsigned char documented[] = {IORING_REGISTER_NAPI, IORING_UNREGISTER_NAPI,
						   IORING_REGISTER_SEND_MSG_RING, 32 /* ZCRX_IFQ */};

	for (int i = 0; i < 4; i++) {
		unsigned opcode = ONE_IN(8) ? (unsigned)any() : rnd(REGISTER_CODES);
		unsigned nr = (unsigned)PICK(0, 1, 1, 2, 16, 64, 4096, INT32_MAX, UINT32_MAX);
		void *arg = (void *)(uintptr_t)bad_address();

		if (opcode & 1U << 31 || !arg ||
		    memchr(documented, (int)opcode, 4)) /* IORING_REGISTER_USE_REGISTERED_RING; some need no argument */
			continue;
		say("register %u nr %u: %d", opcode, nr, sys_register(ring->fd, opcode, arg, nr));
	}
}

/* Nothing is submitted, nothing waited for. */
static void enter_noise(void)
{
	for (int i = 0; i < 4; i++) {
		unsigned flags = (unsigned)PICK(1U << rnd(32), rnd(UINT32_MAX), IORING_ENTER_EXT_ARG, GETEVENTS);
		size_t size = (size_t)PICK(0, 8, 24, 7, 4096, any());

		if (flags & IORING_ENTER_REGISTERED_RING) /* differs by design */
			continue;
		say("enter flags 0x%x: %d", flags,
		    sys_enter(ring->fd, 0, 0, flags, (void *)(uintptr_t)bad_address(), size));
	}
}

/* True: it had drains. */
static bool batch(void)
{
	bool drains = !some_held() && ONE_IN(3);
	unsigned n = 1 + rnd(7);

	for (unsigned i = 0; i < n; i++) {
		if (!drains && ONE_IN(6))
			add_held();
		else if (!drains && ONE_IN(8))
			end_by_request(false);
		else
			add_chain(drains);
		if (ONE_IN(3))
			run_enter();
		if (ONE_IN(4))
			run_reap(rnd(8));
	}
	return drains;
}

/* Requests to one thing, without links, that the kernel performs inline or serialises by inode: in their order. */
static void ordered(void)
{
	static generator *const makers[] = {gen_file_place, gen_epoll, gen_slot_inline};
	struct making m = {.taken = taken, .last = -1, .skip = true, .region_size = PAGE};
	generator *make = makers[rnd(3)];
	unsigned n = 2 + rnd(7);

	for (unsigned i = 0; i < n; i++) {
		struct io_uring_sqe s;

		memset(&s, 0, sizeof(s));
		m.region = arena + (region++ % ARENA_REGIONS) * PAGE;
		if (make(&s, &m))
			run_add(&s, 1, true);
	}
	taken |= m.own;
}

/* A timeout that is over when so many others are; nothing else completes meanwhile. */
static void count(void)
{
	unsigned n = 1 + rnd(5);
	struct io_uring_sqe s;

	memset(&s, 0, sizeof(s));
	s.opcode = IORING_OP_TIMEOUT;
	s.fd = -1;
	s.addr = an_hour();
	s.len = 1;
	s.off = n;
	run_add(&s, 1, true);
	memset(&s, 0, sizeof(s));
	for (unsigned i = 0; i < n; i++)
		run_add(&s, 1, true);
}

/* The kernel holds back whatever follows a drain until one request met nothing unfinished
 * (io_drain_req()): what is held must not come before that one. */
static void undrain(void)
{
	for (int i = 0; i < 3; i++) {
		struct io_uring_sqe s;

		run_quiesce();
		usleep(1000); /* a request of io-wq is counted until its worker has let go of it */
		EXPECT_EQ(enter(ring->fd, 0, 0, GETEVENTS), 0);
		memset(&s, 0, sizeof(s));
		run_add(&s, 1, true);
	}
}

void step(void)
{
	unsigned what = rnd(17);

	region = 0;
	take_held();
	if (what == 0)
		count();
	else if (what == 1)
		cancel_many();
	else if (what == 2)
		cancel_synchronously();
	else if (what == 3)
		fill_from_outside();
	else if (what == 4)
		end_by_request(true);
	else if (what == 5)
		register_noise();
	else if (what == 6)
		enter_noise();
	else if (what == 7)
		ordered();
	else if (what == 8)
		side_ring();
	else if (batch())
		undrain();
	run_quiesce();
}

void steps_end(void)
{
	side_end();
	if (ONE_IN(4))
		return; /* the end of the process is theirs */
	cancel_many();
	run_quiesce();
}
