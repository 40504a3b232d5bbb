/* The settings table. No include guard: it is included once for each thing that is made from it.
 *
 * SETTING(type, name, lowest, highest, unit, default, reload, doc)
 *   type     TEXT, ADDRESS, INTEGER, BOOL
 *   lowest, highest  of an INTEGER; for TEXT the shortest and longest length
 *   unit     "" or what the number counts
 *   reload   RELOAD_LIVE: SIGHUP applies it; RELOAD_RESTART: it takes effect at the next start
 */
/* clang-format off */

/* Where it listens and where it keeps its things */
SETTING(ADDRESS, listen, 0, 0, "", "127.0.0.1:8080", RELOAD_RESTART,
        "Public plane: where visitors' requests arrive. Loopback unless you say otherwise; put a TLS proxy before it.")
SETTING(ADDRESS, admin_listen, 0, 0, "", "127.0.0.1:8081", RELOAD_RESTART,
        "Admin plane: /v1, /metrics, /healthz, /readyz. Never expose it without TLS.")
SETTING(ADDRESS, hooks_listen, 0, 0, "", "127.0.0.1:8082", RELOAD_RESTART,
        "Where shop webhooks arrive (/-/hooks/…), to be routed here by path. With the default, somebody else having the address is no reason not to start: webhooks are not taken then, and the log says so.")
SETTING(TEXT, base_url, 8, 512, "", "http://127.0.0.1:8080", RELOAD_RESTART,
        "How visitors reach the default domain: the start of every short link on it. No trailing slash.")
SETTING(TEXT, data_dir, 1, 512, "", "/var/lib/kudos", RELOAD_RESTART,
        "Journal, link replica and secret live here. Must survive a reboot.")
SETTING(TEXT, redis_url, 1, 512, "", "redis://127.0.0.1:6379/0", RELOAD_RESTART,
        "redis://[user:password@]host:port[/db] or unix:/path/to/socket[?db=n].")
SETTING(TEXT, database_url, 1, 1000, "", "postgresql:///kudos", RELOAD_RESTART,
        "A libpq connection string or URI.")
SETTING(TEXT, secret_file, 0, 512, "", "", RELOAD_RESTART,
        "Key that signs click ids (32 hex digits). Empty: <data_dir>/secret, made at the first start. The same on every machine of a service.")
SETTING(TEXT, log_level, 4, 5, "", "info", RELOAD_LIVE,
        "debug, info, warn or error.")

/* Processes */
SETTING(INTEGER, workers, 0, 256, "processes", 0, RELOAD_RESTART,
        "Redirect processes; 0: one per processor.")
SETTING(INTEGER, stop_timeout_ms, 100, 600000, "ms", 20000, RELOAD_LIVE,
        "How long SIGTERM waits for requests in flight, shipping and flushing before it gives up; the journal keeps what is left.")

/* Public plane limits */
SETTING(INTEGER, head_bytes_max, 1024, 65536, "bytes", 16384, RELOAD_RESTART,
        "Longest request head; a longer one is answered 431.")
SETTING(INTEGER, target_bytes_max, 256, 65536, "bytes", 8192, RELOAD_LIVE,
        "Longest request target; a longer one is answered 414.")
SETTING(INTEGER, header_fields_max, 8, 256, "fields", 100, RELOAD_LIVE,
        "Most header fields in one request; more are answered 431.")
SETTING(INTEGER, head_timeout_ms, 100, 600000, "ms", 10000, RELOAD_LIVE,
        "A request head must be complete this long after its first byte (408).")
SETTING(INTEGER, idle_timeout_ms, 100, 3600000, "ms", 60000, RELOAD_LIVE,
        "An idle keep-alive connection is closed after this.")
SETTING(INTEGER, write_timeout_ms, 100, 600000, "ms", 10000, RELOAD_LIVE,
        "A visitor that does not read its answer is dropped after this.")
SETTING(INTEGER, connections_max, 16, 1000000, "connections", 16384, RELOAD_RESTART,
        "Open connections per redirect process; the one that has been idle longest makes place.")

/* Clicks */
SETTING(TEXT, click_id_param, 1, 32, "", "kudos_id", RELOAD_RESTART,
        "Query parameter that carries the click id on the destination.")
SETTING(INTEGER, journal_sync_ms, 1, 60000, "ms", 200, RELOAD_LIVE,
        "fdatasync of the journal at least this often: the most that a power cut can take.")
SETTING(INTEGER, journal_segment_bytes, 4096, 1073741824, "bytes", 16777216, RELOAD_RESTART,
        "Size at which the journal starts a new segment file.")
SETTING(INTEGER, journal_keep_s, 0, 31536000, "s", 86400, RELOAD_LIVE,
        "A segment is deleted only when all its events have been in PostgreSQL for this long. Must exceed how far PostgreSQL may fall back.")
SETTING(INTEGER, journal_max_bytes, 65536, 1099511627776, "bytes", 10737418240, RELOAD_LIVE,
        "Above this, flushed segments go before journal_keep_s, oldest first; never unflushed ones.")
