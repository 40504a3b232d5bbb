#pragma once
/* The commands that ship sends, made directly in Redis' protocol: a batch has up to thirty-two thousand
 * arguments, and a general formatter would cost more than the rest of ship. Pure: no I/O. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/clicks/journal_read.h"

#define SHIP_DIGEST_LENGTH 40

struct ship_command;

/* Room for one command; used again for each. */
struct ship_command *ship_command_new(void);
void ship_command_free(struct ship_command *command);

/* EVALSHA of append.lua for a batch, with its clicks counted by link: "<link>" all of them,
 * "<link>:x" those that are not human. Payloads that cannot be decoded are sent and not counted;
 * flush quarantines them. The text lives in `command` until the next call. */
const char *ship_command_append(struct ship_command *command, const char *digest,
                                unsigned partition, uint64_t origin, uint64_t limit_bytes,
                                const struct journal_batch *batch, size_t *length);

/* EVALSHA of idle.lua for `count` origins. NULL if there is no memory. */
const char *ship_command_idle(struct ship_command *command, const char *digest, unsigned partition,
                              const uint64_t *origins, size_t count, size_t *length);

/* Wall time of the first click in the last batch; 0: it had none. */
int64_t ship_command_oldest_us(const struct ship_command *command);
