/* SPDX-License-Identifier: Apache-2.0 */
/* A request that waits for its file, in a call that waits, too (io_arm_poll_handler()): docs/lane.md, "Claims". Part of
 * client.h. */
#ifndef URINGFS_LANE_CLAIM_H
#define URINGFS_LANE_CLAIM_H

#include <poll.h>
#include <sys/eventfd.h>

#define LANE_RECALL_NS 1000000L
#define LANE_RECALLS 500u /* then who has claimed it is stopped, or gone */
#define LANE_TRIES 8u	  /* that came to nothing, though poll(2) said it was ready */

/* The last request of a call is still queued, and this call's to submit. */
struct lane_claim {
	uint32_t serial; /* 0: there is none */
	uint32_t at;	 /* its SQ position */
	int fd;		 /* its file, by a descriptor of ours; -1 */
	int wake_fd;	 /* who posts signals this */
	unsigned tries;
	bool recalled;	 /* another call comes behind it: it is to be submitted now */
	bool signalled;	 /* wake_fd is */
	bool unarmed;	 /* wake_fd has to be made before, which is not for who has the lane */
	uint32_t events; /* that its file is to have */
};

/* ---- claims of others ---- */

/* The thread that has claimed it is this one, which has left its call by siglongjmp(3), or is in a handler on top of it. */
static inline bool lane_claimed_here(const struct lane *l, uint32_t claimed)
{
	return claimed >> 16 == l->holder && l->claimer == RAW(SYS_gettid);
}

/* Who has claimed it is to submit it now. */
static inline void lane_recall(struct lane *l, uint32_t claimed)
{
	if (claimed >> 16 != l->holder)
		l->host->kick(l);
	else
		lane_signal(l);
}

