#pragma once
/* Statements that make, find and change many rows at once, made from tables of fields.
 *
 * $1 is the workspace, $2 a JSON array with an object for each row: "i" its place, which comes back
 * with its result, "m" the mask of the fields given, "p_N" the value of field N as text (of a
 * reference: its id), "q_N" the name of a reference, "t_N" an id
 * that need not be looked up; to find a link "k_id", "k_external", or "k_slug" with
 * "k_host" (absent: the default domain); "made" when it was made, if that was not now. What is absent
 * is null. */
#include "server/admin/fields/fields.h"

/* A link's host as links_short_url() wants it. */
#define SET_LINK_HOST                                                                   \
    "(select case when h.is_default then '' else h.host end from kudos.domains h where" \
    " h.id = t.domain_id)"

/* Inserts what meets no unique key. Rows i, ok_N for each look-up, and of what was inserted id and
 * `returning` (SQL, or NULL); nulls where a look-up failed or a unique key was taken. */
bool set_sql_insert(const struct resource *resource, const char *returning,
                    struct statement *statement, struct error *error) MUST_CHECK;

/* For rows that meet a unique key, of what has an external_id: i, id, own and same (true), of those
 * that are there under that. */
bool set_sql_find_external(const struct resource *resource, struct statement *statement,
                           struct error *error) MUST_CHECK;

/* For links that meet a unique key: i, id, slug, host, own (whether it is this workspace's), same
 * (whether it has the external_id of the row, or is as the row says). No row where there is none. */
bool set_sql_find_links(const struct resource *links, struct statement *statement,
                        struct error *error) MUST_CHECK;

/* Changes links. Rows i, there (there is such a link), again (it was changed in this transaction
 * already), ok_N, and id, slug, host of the changed link, or nulls. */
bool set_sql_update_links(const struct resource *links, struct statement *statement,
                          struct error *error) MUST_CHECK;

/* Puts values into such an object: "m", "p_N", "q_N". */
void set_sql_put(json_t *row, const struct resource *resource, const struct value *values);

/* Puts one value, of the field `name`, as text. */
void set_sql_put_text(json_t *row, const struct resource *resource, const char *name,
                      const char *text);

/* Puts the id of a reference that was looked up before in this transaction. */
void set_sql_put_id(json_t *row, const struct resource *resource, const char *name, int64_t id);
