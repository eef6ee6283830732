/* SPDX-License-Identifier: Apache-2.0 */
/* The module object: joins the other files' methods and types, and holds nothing else. */
#include "native.h"

static struct PyModuleDef module_def = {
	PyModuleDef_HEAD_INIT,
	.m_name = "uringfs.native._native",
	.m_doc = "System calls and memory accesses that CPython has no way to make; see _native.pyi.",
	.m_size = -1, /* one FUSE session a process: fusewire's state is global */
};

PyMODINIT_FUNC PyInit__native(void)
{
	PyObject *module = PyModule_Create(&module_def);

	if (!module)
		return NULL;
	if (PyModule_AddFunctions(module, wire_methods) < 0 ||
	    PyModule_AddFunctions(module, process_methods) < 0 ||
	    PyModule_AddFunctions(module, socket_methods) < 0 ||
	    PyModule_AddFunctions(module, epoll_methods) < 0 ||
	    PyModule_AddFunctions(module, identity_methods) < 0 || identity_add_types(module) < 0 ||
	    watcher_add_types(module) < 0) {
		Py_DECREF(module);
		return NULL;
	}
	return module;
}
