/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lane of a ring: the page of the ring file in which a client's process and the daemon agree on who takes
 * requests off the ring. docs/lane.md says what each word means, who may write it, and in which order; this is
 * the same in C. x86-64 and aarch64 (and any other little-endian 64-bit Linux), C11 and C++.
 */
#ifndef URINGFS_LANE_H
#define URINGFS_LANE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define URINGFS_LANE_ASSERT(cond, msg) static_assert(cond, msg)
#else
#define URINGFS_LANE_ASSERT(cond, msg) _Static_assert(cond, msg)
#endif

#define URINGFS_LANE_VERSION 2u

/* mmap offset of the page: between the CQ ring (0x8000000) and the SQEs (0x10000000), so no file grows by it. */
#define URINGFS_OFF_LANE 0x0c000000LL
#define URINGFS_LANE_SIZE 4096u

/* ---- attach: a control write, as those of uringfs.h ---- */

/* {cmd, size} as struct uringfs_hdr. From now on the calling process, as long as it keeps its memory (so not
 * behind an exec, and not a fork), takes part in the lane, by the number in the answer. Result: 0. ENOTTY: a daemon
 * that knows no lanes. EOPNOTSUPP: none on this ring, or not for this caller. EBADFD: not set up. EUSERS: too many
 * processes. EINVAL: version 0. EFAULT. After any error the ring is used as if there were no lanes. */
struct uringfs_lane_attach {
	uint32_t cmd;
	uint32_t size;
	uint64_t result;  /* int64_t * */
	uint64_t answer;  /* struct uringfs_lane_answer * */
	uint32_t version; /* the newest that the client knows, and URINGFS_LANE_POLLERS */
	uint32_t room;	  /* bytes at answer; more than the daemon knows are left as they are */
};

struct uringfs_lane_answer {
	uint32_t version;     /* that both speak, 1 to the client's */
	uint32_t holder;      /* 1 to URINGFS_LANE_HOLDERS: this process's number on this ring */
	uint32_t setup_flags; /* IORING_SETUP_* */
	uint32_t sq_entries;
	uint32_t cq_entries;
	uint32_t sq_array;   /* offset of the index array in the ring file; 0 with NO_SQARRAY */
	uint32_t generation; /* uringfs_lane.generation of these */
	uint32_t flags;	     /* URINGFS_LANE_OPENS */
};

/* {cmd, size} as struct uringfs_hdr. From now on this eventfd of the calling process, which has attached, is signalled
 * where the daemon wakes clients of it that sleep in poll(2). One a process. Result: 0. ENOTTY: a daemon that knows no such.
 * ENOTCONN: not attached. EBADFD, EBADF, EINVAL. */
struct uringfs_lane_wake {
	uint32_t cmd;
	uint32_t size;
	uint64_t result; /* int64_t * */
	int32_t eventfd;
	uint32_t pad; /* 0 */
};

/* {cmd, size} as struct uringfs_hdr. Of a ring with IORING_SETUP_SQPOLL: from now on the calling thread polls it, as long as
 * it lives; and of what it finds there and does not perform, this many requests are submitted now, by the rights of who has set
 * the ring up. Result: how many were. ENOTTY: a daemon that knows no such. EINVAL: no such ring. ENOTCONN: no lane yet. EPERM: not
 * of the process that has set it up. EBUSY: another thread polls it. EOWNERDEAD. */
struct uringfs_lane_poll {
	uint32_t cmd;
	uint32_t size;
	uint64_t result; /* int64_t * */
	uint32_t to_submit;
	uint32_t pad; /* 0 */
};

/* A mapping of the ring file keeps it open (page-cache mounts): whoever maps it behind the program's back would keep the
 * ring alive when the program has closed it. */
#define URINGFS_LANE_OPENS 1u

/* An enter may say URINGFS_ENTER_TAIL. */
#define URINGFS_LANE_TAILS 2u

/* Of an attach's version: the client knows rings with IORING_SETUP_SQPOLL, docs/lane.md, "Polled rings". */
#define URINGFS_LANE_POLLERS 0x80000000u

/* Requests may stand there as URINGFS_LANE_QUEUED. */
#define URINGFS_LANE_CANCELS 4u

/* _IOW('u', 7, struct uringfs_lane_attach) */
#define URINGFS_CMD_LANE ((1u << 30) | ((uint32_t)sizeof(struct uringfs_lane_attach) << 16) | ((uint32_t)'u' << 8) | 7u)

