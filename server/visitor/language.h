#pragma once
/* The language a visitor asks for. */
#include "server/clicks/event.h"

/* The tag of Accept-Language with the highest q (the first of equals), as a BCP 47 tag in usual
 * case ("pt-BR", "zh-Hant-TW"), in `out`. Empty if there is none, or only "*". */
struct text language_preferred(struct text accept_language, char out[EVENT_LANGUAGE_MAX]);

/* A q value in thousandths: "0.8" is 800; 1000 if absent or malformed as a whole. */
int language_quality(struct text parameters);
