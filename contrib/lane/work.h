/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that a worker performs: how they get there, and how they end. They stand in the page meanwhile, as those
 * of outside.h. Part of core.h. */
#ifndef URINGFS_LANE_WORK_H
#define URINGFS_LANE_WORK_H

static inline bool lane_keep(struct lane_pass *p, struct lane_job *job);

/* ---- from the pass to the worker ---- */

/* Those that will bring a CQE */
static inline void lane_count_job(struct lane_job *job, uint32_t more)
{
	if (!(job->sqe.flags & LANE_CQE_SKIP_SUCCESS))
		__atomic_fetch_add(&job->lane->under_way, more, __ATOMIC_RELAXED);
}

/* It stands in the page. False: it is the daemon's. */
static inline bool lane_place_job(struct lane_pass *p, struct lane_job *job)
{
	if (!lane_keep(p, job))
		return false;
	job->place = lane_claim(p, &job->sqe, job->direct ? URINGFS_LANE_UNDER_WAY : job->lane->queued);
	return job->place;
}

/* io_queue_iowq(). Where there is too much of it, whoever submits more takes part. False: it is the daemon's. */
static inline bool lane_queue(struct lane_pass *p, const struct lane_op *op, const struct io_uring_sqe *sqe,
			      struct lane_done *done)
{
	struct lane *l = p->lane;
	struct lane_job *job = NULL;
	int ret = l->host->new_job ? l->host->new_job(l, &job) : -ENOSYS;

	if (ret == -EAGAIN)
		return lane_outside(p, op, sqe, done);
	if (ret < 0) {
		lane_undo_request(p);
		return false;
	}
	job->lane = l;
	job->op = op;
	job->sqe = *sqe;
	job->done = *done;
	job->direct = false;
	if (!lane_place_job(p, job)) {
		l->host->end_job(job);
		lane_undo_request(p);
		return false;
	}
	lane_count_job(job, 1);
	lane_posted(p);
	l->host->queue(job);
	return true;
}

/* ---- and back ---- */

/* io_req_complete_post(), if it may be: false. With the lane. */
static inline bool lane_post_job(struct lane_pass *p, struct lane_job *job)
{
	if (lane_load(&p->lane->page->attention) & URINGFS_LANE_CLOSED || !lane_room(p))
		return false;
	lane_post_request(p, job->place, &job->sqe, &job->done);
	return true;
}

static inline struct lane_job *lane_take_finished(struct lane *l)
{
	struct lane_job *job = __atomic_exchange_n(&l->finished, NULL, __ATOMIC_ACQUIRE), *first = NULL, *next;

	for (; job; job = next) { /* the last was put first */
		next = job->next;
		job->next = first;
		first = job;
	}
	return first;
}

/* With the lane: the first that could not be posted. */
static inline struct lane_job *lane_post_jobs(struct lane_pass *p, struct lane_job *job)
{
	while (job && lane_post_job(p, job)) {
		lane_count_job(job, UINT32_MAX);
		job = job->next;
	}
	return job;
}

/* The ring may be gone with the last of them. */
static inline void lane_end_jobs(const struct lane_host *host, struct lane_job *job)
{
	while (job) {
		struct lane_job *next = job->next;

		host->end_job(job);
		job = next;
	}
}

static inline void lane_post_all(struct lane_pass *p)
{
	struct lane *l = p->lane;
	struct lane_job *all, *left;
	bool locked = lane_lock(l);

	all = left = lane_take_finished(l);
	if (locked && lane_look(p)) {
		left = lane_post_jobs(p, all);
		lane_leave(p);
		if (lane_is_wanted(p))
			l->host->kick_later(l);
	} else if (locked) {
		lane_unlock_word(l);
	}
	for (; left; left = left->next) {
		lane_count_job(left, UINT32_MAX);
		lane_hand_over(p, left->place, &left->done);
	}
	lane_end_jobs(l->host, all);
}

/* True: nobody else is about to post. */
static inline bool lane_finish(struct lane_job *job)
{
	struct lane *l = job->lane;
	struct lane_job *before = __atomic_load_n(&l->finished, __ATOMIC_RELAXED);

	do
		job->next = before;
	while (!__atomic_compare_exchange_n(&l->finished, &before, job, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
	return !before;
}

static inline void lane_worker_pass(struct lane_pass *p, struct lane *l)
{
	memset(p, 0, offsetof(struct lane_pass, files));
	p->lane = l;
	p->worker = true;
}

/* False: it has been cancelled (io_wq_cancel_pending_work()), and the daemon has posted it. */
static inline bool lane_begin_job(struct lane_job *job)
{
	uint8_t before = __atomic_fetch_and(&job->place->state, (uint8_t)~URINGFS_LANE_QUEUED, __ATOMIC_SEQ_CST);

	if (!(before & URINGFS_LANE_QUEUED) || !(before & URINGFS_LANE_CANCELED))
		return true;
	lane_store(&job->place->holder, 0);
	lane_count_job(job, UINT32_MAX);
	job->lane->host->end_job(job);
	return false;
}

/* io_wq_submit_work(). One posts for all who finish meanwhile: who found none before it. */
static inline void lane_perform(struct lane_job *job)
{
	struct lane_pass p;

	if (!lane_begin_job(job))
		return;
	job->op->blocking(job->lane, &job->sqe, &job->done);
	lane_worker_pass(&p, job->lane);
	if (lane_finish(job))
		lane_post_all(&p);
}

#endif
