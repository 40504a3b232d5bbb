/* The metrics table. No include guard: it is included once for each thing that is made from it.
 *
 * METRIC(kind, name, doc)                        one value; kind COUNTER, GAUGE (summed over slots)
 *                                                or GAUGE_MAX (largest over slots)
 * METRIC_BY(kind, name, label, values, count, doc)  one value per label value; `values` is an
 *                                                array of `count` strings
 * METRIC_HISTOGRAM(name, doc)                    durations in microseconds
 */
/* clang-format off */

/* redirect */
METRIC_BY(COUNTER, requests_total, "status", metrics_status_names, METRICS_STATUS_COUNT, "Requests answered on the public plane, by HTTP status.")
METRIC_HISTOGRAM(request_seconds, "Time from the first byte of a request head read to its answer handed to the kernel.")
METRIC(COUNTER, clicks_total, "Clicks answered on links (all verdicts).")
METRIC(COUNTER, conversions_told_total, "Reports of conversions taken on the public plane: answered 2xx, and in the journal.")
METRIC(COUNTER, conversions_refused_total, "Reports of conversions that could not be used (400; a pixel is drawn all the same).")
METRIC(COUNTER, conversions_unavailable_total, "Reports of conversions answered 503: the journal could not be written (disk full), or links are not loaded yet.")
METRIC(COUNTER, connections_total, "Connections accepted.")
METRIC(GAUGE, connections_open, "Connections open.")
METRIC(COUNTER, connections_shed_total, "Idle connections closed to make place for new ones.")
METRIC(COUNTER, buffers_refused_total, "Connections dropped since all connections together kept too much unfinished input or unsent output.")
METRIC(COUNTER, pipeline_deferred_total, "Times that requests of a connection waited for the next round of the loop.")
METRIC(COUNTER, accept_paused_total, "Times that accepting paused for want of descriptors.")
METRIC(COUNTER, timeouts_head_total, "Connections closed since a request head was not complete in time.")
METRIC(COUNTER, timeouts_idle_total, "Idle keep-alive connections closed.")
METRIC(COUNTER, timeouts_write_total, "Connections dropped since the visitor did not read.")
METRIC(COUNTER, proxy_header_refused_total, "Connections closed since proxy_protocol is required and they did not begin with a PROXY header, or not from a trusted proxy.")
METRIC(COUNTER, limit_head_total, "Requests refused for a head over head_bytes_max.")
METRIC(COUNTER, limit_target_total, "Requests refused for a target over target_bytes_max.")
METRIC(COUNTER, limit_fields_total, "Requests refused for more than header_fields_max fields.")

/* journal */
METRIC(COUNTER, journal_records_total, "Records written to the journal.")
METRIC(COUNTER, journal_bytes_total, "Bytes written to the journal.")
METRIC(COUNTER, journal_errors_total, "Writes to the journal that failed or were short.")
METRIC(COUNTER, clicks_lost_total, "Clicks answered without being journalled (disk full).")

/* ship */
METRIC(GAUGE, journal_backlog_events, "Events in the journal that Redis does not have yet.")
METRIC(GAUGE, journal_backlog_bytes, "Bytes in the journal that Redis does not have yet.")
METRIC(GAUGE, journal_disk_bytes, "Bytes of all journal segments on disk.")
METRIC(GAUGE_MAX, journal_oldest_seconds, "Age of the oldest event that Redis does not have yet.")
METRIC(GAUGE, journal_origins, "Journal folders on disk.")
METRIC(COUNTER, journal_deletes_total, "Flushed segments deleted, in time or early.")
METRIC(COUNTER, journal_early_deletes_total, "Flushed segments deleted before journal_keep_s for want of place.")
METRIC(COUNTER, shipped_events_total, "Events that Redis confirmed.")
METRIC(COUNTER, shipped_batches_total, "Append scripts that changed something.")
METRIC(COUNTER, ship_refused_total, "Append scripts that changed nothing: out of sequence.")
METRIC(COUNTER, ship_full_total, "Append scripts refused since redis_backlog_bytes was reached.")
METRIC(COUNTER, ship_not_ready_total, "Append scripts refused since the partition awaits recovery.")
METRIC(COUNTER, ship_errors_total, "Error replies of Redis to ship (OOM, READONLY, LOADING and the like); what they refused is sent again.")
METRIC(GAUGE, ship_policy_refused, "1 while ship refuses Redis since its maxmemory-policy would evict keys.")
METRIC(COUNTER, gap_events_total, "Seqs declared unreadable by ship.")
METRIC(GAUGE, ship_stuck_origins, "Origins whose journal begins after what Redis expects.")

