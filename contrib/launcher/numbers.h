/* SPDX-License-Identifier: Apache-2.0 */
/* io_uring's system calls, the same on every machine. */
#ifndef URINGFS_NUMBERS_H
#define URINGFS_NUMBERS_H

#define NR_SETUP 425
#define NR_ENTER 426
#define NR_REGISTER 427

#endif
