/* Fields of Python objects that are declared as members (__slots__, msgspec's structs), by offset. */
#ifndef LIVESHOP_SLOTS_H
#define LIVESHOP_SLOTS_H

#include <Python.h>
#include <structmember.h>

/* Where a member lies in its object; -1 with an exception when the descriptor is not of one that holds an object. */
static inline Py_ssize_t slot(PyObject *descriptor) {
    if (Py_TYPE(descriptor) == &PyMemberDescr_Type) {
        PyMemberDef *member = ((PyMemberDescrObject *)descriptor)->d_member;
        if (member->type == T_OBJECT_EX) return member->offset;
    }
    PyErr_SetString(PyExc_ImportError, "the fields of a struct are not members");
    return -1;
}

static inline PyObject **slot_at(PyObject *owner, Py_ssize_t offset) {
    return (PyObject **)((char *)owner + offset);
}

/* A new reference; None for a field that was deleted. */
static inline PyObject *slot_get(PyObject *owner, Py_ssize_t offset) {
    PyObject *value = *slot_at(owner, offset);
    return Py_NewRef(value ? value : Py_None);
}

static inline void slot_set(PyObject *owner, Py_ssize_t offset, PyObject *value) {
    PyObject *before = *slot_at(owner, offset);
    *slot_at(owner, offset) = Py_NewRef(value);
    Py_XDECREF(before);
}

#endif
