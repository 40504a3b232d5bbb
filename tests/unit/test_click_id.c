/* The click id: what goes in comes out, and nothing else is ever accepted. */
#include "server/conversions/click_id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const unsigned char secret[CLICK_ID_SECRET_BYTES] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                            8, 9, 10, 11, 12, 13, 14, 15};
static const struct click_id id = {
    .origin = 0x7123456789abcdefu, .seq = 42, .link = 7, .time_us = 1795600000123456};

static void comes_back_as_it_went_in(void **state)
{
    char text[CLICK_ID_LENGTH];
    struct click_id back;

    (void)state;
    click_id_encode(&id, secret, text);
    for (size_t i = 0; i < sizeof text; i++)
        assert_non_null(
            strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", text[i]));
    assert_true(click_id_decode(text, sizeof text, secret, &back));
    assert_true(back.origin == id.origin && back.seq == id.seq && back.link == id.link);
    assert_int_equal(back.time_us, 1795600000123000);
}

/* The id is written eight characters at a time and read one by one: all digits in all places. */
static void all_digits_are_right(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 20000; i++) {
        struct click_id one = {.origin = i * 0x9e3779b97f4a7c15u, .seq = ~i, .link = i << 40 | i};
        char text[CLICK_ID_LENGTH];
        struct click_id back;

        one.time_us = (int64_t)i * 123456789000;
        click_id_encode(&one, secret, text);
        assert_true(click_id_decode(text, sizeof text, secret, &back));
        assert_true(back.origin == one.origin && back.seq == one.seq && back.link == one.link &&
                    back.time_us == one.time_us);
    }
}

static void has_the_agreed_layout(void **state)
{
    static const struct click_id zero = {0};
    char text[CLICK_ID_LENGTH];

    (void)state;
    click_id_encode(&zero, secret, text);
    /* version 1, then 31 bytes of zero: 42 digits and two bits before the signature */
    assert_memory_equal(text, "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 42);
}

static void refuses_every_changed_digit(void **state)
{
    char text[CLICK_ID_LENGTH], other;
    struct click_id back;

    (void)state;
    click_id_encode(&id, secret, text);
    for (size_t i = 0; i < sizeof text; i++) {
        other = text[i];
        for (int c = 0; c < 256; c++) {
            text[i] = (char)c;
            if ((char)c != other)
                assert_false(click_id_decode(text, sizeof text, secret, &back));
        }
        text[i] = other;
    }
    assert_true(click_id_decode(text, sizeof text, secret, &back));
}

static void refuses_other_secrets_and_lengths(void **state)
{
    unsigned char other[CLICK_ID_SECRET_BYTES] = {1};
    char text[CLICK_ID_LENGTH + 1] = "";
    struct click_id back;

    (void)state;
    click_id_encode(&id, secret, text);
    assert_false(click_id_decode(text, CLICK_ID_LENGTH, other, &back));
    assert_false(click_id_decode(text, CLICK_ID_LENGTH - 1, secret, &back));
    assert_false(click_id_decode(text, CLICK_ID_LENGTH + 1, secret, &back));
    assert_false(click_id_decode("", 0, secret, &back));
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    fclose(file);
}

static void makes_a_secret_once(void **state)
{
    char folder[] = "/tmp/kudos-secret-XXXXXX", path[64];
    unsigned char first[CLICK_ID_SECRET_BYTES], second[CLICK_ID_SECRET_BYTES];
    struct error error;
    struct stat about;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/secret", folder);
    assert_true(click_id_load_secret(path, first, &error));
    assert_true(click_id_load_secret(path, second, &error));
    assert_memory_equal(first, second, sizeof first);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);

    write_file(path, "000102030405060708090A0b0c0d0e0f");
    assert_true(click_id_load_secret(path, first, &error));
    assert_memory_equal(first, secret, sizeof first);
    write_file(path, "000102030405060708090a0b0c0d0e");
    assert_false(click_id_load_secret(path, first, &error));
    write_file(path, "000102030405060708090a0b0c0d0e0f00");
    assert_false(click_id_load_secret(path, first, &error));
    write_file(path, "");
    assert_false(click_id_load_secret(path, first, &error));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0); /* nothing else was left there */
    assert_false(click_id_load_secret(path, first, &error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_as_it_went_in),
        cmocka_unit_test(all_digits_are_right),
        cmocka_unit_test(has_the_agreed_layout),
        cmocka_unit_test(refuses_every_changed_digit),
        cmocka_unit_test(refuses_other_secrets_and_lengths),
        cmocka_unit_test(makes_a_secret_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
