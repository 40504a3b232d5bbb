/* GeoIP files that come, change and go: replaced ones are taken, damaged ones refused while the old
 * one stays, and nothing is tried twice. The files are made here, with one record for every
 * address. */
#include "server/visitor/geo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <unistd.h>

static char folder[] = "/tmp/kudos-geo-XXXXXX";
static char path[64], other[64];
static struct geo *geo;
static struct error error;

struct bytes {
    unsigned char data[512];
    size_t length;
};

static void put(struct bytes *out, const void *data, size_t length)
{
    memcpy(out->data + out->length, data, length);
    out->length += length;
}

static void put_string(struct bytes *out, const char *text)
{
    unsigned char control = (unsigned char)(2 << 5 | strlen(text));

    put(out, &control, 1);
    put(out, text, strlen(text));
}

static void put_number(struct bytes *out, const char *key, unsigned char control,
                       unsigned char value)
{
    put_string(out, key);
    put(out, &control, 1);
    put(out, &value, 1);
}

/* A file that says `country` for all of IPv4; its tree points to `offset` in the data. */
static struct bytes make_file(const char *country, unsigned char offset)
{
    unsigned char node[6] = {0, 0, (unsigned char)(17 + offset),
                             0, 0, (unsigned char)(17 + offset)};
    struct bytes file = {.length = 0};

    put(&file, node, sizeof node);
    put(&file, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    put(&file, "\xe1", 1);
    put_string(&file, "country_code");
    put_string(&file, country);
    put(&file, "\xab\xcd\xefMaxMind.com\xe9", 15);
    put_number(&file, "node_count", 6 << 5 | 1, 1);
    put_number(&file, "record_size", 5 << 5 | 1, 24);
    put_number(&file, "ip_version", 5 << 5 | 1, 4);
    put_number(&file, "binary_format_major_version", 5 << 5 | 1, 2);
    put_number(&file, "binary_format_minor_version", 5 << 5 | 1, 0);
    put_string(&file, "database_type");
    put_string(&file, "test");
    put_string(&file, "build_epoch");
    put(&file, "\x01\x02\x01", 3); /* uint64 of one byte */
    put_string(&file, "languages");
    put(&file, "\x00\x04", 2); /* an empty array */
    put_string(&file, "description");
    put(&file, "\xe0", 1);
    return file;
}

static void write_file(const char *name, const struct bytes *bytes)
{
    FILE *file = fopen(name, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes->data, 1, bytes->length, file), bytes->length);
    fclose(file);
}

/* As tools replace files: beside it, then renamed over it. */
static void replace(const struct bytes *bytes)
{
    write_file(other, bytes);
    assert_int_equal(rename(other, path), 0);
}

static void assert_country(const char *country)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct click click;

    memset(&click, 0, sizeof click);
    inet_pton(AF_INET, "198.51.100.7", &address.sin_addr);
    geo_look_up(geo, (struct sockaddr *)&address, &click);
    assert_memory_equal(click.country, country, 2);
}

static bool load(void)
{
    return geo_load(geo, path, "", folder, &error);
}

static bool renew(void)
{
    return geo_renew(geo, path, "", folder, &error);
}

static void a_replaced_file_is_taken(void **state)
{
    struct bytes german = make_file("DE", 0), french = make_file("FR", 0);

    (void)state;
    replace(&german);
    assert_true(load());
    assert_country("DE");
    assert_true(renew());
    assert_country("DE");
    replace(&french);
    assert_country("DE"); /* not before it is asked */
    assert_true(renew());
    assert_country("FR");
}

static void a_damaged_file_is_refused_once(void **state)
{
    struct bytes german = make_file("DE", 0), damaged = make_file("FR", 200),
                 garbage = {.data = "nothing of the kind", .length = 19},
                 french = make_file("FR", 0);

    (void)state;
    replace(&german);
    assert_true(load());
    replace(&garbage);
    assert_false(renew());
    assert_non_null(strstr(error.text, "no MMDB file"));
    assert_true(renew()); /* not tried again before it changes */
    assert_country("DE");
    replace(&damaged);
    assert_false(renew());
    assert_non_null(strstr(error.text, "damaged"));
    assert_country("DE");
    assert_false(load()); /* SIGHUP asks again, and is told again */
    assert_country("DE");
    replace(&french);
    assert_true(renew());
    assert_country("FR");
}

static void what_happens_to_the_file_does_not_matter(void **state)
{
    struct bytes german = make_file("DE", 0), nothing = {.length = 0};

    (void)state;
    replace(&german);
    assert_true(load());
    write_file(path, &nothing); /* cut in place: a map of it would end this process */
    assert_country("DE");
    unlink(path);
    assert_true(renew());
    assert_country("DE");
    assert_false(load());
    assert_country("DE");
    assert_true(geo_load(geo, "", "", folder, &error)); /* the setting was taken away */
    assert_country("\0");
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/city.mmdb", folder);
    snprintf(other, sizeof other, "%s/new.mmdb", folder);
    geo = geo_new();
    return geo ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    geo_free(geo);
    unlink(path);
    unlink(other);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replaced_file_is_taken),
        cmocka_unit_test(a_damaged_file_is_refused_once),
        cmocka_unit_test(what_happens_to_the_file_does_not_matter),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