SETTING(INTEGER, ship_interval_ms, 1, 60000, "ms", 100, RELOAD_LIVE,
        "How often the journal is shipped to Redis.")
SETTING(INTEGER, flush_interval_ms, 1, 60000, "ms", 1000, RELOAD_LIVE,
        "How often Redis is flushed to PostgreSQL.")
SETTING(INTEGER, flush_batch_events, 1, 1000000, "events", 100000, RELOAD_LIVE,
        "Most events in one flush transaction.")
SETTING(INTEGER, flush_takeover_ms, 100, 600000, "ms", 10000, RELOAD_LIVE,
        "A flusher that waited this long for the partition lock, while nothing moved, ends the holder.")
SETTING(INTEGER, redis_backlog_bytes, 65536, 1099511627776, "bytes", 268435456, RELOAD_LIVE,
        "Most bytes waiting in Redis per partition; above it the journal keeps what comes.")
SETTING(INTEGER, redis_timeout_ms, 10, 60000, "ms", 2000, RELOAD_LIVE,
        "An answer of Redis that takes longer counts as Redis being away.")
SETTING(INTEGER, partitions, 1, 64, "partitions", 1, RELOAD_RESTART,
        "Partitions of the pipeline, each with a flusher of its own. The same on every machine of a service.")
SETTING(INTEGER, retention_days, 1, 3650, "days", 400, RELOAD_LIVE,
        "Days that single clicks are kept; rollups stay for ever.")

/* Links and visitors */
SETTING(INTEGER, sync_poll_ms, 10, 60000, "ms", 250, RELOAD_LIVE,
        "How often sync looks for link changes that nobody announced.")
SETTING(INTEGER, replica_map_bytes, 1048576, 1099511627776, "bytes", 68719476736, RELOAD_RESTART,
        "Address space reserved for the link replica (sparse: it takes what it needs).")
SETTING(TEXT, geoip_city, 0, 512, "", "", RELOAD_LIVE,
        "MMDB file with countries and cities; empty: none.")
SETTING(TEXT, geoip_asn, 0, 512, "", "", RELOAD_LIVE,
        "MMDB file with networks (ASN); empty: none.")
SETTING(TEXT, trusted_proxies, 0, 1023, "", "", RELOAD_LIVE,
        "Networks (CIDR, separated by spaces or commas) whose X-Forwarded-For is believed.")

SETTING(TEXT, proxy_protocol, 3, 8, "", "off", RELOAD_RESTART,
        "required: every connection to listen must begin with a PROXY header (version 1 or 2) from a trusted proxy, or is closed. off: it is not looked for.")
SETTING(TEXT, prefetch, 5, 6, "", "refuse", RELOAD_LIVE,
        "What browsers get that fetch a link ahead (Sec-Purpose: prefetch). refuse: 503, so that they ask again when somebody follows it, and that click is seen. serve: the redirect.")
SETTING(TEXT, bot_patterns, 0, 512, "", "", RELOAD_LIVE,
        "File with further bots in the crawler-user-agents layout ([{\"pattern\": …, \"tags\": […]}, …]); it goes before the lists that are built in. Empty: none.")
SETTING(TEXT, untracked_networks, 0, 1023, "", "", RELOAD_LIVE,
        "Networks (CIDR, separated by spaces or commas) whose clicks are internal: own staff, own monitoring.")
SETTING(TEXT, datacenter_asns, 0, 1023, "", "builtin", RELOAD_LIVE,
        "Networks (AS numbers, separated by spaces or commas) of servers, whose clicks are no people's; needs geoip_asn. builtin: those of the hosting companies that are known. Empty: none.")

/* Admin plane */
SETTING(INTEGER, admin_body_bytes_max, 1024, 33554432, "bytes", 1048576, RELOAD_RESTART,
        "Longest request body on the admin plane (413).")
SETTING(INTEGER, admin_bulk_bytes_max, 1024, 134217728, "bytes", 33554432, RELOAD_RESTART,
        "Longest request body of a call on the admin plane that makes many things (413).")
SETTING(INTEGER, admin_connections, 1, 64, "connections", 16, RELOAD_RESTART,
        "Connections that admin keeps to PostgreSQL. Commits that wait for the disk side by side share the wait.")
SETTING(TEXT, admin_hosts, 0, 1023, "", "", RELOAD_LIVE,
        "Names (separated by spaces or commas, without ports) that the admin plane answers to in Host; others get 421. Empty: any.")
SETTING(TEXT, cors_origins, 0, 1023, "", "", RELOAD_LIVE,
        "Origins (https://app.example.com, separated by spaces or commas) whose pages may call the admin plane from a browser. Empty: none.")
SETTING(INTEGER, key_requests_per_minute, 0, 1000000, "requests", 0, RELOAD_LIVE,
        "How many requests an API key may make in a minute (429) that does not say itself; 0: as many as it likes.")
SETTING(INTEGER, live_timeout_ms, 0, 60000, "ms", 2000, RELOAD_LIVE,
        "How long a change waits to be confirmed in this machine's replica before it is answered with \"live\": false.")

/* clang-format on */
