/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lane in a client: io_uring_enter(2) as far as it needs no daemon. Part of uringfs.h, with URINGFS_LANE defined,
 * and of the launcher. Who calls may define, before:
 *
 *   LANE_BLOCK(old)     block all signals, and keep the mask in *old, a uint64_t: no handler of the program's may come
 *   LANE_UNBLOCK(old)   between lock and unlock
 *   LANE_INTERRUPTED(old) a signal waits that *old does not block
 *   LANE_THREAD(anew)   gettid(2), which may be remembered; true: not
 *   LANE_IS_RING(fd)    0: that is a ring file of the mount
 *   LANE_POLLS          URINGFS_LANE_POLLERS: who starts a thread for a ring with IORING_SETUP_SQPOLL
 *   LANE_WORKS          the last six of struct lane_host: who starts threads for requests that block
 */
#ifndef URINGFS_LANE_CLIENT_H
#define URINGFS_LANE_CLIENT_H

#include "host.h"

#include "names.h"

#include "rings.h"

#include "wait.h"

#include "polled.h"

#ifndef LANE_BLOCK
#define LANE_ALL_SIGNALS (~(uint64_t)0)
#define LANE_BLOCK(old)                                                         \
	do {                                                                    \
		const uint64_t all_ = LANE_ALL_SIGNALS;                         \
		RAW(SYS_rt_sigprocmask, SIG_SETMASK, &all_, old, sizeof(all_)); \
	} while (0)
#define LANE_UNBLOCK(old) RAW(SYS_rt_sigprocmask, SIG_SETMASK, old, 0, sizeof(*(old)))
#define LANE_INTERRUPTED(old) lane_is_interrupted(old)
#endif
#ifndef LANE_THREAD
#define LANE_THREAD(anew) ((int)RAW(SYS_gettid))
#endif
#ifndef LANE_IS_RING
#define LANE_IS_RING(fd) uringfs_check(fd)
#endif
#ifndef LANE_POLLS
#define LANE_POLLS 0
#endif
#ifndef LANE_WORKS
#define LANE_WORKS NULL, NULL, NULL, NULL, NULL, NULL
#endif

#define LANE_TAG 0x6c61000000000000LL
#define LANE_CALLS 1024u
/* All enter flags of 6.18 but ENTER_REGISTERED_RING, which the caller resolves; SQ_WAKEUP and SQ_WAIT are of
 * no matter to rings without a poller. */
#define LANE_ENTER_FLAGS 0xefu

/* What io_uring_enter(2) was called with; then, what is left of it for the daemon, and how many SQEs have been taken. */
struct lane_call {
	int fd;
	uint32_t to_submit, min_complete, flags;
	const void *arg;
	size_t argsz;
	uint32_t taken;
	/* All that is left is to wait here: lane_doze(), as long as the word is this */
	uint32_t *sleep_on;
	uint32_t awake;
	bool help;		  /* for requests of workers alone: one may as well be performed by who waits */
	bool looks;		  /* it has slept long: is the daemon still there? */
	int64_t until;		  /* CLOCK_MONOTONIC; 0: not known yet; LANE_EVER */
	int error;		  /* -EINTR, -ETIME: what the wait has come to */
	uint32_t wanted;	  /* CQEs that are missing */
	struct lane_claim *claim; /* NULL: there are to be none */
	uint32_t tail; /* of the CQ, that the wait is for, as it was when the call began: others may reap meanwhile */
	bool aimed;    /* that is known */
	bool tells;    /* and the daemon is to be told */
};

/* ---- attach ---- */

static inline int64_t lane_control(int fd, void *msg, size_t size, volatile int64_t *result)
{
	struct uringfs_hdr *hdr = (struct uringfs_hdr *)msg;

	hdr->size = (uint32_t)size;
	return uringfs_control(fd, msg, size, result) < 0 ? -errno : *result;
}

/* 0, or -errno: ENOTTY, EOPNOTSUPP ... */
static inline int64_t lane_ask(int fd, struct uringfs_lane_answer *answer)
{
	struct uringfs_lane_attach m;
	volatile int64_t result = -EIO;
	int saved = errno;
	int64_t ret;

	LANE_CLEAR(&m, sizeof(m));
	LANE_CLEAR(answer, sizeof(*answer));
	m.cmd = URINGFS_CMD_LANE;
	m.result = (uint64_t)(uintptr_t)&result;
	m.answer = (uint64_t)(uintptr_t)answer;
	m.version = URINGFS_LANE_VERSION | LANE_POLLS;
	m.room = sizeof(*answer);
	ret = lane_control(fd, &m, sizeof(m), &result);
	errno = saved;
	if (ret == 0 && (answer->version != URINGFS_LANE_VERSION || answer->flags & URINGFS_LANE_OPENS))
		return -EOPNOTSUPP;
	return ret;
}

