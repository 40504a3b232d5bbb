#pragma once
/* A conversion as somebody tells it on the public plane: the parameters of a query, a form or JSON,
 * under the names that are common in the trade (postback_names.h), made into an event.
 *
 * Nothing is believed here: a token is hashed and a signature taken down, and whether they prove
 * anything is decided where the sources are known (kudos.process_inbox). What can never be used is
 * refused with a sentence. No socket, no clock, and no memory from the heap: JSON is read within
 * POSTBACK_MEMORY bytes that belong to the process. */
#include <stdbool.h>
#include <stdint.h>

#include "server/clicks/event.h"
#include "shared/error.h"

#define POSTBACK_BODY_MAX    16384 /* bytes of a body */
#define POSTBACK_PARAMETERS  100   /* of a query and a form together */
#define POSTBACK_MEMORY      (1024 * 1024)
#define POSTBACK_TEXT_MAX    400
#define POSTBACK_IGNORED_MAX 200

struct postback_input {
    enum conversion_path path;
    struct text query; /* as it was sent, without '?' */
    struct text body;  /* bytes NULL: there is none */
    bool is_json;      /* the body is JSON; else a form, unless it begins with '{' */
    const char *click_id_param;
    const unsigned char *secret; /* of click ids */
    uint64_t workspace;
    int64_t now_us;
};

struct postback {
    struct conversion conversion;       /* its text is in `told` */
    char problem[POSTBACK_TEXT_MAX];    /* why it was refused: a line */
    char ignored[POSTBACK_IGNORED_MAX]; /* names that mean nothing here: "a, b"; "": none */
    char told[EVENT_TOLD_MAX];
};

/* Reads one; false with `problem`. Not reentrant. */
bool postback_read(const struct postback_input *input, struct postback *out) MUST_CHECK;
