-- The click pipeline: what flush writes. One row per event in kudos.clicks, the rollup and the
-- watermark in the same transaction, so that each event is counted exactly once.

create schema if not exists kudos;

create type kudos.verdict as enum
  ('human', 'bot', 'preview', 'prefetch', 'datacenter', 'invalid', 'internal');
comment on type kudos.verdict is
  'Is this click a person? human: yes. bot, preview (a link-preview fetcher), prefetch (a browser or mail scanner looking ahead), datacenter, invalid, internal (own staff): no; stored, but left out of billable counts.';

create type kudos.device as enum
  ('smartphone', 'tablet', 'desktop', 'tv', 'console', 'wearable', 'car', 'bot');
comment on type kudos.device is 'Kind of device that clicked (phablets and feature phones are smartphones); null when unknown.';

create type kudos.medium as enum
  ('direct', 'social', 'search', 'email', 'chatbot', 'paid', 'internal', 'other');
comment on type kudos.medium is 'How the visitor got to the link, by its referrer (other: a host that is none of these); null when unknown.';

create type kudos.gap_kind as enum ('damaged', 'lost', 'declared');
comment on type kudos.gap_kind is
  'damaged: journal records that could not be read any more. lost: clicks answered while the journal could not be written. declared: an operator gave the events up.';

-- Clicks. No unique index: identity is guarded by the watermark, which costs nothing per row.
-- Fixed-width columns first, so that no byte is padding.
create table kudos.clicks (
  origin bigint not null,
  seq bigint not null,
  time timestamptz not null,
  link_id bigint not null,
  domain_id bigint not null,
  workspace_id bigint not null,
  campaign_id bigint,
  influencer_id bigint,
  visitor bigint,
  asn bigint,
  verdict kudos.verdict not null,
  device kudos.device,
  medium kudos.medium,
  route integer,
  status smallint not null,
  flags smallint not null,
  variant smallint,
  rule text,
  os text,
  browser text,
  app text,
  platform text,
  referrer_host text,
  language text,
  country text,
  region text,
  city text
) partition by range (time);

create index clicks_time on kudos.clicks using brin (time) with (pages_per_range = 32);

comment on table kudos.clicks is
  'One row per click, partitioned by day (UTC). Days are made ahead and dropped after retention_days; the rollups stay. Analysts use report.clicks.';
comment on column kudos.clicks.origin is 'Journal that recorded the click; (origin, seq) is its identity.';
comment on column kudos.clicks.seq is 'Number of the event in its journal, from 1 without holes (holes are rows of kudos.gaps).';
comment on column kudos.clicks.time is 'When the click was answered.';
comment on column kudos.clicks.link_id is 'The link.';
comment on column kudos.clicks.domain_id is 'The domain that the link was on.';
comment on column kudos.clicks.workspace_id is 'The workspace that owned the link.';
comment on column kudos.clicks.campaign_id is 'The link''s campaign at the time of the click; null: none.';
comment on column kudos.clicks.influencer_id is 'The link''s influencer at the time of the click; null: none.';
comment on column kudos.clicks.visitor is 'Pseudonym of the visitor under a salt that changes daily; null: none (Sec-GPC, DNT, or not computed).';
comment on column kudos.clicks.asn is 'Number of the network (autonomous system) the click came from; null: unknown.';
comment on column kudos.clicks.verdict is 'Whether this was a person, and if not, what.';
comment on column kudos.clicks.device is 'Kind of device; null: unknown.';
comment on column kudos.clicks.medium is 'Medium of the referrer; null: unknown.';
comment on column kudos.clicks.status is 'HTTP status that was answered.';
comment on column kudos.clicks.flags is 'Bits: 1 the visitor asked not to be followed (Sec-GPC or DNT), 2 the time lay in the future and was set to the time of flushing, 4 answered without a click id.';
comment on column kudos.clicks.route is 'Number of the link''s routing rule that matched, from 1; null: none.';
comment on column kudos.clicks.variant is 'Variant of the split that was chosen, from 1; null: none.';
comment on column kudos.clicks.rule is 'The rule that decided the verdict; null for a plain human.';
comment on column kudos.clicks.os is 'Operating system; null: unknown.';
comment on column kudos.clicks.browser is 'Browser; null: unknown.';
comment on column kudos.clicks.app is 'App whose built-in browser was used (Instagram, TikTok, …); null: none or unknown.';
comment on column kudos.clicks.platform is 'Platform of the referrer (instagram, youtube, …); null: unknown.';
comment on column kudos.clicks.referrer_host is 'Host name of the referring page; null: none given.';
comment on column kudos.clicks.language is 'First language that the browser asked for, as a BCP 47 tag; null: none given.';
comment on column kudos.clicks.country is 'Country by network address, ISO 3166-1 alpha-2; null: unknown.';
comment on column kudos.clicks.region is 'Region by network address, ISO 3166-2 without the country; null: unknown.';
comment on column kudos.clicks.city is 'City by network address; null: unknown.';

