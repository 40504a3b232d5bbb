#pragma once
/* A resource as a table of fields: what a body may carry, how each member is checked, which column
 * it is written to and how it is read back. The SQL to insert, update and read a resource
 * (fields_sql.c), the handlers of its routes (resource.c) and its part of /v1/openapi.json are made
 * from the table; values only ever travel as parameters. Adding a field is one row.
 *
 * In the SQL of a field, t is the resource's row, $1 the workspace, @ the parameter that carries the
 * field's value, and # the second parameter of a reference: @ is the id, # the name. */
#include <jansson.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "server/admin/request/request.h"
#include "server/admin/stores/pool.h"
#include "shared/error.h"

#define FIELDS_MAX  40 /* per resource: two parameters each must fit POOL_PARAMETERS_MAX */
#define FILTERS_MAX 8

enum field_type {
    FIELD_TEXT, /* one line: no control characters, unless FIELD_LINES */
    FIELD_INTEGER,
    FIELD_NUMBER, /* a decimal number; never money */
    FIELD_BOOL,
    FIELD_TIME,      /* RFC 3339 */
    FIELD_DATE,      /* YYYY-MM-DD */
    FIELD_JSON,      /* an object or array; its text is the value */
    FIELD_TAGS,      /* an array of short texts; a column text[] */
    FIELD_MONEY,     /* {"amount_minor" or "amount", "currency"} (money.h); a column jsonb */
    FIELD_REFERENCE, /* another resource, by its id (integer) or its name (text) */
};

enum field_flag {
    FIELD_CREATE = 1u << 0,    /* may be given when the resource is made */
    FIELD_UPDATE = 1u << 1,    /* may be changed later */
    FIELD_REQUIRED = 1u << 2,  /* must be given when the resource is made */
    FIELD_NULLABLE = 1u << 3,  /* null is a value */
    FIELD_LOOKUP = 1u << 4,    /* `value` finds a row: a given value must find one … */
    FIELD_FOUND = 1u << 5,     /* … and so must an absent one (a default) */
    FIELD_FILTER = 1u << 6,    /* lists may be narrowed by it */
    FIELD_LINES = 1u << 7,     /* of a text: line breaks and tabs are allowed */
    FIELD_INTERNAL = 1u << 8,  /* set by the resource's own code, never from a body */
    FIELD_HIDDEN = 1u << 9,    /* never shown */
    FIELD_VOLATILE = 1u << 10, /* changes by itself: no part of ETag or audit log */
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
    size_t longest;          /* bytes of a text, characters … of a JSON; 0: no limit of its own */
    int64_t lowest, highest; /* of an integer; both 0: any */
    const char *choices;     /* of a text: the values allowed, "active disabled archived" */
    /* Further checks of a text, integer or JSON; may replace value->text by its normal form. */
    bool (*check)(struct value *value, struct error *error);
    const char *column;  /* NULL: never written to the resource's own row */
    const char *value;   /* SQL of the value from the parameter; NULL for "@" cast to its type */
    const char *missing; /* SQL when it is not given on creation; NULL: null */
    /* What it is when it is not given on creation, with @ for the value of the reference `heir_of`; with
     * FIELD_LOOKUP | FIELD_FOUND there must be something, and `absent` says what to do. */
    const char *heir_of, *inherited, *absent;
    const char *read;   /* SQL of what is shown; NULL: the column */
    const char *filter; /* SQL of a condition for lists, with @; NULL: equality */
    /* Rows of another table that are the field's value, a JSON array v: SQL that writes them for the
     * row w ("insert … on conflict … do update") and that deletes those which are not in v. */
    const char *put_children, *drop_children;
    /* Makes what is shown from the row; NULL: by type. */
    json_t *(*show)(const struct admin *admin, const PGresult *rows, int row, int column);
    const char *what;   /* one line for people and for OpenAPI */
    const char *schema; /* OpenAPI schema of a FIELD_JSON; NULL: an object */
};

