/* SPDX-License-Identifier: Apache-2.0 */
/* What linux/io_uring.h of an older distribution lacks. Append only. */
#ifndef UAPI_EXTRA_H
#define UAPI_EXTRA_H

#include <linux/io_uring.h>

#ifndef IORING_ENTER_ABS_TIMER
#define IORING_ENTER_ABS_TIMER (1U << 5)
#endif
#ifndef IORING_ENTER_EXT_ARG_REG
#define IORING_ENTER_EXT_ARG_REG (1U << 6)
#endif
#ifndef IORING_ENTER_NO_IOWAIT
#define IORING_ENTER_NO_IOWAIT (1U << 7)
#endif

/* Enumerators in newer headers, of the same value. */
#ifndef IORING_REGISTER_PBUF_STATUS
#define IORING_REGISTER_PBUF_STATUS 26
#endif
#ifndef IORING_REGISTER_NAPI
#define IORING_REGISTER_NAPI 27
#endif
#ifndef IORING_UNREGISTER_NAPI
#define IORING_UNREGISTER_NAPI 28
#endif
#ifndef IORING_REGISTER_CLOCK
#define IORING_REGISTER_CLOCK 29
#endif
#ifndef IORING_REGISTER_SEND_MSG_RING
#define IORING_REGISTER_SEND_MSG_RING 31
#endif
#ifndef IORING_REGISTER_RESIZE_RINGS
#define IORING_REGISTER_RESIZE_RINGS 33
#endif
#ifndef IORING_REGISTER_MEM_REGION
#define IORING_REGISTER_MEM_REGION 34
#endif
#ifndef IORING_REGISTER_QUERY
#define IORING_REGISTER_QUERY 35
#endif

#endif
