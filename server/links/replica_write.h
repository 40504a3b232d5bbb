#pragma once
/* The link replica, writing side. Used by sync alone; a lock file keeps a second writer out.
 *
 * Two ways to write:
 *   change    one LMDB transaction on the replica that is being served: replica_change_begin(),
 *             any number of puts and removes, the new state, replica_change_commit(). Readers see
 *             all of it or nothing; so does a successor after a crash.
 *   build     a whole snapshot in a folder beside, in bounded transactions: replica_build_begin(),
 *             links in key order, then their ids in id order, replica_build_finish(), which makes
 *             it durable and swaps it in. A crash before the swap leaves the old replica in charge
 *             and rubbish that the next replica_writer_open() removes.
 *
 * After any failure the writer is no longer good for anything but replica_writer_close(): LMDB may
 * refuse to go on after a failed write. replica_writer_damaged() says whether the next one should
 * build anew instead of changing what is there. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/links/link.h"
#include "server/links/replica.h" /* REPLICA_SALT_BYTES */
#include "shared/error.h"

#define REPLICA_SOURCE_MAX 256
#define REPLICA_SNAPSHOT_MAX \
    (256 * 1024) /* bytes of pg_current_snapshot(): 20 per open transaction */

struct replica_writer;

/* Makes <data_dir>/replica if needed, takes the lock, removes what a crash left, opens the served
 * replica if there is one of this version. NULL with the reason, also if another process writes. */
struct replica_writer *replica_writer_open(const char *data_dir, int64_t map_bytes,
                                           struct error *error) MUST_CHECK;
void replica_writer_close(struct replica_writer *writer);

/* True if there is a complete replica of this version that can be changed. */
bool replica_writer_usable(const struct replica_writer *writer);

/* False if somebody took the replica's files away: what is written would reach no reader. */
bool replica_writer_in_place(const struct replica_writer *writer);

/* True if what failed was the file itself: full map, damage, another format. */
bool replica_writer_damaged(const struct replica_writer *writer);

/* What the replica was made from; "" if there is none. Valid until the next change or build. */
const char *replica_writer_source(const struct replica_writer *writer);
const char *replica_writer_snapshot(const struct replica_writer *writer);

/* Links in the replica. */
int64_t replica_writer_links(const struct replica_writer *writer);

/* Change --------------------------------------------------------------------------------------- */

bool replica_change_begin(struct replica_writer *writer, struct error *error) MUST_CHECK;

/* Stores a link under (link->domain, slug key), wherever it was before. Adds 1 to `changes` if the
 * replica did not hold exactly this already. */
bool replica_put_link(struct replica_writer *writer, const struct link *link, struct text slug_key,
                      int64_t *changes, struct error *error) MUST_CHECK;
bool replica_remove_link(struct replica_writer *writer, uint64_t id, int64_t *changes,
                         struct error *error) MUST_CHECK;
bool replica_put_domain(struct replica_writer *writer, const struct domain *domain,
                        int64_t *changes, struct error *error) MUST_CHECK;
bool replica_remove_domain(struct replica_writer *writer, uint64_t id, int64_t *changes,
                           struct error *error) MUST_CHECK;

/* Salts of visitor values, by day as in replica_salt(). All within a change; get: false if there is
 * none. */
bool replica_put_salt(struct replica_writer *writer, int64_t day,
                      const unsigned char salt[REPLICA_SALT_BYTES], int64_t *changes,
                      struct error *error) MUST_CHECK;
bool replica_get_salt(struct replica_writer *writer, int64_t day,
                      unsigned char out[REPLICA_SALT_BYTES]) MUST_CHECK;
bool replica_remove_salts(struct replica_writer *writer, int64_t before, int64_t *changes,
                          struct error *error) MUST_CHECK;

/* The smallest id above `after` that the replica holds; 0: none. */
bool replica_next_link(struct replica_writer *writer, uint64_t after, uint64_t *id,
                       struct error *error) MUST_CHECK;
bool replica_next_domain(struct replica_writer *writer, uint64_t after, uint64_t *id,
                         struct error *error) MUST_CHECK;

/* Says what the replica holds once this change is committed. */
bool replica_put_state(struct replica_writer *writer, const char *source, const char *snapshot,
                       struct error *error) MUST_CHECK;
bool replica_change_commit(struct replica_writer *writer, struct error *error) MUST_CHECK;
void replica_change_abort(struct replica_writer *writer);

/* Build ---------------------------------------------------------------------------------------- */

bool replica_build_begin(struct replica_writer *writer, struct error *error) MUST_CHECK;

/* Fastest in the order of (domain, slug key); any order is right. */
bool replica_build_link(struct replica_writer *writer, const struct link *link,
                        struct text slug_key, struct error *error) MUST_CHECK;

/* Fastest in the order of ids. */
bool replica_build_link_id(struct replica_writer *writer, uint64_t id, uint64_t domain,
                           struct text slug_key, struct error *error) MUST_CHECK;
bool replica_build_domain(struct replica_writer *writer, const struct domain *domain,
                          struct error *error) MUST_CHECK;
bool replica_build_salt(struct replica_writer *writer, int64_t day,
                        const unsigned char salt[REPLICA_SALT_BYTES],
                        struct error *error) MUST_CHECK;

/* Makes it durable, swaps it in, and tells readers. The writer then serves changes on it. */
bool replica_build_finish(struct replica_writer *writer, const char *source, const char *snapshot,
                          struct error *error) MUST_CHECK;
