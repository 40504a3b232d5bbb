#pragma once
/* A resource as a table of fields: what a body may carry, how each member is checked, which column
 * it is written to and how it is read back. The SQL to insert, update and read a resource is made
 * from the table once, at start; values only ever travel as parameters. Adding a field is one row.
 *
 * In the SQL of a field, t is the resource's row, $1 the workspace, @ the parameter that carries the
 * field's value, and # the second parameter of a reference: @ is the id, # the name. */
#include <jansson.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "server/admin/pool.h"
#include "server/admin/request.h"
#include "shared/error.h"

#define FIELDS_MAX 24 /* per resource: two parameters each must fit POOL_PARAMETERS_MAX */

enum field_type {
    FIELD_INTEGER,
    FIELD_BOOL,
    FIELD_TEXT,      /* one line: no control characters */
    FIELD_TIME,      /* RFC 3339 */
    FIELD_JSON,      /* an object or array; its text is the value */
    FIELD_REFERENCE, /* another resource, by its id (integer) or its name (text) */
};

enum field_flag {
    FIELD_CREATE = 1u << 0,   /* may be given when the resource is made */
    FIELD_UPDATE = 1u << 1,   /* may be changed later */
    FIELD_REQUIRED = 1u << 2, /* must be given when the resource is made */
    FIELD_NULLABLE = 1u << 3, /* null is a value */
    FIELD_LOOKUP = 1u << 4,   /* `value` finds a row: a given value must find one … */
    FIELD_FOUND = 1u << 5,    /* … and so must an absent one (a default) */
    FIELD_WRITABLE = FIELD_CREATE | FIELD_UPDATE,
};

/* A member as it was given, ready to be a parameter. Texts are owned. */
struct value {
    bool given;
    char *text;     /* NULL: null, or a reference by name */
    char *name;     /* of a reference by name */
    int64_t us;     /* of a FIELD_TIME */
    char below[64]; /* JSON pointer from the field to what its check refused; else "" */
};

/* Notes that a check refuses the member `name` of a FIELD_JSON. */
void value_at(struct value *value, const char *name);

struct field {
    const char *name; /* of the member */
    enum field_type type;
    unsigned flags;
    size_t longest; /* bytes of a text */
    /* Further checks of a text, integer or JSON; may replace value->text by its normal form. */
    bool (*check)(struct value *value, struct error *error);
    const char *column;  /* NULL: never written */
    const char *value;   /* SQL of the value from the parameter; NULL for "@" cast to its type */
    const char *missing; /* SQL when it is not given on creation; NULL: null */
    const char *read;    /* SQL of what is shown; NULL: the column */
    /* Makes what is shown from the row; NULL: by type. */
    json_t *(*show)(const struct admin *admin, const PGresult *rows, int row, int column);
    const char *what; /* one line for people and for OpenAPI */
};

struct resource {
    const char *table;    /* "kudos.links" */
    const char *conflict; /* columns of the unique key that answers 409: "domain_id, slug_key" */
    const struct field *fields;
    size_t count;
    /* Made by resource_prepare(). */
    struct statement insert; /* $1 workspace, then the fields: rows as `shown`, after "ok_" flags */
    struct statement update; /* $1 workspace, $2 id, $3 mask of fields given, then the fields */
    struct statement lookup; /* as insert, but writes nothing: the "ok_" flags alone */
    struct statement get;    /* $1 workspace, $2 id */
    char *shown;             /* the columns shown, for lists: "t.id::text as \"id\", …" */
};

/* Makes the statements. False when memory is out. */
bool resource_prepare(struct resource *resource, struct error *error) MUST_CHECK;

/* Checks `body` against the table for one of FIELD_CREATE, FIELD_UPDATE, notes every bad member at
 * `request`, and fills `values` (resource->count of them). */
void resource_read(const struct resource *resource, struct request *request, unsigned use,
                   struct value *values);
void values_free(struct value *values, size_t count);

/* Fills parameters from values, from index `at` on; returns how many there are in all. */
int resource_bind(const struct resource *resource, const struct value *values,
                  const char **parameters, int at);

/* Notes the references of an inserted or updated row that found nothing. False if there are any. */
bool resource_found(const struct resource *resource, struct request *request,
                    const PGresult *result);

/* Answers 422 with what was noted, after also trying the references in `values`, so that everything
 * that is wrong is told at once. `values` must live until the answer. Ends the request. */
void resource_refuse(const struct resource *resource, struct request *request,
                     const struct value *values);

/* A row as a JSON object. */
json_t *resource_show(const struct resource *resource, const struct admin *admin,
                      const PGresult *rows, int row);
