#pragma once
/* The handlers that all resources share: POST, GET, PATCH and DELETE of what request->route->resource
 * describes. A resource's own file has its table of fields and, if need be, the hooks of struct
 * resource. */
#include "server/admin/fields/fields.h"

/* One change, from its checks to its answer: the state of its request. */
struct change {
    const struct resource *resource;
    struct value values[FIELDS_MAX];
    int status;     /* of the answer */
    int attempts;   /* to insert */
    bool replayed;  /* the answer of an earlier call under the same Idempotency-Key */
    bool generated; /* the unique key is made by attempt(), not given */
    json_t *answer;
    char id[24], mask[24], workspace[24], key[24];
    char *etags; /* of If-Match, as text[]; NULL: none was sent */
    const char *action;
    char *secret;            /* shown once, with the answer; owned */
    const char *secret_name; /* of that member; NULL: "key" */
};

void resource_on_create(struct request *request);
void resource_on_get(struct request *request);
void resource_on_update(struct request *request);
void resource_on_archive(struct request *request); /* sets the status to "archived" */

/* The value of a field by its name, which there must be. */
struct value *change_value(struct change *change, const char *name);

/* Sets a value; takes `text` over. */
void change_set(struct change *change, const char *name, char *text);

/* PATCH of one field by the service itself: sets it to `text` (taken over; may be NULL). */
void resource_set(struct request *request, const char *name, char *text, const char *action);

/* Answers with a row that was written. Ends the request. */
void change_answer(struct request *request, struct change *change, const PGresult *row);

/* The two halves of it, for those who wait in between. */
void change_prepare_answer(struct request *request, struct change *change, const PGresult *row);
void change_send_answer(struct request *request, struct change *change);

/* Answers what PostgreSQL refused: 409 for a unique key, 422 for another rule, else what
 * request_store_problem() says. Ends the request. */
void resource_refused(struct request *request, const struct resource *resource,
                      const struct pool_answer *answer);

/* Answers 404. Ends the request. */
void resource_missing(struct request *request, const struct resource *resource);
