#pragma once
/* The link replica, reading side: an LMDB file beside the redirecting processes, so that a redirect
 * costs no network. `sync` is its only writer (server/links/sync.c); readers are `redirect` and
 * `admin`, which asks it whether a change has arrived.
 *
 * Rules (each was seen to fail otherwise): open after fork, once per process; one read transaction
 * lasts at most one round of the loop: replica_begin() before the first look-up of a round,
 * replica_end() before the loop sleeps. What a look-up returns is valid until replica_end(). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/links/link.h"
#include "shared/error.h"

#define REPLICA_SALT_BYTES 16

struct replica;

/* Opens <data_dir>/replica for reading. Succeeds while there is no replica yet (everything is a
 * miss then, and the file is picked up by itself when it appears). Clears reader slots of killed
 * processes. */
struct replica *replica_open(const char *data_dir, struct error *error) MUST_CHECK;
void replica_close(struct replica *replica);

/* Starts the round's read transaction if it is not already open. Notices a replica that was swapped
 * by a new snapshot. */
void replica_begin(struct replica *replica);
void replica_end(struct replica *replica);

/* Once a second or so, outside a transaction: checks for a swapped file; every minute, for dead
 * readers. */
void replica_maintain(struct replica *replica, int64_t mono_us);

/* True once a complete snapshot has been there. */
bool replica_complete(const struct replica *replica);

/* The domain of a Host (lower-case, no port, no trailing dot). False: no such domain. */
bool replica_find_domain(struct replica *replica, const char *host, size_t length,
                         struct domain *out) MUST_CHECK;

/* The domain that serves unregistered hosts. False only while there is no snapshot. */
bool replica_default_domain(struct replica *replica, struct domain *out) MUST_CHECK;

/* The link under a slug (percent-decoded; folded to lower-case ASCII by the caller unless the
 * domain is case_sensitive). */
bool replica_find_link(struct replica *replica, uint64_t domain, const char *slug, size_t length,
                       struct link *out) MUST_CHECK;

/* The salt of visitor values of a day (UTC days since 1970); false: none is known (yet, or any more),
 * and no visitor value can be made. */
bool replica_salt(struct replica *replica, int64_t day,
                  unsigned char out[REPLICA_SALT_BYTES]) MUST_CHECK;

/* The link with an id. */
bool replica_find_link_by_id(struct replica *replica, uint64_t id, struct link *out) MUST_CHECK;