/* What others have claimed comes before what this call submits. True: nobody has submitted it, and this call is to. */
static inline bool lane_takes_over(struct lane *l)
{
	const struct timespec moment = {0, LANE_RECALL_NS};
	uint32_t *word = &l->page->claimed, claimed = lane_load(word);

	for (unsigned i = 0; claimed && i < LANE_RECALLS && !lane_claimed_here(l, claimed); i++) {
		uint32_t recalled = claimed | URINGFS_LANE_RECALLED;

		if (!__atomic_compare_exchange_n(word, &claimed, recalled, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			continue;
		if (claimed != recalled || !i)
			lane_recall(l, claimed);
		RAW(SYS_futex, word, FUTEX_WAIT, recalled, &moment);
		claimed = lane_load(word);
	}
	return claimed && __atomic_exchange_n(word, 0, __ATOMIC_SEQ_CST);
}

/* ---- a call's own ---- */

/* In a child by fork, whose parent waits in the call that this is a copy of */
static inline bool lane_is_the_parents(const struct lane *l, struct lane_claim *k)
{
	if (k->serial >> 16 == l->holder)
		return false;
	k->serial = 0;
	k->fd = -1; /* closed by now */
	return true;
}

static inline void lane_settle_signal(const struct lane *l, struct lane_claim *k)
{
	uint64_t count;

	if (k->signalled && lane_wake_is_ours(l))
		RAW(SYS_read, l->wake - 1, &count, sizeof(count));
	k->signalled = false;
}

/* The number that this call submits more (1), or less (-1). Its own claim stands until the request is submitted. */
static inline int lane_settle_claims(struct lane_pass *p, struct lane_claim *k, uint32_t to_submit)
{
	struct lane *l = p->lane;
	uint32_t claimed;

	if (k)
		lane_settle_signal(l, k);
	claimed = lane_load(&l->page->claimed);
	if (!k || !k->serial)
		return claimed && (to_submit || lane_claimed_here(l, claimed)) && lane_takes_over(l);
	k->recalled = claimed == (k->serial | URINGFS_LANE_RECALLED);
	if (!lane_is_the_parents(l, k) && (k->recalled || claimed == k->serial)) {
		p->alias = k->fd + 1;
		p->alias_at = k->at;
		return 0;
	}
	k->serial = 0; /* another has submitted it */
	k->recalled = false;
	return -1;
}

/* The claimant submits it in the daemon, which is not to do so for whoever comes behind it. */
static inline void lane_hand_in(struct lane *l, const struct lane_claim *k)
{
	uint32_t was = k->serial;

	__atomic_compare_exchange_n(&l->page->claimed, &was, was | URINGFS_LANE_RECALLED, false, __ATOMIC_SEQ_CST,
				    __ATOMIC_RELAXED);
}

/* It has been submitted. */
static inline void lane_end_claim(struct lane *l, struct lane_claim *k)
{
	uint32_t *word = &l->page->claimed, was = k->serial, recalled = k->serial | URINGFS_LANE_RECALLED;

	if (!__atomic_compare_exchange_n(word, &was, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) &&
	    __atomic_compare_exchange_n(word, &recalled, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		RAW(SYS_futex, word, FUTEX_WAKE, INT_MAX);
	k->serial = 0;
	k->recalled = false;
}

/* With the lane: a process that takes no part may have submitted it meanwhile. What is left then is the wait. */
static inline void lane_find_claim(const struct lane_pass *p, struct lane_call *c)
{
	if (!p->alias || p->alias_at == p->head)
		return;
	lane_end_claim(p->lane, c->claim);
	c->to_submit--;
	c->taken++;
}

/* ---- the eventfd ---- */

static inline bool lane_tell_wake_fd(struct lane *l, int fd)
{
	struct uringfs_lane_wake m;
	volatile int64_t result = -EIO;
	int saved = errno;
	int64_t ret;

	LANE_CLEAR(&m, sizeof(m));
	m.cmd = URINGFS_CMD_LANE_WAKE;
	m.result = (uint64_t)(uintptr_t)&result;
	m.eventfd = fd;
	ret = lane_control(l->fd, &m, sizeof(m), &result);
	errno = saved;
	return ret == 0;
}

/* Of this process, for this ring: made when it is first needed. */
static inline bool lane_makes_wake_fd(struct lane *l)
{
	int none = 0;
	long fd, high;

	if (!__atomic_compare_exchange_n(&l->wake, &none, -1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return none > 0;
	fd = RAW(SYS_eventfd2, 0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fd < 0)
		return false;
	high = l->host->keep_file(NULL, (int)fd);
	RAW(SYS_close, fd);
	if (high < 0)
		return false;
	RAW(SYS_fcntl, high, LANE_SETSIG, LANE_WAKE_MARK);
	if (!lane_tell_wake_fd(l, (int)high)) {
		l->host->drop_file((int)high);
		return false;
	}
	__atomic_store_n(&l->wake, (int)high + 1, __ATOMIC_RELEASE);
	return true;
}

/* ---- the daemon's after all ---- */

/* The program has closed the descriptor meanwhile, or made it another file's: the daemon finds the file by ours. */
struct lane_loan {
	int *fd; /* of the SQE; NULL: it is what it was */
	int was, ours;
};

static inline struct lane_loan lane_lend(struct lane *l, const struct lane_claim *k)
{
	struct io_uring_sqe *sqe = lane_load(&l->page->sq_head) == k->at ? lane_sqe_at(l, k->at) : NULL;
	struct lane_loan loan = {NULL, 0, k->fd};

	if (!sqe || sqe->flags & IOSQE_FIXED_FILE)
		return loan;
	loan.was = __atomic_load_n(&sqe->fd, __ATOMIC_RELAXED);
	if (l->host->file_id(l, loan.was) == l->host->file_id(l, k->fd))
		return loan;
	loan.fd = &sqe->fd;
	__atomic_store_n(loan.fd, k->fd, __ATOMIC_RELEASE);
	return loan;
}

/* It has been submitted, so the SQE may be another request by now. */
static inline void lane_return(struct lane_loan *loan)
{
	if (loan->fd)
		__atomic_compare_exchange_n(loan->fd, &loan->ours, loan->was, false, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED);
}

/* ---- to sleep ---- */

static inline bool lane_may_claim(const struct lane_pass *p, const struct lane_call *c)
{
	const struct lane_claim *k = c->claim;

	return k && p->waits_for && p->left == 1 && p->taken + 1 == c->to_submit && c->flags & IORING_ENTER_GETEVENTS &&
	       !c->error && c->until && !lane_load(&p->lane->under_way) && k->tries < LANE_TRIES &&
	       (k->serial || !lane_load(&p->lane->page->claimed)) && !lane_load(&p->lane->page->daemon) &&
	       !(lane_load(&p->lane->page->attention) & (URINGFS_LANE_GETEVENTS | URINGFS_LANE_CLOSED));
}

static inline bool lane_has_wake_fd(struct lane *l, struct lane_claim *k)
{
	k->unarmed = !l->wake;
	if (l->wake && !lane_wake_is_ours(l))
		l->wake = -1;
	return l->wake > 0;
}

/* The file is kept, so that it stays what it is. */
static inline bool lane_keeps_claim(struct lane_pass *p, struct lane_claim *k)
{
	struct lane *l = p->lane;

	if (k->fd >= 0 && (k->at != p->head || p->waits_for != k->fd + 1)) {
		l->host->drop_file(k->fd);
		k->fd = -1;
	}
	if (k->fd < 0)
		k->fd = (int)l->host->keep_file(NULL, p->waits_for - 1);
	return k->fd >= 0;
}

/* What is left is one request that waits for its file, and the call waits, too: it stays queued until either is there. */
static inline void lane_claim_last(struct lane_pass *p, struct lane_call *c)
{
	struct lane *l = p->lane;
	struct lane_claim *k = c->claim;

	if (!c->until)
		c->until = lane_until(c->flags, c->arg, c->argsz);
	if (!lane_may_claim(p, c))
		return;
	if (!c->aimed || lane_has_come(p, c) || !lane_keeps_claim(p, k) || !lane_has_wake_fd(l, k))
		return;
	if (c->until != LANE_EVER && lane_now() >= c->until) {
		c->error = k->serial ? -ETIME : 0; /* or it goes to the daemon, which finds the same */
		return;
	}
	k->at = p->head;
	k->events = p->waits_to;
	k->wake_fd = l->wake - 1;
	lane_will_wake(p, c, c->tail - p->tail, URINGFS_LANE_POLLS | l->holder << 16);
	if (k->serial)
		return;
	k->serial = l->holder << 16 | (++l->claims & (URINGFS_LANE_RECALLED - 1));
	l->claimer = (int)RAW(SYS_gettid);
	__atomic_store_n(&l->page->claimed, k->serial, __ATOMIC_SEQ_CST);
}

/* lane_doze() with a claim, and with that signal mask. */
static inline long lane_poll_claim(struct lane_claim *k, int64_t until, const uint64_t *mask)
{
	struct pollfd fds[2];
	struct lane_nap nap = lane_nap_begin(until);
	int64_t left = nap.end - nap.now;
	struct timespec ts;
	long ret;

	fds[0].fd = k->fd;
	fds[1].fd = k->wake_fd;
	fds[0].events = (short)k->events;
	fds[1].events = POLLIN;
	fds[0].revents = fds[1].revents = 0;
	left = left > 0 ? left : 0;
	ts.tv_sec = left / LANE_NSEC;
	ts.tv_nsec = left % LANE_NSEC;
	ret = RAW(SYS_ppoll, fds, 2, &ts, mask, sizeof(*mask));
	lane_nap_end(&nap);
	k->signalled = ret > 0 && fds[1].revents;
	if (ret > 0 && fds[0].revents)
		k->tries++;
	return ret ? ret : -ETIMEDOUT;
}

#endif