/* Not by libc: this thread may have no errno of its own. Above RLIMIT_FSIZE any other offset does as well. */
static inline int64_t lane_write(int fd, const void *m, size_t size, const volatile int64_t *result)
{
	long ret = RAW(SYS_pwrite64, fd, m, size, URINGFS_OFF_CTL);

	if (ret == -EFBIG) {
		lane_drop_sigxfsz();
		ret = RAW(SYS_pwrite64, fd, m, size, 0);
	}
	return ret < 0 ? ret : *result;
}

static inline int64_t lane_call_by(struct lane *l, int fd)
{
	volatile int64_t result = -EIO;
	struct uringfs_enter m;

	LANE_CLEAR(&m, sizeof(m));
	m.hdr.cmd = URINGFS_CMD_ENTER;
	m.hdr.size = sizeof(m);
	m.result = (uint64_t)(uintptr_t)&result;
	m.can = URINGFS_ENTER_KICK;
	__atomic_fetch_add(&l->page->kicks, 1, __ATOMIC_RELAXED);
	return lane_write(fd, &m, sizeof(m), &result);
}

/* 0, or -errno: ENOTCONN, ECONNABORTED ... */
static inline int64_t lane_call_daemon(struct lane *l)
{
	return lane_call_by(l, l->fd);
}

static inline void lane_kick(struct lane *l)
{
	lane_call_daemon(l);
}

/* Of a ring whose descriptor may be another file's by now: one that stays what it is, where it is in nobody's way; then
 * host.drop_file(). -EBADF: it is. */
static inline long lane_keep_ring(struct lane *l)
{
	const struct lane_ring *r = (const struct lane_ring *)(const void *)l;
	long fd = l->host->keep_file(NULL, l->fd);

	if (fd < 0 || RAW(SYS_lseek, fd, 0, SEEK_CUR) == r->tag)
		return fd;
	l->host->drop_file((int)fd);
	return -EBADF;
}

/* By a worker */
static inline void lane_kick_later(struct lane *l)
{
	long fd = lane_keep_ring(l);

	l->cut = fd < 0;
	if (fd < 0)
		return;
	lane_call_by(l, (int)fd);
	l->host->drop_file((int)fd);
}

static const struct lane_host lane_client_host = {
	lane_host_file_flags,	lane_host_file_mode,
	lane_host_file_id,	lane_host_fixed_file,
	lane_host_fixed_buffer, lane_host_fixed_vector,
	lane_host_read,		lane_host_write,
	lane_host_iovecs,	lane_host_check_iovecs,
	lane_host_poll,		lane_host_send,
	lane_host_recv,		lane_host_more,
	lane_host_open,		lane_host_socket,
	lane_host_close,	lane_host_sync,
	lane_host_space,	lane_host_path,
	lane_host_stat_cached,	lane_host_cached_type,
	lane_host_copy_path,	lane_kick,
	lane_kick_later,	LANE_WORKS,
};

/* The tag is the ring's inode and device. */
static inline int64_t lane_tag(const struct stat *st)
{
	return LANE_TAG | (int64_t)(st->st_dev & 0xffff) << 32 | (int64_t)(st->st_ino & 0xffffffff);
}

/* LANE_READY; LANE_REFUSED: there is none; LANE_FREE: not for this thread, which another may ask again for. */
static inline uint32_t lane_make(struct lane_ring *r, int fd)
{
	struct uringfs_lane_answer answer;
	int64_t ret;

	if (RAW(SYS_lseek, fd, r->tag, SEEK_SET) != r->tag)
		return LANE_REFUSED;
	ret = lane_ask(fd, &answer);
	if (ret < 0)
		return ret == -EEXIST ? LANE_FREE : LANE_REFUSED;
	r->calls = 0;
	r->gone = false;
	r->most = r->limit = 0;
	r->thread = 0;
	if (answer.setup_flags & IORING_SETUP_SINGLE_ISSUER && !(answer.setup_flags & IORING_SETUP_SQPOLL))
		r->thread = LANE_THREAD(true);
	if (lane_map_all(r, fd, &answer))
		return LANE_READY;
	lane_unmap_all(r);
	return LANE_REFUSED;
}

