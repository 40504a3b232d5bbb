/* The link replica, reading side; see replica.h and replica_format.h.
 *
 * A `view` is one opened environment with its read transaction. The transaction object is made once
 * and renewed and reset in each round, which costs no lock and no system call. A view whose
 * transaction number has not changed cannot have changed either, so what was learnt from it (the
 * "moved" mark, the last domain asked for) is looked at again only when the number changes.
 *
 * A new view is opened before the old one is closed; if it cannot be opened, the old one goes on
 * serving. Reading never fails the caller: damage is logged and gives misses.
 *
 * Memory: everything here is malloc()ed at open; look-ups allocate nothing. On a crash the reader's
 * slot in the lock file stays taken until somebody's mdb_reader_check() sees that the process is
 * gone. */
#include "server/links/replica.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/links/replica_format.h"
#include "server/links/replica_memo.h"
#include "server/metrics.h"
#include "shared/clock.h"
#include "shared/log.h"

#define SWAP_CHECK_US   (US_PER_SECOND)
#define READER_CHECK_US (60 * US_PER_SECOND)
#define RETRY_US        (US_PER_SECOND)
#define OPEN_TRIES_MAX  8 /* `current` may be swapped while it is being opened */

struct view {
    MDB_env *env;
    MDB_txn *txn;
    struct replica_memo *memo;
    MDB_dbi databases[REPLICA_DATABASES];
    dev_t device;
    ino_t inode;
    size_t reported; /* transaction number whose damage has been logged */
    size_t seen;     /* transaction number that the fields below belong to */
    bool moved;
    bool has_default;
    struct domain default_domain;
    struct domain host_domain; /* of `host`; id 0: no such domain */
    size_t host_length;        /* 0: nothing remembered */
    char host[LINK_HOST_MAX];
};

struct replica {
    char folder[REPLICA_PATH_MAX];
    struct view *view; /* NULL: there is no replica yet */
    bool reading;
    int64_t retry_at_us; /* after an error other than "not there" */
    int64_t swap_check_at_us;
    int64_t reader_check_at_us;
    int last_error; /* so that the same problem is logged once */
};

/* Values --------------------------------------------------------------------------------------- */

/* Damage met while looking something up: counted each time, logged once per state of the file, since
 * it may be met by every request. */
static void report(struct view *view, const char *what, const char *reason)
{
    metrics->replica_errors_total++;
    if (view->reported == mdb_txn_id(view->txn))
        return;
    view->reported = mdb_txn_id(view->txn);
    log_error("replica_damaged", "in=%s error=%s", what, reason);
}

static bool get(struct view *view, enum replica_database database, const void *key, size_t length,
                MDB_val *out)
{
    MDB_val wanted = {length, (void *)(uintptr_t)key};
    int rc = mdb_get(view->txn, view->databases[database], &wanted, out);

    if (rc != 0 && rc != MDB_NOTFOUND)
        report(view, replica_database_names[database], mdb_strerror(rc));
    return rc == 0;
}

static bool has_meta(struct view *view, const char *name)
{
    MDB_val value;

    return get(view, REPLICA_META, name, strlen(name), &value);
}

static bool get_domain(struct view *view, const void *host, size_t length, struct domain *out)
{
    MDB_val value;

    if (!get(view, REPLICA_DOMAINS, host, length, &value))
        return false;
    if (domain_decode(value.mv_data, value.mv_size, out))
        return true;
    report(view, "domains", "malformed record");
    return false;
}

/* Domains are few and the default is needed often: found by going through them once per change. */
static bool find_default(struct view *view, struct domain *out)
{
    MDB_cursor *cursor;
    MDB_val host, value;
    bool found = false;

    if (mdb_cursor_open(view->txn, view->databases[REPLICA_DOMAINS], &cursor) != 0)
        return false;
    while (!found && mdb_cursor_get(cursor, &host, &value, MDB_NEXT) == 0)
        found = get_domain(view, host.mv_data, host.mv_size, out) && out->is_default;
    mdb_cursor_close(cursor);
    return found;
}

/* Opening and closing -------------------------------------------------------------------------- */

static void view_close(struct view *view)
{
    if (!view)
        return;
    if (view->txn)
        mdb_txn_abort(view->txn);
    if (view->env)
        mdb_env_close(view->env);
    replica_memo_free(view->memo);
    free(view);
}

static int open_databases(struct view *view)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(view->env, NULL, MDB_RDONLY, &txn);

    if (rc != 0)
        return rc;
    for (int i = 0; i < REPLICA_DATABASES && rc == 0; i++)
        rc = mdb_dbi_open(txn, replica_database_names[i], 0, &view->databases[i]);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    rc = mdb_txn_commit(txn); /* keeps the handles open */
    return rc != 0 ? rc : mdb_txn_begin(view->env, NULL, MDB_RDONLY, &view->txn);
}