/* flush */
METRIC(COUNTER, flushed_events_total, "Events committed to PostgreSQL.")
METRIC(COUNTER, conversions_received_total, "Reports of conversions that flush took over from the journals.")
METRIC(COUNTER, conversions_recorded_total, "Reports of conversions taken from the inbox, recorded or tried.")
METRIC(GAUGE_MAX, conversions_waiting, "Reports of conversions in the inbox that are not recorded yet, up to 10,000.")
METRIC(GAUGE_MAX, conversions_failed, "Those of them that could not be recorded and are tried again; see kudos.conversion_inbox.")
METRIC(COUNTER, flushed_batches_total, "Flush transactions committed.")
METRIC(COUNTER, links_used_up_total, "Links marked as used up: their human clicks reached max_clicks.")
METRIC(COUNTER, flush_duplicates_total, "Events met again at or below the watermark and dropped.")
METRIC(COUNTER, flush_retries_total, "Flush transactions begun over after an error.")
METRIC(COUNTER, flush_takeovers_total, "Frozen flushers ended.")
METRIC(COUNTER, recoveries_total, "Recoveries of Redis from PostgreSQL.")
METRIC(COUNTER, quarantined_total, "Events that PostgreSQL refused.")
METRIC(COUNTER, gaps_total, "Seqs recorded as gaps in PostgreSQL.")
METRIC(COUNTER, lost_recorded_total, "Lost clicks recorded in PostgreSQL.")
METRIC(GAUGE, flush_blocked_origins, "Origins that wait for an event which is in no journal.")
METRIC(GAUGE_MAX, flush_lag_seconds, "Age of the newest event flushed, at the time of its commit.")
METRIC(GAUGE, redis_stream_bytes, "Bytes waiting in the partition's stream, as far as known.")

/* link replica, readers */
METRIC(COUNTER, replica_errors_total, "Reads of the link replica that met damage; each was answered as a miss.")

/* sync */
METRIC(GAUGE, replica_links, "Links in the replica.")
METRIC(COUNTER, replica_changes_total, "Link and domain changes applied.")
METRIC(COUNTER, replica_snapshots_total, "Full snapshots and comparisons finished.")
METRIC(COUNTER, replica_skipped_total, "Rows left out of the replica since they cannot be served (see the log).")
METRIC(COUNTER, replica_incomplete_total, "Rows served without a part that cannot be: rules that do not compile, a URL that is none (see the log).")
METRIC(COUNTER, sync_errors_total, "Times that sync began over after an error.")
METRIC(GAUGE_MAX, sync_success_time_seconds, "When sync last had all committed changes, as a Unix time.")

/* stores, as this process sees them */
METRIC(GAUGE, redis_up, "Processes that are connected to Redis.")
METRIC(GAUGE, postgres_up, "Processes that are connected to PostgreSQL.")
METRIC(COUNTER, redis_reconnects_total, "Connections made to Redis.")
METRIC(COUNTER, postgres_reconnects_total, "Connections made to PostgreSQL.")

/* admin */
METRIC_BY(COUNTER, admin_requests_total, "status", metrics_status_names, METRICS_STATUS_COUNT, "Requests answered on the admin plane, by HTTP status.")
METRIC_HISTOGRAM(admin_request_seconds, "Time from a whole request on the admin plane to its answer.")
METRIC(COUNTER, admin_queue_full_total, "Queries of admin refused since too many were waiting for PostgreSQL.")
METRIC(COUNTER, admin_framing_refused_total, "Requests on the admin plane refused for an ambiguous head (400 and close).")
METRIC(COUNTER, admin_limited_total, "Requests refused since their key had made all it may make in a minute (429).")
METRIC(COUNTER, hooks_total, "Webhooks that came, whatever was answered.")
METRIC(COUNTER, hooks_refused_total, "Webhooks refused: no such source (404), or a bad signature (401).")
METRIC(COUNTER, hooks_deferred_total, "Webhooks put off (503) since they could not be kept, or no source was known yet.")
METRIC(COUNTER, hooks_ignored_total, "Webhooks that told no conversion: another topic, not paid.")
METRIC(COUNTER, hooks_problems_total, "Webhooks with a good signature that could not be read; kept as problems in kudos.conversion_inbox.")
METRIC(COUNTER, hooks_conversions_total, "Conversions that webhooks told.")
METRIC(COUNTER, admin_accept_paused_total, "Times that accepting on the admin plane paused for want of descriptors.")
METRIC(COUNTER, live_unconfirmed_total, "Changes answered with \"live\": false.")

/* every process */
METRIC(COUNTER, log_dropped_total, "Log lines dropped since standard error could not take them.")

/* clang-format on */