/* Whatever comes of it is remembered under the tag, so that it is asked once. The tag of that file; -1: it is no ring. */
static inline int64_t lane_attach(struct lane_ring *r, int fd)
{
	struct stat st;
	uint32_t state;

	if (RAW(SYS_fstat, fd, &st) < 0 || LANE_IS_RING(fd) != 0)
		return -1;
	if (!lane_seize(r))
		return lane_tag(&st);
	r->tag = lane_tag(&st);
	state = lane_make(r, fd);
	r->lane.host = &lane_client_host;
	r->lane.device = st.st_dev;
	r->lane.fd = fd;
	__atomic_store_n(&r->state, state, __ATOMIC_SEQ_CST);
	return r->tag;
}

/* A ring that has just been set up: the mappings are made now, not amid what the program does later. */
static inline void lane_begin(int fd)
{
	struct lane_ring *r = lane_place(fd);

	if (r)
		lane_attach(r, fd);
}

/* It is in use behind that, and the ring that was attached, with its queues as they were. */
static inline bool lane_use_current(struct lane_ring *r, int fd, int64_t tag)
{
	if (r->lane.fd != fd || !lane_use(r, tag))
		return false;
	if (lane_load(&r->lane.page->generation) == r->lane.generation)
		return true;
	lane_let_go(r);
	return false;
}

/* The ring of a descriptor, in use. NULL: it has no lane. */
static inline struct lane_ring *lane_get(int fd)
{
	int64_t tag = RAW(SYS_lseek, fd, 0, SEEK_CUR);
	struct lane_ring *r = tag < 0 ? NULL : lane_place(fd);

	if (!r || (lane_state(r) == LANE_REFUSED && r->tag == tag))
		return NULL;
	if (!lane_use_current(r, fd, tag)) {
		tag = lane_attach(r, fd);
		if (tag < 0 || !lane_use_current(r, fd, tag))
			return NULL;
	}
	if (!r->thread || r->thread == LANE_THREAD(false))
		return r;
	lane_let_go(r);
	return NULL;
}

/* ---- register ---- */

/* In front of io_uring_register(2), with signals blocked: for lane_registered(). 0: it changes nothing we have a list of. */
static inline uint64_t lane_registers(int fd, unsigned opcode)
{
	struct lane_ring *r;
	uint64_t stamp;

	if (!lane_changes_files(opcode) && !lane_changes_buffers(opcode))
		return 0;
	r = lane_get(fd);
	if (!r)
		return 0;
	stamp = lane_stamp(lane_changes_files(opcode) ? &r->lane.page->files : &r->lane.page->buffers);
	lane_let_go(r);
	return stamp;
}

/* Behind it, in the same way. ret: its result. */
static inline void lane_registered(int fd, unsigned opcode, uint64_t arg, uint32_t nr_args, long ret, uint64_t before)
{
	struct lane_change change;
	struct lane_ring *r;

	if (!before || ret < 0 || !lane_change_of(opcode, arg, nr_args, ret, &change))
		return;
	r = lane_get(fd);
	if (!r)
		return;
	if (change.files)
		lane_relist(&r->fixed.files, &r->lane.page->files, before, &change);
	else
		lane_relist(&r->fixed.buffers, &r->lane.page->buffers, before, &change);
	lane_let_go(r);
}

/* ---- enter ---- */

/* io_cqring_wait(): the CQEs that the call waits for have come, be they reaped or not. */
static inline bool lane_has_come(const struct lane_pass *p, const struct lane_call *c)
{
	return c->aimed && (int32_t)(p->tail - c->tail) >= 0;
}

/* io_cqring_wait() takes the head once. */
static inline void lane_aim(struct lane_pass *p, struct lane_call *c)
{
	uint32_t wanted = c->min_complete < p->lane->cq_entries ? c->min_complete : p->lane->cq_entries, ready;

	if (c->aimed || !wanted || !(c->flags & IORING_ENTER_GETEVENTS))
		return;
	ready = p->tail - lane_cq_head(p);
	c->tail = p->tail + (ready < wanted ? wanted - ready : 0);
	c->aimed = true;
	c->tells = p->lane->tails;
}

/* io_cqring_wait(), as long as it need not wait: true. Behind a submission it is of no matter what is wrong with arg. */
static inline bool lane_need_not_wait(struct lane_pass *p, struct lane_call *c)
{
	uint32_t attention = lane_load(&p->lane->page->attention);

	if (attention & (URINGFS_LANE_GETEVENTS | URINGFS_LANE_CLOSED) || (!p->taken && attention))
		return false;
	if (!c->until)
		c->until = lane_until(c->flags, c->arg, c->argsz);
	if (!p->taken && !c->until)
		return false;
	return !c->min_complete || lane_has_come(p, c);
}

