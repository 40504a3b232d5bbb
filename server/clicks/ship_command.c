/* See ship_command.h. Cost: about 0.1 µs a click at 10,000 distinct links. */
#include "server/clicks/ship_command.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/clicks/event.h"
#include "server/clicks/partition.h"

#define TABLE_SLOTS   32768 /* a power of two above BATCH_EVENTS_MAX / 0.7 */
#define ARGUMENT_MAX  48 /* of a number with its protocol; of a key it is PARTITION_KEY_MAX + 16 */
#define FIXED_BYTES   4096
#define COMMAND_BYTES (FIXED_BYTES + BATCH_BYTES_MAX + 4 * BATCH_EVENTS_MAX * ARGUMENT_MAX)

static_assert(TABLE_SLOTS * 7 / 10 > BATCH_EVENTS_MAX, "the table of links never gets crowded");

struct link_count {
    uint64_t link;
    uint32_t clicks; /* 0: a free slot */
    uint32_t others; /* of these, not human */
};

struct ship_command {
    char *bytes;
    size_t room;
    size_t used;
    int64_t oldest_us;
    unsigned links;    /* slots that are taken */
    unsigned suspects; /* of these, links with clicks that are not human */
    uint16_t taken[BATCH_EVENTS_MAX];
    struct link_count table[TABLE_SLOTS];
};

struct ship_command *ship_command_new(void)
{
    struct ship_command *command = calloc(1, sizeof *command);

    if (!command)
        return NULL;
    command->room = COMMAND_BYTES;
    command->bytes = malloc(command->room);
    if (!command->bytes) {
        free(command);
        return NULL;
    }
    return command;
}

void ship_command_free(struct ship_command *command)
{
    if (!command)
        return;
    free(command->bytes);
    free(command);
}

/* Writes the decimal digits of `value`; returns the position behind them. */
static char *put_number(char *out, uint64_t value)
{
    char digits[20];
    size_t count = 0;

    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (count)
        *out++ = digits[--count];
    return out;
}

static void add_bytes(struct ship_command *command, const char *bytes, size_t length)
{
    char *out = command->bytes + command->used;

    assert(command->used + length + ARGUMENT_MAX <= command->room);
    *out++ = '$';
    out = put_number(out, length);
    *out++ = '\r';
    *out++ = '\n';
    memcpy(out, bytes, length);
    out += length;
    *out++ = '\r';
    *out++ = '\n';
    command->used = (size_t)(out - command->bytes);
}

/* A number as an argument, with a suffix. */
static void add_number(struct ship_command *command, uint64_t value, const char *suffix)
{
    char text[32], *end = put_number(text, value);

    while (*suffix)
        *end++ = *suffix++;
    add_bytes(command, text, (size_t)(end - text));
}

static void add_key(struct ship_command *command, const char *format, unsigned partition)
{
    char key[PARTITION_KEY_MAX];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* one of PARTITION_KEY_… */
    snprintf(key, sizeof key, format, partition);
#pragma GCC diagnostic pop
    add_bytes(command, key, strlen(key));
}

/* Begins with "*<arguments>", EVALSHA, the digest and the number of keys. */
static void begin(struct ship_command *command, const char *digest, size_t keys, size_t arguments)
{
    char *out = command->bytes;

    *out++ = '*';
    out = put_number(out, 3 + keys + arguments);
    *out++ = '\r';
    *out++ = '\n';
    command->used = (size_t)(out - command->bytes);
    add_bytes(command, "EVALSHA", 7);
    add_bytes(command, digest, SHIP_DIGEST_LENGTH);
    add_number(command, keys, "");
}

static void count_click(struct ship_command *command, const struct click *click)
{
    size_t slot = (click->link * 0x9E3779B97F4A7C15u) >> 49;
    struct link_count *count;

    static_assert(TABLE_SLOTS == 1 << 15, "the shift takes 15 bits");
    while (command->table[slot].clicks && command->table[slot].link != click->link)
        slot = (slot + 1) % TABLE_SLOTS;
    count = &command->table[slot];
    if (count->clicks == 0) {
        assert(command->links < BATCH_EVENTS_MAX);
        command->taken[command->links++] = (uint16_t)slot;
        count->link = click->link;
    }
    count->clicks++;
    if (click->verdict == VERDICT_HUMAN)
        return;
    if (count->others == 0)
        command->suspects++;
    count->others++;
}

static void count_batch(struct ship_command *command, const struct journal_batch *batch)
{
    struct event event;
    uint32_t length;

    command->oldest_us = 0;
    for (unsigned i = 0; i < command->links; i++)
        memset(&command->table[command->taken[i]], 0, sizeof *command->table);
    command->links = command->suspects = 0;
    for (size_t at = 0; at < batch->used; at += sizeof length + length) {
        memcpy(&length, batch->bytes + at, sizeof length);
        assert(at + sizeof length + length <= batch->used);
        if (!event_decode(batch->bytes + at + sizeof length, length, &event, NULL))
            continue;
        if (command->oldest_us == 0 && event.kind == EVENT_CONVERSION)
            command->oldest_us = event.conversion.time_us;
        if (event.kind != EVENT_CLICK)
            continue; /* a conversion is no click of a link */
        if (command->oldest_us == 0)
            command->oldest_us = event.click.time_us;
        count_click(command, &event.click);
    }
}

static void add_counts(struct ship_command *command)
{
    for (unsigned i = 0; i < command->links; i++) {
        const struct link_count *count = &command->table[command->taken[i]];

        add_number(command, count->link, "");
        add_number(command, count->clicks, "");
        if (count->others) {
            add_number(command, count->link, ":x");
            add_number(command, count->others, "");
        }
    }
}

const char *ship_command_append(struct ship_command *command, const char *digest,
                                unsigned partition, uint64_t origin, uint64_t limit_bytes,
                                const struct journal_batch *batch, size_t *length)
{
    static const char *const keys[] = {PARTITION_KEY_READY,   PARTITION_KEY_LAST_SEQ,
                                       PARTITION_KEY_FLUSHED, PARTITION_KEY_TOTALS,
                                       PARTITION_KEY_BYTES,   PARTITION_KEY_EVENTS};

    assert(batch->count > 0 && batch->last >= batch->first && batch->first > 0);
    count_batch(command, batch);
    begin(command, digest, 6, 6 + 2 * (size_t)(command->links + command->suspects));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        add_key(command, keys[i], partition);
    add_number(command, origin, "");
    add_number(command, batch->first - 1, "");
    add_number(command, batch->first, "");
    add_number(command, batch->last, "");
    add_number(command, limit_bytes, "");
    add_bytes(command, (const char *)batch->bytes, batch->used);
    add_counts(command);
    *length = command->used;
    return command->bytes;
}

const char *ship_command_idle(struct ship_command *command, const char *digest, unsigned partition,
                              const uint64_t *origins, size_t count, size_t *length)
{
    size_t needed = FIXED_BYTES + count * ARGUMENT_MAX;

    if (needed > command->room) {
        char *grown = realloc(command->bytes, needed);

        if (!grown)
            return NULL;
        command->bytes = grown;
        command->room = needed;
    }
    begin(command, digest, 3, count);
    add_key(command, PARTITION_KEY_READY, partition);
    add_key(command, PARTITION_KEY_LAST_SEQ, partition);
    add_key(command, PARTITION_KEY_FLUSHED, partition);
    for (size_t i = 0; i < count; i++)
        add_number(command, origins[i], "");
    *length = command->used;
    return command->bytes;
}

int64_t ship_command_oldest_us(const struct ship_command *command)
{
    return command->oldest_us;
}
