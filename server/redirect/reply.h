#pragma once
/* Replies as bytes. All that does not depend on the request is built beforehand, once a second (for
 * Date); a redirect then costs a few memcpy. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/redirect/decision.h"
#include "server/redirect/location.h"

#define REPLY_HEAD_MAX 512 /* status line and fields, without Location, Connection and body */
#define REPLY_BODY_MAX 128 /* of a fixed body */

/* What the client has asked of its connection. */
enum reply_connection {
    REPLY_STAYS,      /* HTTP/1.1: nothing to say */
    REPLY_KEEP_ALIVE, /* HTTP/1.0 that asked for it */
    REPLY_CLOSE,
};

struct reply_writer {
    int64_t built_for_s; /* wall second of the heads' Date; 0: never */
    size_t name_length;
    char name[LOCATION_NAME_MAX]; /* the click id's parameter, encoded */
    char script_tag[64];          /* the page script's ETag, as a field line */
    uint16_t head_lengths[ANSWER_COUNT];
    char heads[ANSWER_COUNT][REPLY_HEAD_MAX];
};

/* `click_id_param` as in the settings. */
void reply_open(struct reply_writer *writer, const char *click_id_param);

/* The entity tag of the page script, with its quotes. */
void reply_tag_script(struct reply_writer *writer, const char *tag);

/* Brings Date up to the second; cheap when it is. */
void reply_set_time(struct reply_writer *writer, int64_t wall_us);

/* The most that reply_write() writes for a target of this length. */
size_t reply_max(size_t target_length);

/* Writes the reply into `out` and returns its length. `with_body` is false for HEAD; `click_id` may
 * be NULL. `mark` says where in the reply the click id stands. */
size_t reply_write(const struct reply_writer *writer, const struct decision *decision,
                   enum reply_connection connection, bool with_body, const char *click_id,
                   char *out, struct location_mark *mark);
