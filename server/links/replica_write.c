/* The link replica, writing side; see replica_write.h for what it promises, replica_format.h for
 * what lies on disk.
 *
 * Durability: LMDB's default, an fsync per commit; a snapshot is swapped in by renaming the symbolic
 * link `current`, after its folder was synced. So `current` always names a complete, durable
 * snapshot. After the rename the old one is marked "moved", so that readers change over with their
 * next round, and its files are unlinked; those who still read it keep its pages until they close.
 *
 * Memory: keys and records live on the stack; LMDB keeps the pages of one open transaction. A build
 * commits every REPLICA_BUILD_BATCH puts so that this stays bounded. */
#include "server/links/replica_write.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/links/replica_folder.h"
#include "server/links/replica_store.h"
#include "shared/clock.h"
#include "shared/crash.h"
#include "shared/log.h"

#define REPLICA_BUILD_BATCH 100000

struct replica_writer {
    char folder[REPLICA_PATH_MAX];
    size_t map_bytes;
    int lock_fd;
    bool damaged;
    struct replica_store served;
    struct replica_store built;
    char source[REPLICA_SOURCE_MAX];
    char snapshot[REPLICA_SNAPSHOT_MAX];
};

/* Errors --------------------------------------------------------------------------------------- */

static bool means_damage(int rc)
{
    return rc == MDB_MAP_FULL || rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND ||
           rc == MDB_INVALID || rc == MDB_VERSION_MISMATCH || rc == MDB_PANIC ||
           rc == MDB_BAD_TXN || rc == MDB_INCOMPATIBLE || rc == MDB_NOTFOUND ||
           rc == MDB_PAGE_FULL || rc == MDB_CURSOR_FULL || rc == MDB_BAD_DBI;
}

static bool fail(struct replica_writer *writer, const char *what, int rc, struct error *error)
{
    writer->damaged = writer->damaged || means_damage(rc);
    if (rc == MDB_MAP_FULL)
        return error_set(error, "%s: the replica is full: raise replica_map_bytes", what);
    if (rc == EIO || rc == ENOSPC) /* LMDB says EIO when a write came out short */
        return error_set(error, "%s: the disk is full or broken: %s", what, mdb_strerror(rc));
    return error_set(error, "%s: %s", what, mdb_strerror(rc));
}

static void path_of(const struct replica_writer *writer, const char *name, char *out, size_t size)
{
    int length = snprintf(out, size, "%s/%s", writer->folder, name);

    assert(length > 0 && (size_t)length < size); /* replica_writer_open() checked the folder */
}

/* Version, completeness and state of a replica that is already there. */
static int load_state(struct replica_writer *writer)
{
    struct replica_store *store = &writer->served;
    uint32_t version = 0;
    MDB_val value;
    int rc = store_begin(store);

    if (rc != 0)
        return rc;
    rc = store_get(store, REPLICA_META, META_VERSION, strlen(META_VERSION), &value);
    if (rc == 0 && value.mv_size == sizeof version)
        memcpy(&version, value.mv_data, sizeof version);
    if (rc == 0 && version != REPLICA_VERSION)
        rc = MDB_VERSION_MISMATCH;
    if (rc == 0)
        rc = store_get(store, REPLICA_META, META_COMPLETE, strlen(META_COMPLETE), &value);
    if (rc == 0)
        rc = store_get_text(store, META_SOURCE, writer->source, sizeof writer->source);
    if (rc == 0)
        rc = store_get_text(store, META_SNAPSHOT, writer->snapshot, sizeof writer->snapshot);
    store_abort(store);
    return rc;
}

static bool make_folder(const char *path, struct error *error)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return error_set(error, "cannot make %s: %s", path, strerror(errno));
    return true;
}

