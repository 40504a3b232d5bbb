#pragma once
/* Why somebody is or is not credited: the words that kudos.credit_conversion() stores, in sentences. */

/* "A click on the link led to it." for "only_link"; NULL for a word that is none. */
const char *reason_sentence(const char *reason);