create table kudos.clicks_default partition of kudos.clicks default;
comment on table kudos.clicks_default is
  'Clicks of days that have no partition: late arrivals and clocks gone wrong. kudos.make_click_day() moves rows out of here.';

create table kudos.clicks_kept (
  one boolean primary key default true check (one),
  kept_from timestamptz not null
);
insert into kudos.clicks_kept (kept_from) values ('-infinity');
comment on table kudos.clicks_kept is 'One row: since when single clicks are still stored.';
comment on column kudos.clicks_kept.one is 'Always true: there is one row.';
comment on column kudos.clicks_kept.kept_from is 'Single clicks before this time have been dropped; kudos.clicks_hourly goes back further.';

create table kudos.clicks_hourly (
  link_id bigint not null,
  hour timestamptz not null,
  verdict kudos.verdict not null,
  partition smallint not null,
  clicks bigint not null,
  human bigint not null,
  primary key (link_id, hour, verdict, partition)
) with (fillfactor = 70);
comment on table kudos.clicks_hourly is
  'Clicks per link, hour and verdict. Written by flush in the transaction that stores the clicks; kept for ever.';
comment on column kudos.clicks_hourly.link_id is 'The link.';
comment on column kudos.clicks_hourly.hour is 'Start of the hour (UTC).';
comment on column kudos.clicks_hourly.verdict is 'Whether these were people, and if not, what.';
comment on column kudos.clicks_hourly.partition is 'Pipeline partition that counted them: add up over it.';
comment on column kudos.clicks_hourly.clicks is 'All clicks.';
comment on column kudos.clicks_hourly.human is 'Those with verdict human.';

create table kudos.watermarks (
  origin bigint primary key,
  partition smallint not null,
  seq bigint not null check (seq > 0),
  applied bigint not null check (applied >= 0),
  gaps bigint not null check (gaps >= 0),
  updated_at timestamptz not null default now(),
  check (seq = applied + gaps)
) with (fillfactor = 50);
create index watermarks_partition on kudos.watermarks (partition);
comment on table kudos.watermarks is
  'How far each journal has been taken over: every event up to seq is in kudos.clicks, kudos.quarantine or kudos.gaps, and none above.';
comment on column kudos.watermarks.origin is 'The journal.';
comment on column kudos.watermarks.partition is 'Pipeline partition that the journal belongs to.';
comment on column kudos.watermarks.seq is 'The last event taken over.';
comment on column kudos.watermarks.applied is 'Events stored: clicks, quarantined ones and notes of lost clicks.';
comment on column kudos.watermarks.gaps is 'Events that could not be stored since their journal could not be read; see kudos.gaps.';
comment on column kudos.watermarks.updated_at is 'Time of the last transaction that moved it.';

create table kudos.gaps (
  id bigint generated always as identity primary key,
  origin bigint not null,
  first_seq bigint not null,
  last_seq bigint not null check (last_seq >= first_seq),
  kind kudos.gap_kind not null,
  count bigint not null check (count >= 0),
  from_time timestamptz,
  until_time timestamptz,
  reason text,
  episode bigint,
  recorded_at timestamptz not null default now()
);
create unique index gaps_episode on kudos.gaps (episode) where kind = 'lost';
create unique index gaps_range on kudos.gaps (origin, first_seq) where kind <> 'lost';
comment on table kudos.gaps is
  'Clicks that are known to be missing: nothing is dropped silently. An empty table means that every click answered is stored.';
