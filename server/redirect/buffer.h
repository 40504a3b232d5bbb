#pragma once
/* Buffers for connections that have something to keep: an unfinished head, requests of a later
 * round, output that the kernel did not take. Idle connections have none.
 *
 * Freed buffers are kept for the next taker, a bounded number of them. All that are taken together
 * are bounded too: a crowd of slow senders gets a refusal, not the machine's memory. */
#include <stddef.h>

#define BUFFER_SMALL_BYTES 2048
#define BUFFER_KEPT_MAX    64                 /* per size */
#define BUFFER_TAKEN_MAX   (64 * 1024 * 1024) /* bytes */

struct buffer {
    struct buffer *next; /* in the pool's list, while nobody has it */
    size_t capacity;
    size_t start; /* bytes before this are done with */
    size_t end;   /* bytes from here on are free */
    char bytes[];
};

struct buffer_pool {
    size_t large_bytes; /* of the larger kept size */
    size_t taken_bytes;
    struct buffer *kept[2];
    unsigned kept_count[2];
};

void buffer_pool_open(struct buffer_pool *pool, size_t large_bytes);
void buffer_pool_close(struct buffer_pool *pool);

/* An empty buffer with room for `bytes`; NULL if BUFFER_TAKEN_MAX is reached or memory is out. */
struct buffer *buffer_take(struct buffer_pool *pool, size_t bytes);

/* Gives it back and sets the owner's pointer to NULL, which it may have been. */
void buffer_give(struct buffer_pool *pool, struct buffer **buffer);