/* What is wrong if the look-up of a field found nothing. */
const char *field_absent(const struct field *field);

/* A condition for lists that is no field: the SQL, with @; $2 is the id that the page lies below. */
struct filter {
    const char *parameter;
    const char *sql;
    const char *what;
    enum field_type type; /* what may be asked for */
};

/* What a constraint means for whoever breaks it: 409 for a unique one, else 422. */
struct unique {
    const char *constraint; /* or an SQLSTATE; 55000 is a 409, too */
    const char *pointer;    /* "/slug" */
    const char *kind;       /* of the problem: "slug-taken" */
    const char *detail;
};
#define UNIQUES_MAX 8

struct change; /* resource.h */

enum insert_way {
    INSERT_PLAIN = 0,
    INSERT_FIND = 1, /* a row with the same external_id is answered instead */
    INSERT_ONCE = 2, /* under an Idempotency-Key */
    INSERT_WAYS = 4,
};

struct resource {
    const char *name;  /* "link": for people and the audit log */
    const char *path;  /* "/v1/links" */
    const char *table; /* "kudos.links" */
    const struct field *fields;
    size_t count;
    const char *status;   /* the field that can be "archived"; NULL: it cannot be archived */
    const char *external; /* the field by which one is found instead of made anew, or NULL */
    const char *tenant;   /* column that must be the key's workspace; NULL: workspace_id */
    bool gathered;        /* creates that arrive together are inserted together; no children */
    bool replicated;      /* has column `changed`: sync copies it */
    struct filter filters[FILTERS_MAX];
    struct unique uniques[UNIQUES_MAX]; /* the first is what an insert that does nothing met */
    const char *example;                /* JSON body that makes one */
    const char *example_change;         /* JSON body that changes one */

    /* Notes at `request` what is wrong with several fields together. */
    void (*check)(struct request *request, struct change *change, unsigned use);
    /* Before each attempt to insert; false: there is no further one (the unique key is taken). */
    bool (*attempt)(struct request *request, struct change *change);
    /* When it is committed; must answer. NULL: answers at once. */
    void (*committed)(struct request *request, struct change *change, const PGresult *row);

    /* Made by resource_prepare(). */
    struct statement insert[INSERT_WAYS]; /* see fields_sql.c */
    struct statement insert_set;          /* many of them (gather.h), if `gathered` */
    struct statement update;
    struct statement lookup; /* $1 workspace, then the fields: the "ok_" flags alone */
    struct statement get;    /* $1 workspace, $2 id */
    char *shown;             /* the columns shown, for lists: "t.id::text as \"id\", …" */
};

/* Makes the statements; does nothing the second time. False when memory is out. */
bool resource_prepare(struct resource *resource, struct error *error) MUST_CHECK;

/* Checks `body` against the table for one of FIELD_CREATE, FIELD_UPDATE, notes every bad member at
 * `request`, and fills `values` (resource->count of them). */
void resource_read(const struct resource *resource, struct request *request, unsigned use,
                   struct value *values);

void values_free(struct value *values, size_t count);

/* Fills parameters from values, from index `at` on; returns how many there are in all. */
int resource_bind(const struct resource *resource, const struct value *values,
                  const char **parameters, int at);

/* Number of parameters of a field: none if it is never written, two for a reference. */
int field_parameters(const struct field *field);

/* SQL of a field's value, with @ and #. */
const char *field_value(const struct field *field);

/* True if `text` is one of the field's choices. */
bool field_is_choice(const struct field *field, const char *text, struct error *error);

/* The index of the field of that name; resource->count if there is none. */
size_t resource_field(const struct resource *resource, const char *name);

/* Notes the references of an inserted or updated row that found nothing. False if there are any. */
bool resource_found(const struct resource *resource, struct request *request,
                    const PGresult *result);

/* A row as a JSON object. */
json_t *resource_show(const struct resource *resource, const struct admin *admin,
                      const PGresult *rows, int row);
