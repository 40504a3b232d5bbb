#pragma once
/* GET /v1/links/{id}/qr.svg and .png: the QR code of a link's short URL. */
#include "server/admin/request/request.h"

#define QR_SIZE_MAX   2048 /* pixels, of a PNG */
#define QR_MARGIN_MAX 32   /* modules */

void qr_on_svg(struct request *request);
void qr_on_png(struct request *request);
