#pragma once
/* Clicks as rows of PostgreSQL's binary COPY format for kudos.clicks, conversions for
 * kudos.conversion_inbox. Pure: no connection, no clock,
 * no memory. About 0.2 µs a row; the binary format saves the server two thirds of the parsing. */
#include <stddef.h>
#include <stdint.h>

#include "server/clicks/event.h"

/* Most bytes of one row, whatever its texts. */
#define COPY_ROW_MAX 1536

#define COPY_SQL_MAX 512

/* Writes "copy TABLE (…) from stdin (format binary)", with the columns in the order of copy_row().
 * `table` is kudos.clicks or one of its days, as SQL; up to 60 bytes. */
void copy_sql(const char *table, char out[COPY_SQL_MAX]);

#define COPY_HEADER_BYTES  19
#define COPY_TRAILER_BYTES 2

void copy_header(unsigned char out[COPY_HEADER_BYTES]);
void copy_trailer(unsigned char out[COPY_TRAILER_BYTES]);

/* Encodes one row; returns its length. `now_us` is flush's clock: see copy_time_us(). */
size_t copy_row(uint64_t origin, uint64_t seq, const struct click *click, int64_t now_us,
                unsigned char out[COPY_ROW_MAX]);

/* The same for conversions. */
#define COPY_TOLD_ROW_MAX (EVENT_PAYLOAD_MAX + 256)
void copy_told_sql(char out[COPY_SQL_MAX]);
size_t copy_told_row(uint64_t origin, uint64_t seq, const struct conversion *conversion,
                     int64_t now_us, unsigned char out[COPY_TOLD_ROW_MAX]);

/* How far ahead of flush's clock a click may be. */
#define COPY_AHEAD_MAX_US (3600LL * 1000 * 1000)

/* The time to store: a click more than an hour ahead of now gets now (and CLICK_CLAMPED in its row),
 * since a wrong clock would otherwise fill days that do not exist. */
int64_t copy_time_us(int64_t time_us, int64_t now_us);
