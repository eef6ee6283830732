/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that are performed without the lane: they stand in the page meanwhile, docs/lane.md, "Without the
 * lock". Part of core.h. */
#ifndef URINGFS_LANE_OUTSIDE_H
#define URINGFS_LANE_OUTSIDE_H

/* A free place, with the request in it. Its holder is stored last. NULL: there is none. */
static inline struct uringfs_lane_request *lane_claim(struct lane_pass *p, const struct io_uring_sqe *sqe,
						      uint8_t state)
{
	struct uringfs_lane *page = p->lane->page;

	for (unsigned i = 0; i < URINGFS_LANE_REQUESTS; i++) {
		struct uringfs_lane_request *r = &page->requests[i];

		if (lane_load(&r->holder))
			continue;
		r->user_data = sqe->user_data;
		r->sq = p->head - 1;
		r->opcode = sqe->opcode;
		r->flags = sqe->flags;
		__atomic_store_n(&r->state, state, __ATOMIC_RELAXED);
		lane_store(&r->holder, p->lane->holder);
		return r;
	}
	return NULL;
}

static inline void lane_set_state(struct uringfs_lane_request *r, uint8_t state)
{
	__atomic_store_n(&r->state, state, __ATOMIC_RELEASE);
}

/* With the lane again: it is complete at the tail. */
static inline void lane_post_request(struct lane_pass *p, struct uringfs_lane_request *r,
				     const struct io_uring_sqe *sqe, const struct lane_done *done)
{
	r->cq = p->tail;
	lane_set_state(r, URINGFS_LANE_POSTING);
	lane_end_request(p, sqe, done);
	lane_store(&r->holder, 0);
}

static inline void lane_kick_by(const struct lane_pass *p)
{
	if (p->worker)
		p->lane->host->kick_later(p->lane);
	else
		p->lane->host->kick(p->lane);
}

/* The daemon posts it. */
static inline void lane_hand_over(struct lane_pass *p, struct uringfs_lane_request *r, const struct lane_done *done)
{
	r->res = done->res;
	r->cqe_flags = done->flags;
	r->failed = done->failed;
	lane_set_state(r, URINGFS_LANE_FINISHED);
	p->outside = true;
	lane_kick_by(p);
}

/* False: the lane is lost, and the pass over. The request has been taken in any case, unless there was no place. */
static inline bool lane_outside(struct lane_pass *p, const struct lane_op *op, const struct io_uring_sqe *sqe,
				struct lane_done *done)
{
	struct lane *l = p->lane;
	struct uringfs_lane_request *r = lane_claim(p, sqe, URINGFS_LANE_UNDER_WAY);

	if (!r) {
		lane_undo_request(p);
		return false;
	}
	lane_posted(p);
	lane_leave(p);
	if (lane_is_wanted(p))
		lane_kick_by(p);
	p->posted = false;
	p->nr_files = 0;
	op->blocking(l, sqe, done);
	if (!lane_lock(l)) {
		lane_hand_over(p, r, done);
		return false;
	}
	if (!lane_look(p) || lane_load(&l->page->attention) & URINGFS_LANE_CLOSED || !lane_room(p)) {
		lane_unlock_word(l);
		lane_hand_over(p, r, done);
		return false;
	}
	lane_post_request(p, r, sqe, done);
	if (p->left > lane_queued(p))
		p->left = lane_queued(p);
	return true;
}

#endif
