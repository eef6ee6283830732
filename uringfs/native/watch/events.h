/* SPDX-License-Identifier: Apache-2.0 */
/* The layout of events (uringfs/watch/record.py: HEAD; a test compares), and what queue.c and recorder.c share. */
#ifndef URINGFS_EVENTS_H
#define URINGFS_EVENTS_H

#include "../native.h"

#define EVENT_VERSION 1
#define EVENT_LOST 6

struct event {
	uint32_t size; /* of all, with the texts behind it */
	uint8_t version, kind, how, flags;
	uint64_t ring, id, chain;
	int32_t res;
	uint32_t cflags, position, uid, pid, tid;
	uint64_t queued, taken, issued, completed;
	uint16_t lengths[4]; /* file, name, name2, data */
	char comm[16];
	/* struct io_uring_sqe, by width */
	uint8_t opcode, sqe_flags;
	uint16_t ioprio;
	int32_t fd;
	uint64_t off, addr;
	uint32_t len, rw_flags;
	uint64_t user_data;
	uint16_t buf_index, personality;
	uint32_t file_index;
	uint64_t addr3, pad;
} __attribute__((packed));

struct texts {
	const char *at[4]; /* as lengths */
};

typedef struct {
	PyObject_HEAD
	PyObject *wake;
	char *buffer;
	size_t begin, end, capacity; /* events are at begin..end */
	size_t most;
	unsigned long long lost; /* since the last event that was kept */
	unsigned long long total_lost;
	uint8_t opcodes[32]; /* a bit for each that is wanted */
	bool failed;	     /* failures alone */
	bool chosen;	     /* gets the event that is being made */
} Queue;

extern PyTypeObject queue_type;

static inline bool opcode_in(const uint8_t *mask, unsigned int opcode)
{
	return mask[opcode >> 3 & 31] & 1 << (opcode & 7);
}

/* Whether there is room: if not, the event is lost, and counted. */
bool queue_room(Queue *q);
/* -1 with an exception: no memory, or wake() failed. */
int queue_put(Queue *q, const struct event *head, const struct texts *texts);

#define DESCRIBED 4u

/* What holds for all requests of one call on a ring. */
typedef struct {
	PyObject_HEAD
	unsigned long long ring, queued, chain;
	unsigned int uid, pid, tid, data;
	char comm[16];
	uint8_t opcodes[32];
	PyObject *queues;				 /* a tuple */
	PyObject *targets[DESCRIBED], *files[DESCRIBED]; /* what was described last */
	unsigned int next;
} Batch;

/* A request under way. */
typedef struct {
	PyObject_HEAD
	Batch *batch;
	unsigned long long id, chain, queued, taken, issued;
	unsigned char how, flags, look;	      /* look: Recorder.look of its opcode */
	PyObject *file, *name, *name2, *data; /* bytes, or NULL; file: of what is no target */
} Note;

typedef struct {
	PyObject_HEAD
	PyObject *batches;		     /* context -> batch */
	PyObject *live;			     /* request -> note */
	PyObject *earlier;		     /* a set: taken before anybody watched */
	unsigned long long last_id, issuing; /* ids; issuing: of the last that was taken, if nothing came since */
	uint8_t look[256];
} Recorder;

enum { LOOK_NAMES = 1, LOOK_OUTGOING = 2, LOOK_INCOMING = 4, LOOK_FILE = 8 }; /* tracer.py: LOOK */
enum { SQE_FIXED_FILE = 1, SQE_LINKS = 4 | 8 };
enum how { HOW_UNISSUED, HOW_INLINE, HOW_POLL, HOW_WORKER, HOW_ARMED }; /* record.py: How */
enum { KIND_REQUEST = 1, KIND_REAPED = 5 };
enum { FLAG_TRUNCATED = 1, FLAG_NO_CQE = 4, FLAG_FIXED = 8 };

extern PyTypeObject batch_type;
extern PyTypeObject recorder_type;
extern PyTypeObject note_type;

uint64_t now(void); /* CLOCK_MONOTONIC, ns */
bool is_sqe(PyObject *sqe);

static inline uint64_t field(PyObject *sqe, int place)
{
	return PyLong_AsUnsignedLongLongMask(PyTuple_GET_ITEM(sqe, place));
}

/* The id of the first of a request's chain; 0: of none. */
static inline uint64_t chain_of(Batch *b, unsigned int flags, uint64_t id)
{
	uint64_t chain = b->chain;

	if (flags & SQE_LINKS)
		chain = b->chain = chain ? chain : id;
	else
		b->chain = 0;
	return chain;
}

Note *note_make(Batch *b, uint64_t id, uint64_t chain, uint64_t taken);
void event_sqe(struct event *e, PyObject *sqe);
void event_batch(struct event *e, const Batch *b);
void event_note(struct event *e, const Note *n);
/* bytes, NULL or None, as text i. -1 with an exception. */
int event_text(struct event *e, struct texts *t, int i, PyObject *bytes);
/* Choose the readers that want it and have room; false: there is none. */
bool choose(Batch *b, unsigned int opcode, int res);
/* EventRecorder.reaped() */
PyObject *event_reaped(PyObject *recorder, PyObject *args);
/* To those chosen: -1 with an exception. */
int deliver(Batch *b, struct event *e, const struct texts *t);

#endif /* URINGFS_EVENTS_H */