/* _IOW('u', 8, struct uringfs_lane_wake) */
#define URINGFS_CMD_LANE_WAKE \
	((1u << 30) | ((uint32_t)sizeof(struct uringfs_lane_wake) << 16) | ((uint32_t)'u' << 8) | 8u)

/* _IOW('u', 14, struct uringfs_lane_poll): 9 to 13 are blanks, which begin text */
#define URINGFS_CMD_LANE_POLL \
	((1u << 30) | ((uint32_t)sizeof(struct uringfs_lane_poll) << 16) | ((uint32_t)'u' << 8) | 14u)

/* uringfs_enter.can of an enter with to_submit, min_complete and flags 0, a kick: it counts as no enter, and says
 * no more than "look at the lane". */
#define URINGFS_ENTER_KICK 64u

/* ---- the lock word ---- */

#define URINGFS_LANE_HOLDERS 0xffffu	  /* bits 0-15: who has it; 0: nobody */
#define URINGFS_LANE_SLEEPERS 0x80000000u /* clients sleep on it: FUTEX_WAKE when it is let go */

/* ---- attention ---- */

/* Bits 0-7: whoever has posted kicks the daemon afterwards. */
#define URINGFS_LANE_WAITER (1u << 0)  /* an enter waits */
#define URINGFS_LANE_POLL (1u << 1)    /* somebody polls the ring file */
#define URINGFS_LANE_EVENTFD (1u << 2) /* registered, and to be signalled for what completes inline */
#define URINGFS_LANE_COUNTED (1u << 3) /* a TIMEOUT counts completions */
#define URINGFS_LANE_KICK 0x000000ffu
/* Bits 8-15: besides, an enter with IORING_ENTER_GETEVENTS ends in the daemon. */
#define URINGFS_LANE_WORK (1u << 8)  /* work waits for such an enter (IORING_SETUP_DEFER_TASKRUN) */
#define URINGFS_LANE_FETCH (1u << 9) /* descriptors wait for being fetched */
#define URINGFS_LANE_GETEVENTS 0x0000ff00u
/* Bits 16-31: no request is taken; and whoever ends one that was under way posts it and kicks. */
#define URINGFS_LANE_BACKLOG (1u << 16)	  /* completions have overflowed */
#define URINGFS_LANE_DRAIN (1u << 17)	  /* requests wait for a drain, or it for those before */
#define URINGFS_LANE_UNSETTLED (1u << 18) /* what a chain has let go comes first */
#define URINGFS_LANE_TEXT (1u << 19)	  /* text requests are queued */
#define URINGFS_LANE_WATCHED (1u << 20)	  /* somebody watches each request */
#define URINGFS_LANE_OFF (1u << 21)	  /* any other reason */
#define URINGFS_LANE_CLOSED 0xffff0000u

/* ---- the page ---- */

/* A request that a client has taken and performs without the lock. Its own process's to write. */
struct uringfs_lane_request {
	uint64_t user_data;
	uint32_t holder; /* whose it is; 0: a free place. Written last, cleared last. */
	uint32_t sq;	 /* the SQ position that it was taken from */
	uint32_t cq;	 /* POSTING: the CQ position of its CQE */
	uint8_t state;	 /* URINGFS_LANE_UNDER_WAY ..., and the bits below; the daemon sets CANCELED with the lane */
	uint8_t opcode;
	uint8_t flags;	    /* IOSQE_* */
	uint8_t failed;	    /* FINISHED: 1, there is a CQE whatever the flags */
	int32_t res;	    /* FINISHED: the CQE's */
	uint32_t cqe_flags; /* the same */
};

#define URINGFS_LANE_UNDER_WAY 0u
#define URINGFS_LANE_POSTING 1u	 /* it is complete as soon as cq_tail is past cq */
#define URINGFS_LANE_FINISHED 2u /* the daemon posts it (IOSQE_CQE_SKIP_SUCCESS: if failed), and frees the place */

/* Bits of UNDER_WAY: no worker has begun it, and the daemon may cancel it: docs/lane.md, "Cancelling". */
#define URINGFS_LANE_QUEUED 0x10u
#define URINGFS_LANE_CANCELED 0x20u

#define URINGFS_LANE_REQUESTS 96u

/* uringfs_lane.sleepers: one polls its process's eventfd; bits 16 to 31 are its holder */
#define URINGFS_LANE_POLLS 2u

/* uringfs_lane.claimed: whoever has claimed it submits it now, sets the word to 0 and calls FUTEX_WAKE; bits 16 to 31: the
 * holder, bits 0 to 14: count */
