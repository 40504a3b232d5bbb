#pragma once
/* A report's statement, put together from what the catalogue says of a view and what was asked for.
 * Names come from the catalogue, quoted; what was sent travels as parameters. */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "server/admin/request/request.h"
#include "server/admin/stores/pool.h"

#define REPORT_COLUMNS_MAX 64
#define REPORT_SORTS_MAX   4
#define REPORT_LIMIT       100
#define REPORT_LIMIT_MAX   1000
#define REPORT_NEWEST_DAYS 7

struct report_column {
    char *name, *quoted, *type;
    char category; /* PostgreSQL's: N number, D time, B boolean, … */
    bool summed;   /* in groups it is added up */
};

struct report_sort {
    int shown; /* index of the shown column */
    bool down;
};

/* Owned by its maker; report_free() frees what it points to. */
struct report {
    char *view, *workspace, *time_zone;
    struct report_column columns[REPORT_COLUMNS_MAX];
    int count;
    int time; /* the column that a range is of; -1: none */

    /* What is shown: column numbers and, for a group by time, the unit; -1: the number of rows. */
    struct {
        int column;
        const char *unit;
    } shown[REPORT_COLUMNS_MAX + 1];
    int shown_count;
    bool grouped;
    struct report_sort sorts[REPORT_SORTS_MAX];
    int sort_count;

    bool newest;   /* of single clicks or hours, where no time is asked for: the newest days only */
    json_t *after; /* the cursor: values of the sorts, and the tie; NULL: from the beginning */
    size_t limit;
    char rows[24];
    const char *parameters[POOL_PARAMETERS_MAX];
    int parameter_count;
};

void report_free(struct report *report);

/* Reads group, sort, limit, cursor from the query; notes what is wrong at `request`. */
void report_read(struct report *report, struct request *request);

/* The name under which a shown column goes out. */
const char *report_name(const struct report *report, int shown);

/* The statement, with its parameters in report->parameters; NULL when memory is out. Notes at
 * `request` parameters that are none. */
char *report_sql(struct report *report, struct request *request);

/* The cursor that continues after the last row shown (owned by the caller). */
char *report_cursor(const struct report *report, const PGresult *rows, int row);
