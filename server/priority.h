#pragma once
/* Who goes first when processes share a processor: visitors. */

/* Of the calling process, for its life. Where the kernel refuses, things stay as they are: the order
 * is a matter of latency, never of correctness. */
enum priority {
    PRIORITY_VISITORS, /* waits for a processor as briefly as the kernel can arrange */
    PRIORITY_PEOPLE,   /* as any other process */
    PRIORITY_LATER,    /* takes what is left, but at least a tenth of what one of the others gets */
};

void priority_set(enum priority priority);
