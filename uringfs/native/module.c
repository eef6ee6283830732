/* SPDX-License-Identifier: Apache-2.0 */
/* The module object: joins the other files' methods and types, and holds nothing else. */
#include "native.h"

static struct PyModuleDef module_def = {
	.m_base = PyModuleDef_HEAD_INIT,
	.m_name = "uringfs.native._native",
	.m_doc = "System calls and memory accesses that CPython has no way to make; see _native.pyi.",
	.m_size = -1, /* one FUSE session a process: fusewire's state is global */
};

PyMODINIT_FUNC PyInit__native(void)
{
	PyMethodDef *const methods[] = {
		wire_methods,  vm_methods,	 maps_methods, files_methods,	 socket_methods,
		epoll_methods, identity_methods, lane_methods, patience_methods,
	};
	PyObject *module = PyModule_Create(&module_def);
	bool failed = !module;
	size_t i;

	for (i = 0; i < sizeof(methods) / sizeof(methods[0]) && !failed; i++)
		failed = PyModule_AddFunctions(module, methods[i]) < 0;
	if (failed || identity_add_types(module) < 0 || watcher_add_types(module) < 0 || watch_add_types(module) < 0 ||
	    points_add_types(module) < 0 || lane_add_types(module) < 0) {
		Py_XDECREF(module);
		return NULL;
	}
	return module;
}