comment on column kudos.gaps.id is 'Number of the row.';
comment on column kudos.gaps.origin is 'The journal.';
comment on column kudos.gaps.first_seq is 'First missing event; for kind lost, the event that told of the loss.';
comment on column kudos.gaps.last_seq is 'Last missing event; for kind lost, the event that told of the loss.';
comment on column kudos.gaps.kind is 'Why they are missing.';
comment on column kudos.gaps.count is 'How many events are missing (not every one need have been a click).';
comment on column kudos.gaps.from_time is 'Start of the time in which they were lost; null: unknown.';
comment on column kudos.gaps.until_time is 'End of the time in which they were lost; null: unknown.';
comment on column kudos.gaps.reason is 'What was wrong, or who gave them up and why.';
comment on column kudos.gaps.episode is 'For kind lost: random number of the loss, so that it is recorded once however often it is told.';
comment on column kudos.gaps.recorded_at is 'When this row was written.';

create table kudos.quarantine (
  origin bigint not null,
  seq bigint not null,
  partition smallint not null,
  link_id bigint,
  human boolean,
  payload bytea not null,
  error text not null,
  recorded_at timestamptz not null default now(),
  primary key (origin, seq)
);
comment on table kudos.quarantine is
  'Events that could not be stored as clicks: unreadable, or refused by the database. They count as applied and can be examined here.';
comment on column kudos.quarantine.origin is 'The journal.';
comment on column kudos.quarantine.seq is 'Number of the event in it.';
comment on column kudos.quarantine.partition is 'Pipeline partition that the journal belongs to.';
comment on column kudos.quarantine.link_id is 'The link; null if the event was unreadable.';
comment on column kudos.quarantine.human is 'Whether the verdict was human; null if the event was unreadable.';
comment on column kudos.quarantine.payload is 'The event as it was recorded (server/clicks/event.h).';
comment on column kudos.quarantine.error is 'Why it could not be stored.';
comment on column kudos.quarantine.recorded_at is 'When this row was written.';

-- Days. Locks are held for milliseconds; callers set lock_timeout and come again.
create function kudos.make_click_day(day date) returns boolean
language plpgsql set search_path = '' set timezone = 'UTC' as $$
declare
  name text := 'clicks_' || to_char(day, 'YYYYMMDD');
  lower timestamptz := day::timestamptz;
  upper timestamptz := (day + 1)::timestamptz;
begin
  perform pg_advisory_xact_lock(1802855535, 1001);
  if to_regclass(format('kudos.%I', name)) is not null then
    return false;
  end if;
  execute format('create table kudos.%I (like kudos.clicks including defaults including constraints)', name);
  -- Keeps rows of this day from slipping into the default partition between move and attach.
  lock table kudos.clicks_default in access exclusive mode;
  execute format(
    'with moved as (delete from kudos.clicks_default where time >= %L and time < %L returning *) '
    'insert into kudos.%I select * from moved', lower, upper, name);
  execute format('alter table kudos.clicks attach partition kudos.%I for values from (%L) to (%L)',
                 name, lower, upper);
  execute format('comment on table kudos.%I is %L', name, 'Clicks of ' || day || ' (UTC).');
  return true;
end
$$;
comment on function kudos.make_click_day(date) is
  'Makes the partition of kudos.clicks for a day (UTC), first moving that day''s rows out of the default partition. False if it was there.';

create function kudos.drop_click_days(before date) returns integer
language plpgsql set search_path = '' set timezone = 'UTC' as $$
declare
  name text;
  dropped integer := 0;
begin
  perform pg_advisory_xact_lock(1802855535, 1001);
  for name in
    select c.relname from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'kudos.clicks'::regclass and c.relname ~ '^clicks_[0-9]{8}$'
      and c.relname < 'clicks_' || to_char(before, 'YYYYMMDD')
    order by c.relname
  loop
    execute format('drop table kudos.%I', name);
    dropped := dropped + 1;
  end loop;
  delete from kudos.clicks_default where time < before::timestamptz;
  -- While nothing has been dropped, everything is kept, and can be verified to the last click.
  if dropped > 0 or found then
    update kudos.clicks_kept set kept_from = greatest(kept_from, before::timestamptz);
  end if;
  return dropped;
end
$$;
comment on function kudos.drop_click_days(date) is
  'Drops single clicks of the days before the given one (UTC); rollups stay. Returns how many days were dropped.';