/* A replica of another release, or one that is not whole, is as good as none. */
static int check_version(struct view *view)
{
    uint32_t version = 0;
    MDB_val value;

    if (get(view, REPLICA_META, META_VERSION, strlen(META_VERSION), &value) &&
        value.mv_size == sizeof version)
        memcpy(&version, value.mv_data, sizeof version);
    return version == REPLICA_VERSION && has_meta(view, META_COMPLETE) ? 0 : MDB_VERSION_MISMATCH;
}

static int open_environment(struct view *view, const char *folder)
{
    struct stat status;
    char data[REPLICA_PATH_MAX + 16];
    int rc, dead;

    snprintf(data, sizeof data, "%s/data.mdb", folder);
    if (stat(data, &status) != 0)
        return errno;
    view->device = status.st_dev;
    view->inode = status.st_ino;
    if ((rc = mdb_env_create(&view->env)) != 0 ||
        (rc = mdb_env_set_maxreaders(view->env, REPLICA_READERS_MAX)) != 0 ||
        (rc = mdb_env_set_maxdbs(view->env, REPLICA_DATABASES)) != 0 ||
        (rc = mdb_env_open(view->env, folder, MDB_RDONLY | MDB_NOTLS, 0600)) != 0 ||
        (rc = mdb_reader_check(view->env, &dead)) != 0 || (rc = open_databases(view)) != 0)
        return rc;
    rc = check_version(view);
    mdb_txn_reset(view->txn);
    return rc;
}

/* Where `current` leads. It is resolved before opening: LMDB opens two files, and they must come
 * from the same folder. */
static int resolve(const struct replica *replica, char out[REPLICA_PATH_MAX])
{
    char link[REPLICA_PATH_MAX + 16], name[REPLICA_NAME_MAX];
    ssize_t length;

    snprintf(link, sizeof link, "%s/" REPLICA_CURRENT, replica->folder);
    length = readlink(link, name, sizeof name);
    if (length < 0)
        return errno;
    if (length >= (ssize_t)sizeof name ||
        (size_t)snprintf(out, REPLICA_PATH_MAX, "%s/%.*s", replica->folder, (int)length, name) >=
            REPLICA_PATH_MAX)
        return ENAMETOOLONG;
    return 0;
}

static int view_open(const struct replica *replica, struct view **out)
{
    char before[REPLICA_PATH_MAX], after[REPLICA_PATH_MAX];
    int rc = 0;

    for (int i = 0; i < OPEN_TRIES_MAX; i++) {
        struct view *view = calloc(1, sizeof *view);

        if (!view)
            return ENOMEM;
        view->memo = replica_memo_new();
        rc = view->memo ? resolve(replica, before) : ENOMEM;
        if (rc == 0)
            rc = open_environment(view, before);
        if (rc == 0) {
            *out = view;
            return 0;
        }
        view_close(view);
        if (resolve(replica, after) != 0 || strcmp(before, after) == 0)
            return rc;
    }
    return rc;
}

/* Opens what `current` names, in place of the view there is. */
static void reopen(struct replica *replica)
{
    struct view *view = NULL;
    int rc = view_open(replica, &view);

    assert(!replica->reading);
    if (rc == 0) {
        view_close(replica->view);
        replica->view = view;
        log_debug("replica_opened", "inode=%llu", (unsigned long long)view->inode);
    } else if (rc != ENOENT) {
        replica->retry_at_us = clock_mono_us() + RETRY_US;
        if (rc != replica->last_error)
            log_warn("replica_not_usable", "folder=%s error=%s", replica->folder, mdb_strerror(rc));
    }
    replica->last_error = rc;
}

struct replica *replica_open(const char *data_dir, struct error *error)
{
    struct replica *replica = calloc(1, sizeof *replica);
    int length;

    if (!replica) {
        error_set(error, "out of memory");
        return NULL;
    }
    length = snprintf(replica->folder, sizeof replica->folder, "%s/" REPLICA_FOLDER, data_dir);
    if ((size_t)length + 2 + REPLICA_NAME_MAX > sizeof replica->folder) {
        error_set(error, "data_dir is too long: %s", data_dir);
        free(replica);
        return NULL;
    }
    reopen(replica);
    return replica;
}

void replica_close(struct replica *replica)
{
    if (!replica)
        return;
    view_close(replica->view);
    free(replica);
}

/* A round ------------------------------------------------------------------------------------- */

/* Renews the transaction; on failure there is none. */
static bool begin(struct view *view)
{
    int rc = mdb_txn_renew(view->txn);

    if (rc == MDB_MAP_RESIZED) {
        replica_memo_clear(view->memo); /* the map may lie elsewhere now */
        rc = mdb_env_set_mapsize(view->env, 0);
        if (rc == 0)
            rc = mdb_txn_renew(view->txn);
    }
    if (rc != 0) {
        metrics->replica_errors_total++;
        return false;
    }
    if (mdb_txn_id(view->txn) != view->seen) {
        view->seen = mdb_txn_id(view->txn);
        view->moved = has_meta(view, META_MOVED);
        view->has_default = find_default(view, &view->default_domain);
        view->host_length = 0;
    }
    return true;
}

