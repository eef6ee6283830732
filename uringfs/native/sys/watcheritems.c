/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The items of a watcher (watcher.c): a place that is taken again has another key.
 */
#include "watcher.h"

#include <stdlib.h>

struct item *watcher_item(Watcher *w, uint64_t key)
{
	size_t place = (uint32_t)key;

	return place < w->nitems && w->items[place]->used && w->items[place]->key == key ? w->items[place] : NULL;
}

/* NULL: no memory. */
struct item *watcher_item_new(Watcher *w)
{
	struct item **items, *item;
	uint32_t *places;

	if (w->nfree) {
		item = w->items[w->free[--w->nfree]];
	} else {
		items = realloc(w->items, (w->nitems + 1) * sizeof(*items));
		if (items)
			w->items = items;
		places = realloc(w->free, (w->nitems + 1) * sizeof(*places));
		if (places)
			w->free = places;
		item = items && places ? calloc(1, sizeof(*item)) : NULL;
		if (!item)
			return NULL;
		item->key = w->nitems;
		w->items[w->nitems++] = item;
	}
	item->key += 1ULL << 32;
	item->round = 0;
	item->used = true;
	item->armed = 0;
	item->is_silent = item->told = item->fetched = item->gone = item->stale = false;
	return item;
}

void watcher_item_free(Watcher *w, struct item *item)
{
	item->used = false;
	w->free[w->nfree++] = (uint32_t)item->key;
}
