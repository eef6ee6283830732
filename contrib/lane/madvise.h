/* SPDX-License-Identifier: Apache-2.0 */
/* Advice on memory that older C libraries have no names for. Part of client.h. */
#ifndef URINGFS_LANE_MADVISE_H
#define URINGFS_LANE_MADVISE_H

#include <sys/mman.h>

#ifndef MADV_DONTFORK
#define MADV_DONTFORK 10
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

#endif