void replica_begin(struct replica *replica)
{
    if (replica->reading)
        return;
    if (!replica->view && (replica->last_error == ENOENT || replica->last_error == 0 ||
                           clock_mono_us() >= replica->retry_at_us))
        reopen(replica);
    for (int i = 0; i < OPEN_TRIES_MAX && replica->view; i++) {
        struct view *before = replica->view;

        replica->reading = begin(before);
        if (!replica->reading || !before->moved)
            return;
        if (clock_mono_us() < replica->retry_at_us)
            return; /* the new one could not be opened a moment ago: the old one serves */
        replica_end(replica);
        reopen(replica);
        if (replica->view == before) {
            replica->retry_at_us = clock_mono_us() + RETRY_US;
            replica->reading = begin(before);
            return;
        }
    }
}

void replica_end(struct replica *replica)
{
    if (!replica->reading)
        return;
    mdb_txn_reset(replica->view->txn);
    replica->reading = false;
}

static bool swapped(const struct replica *replica)
{
    char path[REPLICA_PATH_MAX + 32];
    struct stat status;

    snprintf(path, sizeof path, "%s/" REPLICA_CURRENT "/data.mdb", replica->folder);
    return stat(path, &status) == 0 &&
           (status.st_ino != replica->view->inode || status.st_dev != replica->view->device);
}

void replica_maintain(struct replica *replica, int64_t mono_us)
{
    assert(!replica->reading);
    if (mono_us >= replica->swap_check_at_us) {
        replica->swap_check_at_us = mono_us + SWAP_CHECK_US;
        if (!replica->view || swapped(replica))
            reopen(replica);
    }
    if (replica->view && mono_us >= replica->reader_check_at_us) {
        int dead = 0;

        replica->reader_check_at_us = mono_us + READER_CHECK_US;
        if (mdb_reader_check(replica->view->env, &dead) == 0 && dead > 0)
            log_info("replica_readers_cleared", "count=%d", dead);
    }
}

bool replica_complete(const struct replica *replica)
{
    return replica->view != NULL;
}

/* Look-ups ------------------------------------------------------------------------------------- */

bool replica_find_domain(struct replica *replica, const char *host, size_t length,
                         struct domain *out)
{
    struct view *view = replica->view;

    if (!replica->reading || length == 0 || length > LINK_HOST_MAX)
        return false;
    if (view->host_length != length || memcmp(view->host, host, length) != 0) {
        if (!get_domain(view, host, length, &view->host_domain))
            view->host_domain.id = 0;
        memcpy(view->host, host, length);
        view->host_length = length;
    }
    *out = view->host_domain;
    return out->id != 0;
}

bool replica_default_domain(struct replica *replica, struct domain *out)
{
    if (!replica->reading || !replica->view->has_default)
        return false;
    *out = replica->view->default_domain;
    return true;
}

bool replica_salt(struct replica *replica, int64_t day, unsigned char out[REPLICA_SALT_BYTES])
{
    unsigned char key[8];
    MDB_val value;

    id_key((uint64_t)day, key);
    if (!replica->reading || !get(replica->view, REPLICA_SALTS, key, sizeof key, &value) ||
        value.mv_size != REPLICA_SALT_BYTES)
        return false;
    memcpy(out, value.mv_data, REPLICA_SALT_BYTES);
    return true;
}

static bool find_by_key(struct view *view, const struct link_key *key, struct link *out)
{
    MDB_val value;

    if (!replica_memo_find(view->memo, view->seen, key, &value)) {
        if (!get(view, REPLICA_LINKS, key->bytes, key->length, &value))
            return false;
        replica_memo_keep(view->memo, view->seen, key, &value);
    }
    if (link_decode(value.mv_data, value.mv_size, out))
        return true;
    report(view, "links", "malformed record");
    return false;
}

bool replica_find_link(struct replica *replica, uint64_t domain, const char *slug, size_t length,
                       struct link *out)
{
    struct link_key key;

    if (!replica->reading || !link_key_make(domain, slug, length, &key))
        return false;
    return find_by_key(replica->view, &key, out);
}

bool replica_find_link_by_id(struct replica *replica, uint64_t id, struct link *out)
{
    unsigned char key[8];
    struct link_key link_key;
    MDB_val value;

    if (!replica->reading)
        return false;
    id_key(id, key);
    if (!get(replica->view, REPLICA_LINKS_BY_ID, key, sizeof key, &value) || value.mv_size <= 8 ||
        value.mv_size > sizeof link_key.bytes)
        return false;
    link_key.length = value.mv_size;
    memcpy(link_key.bytes, value.mv_data, value.mv_size);
    return find_by_key(replica->view, &link_key, out) && out->id == id;
}
