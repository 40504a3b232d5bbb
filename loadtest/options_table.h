/* The options table. No include guard: it is included once for each thing that is made from it.
 *
 * OPTION(type, name, lowest, highest, unit, default, doc): TEXT, INTEGER, NUMBER or FLAG; on the command
 * line --name with dashes. SECTION(title) only prints. */
/* clang-format off */

SECTION("What is loaded")
OPTION(TEXT, target, 0, 0, "URL", "http://127.0.0.1:8080", "Public plane to load. On this machine only.")
OPTION(TEXT, remote_target, 0, 0, "URL", "", "Instead of --target, another machine, which you may load. http://ADDRESS:PORT.")
OPTION(TEXT, host, 0, 0, "NAME", "", "Host to ask for, whatever the links say.")
OPTION(TEXT, links, 0, 0, "FILE", "", "Links, most popular first: SLUG, /PATH or http://HOST/PATH, one a line; - is standard input.")
OPTION(TEXT, admin, 0, 0, "URL", "", "Instead of --links: take the key's links from this admin plane.")
OPTION(TEXT, key_file, 0, 0, "FILE", "", "File that holds the API key for --admin.")
OPTION(INTEGER, links_max, 1, 10000000, "links", 1000000, "Most links to take.")

SECTION("How it arrives")
OPTION(NUMBER, rate, 0.001, 1000000, "a second", 1000, "Requests that become due, whatever the server does.")
OPTION(NUMBER, duration, 0.001, 86400, "s", 10, "Length of the run.")
OPTION(TEXT, profile, 0, 0, "PARTS", "", "Instead of --rate and --duration: RATE@SECONDS or FROM-TO@SECONDS, separated by commas.")
OPTION(TEXT, arrivals, 0, 0, "KIND", "poisson", "poisson (independent visitors) or constant.")
OPTION(FLAG, closed, 0, 0, "", 0, "Closed loop: each connection sends as soon as it has its answer; no rate.")
OPTION(INTEGER, connections, 1, 60000, "N", 64, "Connections of all processes together.")
OPTION(INTEGER, processes, 1, 64, "N", 1, "Processes that make the load.")
OPTION(INTEGER, pipeline, 1, 64, "requests", 1, "Requests out on a connection at a time.")
OPTION(NUMBER, keepalive, 0, 1, "share", 1, "Requests after which the connection stays.")
OPTION(NUMBER, new_connection, 0, 1, "share", 0, "Requests that come on a new connection.")
OPTION(INTEGER, timeout_ms, 10, 600000, "ms", 5000, "An answer that takes longer is none; also how long the end waits for what is late.")

SECTION("Who clicks what")
OPTION(NUMBER, zipf, 0, 4, "exponent", 1, "Popularity of links: rank k in proportion to k^-exponent; 0: all alike.")
OPTION(NUMBER, bots, 0, 1, "share", 0.1, "Visitors that are no persons.")
OPTION(NUMBER, repeats, 0, 1, "share", 0.2, "Clicks by a visitor who has clicked before.")
OPTION(TEXT, agents, 0, 0, "FILE", "", "User agents and their weights instead of the built-in ones.")
OPTION(TEXT, referrers, 0, 0, "FILE", "", "Referrers and their weights.")
OPTION(TEXT, countries, 0, 0, "FILE", "", "Countries, their weights, languages and networks.")
OPTION(TEXT, show, 0, 0, "LIST", "", "Print the built-in agents, referrers or countries, to start from, and end.")
OPTION(FLAG, direct, 0, 0, "", 0, "Send no X-Forwarded-For: all visitors have this machine's address.")
OPTION(INTEGER, seed, 0, 9007199254740991, "N", 1, "The same seed makes the same requests at the same intended times.")

SECTION("Who buys")
OPTION(NUMBER, sales, 0, 1, "share", 0, "People's clicks that a sale follows, told to /-/postback.")
OPTION(NUMBER, sale_delay, 0, 3600, "s", 1, "Time from the click's answer to the sale.")
OPTION(NUMBER, by_code, 0, 1, "share", 0, "Sales that name a discount code instead of the click.")
OPTION(TEXT, codes, 0, 0, "FILE", "", "Codes, one a line: line k goes with link k, over and over.")
OPTION(TEXT, token_file, 0, 0, "FILE", "", "File that holds the token of a source; sales without one are stored as unverified.")
OPTION(TEXT, currency, 0, 0, "CODE", "EUR", "Currency of the sales.")
OPTION(TEXT, orders, 0, 0, "PREFIX", "", "Beginning of the order ids; if absent, one that no other run has.")
OPTION(INTEGER, sales_max, 0, 100000000, "sales", 1000000, "Most sales (80 bytes each).")

SECTION("Whether all was counted")
OPTION(FLAG, verify, 0, 0, "", 0, "Compare with PostgreSQL after the run: PASS, or FAIL and what is missing (exit status 1).")
OPTION(TEXT, database, 0, 0, "URL", "", "PostgreSQL for --verify; KUDOS_DATABASE_URL if absent.")
OPTION(INTEGER, verify_wait_s, 0, 86400, "s", 60, "How long to wait while clicks go on arriving in PostgreSQL.")
OPTION(FLAG, not_alone, 0, 0, "", 0, "Others click these links too: more rows than answers are no fault.")
OPTION(INTEGER, ids_max, 0, 100000000, "ids", 2000000, "Click ids kept in memory (64 bytes each); further ones are counted only.")
OPTION(TEXT, click_id_param, 0, 0, "NAME", "kudos_id", "Query parameter of the destination that carries the click id.")
OPTION(TEXT, ids, 0, 0, "FILE", "", "Write the kept click ids, one a line (kudos verify --clicks reads them).")

SECTION("What is said")
OPTION(FLAG, json, 0, 0, "", 0, "Print the summary as JSON.")
OPTION(TEXT, histogram, 0, 0, "FILE", "", "Write both histograms (CSV).")
OPTION(TEXT, plot, 0, 0, "FILE", "", "Draw latency by percentile (SVG).")
OPTION(FLAG, quiet, 0, 0, "", 0, "No progress lines.")
OPTION(FLAG, help, 0, 0, "", 0, "Print this and end.")
/* clang-format on */
#undef SECTION
#undef OPTION
