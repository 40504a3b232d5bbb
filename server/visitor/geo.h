#pragma once
/* Country, region, city and network of an address, from MMDB files in MaxMind's layout
 * (country.iso_code, subdivisions[0].iso_code, city.names.en, autonomous_system_number) or the flat
 * one (country_code, asn).
 *
 * A file is copied before it is used, so replacing or truncating it while it is in use harms
 * nobody; the copy is an unnamed file in data_dir, gone when the process ends, however it ends. A
 * file that cannot be read or fails its checks is refused and the one before stays in use. */
#include <sys/socket.h>

#include "server/clicks/event.h"
#include "shared/error.h"

struct geo;

struct geo *geo_new(void);
void geo_free(struct geo *geo);

/* Opens what the paths name ("": none); a path whose file has not changed is left alone. False with
 * the reason if any was refused (the others are used). `data_dir` takes the private copies. */
bool geo_load(struct geo *geo, const char *city_path, const char *asn_path, const char *data_dir,
              struct error *error) MUST_CHECK;

/* Opens what the paths name where it was replaced since, or was refused before and has changed.
 * False with the reason if one was refused; it is not tried again before it changes. */
bool geo_renew(struct geo *geo, const char *city_path, const char *asn_path, const char *data_dir,
               struct error *error) MUST_CHECK;

/* Fills country, region, city and asn of `out`; leaves them alone where nothing is known. Texts
 * live until the next geo_load(). Never fails: a damaged record is an unknown one. */
void geo_look_up(struct geo *geo, const struct sockaddr *address, struct click *out);
