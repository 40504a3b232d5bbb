/* See geo.h. What a record says is decoded once and kept in a small cache by the record's offset in
 * the file: a city has one record and many networks, so nearly every look-up ends there. */
#include "server/visitor/geo.h"

#include <errno.h>
#include <fcntl.h>
#include <maxminddb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/log.h"

#define CACHE_SLOTS 1024 /* a power of two */
#define SAMPLES     256  /* look-ups that a new file has to survive */

/* One record, decoded. Texts point into the file's map. */
struct place {
    uint32_t offset; /* of the record; 0: free */
    char country[2];
    struct text region, city;
    uint32_t asn;
};

struct geo_file {
    const char *what;
    bool open;
    MMDB_s mmdb;
    struct stat source;  /* of the file it was copied from */
    struct stat refused; /* of the last file that was refused */
    char path[1024];
    struct place cache[CACHE_SLOTS];
};

struct geo {
    struct geo_file city, asn;
};

struct geo *geo_new(void)
{
    struct geo *geo = calloc(1, sizeof *geo);

    if (geo) {
        geo->city.what = "geoip_city";
        geo->asn.what = "geoip_asn";
    }
    return geo;
}

static void close_file(struct geo_file *file)
{
    if (file->open)
        MMDB_close(&file->mmdb);
    file->open = false;
    file->path[0] = '\0';
    memset(file->cache, 0, sizeof file->cache);
}

void geo_free(struct geo *geo)
{
    if (!geo)
        return;
    close_file(&geo->city);
    close_file(&geo->asn);
    free(geo);
}

/* Copies `from` into an unnamed file in `folder`; its descriptor, or -1 with errno. */
static int private_copy(int from, off_t size, const char *folder)
{
    int to = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (to < 0)
        return -1;
    for (off_t done = 0; done < size;) {
        ssize_t count = sendfile(to, from, NULL, (size_t)(size - done));

        if (count <= 0) {
            int reason = count < 0 ? errno : EIO;

            close(to);
            errno = reason;
            return -1;
        }
        done += count;
    }
    return to;
}

/* Looks up addresses from all over the tree: a file that is cut or garbled is told before it
 * replaces a good one. Answers that are merely unknown are fine. */
static bool survives_samples(MMDB_s *mmdb, struct error *error)
{
    for (uint32_t i = 0; i < SAMPLES; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET};
        MMDB_entry_data_list_s *list = NULL;
        MMDB_lookup_result_s result;
        int status;

        address.sin_addr.s_addr = htonl(i * (UINT32_MAX / SAMPLES) + i);
        result = MMDB_lookup_sockaddr(mmdb, (struct sockaddr *)&address, &status);
        if (status == MMDB_SUCCESS && result.found_entry) {
            status = MMDB_get_entry_data_list(&result.entry, &list);
            MMDB_free_entry_data_list(list);
        }
        if (status != MMDB_SUCCESS)
            return error_set(error, "%s", MMDB_strerror(status));
    }
    return true;
}

