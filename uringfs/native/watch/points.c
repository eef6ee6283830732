/* SPDX-License-Identifier: Apache-2.0 */
/* HookTable: the table of engine/hooks.py, and the call of a point's subscribers. */
#include "../native.h"

/* A subscriber has raised: the table's failed(name, subscriber, exception) goes on, unless it is no Exception. */
static int point_failed(PyObject *table, PyObject *name, PyObject *subscriber)
{
	PyObject *type, *value, *traceback, *done;

	if (!PyErr_ExceptionMatches(PyExc_Exception))
		return -1;
	PyErr_Fetch(&type, &value, &traceback);
	PyErr_NormalizeException(&type, &value, &traceback);
	if (traceback)
		PyException_SetTraceback(value, traceback);
	done = PyObject_CallMethod(table, "failed", "OOO", name, subscriber, value);
	Py_XDECREF(type);
	Py_XDECREF(value);
	Py_XDECREF(traceback);
	Py_XDECREF(done);
	return done ? 0 : -1;
}

static int point_call(PyObject *table, PyObject *point, PyObject *const *args, Py_ssize_t nargs)
{
	PyObject *done;

	if (!PyTuple_Check(point) || PyTuple_GET_SIZE(point) != 2) {
		PyErr_SetString(PyExc_TypeError, "a point is (subscriber, method)");
		return -1;
	}
	done = PyObject_Vectorcall(PyTuple_GET_ITEM(point, 1), args + 1, nargs - 1, NULL);
	Py_XDECREF(done);
	return done ? 0 : point_failed(table, args[0], PyTuple_GET_ITEM(point, 0));
}

static PyObject *table_call(PyObject *table, PyObject *const *args, Py_ssize_t nargs)
{
	PyObject *points;
	Py_ssize_t i;
	int done = 0;

	if (nargs < 1)
		return PyErr_Format(PyExc_TypeError, "call() takes the name of a point");
	points = PyDict_GetItemWithError(table, args[0]);
	if (!points && PyErr_Occurred())
		return NULL;
	if (!points)
		Py_RETURN_NONE;
	if (!PyTuple_Check(points))
		return PyErr_Format(PyExc_TypeError, "points are a tuple");
	Py_INCREF(points); /* a subscriber may change the table */
	for (i = 0; i < PyTuple_GET_SIZE(points) && !done; i++)
		done = point_call(table, PyTuple_GET_ITEM(points, i), args, nargs);
	Py_DECREF(points);
	if (done)
		return NULL;
	Py_RETURN_NONE;
}

static PyMethodDef table_methods[] = {
	FASTCALL(call, table_call, "call(name, *args)"),
	{NULL, NULL, 0, NULL},
};

static PyTypeObject table_type = {
	/* clang-format off: a macro with its own comma */
	PyVarObject_HEAD_INIT(NULL, 0)
		/* clang-format on */
		.tp_name = "uringfs.native._native.HookTable",
	.tp_doc = "HookTable(): point -> its (subscriber, method)s",
	.tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.tp_methods = table_methods,
};

int points_add_types(PyObject *module)
{
	table_type.tp_base = &PyDict_Type;
	return PyModule_AddType(module, &table_type);
}