#define URINGFS_LANE_RECALLED 0x8000u

struct uringfs_lane {
	/* 0x000: the daemon's to write, at any time */
	uint32_t version;    /* 0: no lane */
	uint32_t generation; /* of the rings' sizes. Another than at attach: attach again */
	uint32_t ops[2];     /* bit N of both: opcode N may be taken; 0: all to the daemon */
	uint32_t sqe_flags;  /* IOSQE_* with which it may be */
	uint32_t attention;  /* URINGFS_LANE_* */
	uint32_t files;	     /* counts changes of the registered files ... */
	uint32_t buffers;    /* ... and of the registered buffers */
	uint32_t poller;     /* SQPOLL: not 0, a client's thread polls; 0: the daemon does */
	uint32_t pad0[7];

	/* 0x040: the daemon's: it has the lane, or wants it. Not 0: clients stay out, or leave and kick. */
	uint32_t daemon;
	uint32_t pad1[15];

	/* 0x080: the clients': who of them has the lane. The daemon clears it of the dead. */
	uint32_t lock;
	uint32_t pad2[15];

	/* 0x0c0: whoever has the lane: what the kernel keeps in struct io_ring_ctx */
	uint64_t posted;      /* cq_tail in bits 0-31, in bits 32-63 the SQ position up to which all is done */
	uint32_t sq_head;     /* cached_sq_head: the SQ position up to which all is taken */
	uint32_t seen;	      /* IOSQE_* that requests taken here have had; bits are only set */
	uint32_t cq_head;     /* the client's head, as last found, of the two words below */
	uint32_t cq_heads[2]; /* the words at CQ_HEAD of IORING_OFF_SQ_RING and IORING_OFF_CQ_RING then */
	uint32_t doing;	      /* opcode, and IOSQE_* << 8, of what is taken and not done */
	uint64_t doing_user_data;
	uint32_t sleepers; /* not 0: clients sleep until cq_tail is at wake_at, or past it: bit 0: on `wakes`; POLLS */
	uint32_t wake_at;
	uint32_t wakes;	  /* counts: whoever clears sleepers adds 1 and, behind the lane, calls FUTEX_WAKE */
	uint32_t claimed; /* not 0: the request at sq_head is a waiting call's to submit: docs/lane.md, "Claims" */
	uint32_t wakeups; /* counts: whoever wakes the poller adds 1 and calls FUTEX_WAKE */
	uint32_t pad3;

	/* 0x100: whoever has the lane, if a client: since setup */
	uint64_t enters;    /* io_uring_enter(2) in which requests were taken */
	uint64_t submitted; /* SQEs */
	uint64_t completed; /* CQEs */
	uint64_t kicks;
	uint64_t pad4[28];

	/* 0x200: the same, by opcode: requests completed */
	uint64_t taken[64];

	/* 0x400 */
	struct uringfs_lane_request requests[URINGFS_LANE_REQUESTS];
};

URINGFS_LANE_ASSERT(sizeof(struct uringfs_lane_attach) == 32, "uringfs_lane_attach");
URINGFS_LANE_ASSERT(sizeof(struct uringfs_lane_wake) == 24, "uringfs_lane_wake");
URINGFS_LANE_ASSERT(sizeof(struct uringfs_lane_poll) == 24, "uringfs_lane_poll");
URINGFS_LANE_ASSERT(sizeof(struct uringfs_lane_answer) == 32, "uringfs_lane_answer");
URINGFS_LANE_ASSERT(sizeof(struct uringfs_lane_request) == 32, "uringfs_lane_request");
URINGFS_LANE_ASSERT(sizeof(struct uringfs_lane) == URINGFS_LANE_SIZE, "uringfs_lane");
URINGFS_LANE_ASSERT(offsetof(struct uringfs_lane, daemon) == 0x40, "uringfs_lane.daemon");
URINGFS_LANE_ASSERT(offsetof(struct uringfs_lane, lock) == 0x80, "uringfs_lane.lock");
URINGFS_LANE_ASSERT(offsetof(struct uringfs_lane, posted) == 0xc0, "uringfs_lane.posted");
URINGFS_LANE_ASSERT(offsetof(struct uringfs_lane, enters) == 0x100, "uringfs_lane.enters");
URINGFS_LANE_ASSERT(offsetof(struct uringfs_lane, taken) == 0x200, "uringfs_lane.taken");
URINGFS_LANE_ASSERT(offsetof(struct uringfs_lane, requests) == 0x400, "uringfs_lane.requests");

#endif /* URINGFS_LANE_H */