static bool take_lock(struct replica_writer *writer, struct error *error)
{
    char path[REPLICA_PATH_MAX];

    path_of(writer, "writer", path, sizeof path);
    writer->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (writer->lock_fd < 0)
        return error_set(error, "cannot open %s: %s", path, strerror(errno));
    if (flock(writer->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return error_set(error, "another process writes the replica in %s", writer->folder);
    return true;
}

/* Opening -------------------------------------------------------------------------------------- */

static bool prepare(struct replica_writer *writer, const char *data_dir, struct error *error)
{
    int length = snprintf(writer->folder, sizeof writer->folder, "%s/" REPLICA_FOLDER, data_dir);

    if ((size_t)length + REPLICA_NAME_MAX + 32 > sizeof writer->folder)
        return error_set(error, "data_dir is too long: %s", data_dir);
    return make_folder(data_dir, error) && make_folder(writer->folder, error) &&
           take_lock(writer, error);
}

/* Opens what `current` names. A replica that cannot be used is not an error: one is built. */
static void open_served(struct replica_writer *writer)
{
    char name[REPLICA_NAME_MAX];
    int rc;

    folder_current(writer->folder, name);
    if (name[0] == '\0')
        return;
    rc = store_open(&writer->served, writer->folder, name, writer->map_bytes);
    if (rc == 0)
        rc = load_state(writer);
    if (rc == 0)
        return;
    log_warn("replica_rebuild", "folder=%s reason=%s", name, mdb_strerror(rc));
    store_close(&writer->served);
    writer->source[0] = writer->snapshot[0] = '\0';
}

struct replica_writer *replica_writer_open(const char *data_dir, int64_t map_bytes,
                                           struct error *error)
{
    struct replica_writer *writer = calloc(1, sizeof *writer);

    assert(map_bytes > 0);
    if (!writer) {
        error_set(error, "out of memory");
        return NULL;
    }
    writer->lock_fd = -1;
    writer->map_bytes = (size_t)map_bytes;
    if (!prepare(writer, data_dir, error)) {
        replica_writer_close(writer);
        return NULL;
    }
    folder_remove_leftovers(writer->folder);
    open_served(writer);
    return writer;
}

void replica_writer_close(struct replica_writer *writer)
{
    if (!writer)
        return;
    store_close(&writer->built);
    store_close(&writer->served);
    if (writer->lock_fd >= 0)
        close(writer->lock_fd);
    free(writer);
}

bool replica_writer_usable(const struct replica_writer *writer)
{
    return writer->served.env != NULL;
}

bool replica_writer_in_place(const struct replica_writer *writer)
{
    char name[REPLICA_NAME_MAX], path[REPLICA_PATH_MAX];
    struct stat named, opened;
    int fd;

    folder_current(writer->folder, name);
    if (strcmp(name, writer->served.name) != 0 || mdb_env_get_fd(writer->served.env, &fd) != 0)
        return false;
    path_of(writer, REPLICA_CURRENT "/data.mdb", path, sizeof path);
    return stat(path, &named) == 0 && fstat(fd, &opened) == 0 && named.st_ino == opened.st_ino &&
           named.st_dev == opened.st_dev;
}

bool replica_writer_damaged(const struct replica_writer *writer)
{
    return writer->damaged;
}

const char *replica_writer_source(const struct replica_writer *writer)
{
    return writer->source;
}

const char *replica_writer_snapshot(const struct replica_writer *writer)
{
    return writer->snapshot;
}

int64_t replica_writer_links(const struct replica_writer *writer)
{
    const struct replica_store *store = &writer->served;
    MDB_txn *txn;
    MDB_stat stat = {0};

    if (!store->env || store->txn || mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn) != 0)
        return 0;
    if (mdb_stat(txn, store->databases[REPLICA_LINKS], &stat) != 0)
        stat.ms_entries = 0;
    mdb_txn_abort(txn);
    return (int64_t)stat.ms_entries;
}

/* Change --------------------------------------------------------------------------------------- */

bool replica_change_begin(struct replica_writer *writer, struct error *error)
{
    int rc;

    assert(writer->served.env);
    rc = store_begin(&writer->served);
    return rc == 0 || fail(writer, "beginning a change", rc, error);
}

bool replica_put_link(struct replica_writer *writer, const struct link *link, struct text slug_key,
                      int64_t *changes, struct error *error)
{
    unsigned char record[LINK_RECORD_MAX];
    struct link_key key;
    int rc;

    if (!link_key_make(link->domain, slug_key.bytes, slug_key.length, &key))
        return error_set(error, "link %llu: no key", (unsigned long long)link->id);
    rc = store_put_row(&writer->served, &replica_links, link->id, key.bytes, key.length, record,
                       link_encode(link, record), changes);
    return rc == 0 || fail(writer, "storing a link", rc, error);
}

bool replica_remove_link(struct replica_writer *writer, uint64_t id, int64_t *changes,
                         struct error *error)
{
    int rc = store_remove_row(&writer->served, &replica_links, id, changes);

    return rc == 0 || fail(writer, "removing a link", rc, error);
}

bool replica_put_domain(struct replica_writer *writer, const struct domain *domain,
                        int64_t *changes, struct error *error)
{
    unsigned char record[DOMAIN_RECORD_MAX];
    int rc;

    assert(domain->host.length > 0);
    rc = store_put_row(&writer->served, &replica_domains, domain->id, domain->host.bytes,
                       domain->host.length, record, domain_encode(domain, record), changes);
    return rc == 0 || fail(writer, "storing a domain", rc, error);
}

bool replica_remove_domain(struct replica_writer *writer, uint64_t id, int64_t *changes,
                           struct error *error)
{
    int rc = store_remove_row(&writer->served, &replica_domains, id, changes);

    return rc == 0 || fail(writer, "removing a domain", rc, error);
}

bool replica_get_salt(struct replica_writer *writer, int64_t day,
                      unsigned char out[REPLICA_SALT_BYTES])
{
    unsigned char key[8];
    MDB_val value;

    id_key((uint64_t)day, key);
    if (store_get(&writer->served, REPLICA_SALTS, key, sizeof key, &value) != 0 ||
        value.mv_size != REPLICA_SALT_BYTES)
        return false;
    memcpy(out, value.mv_data, REPLICA_SALT_BYTES);
    return true;
}

bool replica_put_salt(struct replica_writer *writer, int64_t day,
                      const unsigned char salt[REPLICA_SALT_BYTES], int64_t *changes,
                      struct error *error)
{
    struct replica_store *store = &writer->served;
    unsigned char key[8];
    MDB_val there;
    int rc;

    id_key((uint64_t)day, key);
    rc = store_get(store, REPLICA_SALTS, key, sizeof key, &there);
    if (rc == 0 && there.mv_size == REPLICA_SALT_BYTES &&
        memcmp(there.mv_data, salt, REPLICA_SALT_BYTES) == 0)
        return true;
    if (rc == 0 || rc == MDB_NOTFOUND)
        rc = store_put(store, REPLICA_SALTS, key, sizeof key, salt, REPLICA_SALT_BYTES, 0);
    *changes += rc == 0;
    return rc == 0 || fail(writer, "storing a salt", rc, error);
}

bool replica_remove_salts(struct replica_writer *writer, int64_t before, int64_t *changes,
                          struct error *error)
{
    int rc = store_remove_before(&writer->served, REPLICA_SALTS, (uint64_t)before, changes);

    return rc == 0 || fail(writer, "removing salts", rc, error);
}

bool replica_next_link(struct replica_writer *writer, uint64_t after, uint64_t *id,
                       struct error *error)
{
    int rc = store_next_id(&writer->served, &replica_links, after, id);

    return rc == 0 || fail(writer, "looking for the next link", rc, error);
}

bool replica_next_domain(struct replica_writer *writer, uint64_t after, uint64_t *id,
                         struct error *error)
{
    int rc = store_next_id(&writer->served, &replica_domains, after, id);

    return rc == 0 || fail(writer, "looking for the next domain", rc, error);
}

static int put_state(struct replica_writer *writer, struct replica_store *store, const char *source,
                     const char *snapshot)
{
    int rc;

    if (strlen(source) >= sizeof writer->source || strlen(snapshot) >= sizeof writer->snapshot)
        return EOVERFLOW;
    rc = store_put_text(store, META_SOURCE, source);
    return rc != 0 ? rc : store_put_text(store, META_SNAPSHOT, snapshot);
}

/* Remembers what put_state() stored. The caller may have passed the writer's own text. */
static void remember_state(struct replica_writer *writer, const char *source, const char *snapshot)
{
    if (source != writer->source)
        snprintf(writer->source, sizeof writer->source, "%s", source);
    if (snapshot != writer->snapshot)
        snprintf(writer->snapshot, sizeof writer->snapshot, "%s", snapshot);
}

bool replica_put_state(struct replica_writer *writer, const char *source, const char *snapshot,
                       struct error *error)
{
    int rc = put_state(writer, &writer->served, source, snapshot);

    if (rc != 0)
        return fail(writer, "storing the state", rc, error);
    remember_state(writer, source, snapshot);
    return true;
}

bool replica_change_commit(struct replica_writer *writer, struct error *error)
{
    int rc;

    CRASH_POINT("sync_before_commit");
    rc = store_commit(&writer->served);
    CRASH_POINT("sync_after_commit");
    return rc == 0 || fail(writer, "committing a change", rc, error);
}

void replica_change_abort(struct replica_writer *writer)
{
    store_abort(&writer->served);
}

/* Build ---------------------------------------------------------------------------------------- */

bool replica_build_begin(struct replica_writer *writer, struct error *error)
{
    char name[REPLICA_NAME_MAX];
    int rc;

    assert(!writer->built.env && !writer->served.txn);
    snprintf(name, sizeof name, "s-%lld", (long long)clock_wall_us());
    rc = folder_make(writer->folder, name);
    if (rc == 0)
        rc = store_open(&writer->built, writer->folder, name, writer->map_bytes);
    if (rc == 0)
        rc = store_begin(&writer->built);
    return rc == 0 || fail(writer, "beginning a snapshot", rc, error);
}

/* Appends if the key comes after all others, which fills pages to the brim; else inserts. */
static bool build_put(struct replica_writer *writer, enum replica_database database,
                      const void *key, size_t key_length, const void *value, size_t length,
                      struct error *error)
{
    struct replica_store *store = &writer->built;
    int rc = 0;

    assert(store->txn);
    if (store->puts >= REPLICA_BUILD_BATCH && (rc = store_commit(store)) == 0)
        rc = store_begin(store);
    if (rc == 0)
        rc = store_put(store, database, key, key_length, value, length, MDB_APPEND);
    if (rc == MDB_KEYEXIST)
        rc = store_put(store, database, key, key_length, value, length, 0);
    return rc == 0 || fail(writer, "building a snapshot", rc, error);
}

bool replica_build_link(struct replica_writer *writer, const struct link *link,
                        struct text slug_key, struct error *error)
{
    unsigned char record[LINK_RECORD_MAX];
    struct link_key key;

    if (!link_key_make(link->domain, slug_key.bytes, slug_key.length, &key))
        return error_set(error, "link %llu: no key", (unsigned long long)link->id);
    return build_put(writer, REPLICA_LINKS, key.bytes, key.length, record,
                     link_encode(link, record), error);
}

bool replica_build_link_id(struct replica_writer *writer, uint64_t id, uint64_t domain,
                           struct text slug_key, struct error *error)
{
    unsigned char id_bytes[8];
    struct link_key key;

    if (!link_key_make(domain, slug_key.bytes, slug_key.length, &key))
        return error_set(error, "link %llu: no key", (unsigned long long)id);
    id_key(id, id_bytes);
    return build_put(writer, REPLICA_LINKS_BY_ID, id_bytes, sizeof id_bytes, key.bytes, key.length,
                     error);
}

bool replica_build_domain(struct replica_writer *writer, const struct domain *domain,
                          struct error *error)
{
    unsigned char record[DOMAIN_RECORD_MAX];
    unsigned char id_bytes[8];
    struct text host = domain->host;

    assert(host.length > 0);
    id_key(domain->id, id_bytes);
    return build_put(writer, REPLICA_DOMAINS, host.bytes, host.length, record,
                     domain_encode(domain, record), error) &&
           build_put(writer, REPLICA_DOMAINS_BY_ID, id_bytes, sizeof id_bytes, host.bytes,
                     host.length, error);
}

bool replica_build_salt(struct replica_writer *writer, int64_t day,
                        const unsigned char salt[REPLICA_SALT_BYTES], struct error *error)
{
    unsigned char key[8];

    id_key((uint64_t)day, key);
    return build_put(writer, REPLICA_SALTS, key, sizeof key, salt, REPLICA_SALT_BYTES, error);
}

/* Commits what is missing and makes file and folder durable. */
static int seal(struct replica_writer *writer, const char *source, const char *snapshot)
{
    struct replica_store *store = &writer->built;
    const uint32_t version = REPLICA_VERSION;
    char path[REPLICA_PATH_MAX];
    int rc = put_state(writer, store, source, snapshot);

    if (rc == 0)
        rc = store_put(store, REPLICA_META, META_VERSION, strlen(META_VERSION), &version,
                       sizeof version, 0);
    if (rc == 0)
        rc = store_put_text(store, META_COMPLETE, "yes");
    if (rc == 0)
        rc = store_commit(store);
    if (rc == 0)
        rc = mdb_env_sync(store->env, 1);
    path_of(writer, store->name, path, sizeof path);
    return rc != 0 ? rc : folder_sync(path);
}

/* Tells readers of the old replica that it is no longer the one. They look by themselves every
 * second too, so that failing here (a full disk) costs a second at most. */
static void mark_moved(struct replica_store *store)
{
    int rc = store_begin(store);

    if (rc == 0)
        rc = store_put_text(store, META_MOVED, "yes");
    if (rc == 0)
        rc = store_commit(store);
    if (rc != 0)
        log_warn("replica_not_marked", "folder=%s error=%s", store->name, mdb_strerror(rc));
}

bool replica_build_finish(struct replica_writer *writer, const char *source, const char *snapshot,
                          struct error *error)
{
    char old[REPLICA_NAME_MAX];
    int rc = seal(writer, source, snapshot);

    if (rc != 0)
        return fail(writer, "finishing a snapshot", rc, error);
    CRASH_POINT("sync_before_rename");
    folder_current(writer->folder, old);
    rc = folder_set_current(writer->folder, writer->built.name);
    if (rc != 0)
        return error_set(error, "swapping in a snapshot: %s", strerror(rc));
    CRASH_POINT("sync_after_rename");
    if (writer->served.env)
        mark_moved(&writer->served);
    store_close(&writer->served);
    if (old[0] != '\0' && strcmp(old, writer->built.name) != 0)
        folder_remove(writer->folder, old);
    writer->served = writer->built;
    writer->built = (struct replica_store){0};
    remember_state(writer, source, snapshot);
    return true;
}
