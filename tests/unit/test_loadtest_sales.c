/* Sales of the load generator: when they are due, what is told, what became of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* cmocka wants the four above first */
#include <cmocka.h>

#include "loadtest/sales.h"

#define ID_A "AQABogAIQSZb0J0Su70biAAAAAAAAAABAAAAAAAAAAGRUahKFiC-PcMqq76Vz80G"
#define ID_B "AQABogAIQSZb0J0Su70biAAAAAAAAAACAAAAAAAAAAGRUahKFiC-PcMqq76Vz80G"

static char codes[2][SALES_CODE_MAX + 1] = {"ANNA20", "BEN&10"};

static struct sales_plan plan = {
    .host = "x.example", .prefix = "run", .currency = "EUR", .delay_us = 1000, .token = "secret"};

static struct text id_text(const char *id)
{
    return (struct text){id, ANSWERS_ID_LENGTH};
}

static struct sales *open_sales(size_t most, uint64_t seed)
{
    struct error error;
    struct sales *sales = sales_open(&plan, most, seed, 3, &error);

    assert_non_null(sales);
    return sales;
}

static void test_told_when_due(void **state)
{
    struct sales *sales = open_sales(10, 1);
    char request[SALES_REQUEST_MAX], expected[256];
    uint32_t number;
    size_t length;

    (void)state;
    assert_int_equal(sales_due_us(sales), -1);
    sales_follow(sales, 0, id_text(ID_A), 500);
    sales_follow(sales, 1, id_text(ID_B), 700);
    sales_follow(sales, 1, (struct text){"no id", 5}, 800);
    assert_int_equal(sales_due_us(sales), 1500);
    length = sales_next(sales, request, &number);
    snprintf(expected, sizeof expected,
             "GET /-/postback?event=sale&order_id=run-3-0&amount_minor=%u&currency=EUR&click_id=%s"
             "&token=secret HTTP/1.1\r\nHost: x.example\r\n",
             sales->list[0].amount_minor, ID_A);
    assert_memory_equal(request, expected, strlen(expected));
    assert_memory_equal(request + length - 4, "\r\n\r\n", 4);
    assert_int_equal(sales_due_us(sales), 1700);
    sales_answered(sales, number, 204);
    assert_int_equal(sales->list[0].state, SALE_TAKEN);
    sales_next(sales, request, &number);
    assert_int_equal(sales->out, 1);
    sales_answered(sales, number, 0);
    assert_int_equal(sales->list[1].state, SALE_UNHEARD);
    assert_int_equal(sales->out, 0);
    assert_int_equal(sales_due_us(sales), -1);
}

static void test_codes_go_with_links(void **state)
{
    struct sales *sales;
    char request[SALES_REQUEST_MAX];
    uint32_t number;

    (void)state;
    plan.codes = codes;
    plan.code_count = 2;
    plan.by_code = 1;
    sales = open_sales(10, 1);
    sales_follow(sales, 3, id_text(ID_A), 0);
    sales_next(sales, request, &number);
    assert_non_null(strstr(request, "&code=BEN%2610&token="));
    assert_null(strstr(request, "click_id"));
    plan.codes = NULL;
    plan.by_code = 0;
}

static void test_no_more_than_there_is_room_for(void **state)
{
    struct sales *sales = open_sales(1, 1);

    (void)state;
    sales_follow(sales, 0, id_text(ID_A), 0);
    sales_follow(sales, 0, id_text(ID_B), 0);
    assert_int_equal(sales->count, 1);
    assert_int_equal(sales->forgotten, 1);
}

static void test_a_seed_repeats_amounts(void **state)
{
    struct sales *one = open_sales(100, 7), *two = open_sales(100, 7), *other = open_sales(100, 8);
    unsigned alike = 0;

    (void)state;
    for (int i = 0; i < 100; i++) {
        sales_follow(one, 0, id_text(ID_A), 0);
        sales_follow(two, 0, id_text(ID_B), 9);
        sales_follow(other, 0, id_text(ID_A), 0);
        assert_int_equal(one->list[i].amount_minor, two->list[i].amount_minor);
        alike += one->list[i].amount_minor == other->list[i].amount_minor;
    }
    assert_true(alike < 10);
}

static void test_files_are_checked(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } files[] = {{"ANNA20\nBEN10\n", true}, {"", false}, {"TWO WORDS\n", false}, {"\n", false}};
    char path[] = "/tmp/kudos-codes-XXXXXX";
    int fd = mkstemp(path);
    struct error error;

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct sales_plan read = {.host = ""};
        FILE *file = fopen(path, "we");

        assert_non_null(file);
        fputs(files[i].text, file);
        fclose(file);
        assert_int_equal(sales_plan_read(&read, "", path, &error), files[i].good);
        free(read.codes);
    }
    unlink(path);
    assert_false(sales_plan_read(&plan, "/nowhere/token", "", &error));
    assert_non_null(strstr(error.text, "/nowhere/token"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told_when_due),
        cmocka_unit_test(test_codes_go_with_links),
        cmocka_unit_test(test_no_more_than_there_is_room_for),
        cmocka_unit_test(test_a_seed_repeats_amounts),
        cmocka_unit_test(test_files_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