/* The wait ends for another reason: true. With CQEs that is none (io_cqring_wait()). */
static inline bool lane_wait_is_over(uint32_t ready, struct lane_call *c)
{
	if (!c->error && (c->until == LANE_EVER || lane_now() < c->until))
		return false;
	c->error = ready ? 0 : c->error ? c->error : -ETIME;
	return true;
}

/* The call sleeps until there are so many CQEs more. how: a bit for struct uringfs_lane.sleepers */
static inline void lane_will_wake(struct lane_pass *p, struct lane_call *c, uint32_t more, uint32_t how)
{
	struct uringfs_lane *page = p->lane->page;
	uint32_t wanted = p->tail + more;

	if (!page->sleepers || (int32_t)(wanted - page->wake_at) < 0)
		page->wake_at = wanted;
	lane_store(&page->sleepers, how | (page->sleepers & (how == 1 ? ~0u : 1u)));
	c->sleep_on = &page->wakes;
	c->awake = page->wakes;
	c->wanted = page->wake_at - p->tail;
}

/* io_cqring_wait_schedule(): until as many CQEs are there as workers will bring, or until a time. True: that is over. */
static inline bool lane_will_sleep(struct lane_pass *p, struct lane_call *c)
{
	struct uringfs_lane *page = p->lane->page;
	uint32_t more = c->tail - p->tail, under_way = lane_load(&p->lane->under_way);

	if (!c->until || !c->aimed || lane_has_come(p, c) ||
	    (more > under_way && c->until == LANE_EVER && !lane_is_polled(p->lane)) ||
	    lane_load(&page->attention) & (URINGFS_LANE_GETEVENTS | URINGFS_LANE_CLOSED))
		return false;
	if (lane_wait_is_over(p->tail - lane_cq_head(p), c))
		return true;
	lane_will_wake(p, c, more, 1);
	c->help = more == under_way && c->until == LANE_EVER;
	return false;
}

#include "claim.h"

/* io_uring_enter(2), with the lane: true if that was all of it. */
static inline bool lane_pass(struct lane_pass *p, struct lane_call *c)
{
	uint32_t queued = lane_queued(p);
	bool again = c->aimed;

	lane_find_claim(p, c);
	lane_aim(p, c);
	p->left = c->to_submit < queued ? c->to_submit : queued;
	if (p->left)
		lane_take(p);
	if (p->left && !p->outside)
		lane_claim_last(p, c);
	if (p->left || p->outside)
		return false;
	if (p->taken == c->to_submit && c->flags & IORING_ENTER_GETEVENTS) {
		return (again && lane_has_come(p, c)) || lane_need_not_wait(p, c) || lane_will_sleep(p, c);
	}
	return c->to_submit && !(lane_load(&p->lane->page->attention) & URINGFS_LANE_CLOSED);
}

/* With the lane: nobody of this process polls now. */
static inline void lane_got_up(struct lane_pass *p)
{
	struct uringfs_lane *page = p->lane->page;

	if (p->alias && page->sleepers >> 16 == p->lane->holder)
		page->sleepers &= 1;
}

/* lane_lock(), with no claim that is older than what this call submits, but its own. */
static inline bool lane_lock_behind_claims(struct lane_pass *p, struct lane_call *c)
{
	for (unsigned turn = 0; turn < LANE_SLEEPS; turn++) {
		int more = lane_settle_claims(p, c->claim, c->to_submit);

		c->to_submit += (uint32_t)more;
		c->taken -= (uint32_t)more;
		if ((c->claim && c->claim->recalled) || !lane_lock(p->lane))
			return false;
		if (p->alias || !c->to_submit || !lane_load(&p->lane->page->claimed))
			return true;
		lane_unlock_word(p->lane); /* it is there since a moment ago */
	}
	return false;
}

static inline bool lane_enter_once(struct lane *l, struct lane_call *c)
{
	struct lane_pass p;
	bool whole;

	LANE_CLEAR(&p, offsetof(struct lane_pass, files));
	p.lane = l;
	if (!lane_lock_behind_claims(&p, c))
		return false;
	lane_got_up(&p);
	whole = lane_look(&p) && lane_pass(&p, c);
	c->taken += p.taken;
	c->to_submit -= p.taken;
	if (p.alias && !c->to_submit && c->claim->serial)
		lane_end_claim(l, c->claim);
	if (p.outside)
		return false;
	l->page->enters += whole;
	lane_leave(&p);
	if (whole && lane_is_wanted(&p))
		l->host->kick(l);
	return whole;
}

