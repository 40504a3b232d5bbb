/* See sales.h. */
#include "loadtest/sales.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loadtest/memory.h"
#include "shared/percent.h"

#define AMOUNT_LEAST 500   /* minor units */
#define AMOUNT_RANGE 19500 /* and less than so much more */

/* What the plan reads ----------------------------------------------------------------------------- */

static bool is_word(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!isgraph((unsigned char)text[i]))
            return false;
    return length > 0;
}

static bool read_token(struct sales_plan *plan, FILE *file, struct error *error)
{
    size_t length;

    if (!fgets(plan->token, sizeof plan->token, file))
        return error_set(error, "no token in it");
    length = strcspn(plan->token, "\r\n");
    plan->token[length] = '\0';
    return is_word(plan->token, length) || error_set(error, "no token in its first line");
}

static bool read_codes(struct sales_plan *plan, FILE *file, struct error *error)
{
    char line[SALES_CODE_MAX + 3];

    while (fgets(line, sizeof line, file)) {
        size_t length = strcspn(line, "\r\n");

        if (!is_word(line, length) || length > SALES_CODE_MAX)
            return error_set(error, "line %zu is no code", plan->code_count + 1);
        plan->codes = reallocarray(plan->codes, plan->code_count + 1, sizeof *plan->codes);
        assert(plan->codes);
        snprintf(plan->codes[plan->code_count++], SALES_CODE_MAX + 1, "%.*s", (int)length, line);
    }
    return plan->code_count > 0 || error_set(error, "no code in it");
}

static bool read_file(struct sales_plan *plan, const char *path,
                      bool (*read)(struct sales_plan *, FILE *, struct error *),
                      struct error *error)
{
    FILE *file;
    bool good;

    if (*path == '\0')
        return true;
    file = fopen(path, "re");
    if (!file)
        return error_set(error, "cannot open %s: %s", path, strerror(errno));
    good = read(plan, file, error) || error_prefix(error, "%s", path);
    fclose(file);
    return good;
}

bool sales_plan_read(struct sales_plan *plan, const char *token_file, const char *codes_file,
                     struct error *error)
{
    return read_file(plan, token_file, read_token, error) &&
           read_file(plan, codes_file, read_codes, error);
}

/* From the click to the answer ------------------------------------------------------------------ */

struct sales *sales_open(const struct sales_plan *plan, size_t most, uint64_t seed,
                         unsigned process, struct error *error)
{
    struct sales *sales = memory_share(sizeof *sales);

    if (sales)
        sales->list = memory_share((most + 1) * sizeof *sales->list);
    if (!sales || !sales->list) {
        error_set(error, "no memory for %zu sales: %s", most, strerror(errno));
        return NULL;
    }
    sales->plan = plan;
    sales->process = process;
    sales->most = most;
    sales->draw = draw_open(seed ^ 0x73616c6573u, process);
    return sales;
}

void sales_follow(struct sales *sales, uint32_t link, struct text id, int64_t now_us)
{
    uint32_t amount = AMOUNT_LEAST + (uint32_t)draw_below(&sales->draw, AMOUNT_RANGE);
    bool by_code = draw_chance(&sales->draw, sales->plan->by_code);
    struct sale *sale;

    if (id.length != ANSWERS_ID_LENGTH)
        return;
    if (sales->count == sales->most) {
        sales->forgotten++;
        return;
    }
    sale = &sales->list[sales->count++];
    *sale = (struct sale){now_us + sales->plan->delay_us, link, amount, SALE_WAITS, by_code, ""};
    memcpy(sale->id, id.bytes, ANSWERS_ID_LENGTH);
}

int64_t sales_due_us(const struct sales *sales)
{
    return sales->told < sales->count ? sales->list[sales->told].due_us : -1;
}

static char *put(char *at, const char *name, const char *value, size_t length)
{
    at = stpcpy(at, name);
    for (size_t i = 0; i < length; i++)
        at = percent_put(at, value[i], percent_unreserved);
    return at;
}

size_t sales_next(struct sales *sales, char *out, uint32_t *number)
{
    const struct sales_plan *plan = sales->plan;
    struct sale *sale = &sales->list[sales->told];
    char order[SALES_ORDER_MAX], amount[16];
    const char *code = plan->codes ? plan->codes[sale->link % plan->code_count] : "";
    char *at = out;

    assert(sales->told < sales->count);
    sales_order_id(sales, sales->told, order);
    snprintf(amount, sizeof amount, "%u", sale->amount_minor);
    at = put(at, "GET /-/postback?event=sale&order_id=", order, strlen(order));
    at = put(at, "&amount_minor=", amount, strlen(amount));
    at = put(at, "&currency=", plan->currency, strlen(plan->currency));
    if (sale->by_code)
        at = put(at, "&code=", code, strlen(code));
    else
        at = put(at, "&click_id=", sale->id, sizeof sale->id);
    if (*plan->token)
        at = put(at, "&token=", plan->token, strlen(plan->token));
    at += sprintf(at, " HTTP/1.1\r\nHost: %s\r\nUser-Agent: kudos-loadtest\r\n\r\n", plan->host);
    assert(at - out < SALES_REQUEST_MAX);
    sale->state = SALE_OUT;
    sales->out++;
    *number = (uint32_t)sales->told++;
    return (size_t)(at - out);
}

void sales_answered(struct sales *sales, uint32_t number, int status)
{
    struct sale *sale = &sales->list[number];

    assert(number < sales->told && sale->state == SALE_OUT);
    sales->out--;
    sale->state = status == 0                     ? SALE_UNHEARD
                  : status >= 200 && status < 300 ? SALE_TAKEN
                                                  : SALE_REFUSED;
}

void sales_order_id(const struct sales *sales, size_t number, char out[SALES_ORDER_MAX])
{
    snprintf(out, SALES_ORDER_MAX, "%.64s-%u-%zu", sales->plan->prefix, sales->process, number);
}
