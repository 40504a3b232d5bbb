/* A log line cannot be forged from inside a value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/log.h"

/* What log_event() wrote, through a pipe in place of standard error. */
static int saved_stderr, reader;

static void open_pipe(void)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    saved_stderr = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    reader = ends[0];
    log_open("test", LOG_LEVEL_INFO);
}

static void close_pipe(char *out, size_t size)
{
    ssize_t length;

    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    length = read(reader, out, size - 1);
    close(reader);
    assert_true(length >= 0);
    out[length] = '\0';
}

static void test_escapes(void **state)
{
    char line[4096];

    (void)state;
    open_pipe();
    log_info("hello", "plain=%s evil=%s empty=%s number=%d big=%llu", "word",
             "x\nlevel=error \"q\" \\ \x7f\xc3\xa9", "", -5, 18446744073709551615ULL);
    close_pipe(line, sizeof line);
    assert_non_null(strstr(line, " role=test event=hello plain=word evil=\"x\\x0alevel=error "
                                 "\\x22q\\x22 \\x5c \\x7f\\xc3\\xa9\" empty=\"\" number=-5 "
                                 "big=18446744073709551615\n"));
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void test_long_and_low(void **state)
{
    char line[8192], big[5000];

    (void)state;
    memset(big, 'a', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    open_pipe();
    log_debug("quiet");
    log_info("long", "value=%s", big);
    close_pipe(line, sizeof line);
    assert_null(strstr(line, "quiet"));
    assert_true(strlen(line) <= 2048);
    assert_string_equal(line + strlen(line) - 4, "\xe2\x80\xa6\n");
}

/* Nobody reads the pipe: lines are dropped and counted, the caller goes on. */
static void test_never_blocks(void **state)
{
    static char line[70000];
    uint64_t before = log_dropped();

    (void)state;
    open_pipe();
    for (int i = 0; i < 3000; i++)
        log_info("flood", "number=%d", i);
    close_pipe(line, sizeof line);
    assert_true(log_dropped() > before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_long_and_low),
        cmocka_unit_test(test_never_blocks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
