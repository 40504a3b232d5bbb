#pragma once
/* What links are compiled from besides their own rows, all of it in memory: campaigns, and influencers
 * with the profile that is shown. For a snapshot of all links: looking each up where it is stored
 * would take PostgreSQL longer than all the links. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/error.h"
#include "shared/text.h"

struct source;

/* Most bytes of texts that are held; more, and PostgreSQL looks them up row by row. */
#define RELATIONS_BYTES_MAX (256 * 1024 * 1024)

enum relation_kind { RELATION_CAMPAIGN, RELATION_INFLUENCER };
#define RELATION_KINDS (RELATION_INFLUENCER + 1)

/* Of a campaign: UTM parameters (JSON), slug, name. Of an influencer: handle, name, address of the
 * profile. A text that is null there has no bytes. */
#define RELATION_TEXTS 3
struct relation {
    struct text of[RELATION_TEXTS];
};

struct relations;

struct relations *relations_new(void);
void relations_free(struct relations *relations);

/* Adds one; an id once only. False: it does not fit any more. */
bool relations_add(struct relations *relations, enum relation_kind kind, uint64_t id,
                   const struct relation *relation) MUST_CHECK;

/* Finds one; texts live until the next relations_add(). False: there is none, and no texts. */
bool relations_find(const struct relations *relations, enum relation_kind kind, uint64_t id,
                    struct relation *out);

/* Reads all in the source's open transaction. `*fits` false: they are too many, and what was read is
 * of no use. */
bool relations_load(struct relations *relations, struct source *source, bool *fits,
                    struct error *error) MUST_CHECK;