static bool open_copy(struct geo_file *file, int from, const struct stat *source, const char *path,
                      const char *data_dir, struct error *error)
{
    char name[64];
    MMDB_s mmdb;
    int copy = private_copy(from, source->st_size, data_dir), status;

    if (copy < 0)
        return error_set(error, "%s: cannot copy %.300s: %s", file->what, path, strerror(errno));
    snprintf(name, sizeof name, "/proc/self/fd/%d", copy);
    status = MMDB_open(name, MMDB_MODE_MMAP, &mmdb);
    close(copy);
    if (status != MMDB_SUCCESS)
        return error_set(error, "%s: %.300s is no MMDB file: %s", file->what, path,
                         MMDB_strerror(status));
    if (!survives_samples(&mmdb, error)) {
        MMDB_close(&mmdb);
        return error_prefix(error, "%s: %.300s is damaged", file->what, path);
    }
    close_file(file);
    file->mmdb = mmdb;
    file->open = true;
    file->source = *source;
    snprintf(file->path, sizeof file->path, "%s", path);
    log_info("geoip_opened", "setting=%s path=%s type=%s built=%llu", file->what, path,
             mmdb.metadata.database_type, (unsigned long long)mmdb.metadata.build_epoch);
    return true;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static bool is_in_use(const struct geo_file *file, const struct stat *now, const char *path)
{
    return file->open && strcmp(file->path, path) == 0 && is_same_file(&file->source, now);
}

static bool load_file(struct geo_file *file, const char *path, const char *data_dir,
                      struct error *error)
{
    struct stat source;
    bool loaded;
    int from;

    if (!path[0]) {
        close_file(file);
        return true;
    }
    from = open(path, O_RDONLY | O_CLOEXEC);
    if (from < 0 || fstat(from, &source) < 0) {
        error_set(error, "%s: %.300s: %s", file->what, path, strerror(errno));
        if (from >= 0)
            close(from);
        return false;
    }
    loaded =
        is_in_use(file, &source, path) || open_copy(file, from, &source, path, data_dir, error);
    if (!loaded)
        file->refused = source;
    close(from);
    return loaded;
}

/* A path that names nothing for the moment is being replaced, or keeps what is open. */
static bool renew_file(struct geo_file *file, const char *path, const char *data_dir,
                       struct error *error)
{
    struct stat now;

    if (!path[0] || stat(path, &now) < 0 || is_in_use(file, &now, path) ||
        is_same_file(&file->refused, &now))
        return true;
    return load_file(file, path, data_dir, error);
}

static bool for_both(struct geo *geo, const char *city_path, const char *asn_path,
                     const char *data_dir, struct error *error,
                     bool (*act)(struct geo_file *, const char *, const char *, struct error *))
{
    bool city = act(&geo->city, city_path, data_dir, error);
    struct error second;
    bool asn = act(&geo->asn, asn_path, data_dir, &second);

    if (city && !asn && error)
        *error = second;
    return city && asn;
}

bool geo_load(struct geo *geo, const char *city_path, const char *asn_path, const char *data_dir,
              struct error *error)
{
    return for_both(geo, city_path, asn_path, data_dir, error, load_file);
}

bool geo_renew(struct geo *geo, const char *city_path, const char *asn_path, const char *data_dir,
               struct error *error)
{
    return for_both(geo, city_path, asn_path, data_dir, error, renew_file);
}

static struct text string_at(MMDB_entry_s *entry, const char *const *path, size_t longest)
{
    MMDB_entry_data_s data;

    if (MMDB_aget_value(entry, &data, path) != MMDB_SUCCESS || !data.has_data ||
        data.type != MMDB_DATA_TYPE_UTF8_STRING)
        return (struct text){NULL, 0};
    return (struct text){data.utf8_string, data.data_size < longest ? data.data_size : longest};
}

static uint32_t number_at(MMDB_entry_s *entry, const char *const *path)
{
    MMDB_entry_data_s data;

    if (MMDB_aget_value(entry, &data, path) != MMDB_SUCCESS || !data.has_data)
        return 0;
    if (data.type == MMDB_DATA_TYPE_UINT32)
        return data.uint32;
    return data.type == MMDB_DATA_TYPE_UINT16 ? data.uint16 : 0;
}

static bool is_country(struct text code)
{
    return code.length == 2 && code.bytes[0] >= 'A' && code.bytes[0] <= 'Z' &&
           code.bytes[1] >= 'A' && code.bytes[1] <= 'Z';
}

/* "AS64500" of the flat layout. */
static uint32_t asn_of(struct text text)
{
    uint32_t number = 0;

    for (size_t i = 0; i < text.length; i++)
        if (ascii_is_digit(text.bytes[i]) && number < 400000000)
            number = number * 10 + (uint32_t)(text.bytes[i] - '0');
    return number;
}

static void decode(MMDB_entry_s *entry, struct place *out)
{
    static const char *const country[] = {"country", "iso_code", NULL};
    static const char *const flat_country[] = {"country_code", NULL};
    static const char *const region[] = {"subdivisions", "0", "iso_code", NULL};
    static const char *const city[] = {"city", "names", "en", NULL};
    static const char *const flat_city[] = {"city", NULL};
    static const char *const asn[] = {"autonomous_system_number", NULL};
    static const char *const flat_asn[] = {"asn", NULL};
    struct text code = string_at(entry, country, 2);

    if (!is_country(code))
        code = string_at(entry, flat_country, 2);
    if (is_country(code))
        memcpy(out->country, code.bytes, 2);
    out->region = string_at(entry, region, EVENT_REGION_MAX);
    out->city = string_at(entry, city, EVENT_CITY_MAX);
    if (!out->city.length)
        out->city = string_at(entry, flat_city, EVENT_CITY_MAX);
    out->asn = number_at(entry, asn);
    if (!out->asn)
        out->asn = asn_of(string_at(entry, flat_asn, 16));
}

/* The decoded record of an address, or NULL. */
static const struct place *find(struct geo_file *file, const struct sockaddr *address)
{
    MMDB_lookup_result_s result;
    struct place *place;
    int status;

    if (!file->open)
        return NULL;
    result = MMDB_lookup_sockaddr(&file->mmdb, address, &status);
    if (status != MMDB_SUCCESS || !result.found_entry)
        return NULL;
    place = &file->cache[(result.entry.offset * 2654435761u >> 16) & (CACHE_SLOTS - 1)];
    if (place->offset != result.entry.offset || place->offset == 0) {
        *place = (struct place){.offset = result.entry.offset};
        decode(&result.entry, place);
    }
    return place;
}

void geo_look_up(struct geo *geo, const struct sockaddr *address, struct click *out)
{
    const struct place *place;

    if (!address || (address->sa_family != AF_INET && address->sa_family != AF_INET6))
        return;
    if ((place = find(&geo->city, address))) {
        memcpy(out->country, place->country, sizeof out->country);
        out->region = place->region;
        out->city = place->city;
        out->asn = place->asn;
    }
    if ((place = find(&geo->asn, address)))
        out->asn = place->asn;
}