/* On a ring that a client's thread polls, io_uring_enter(2) wakes it, and waits. */
static inline bool lane_enter_polled(struct lane *l, struct lane_call *c)
{
	struct lane_pass p;
	bool whole;

	if (!lane_load(&l->page->poller) || lane_load(&l->page->attention) & URINGFS_LANE_CLOSED ||
	    (c->flags & IORING_ENTER_SQ_WAIT && lane_sq_is_full(l)))
		return false;
	if (c->flags & IORING_ENTER_SQ_WAKEUP)
		lane_wake_poller(l);
	c->taken = c->to_submit;
	c->to_submit = 0;
	if (!(c->flags & IORING_ENTER_GETEVENTS))
		return true;
	LANE_CLEAR(&p, offsetof(struct lane_pass, files));
	p.lane = l;
	if (!lane_lock(l))
		return false;
	whole = lane_look(&p);
	lane_aim(&p, c);
	whole = whole && (lane_need_not_wait(&p, c) || lane_will_sleep(&p, c));
	lane_leave(&p);
	return whole;
}

static inline bool lane_enter_ring(struct lane *l, struct lane_call *c)
{
	bool whole;

	c->taken = 0;
	if (lane_is_polled(l))
		return lane_enter_polled(l, c);
	whole = lane_enter_once(l, c);
	if (whole || !c->claim || !c->claim->unarmed)
		return whole;
	c->claim->unarmed = false;
	return lane_makes_wake_fd(l) && lane_enter_once(l, c);
}

/* A daemon that is gone is noticed by whoever needs it. A program that does not is told all the same, in time. */
static inline bool lane_daemon_is_there(struct lane_ring *r, bool now)
{
	if (!r->gone && (++r->calls % LANE_CALLS == 0 || now) && lane_call_daemon(&r->lane) < 0)
		r->gone = true;
	return !r->gone;
}

/* True: the call has ended, and c->taken is its result, or, if that is 0, c->error. False: it goes on in the daemon with
 * what *c says now, and its result there is added; an error only counts if nothing was taken. */
static inline bool lane_enter(struct lane_call *c)
{
	struct lane_ring *r;
	uint64_t old;
	bool whole;

	c->taken = 0;
	c->sleep_on = NULL;
	if (c->flags & ~LANE_ENTER_FLAGS ||
	    (!c->to_submit && !(c->flags & (IORING_ENTER_GETEVENTS | IORING_ENTER_SQ_WAKEUP))))
		return false;
	LANE_BLOCK(&old);
	r = lane_get(c->fd);
	whole = r && lane_daemon_is_there(r, c->looks) && lane_enter_ring(&r->lane, c);
	if (r)
		lane_let_go(r);
	if (c->sleep_on && LANE_INTERRUPTED(&old))
		c->error = -EINTR;
	LANE_UNBLOCK(&old);
	return whole;
}

/* lane_doze(), of a call */
static inline long lane_sleep_once(struct lane_call *c)
{
	long ret = lane_doze(c->sleep_on, c->awake, c->until);

	c->looks = ret == -ETIMEDOUT && lane_now() < c->until;
	return ret;
}

/* lane_enter() with its sleeps, for who has no workers. */
static inline bool lane_enter_asleep(struct lane_call *c)
{
	uint32_t taken = 0;
	bool whole;

	for (;;) {
		whole = lane_enter(c);
		c->taken = taken += c->taken;
		if (whole || !c->sleep_on)
			return whole;
		if (c->error || lane_sleep_once(c) == -EINTR)
			break;
	}
	c->error = -EINTR;
	lane_enter(c); /* not if there are CQEs */
	c->taken = taken;
	return true;
}

static inline bool lane_is_the_end(int error)
{
	return error == ENOTCONN || error == ECONNABORTED || error == EIO;
}

/* A call by way of the daemon has failed: if that is gone, no call succeeds any more. error: its errno. */
static inline void lane_failed(int fd, int error)
{
	struct lane_ring *r;
	uint64_t old;

	if (!lane_is_the_end(error))
		return;
	LANE_BLOCK(&old);
	r = lane_get(fd);
	if (r) {
		r->gone = true;
		lane_let_go(r);
	}
	LANE_UNBLOCK(&old);
}

/* io_uring_enter(2)'s result, of both halves. taken: -1, where the daemon has also submitted another call's. ret: its
 * number, or -errno, which does not count if requests were taken; but that there is no daemon any more is said in any case. */
static inline long lane_sum_of(uint32_t taken, long ret)
{
	if (ret < 0)
		return (int32_t)taken > 0 && !lane_is_the_end((int)-ret) ? (long)taken : ret;
	ret += (int32_t)taken;
	return ret > 0 ? ret : 0;
}

#endif
