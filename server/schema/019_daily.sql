-- Closed days, counted once: kudos.clicks_daily (by class) and kudos.uniques_daily (totals and different
-- people), from which reports are made, so that 90 days of 100 million clicks are read in a moment and
-- figures outlive the rows of single clicks. Days are those of the workspace's time zone.
--
-- How it is known what to build: every statement that changes kudos.clicks_hourly notes the hours it
-- was about in kudos.days_touched, in the transaction that stores or changes the clicks themselves, by
-- trigger, so that flush, kudos reclassify, and the release before cannot forget it. Notes are only ever
-- inserted, so nobody waits for anybody. The builder takes away the notes that it sees and then, in a
-- later statement, reads the rows: what it may not see yet has left a note that it has not taken away.
-- Everything is one transaction, so a crash leaves a day as it was, with its note.
--
-- Grain. A row for each link and day, with one small document for each class: {"DE": [clicks, human], …}.
-- The product of the classes is hardly smaller than the clicks themselves, and a row for each class and value
-- is ten rows a click where links have few of them; this is never more than a row a click, and where
-- clicks are many a hundred times smaller. Totals and unique people are narrow rows of their own for each
-- grain at which somebody asks, since people cannot be added up over links.

create type kudos.grain as enum ('workspace', 'campaign', 'influencer', 'pair', 'link');
comment on type kudos.grain is
  'What a row of kudos.uniques_daily is about. pair: an influencer in a campaign.';

create table kudos.clicks_daily (
  workspace_id bigint not null,
  link_id bigint not null,
  campaign_id bigint,
  influencer_id bigint,
  clicks bigint not null,
  human bigint not null,
  day date not null,
  reason jsonb,
  country jsonb,
  device jsonb,
  os jsonb,
  browser jsonb,
  app jsonb,
  platform jsonb,
  medium jsonb,
  referrer jsonb,
  route jsonb,
  variant jsonb
);
create unique index clicks_daily_day on kudos.clicks_daily
  (workspace_id, day, link_id, campaign_id, influencer_id) nulls not distinct;
create index clicks_daily_campaign on kudos.clicks_daily (campaign_id, day);
create index clicks_daily_influencer on kudos.clicks_daily (influencer_id, day);
create index clicks_daily_link on kudos.clicks_daily (link_id, day);
comment on table kudos.clicks_daily is
  'Clicks of closed days per link, and by class: each document is {value: [clicks, of these human]} and adds up to the row''s clicks (reason: to those that are not human). An empty value is unknown or none; of a class at most 100 values are kept apart, the rest is (other). Kept for ever.';
comment on column kudos.clicks_daily.workspace_id is 'The workspace that owned the link.';
comment on column kudos.clicks_daily.link_id is 'The link.';
comment on column kudos.clicks_daily.campaign_id is 'Its campaign at the time of the clicks; null: none.';
comment on column kudos.clicks_daily.influencer_id is 'Its influencer at the time of the clicks; null: none.';
comment on column kudos.clicks_daily.clicks is 'All clicks.';
comment on column kudos.clicks_daily.human is 'Those of people.';
comment on column kudos.clicks_daily.day is 'Day in the workspace''s time zone.';
comment on column kudos.clicks_daily.reason is 'Clicks by verdict and rule of those that are not human; null: there are none.';
comment on column kudos.clicks_daily.country is 'Clicks by country.';
comment on column kudos.clicks_daily.device is 'Clicks by kind of device.';
comment on column kudos.clicks_daily.os is 'Clicks by operating system.';
comment on column kudos.clicks_daily.browser is 'Clicks by browser.';
comment on column kudos.clicks_daily.app is 'Clicks by app whose built-in browser was used.';
comment on column kudos.clicks_daily.platform is 'Clicks by platform of the referrer.';
comment on column kudos.clicks_daily.medium is 'Clicks by medium of the referrer.';
comment on column kudos.clicks_daily.referrer is 'Clicks by host of the referrer.';
comment on column kudos.clicks_daily.route is 'Clicks by routing rule.';
comment on column kudos.clicks_daily.variant is 'Clicks by variant of the split.';

create table kudos.uniques_daily (
  workspace_id bigint not null,
  campaign_id bigint,
  influencer_id bigint,
  link_id bigint,
  clicks bigint not null,
  human bigint not null,
  visitors bigint not null,
  unidentified bigint not null,
  bot bigint not null,
  preview bigint not null,
  prefetch bigint not null,
  datacenter bigint not null,
  invalid bigint not null,
  internal bigint not null,
  day date not null,
  grain kudos.grain not null
);
create unique index uniques_daily_day on kudos.uniques_daily
  (workspace_id, day, grain, campaign_id, influencer_id, link_id) nulls not distinct;
create index uniques_daily_campaign on kudos.uniques_daily (campaign_id, day) where grain = 'campaign';
create index uniques_daily_influencer on kudos.uniques_daily (influencer_id, day) where grain = 'influencer';
create index uniques_daily_pair on kudos.uniques_daily (influencer_id, campaign_id, day) where grain = 'pair';
create index uniques_daily_link on kudos.uniques_daily (link_id, day) where grain = 'link';
comment on table kudos.uniques_daily is
  'Totals and different people of closed days, exact, for each grain: add up over days, never over grains. Kept for ever.';
comment on column kudos.uniques_daily.workspace_id is 'The workspace that owned the link.';
comment on column kudos.uniques_daily.campaign_id is 'The campaign at the time of the clicks, for grains campaign and pair; null: none.';
comment on column kudos.uniques_daily.influencer_id is 'The influencer at the time of the clicks, for grains influencer and pair; null: none.';
comment on column kudos.uniques_daily.link_id is 'The link, for grain link.';
comment on column kudos.uniques_daily.clicks is 'All clicks, of any verdict.';
comment on column kudos.uniques_daily.human is 'Those of people.';
comment on column kudos.uniques_daily.visitors is 'Different people with a pseudonym.';
comment on column kudos.uniques_daily.unidentified is 'Clicks of people without one (Sec-GPC, DNT).';
comment on column kudos.uniques_daily.bot is 'Clicks with verdict bot.';
comment on column kudos.uniques_daily.preview is 'Clicks with verdict preview.';
comment on column kudos.uniques_daily.prefetch is 'Clicks with verdict prefetch.';
comment on column kudos.uniques_daily.datacenter is 'Clicks with verdict datacenter.';
comment on column kudos.uniques_daily.invalid is 'Clicks with verdict invalid.';
comment on column kudos.uniques_daily.internal is 'Clicks with verdict internal.';
comment on column kudos.uniques_daily.day is 'Day in the workspace''s time zone.';
comment on column kudos.uniques_daily.grain is 'What the row is about.';

create table kudos.click_pairs (
  workspace_id bigint not null,
  influencer_id bigint not null,
  campaign_id bigint
);
create unique index click_pairs_pair on kudos.click_pairs (workspace_id, influencer_id, campaign_id) nulls not distinct;
comment on table kudos.click_pairs is
  'Influencers in campaigns on whose links there ever were clicks, so that nobody is left out of reports whose links are somebody else''s now.';
comment on column kudos.click_pairs.workspace_id is 'The workspace.';
comment on column kudos.click_pairs.influencer_id is 'The influencer.';
comment on column kudos.click_pairs.campaign_id is 'The campaign; null: none.';

-- What is to be built ----------------------------------------------------------------------------

create table kudos.days_touched (
  hour timestamptz,
  time_zone text,
  check (num_nonnulls(hour, time_zone) = 1)
);
comment on table kudos.days_touched is
  'Notes for the builder of daily figures: clicks of an hour have come or changed, or a workspace has moved to a time zone.';
comment on column kudos.days_touched.hour is 'The hour (UTC) whose clicks have changed.';
comment on column kudos.days_touched.time_zone is 'The time zone of which all days that are kept are to be built.';

create table kudos.days (
  time_zone text not null,
  day date not null,
  dirty boolean not null default true,
  built_at timestamptz,
  primary key (time_zone, day)
);
create index days_dirty on kudos.days (time_zone, day) where dirty;
comment on table kudos.days is
  'Days of a time zone that have clicks, and whether their daily figures are made. A day is built for all workspaces of a time zone at once.';
comment on column kudos.days.time_zone is 'The time zone.';
comment on column kudos.days.day is 'The day.';
comment on column kudos.days.dirty is 'Whether clicks of it have come or changed since it was built.';
comment on column kudos.days.built_at is 'When it was built; null: not yet.';

create table kudos.zones (
  time_zone text primary key,
  built_until date not null
);
comment on table kudos.zones is 'Time zones of workspaces, and up to where their days are built.';
comment on column kudos.zones.time_zone is 'The time zone.';
comment on column kudos.zones.built_until is 'The last day whose figures come from kudos.clicks_daily; later ones come from single clicks.';

create function kudos.note_hours() returns trigger
language plpgsql set search_path = '' as $$
begin
  insert into kudos.days_touched (hour) select distinct hour from touched;
  return null;
end
$$;
comment on function kudos.note_hours() is 'Notes the hours whose clicks a statement has changed.';
create trigger note_inserted after insert on kudos.clicks_hourly
  referencing new table as touched for each statement execute function kudos.note_hours();
create trigger note_updated after update on kudos.clicks_hourly
  referencing new table as touched for each statement execute function kudos.note_hours();

create function kudos.note_time_zone() returns trigger
language plpgsql set search_path = '' as $$
begin
  insert into kudos.days_touched (time_zone) values (new.time_zone);
  return null;
end
$$;
comment on function kudos.note_time_zone() is 'Notes that a workspace''s days end at another time from now on.';
create trigger note_time_zone after update of time_zone on kudos.workspaces
  for each row when (old.time_zone <> new.time_zone) execute function kudos.note_time_zone();

-- What was stored before there were notes.
insert into kudos.days_touched (time_zone)
select distinct w.time_zone from kudos.workspaces w
 where exists (select from kudos.clicks_hourly);

create function kudos.last_closed_day(zone text) returns date
language sql stable set search_path = '' as $$
  select ((now() - interval '10 minutes') at time zone zone)::date - 1
$$;
comment on function kudos.last_closed_day(text) is
  'The last day of a time zone that is over, and has been for ten minutes, so that most of its clicks are stored.';

create function kudos.collect_days() returns void
language plpgsql set search_path = '' as $$
declare
  hours timestamptz[];
  moved text[];
begin
  with gone as (delete from kudos.days_touched returning hour, time_zone)
  select array_agg(distinct hour) filter (where hour is not null),
         array_agg(distinct time_zone) filter (where time_zone is not null)
    into hours, moved from gone;
  -- An hour may belong to two days of a time zone that is not a whole number of hours from UTC.
  insert into kudos.days as d (time_zone, day)
  select distinct z.time_zone, ((h + part) at time zone z.time_zone)::date
    from (select distinct time_zone from kudos.workspaces) z
   cross join unnest(hours) h
   cross join (values (interval '0'), (interval '59 minutes 59.999999 seconds')) p (part)
   where isfinite(h)
   union
  select z, c.day from unnest(moved) z
   cross join kudos.click_days c, kudos.clicks_kept k
   where c.day <= (now() at time zone z)::date and c.day::timestamp at time zone z >= k.kept_from
  on conflict (time_zone, day) do update set dirty = true where not d.dirty;
  -- A time zone that is new begins with what is not built yet.
  insert into kudos.zones (time_zone, built_until)
  select z.time_zone,
         coalesce((select min(d.day) - 1 from kudos.days d
                    where d.time_zone = z.time_zone and d.built_at is null
                      and d.day <= kudos.last_closed_day(z.time_zone)),
                  kudos.last_closed_day(z.time_zone))
    from (select distinct time_zone from kudos.workspaces) z
  on conflict (time_zone) do nothing;
end
$$;
comment on function kudos.collect_days() is
  'Takes the notes of kudos.days_touched over into kudos.days. For the builder, under its lock.';

-- Building ---------------------------------------------------------------------------------------

create function kudos.count_day(zone text, which date) returns void
language plpgsql set search_path = '' set work_mem = '64MB' set jit = off as $$
declare
  begins timestamptz := which::timestamp at time zone zone;
  ends timestamptz := (which + 1)::timestamp at time zone zone;
  owners bigint[] := array(select id from kudos.workspaces where time_zone = zone);
begin
  delete from kudos.clicks_daily d where d.day = which and d.workspace_id = any (owners);
  delete from kudos.uniques_daily d where d.day = which and d.workspace_id = any (owners);
  insert into kudos.clicks_daily
  select workspace_id, link_id, campaign_id, influencer_id,
         sum(clicks) filter (where dimension = 'country'), sum(human) filter (where dimension = 'country'), which,
         jsonb_object_agg(value, jsonb_build_array(clicks, human)) filter (where dimension = 'reason'),
         jsonb_object_agg(value, jsonb_build_array(clicks, human)) filter (where dimension = 'country'),
         jsonb_object_agg(value, jsonb_build_array(clicks, human)) filter (where dimension = 'device'),
         jsonb_object_agg(value, jsonb_build_array(clicks, human)) filter (where dimension = 'os'),
         jsonb_object_agg(value, jsonb_build_array(clicks, human)) filter (where dimension = 'browser'),
         jsonb_object_agg(value, jsonb_build_array(clicks, human)) filter (where dimension = 'app'),
         jsonb_object_agg(value, jsonb_build_array(clicks, human)) filter (where dimension = 'platform'),
         jsonb_object_agg(value, jsonb_build_array(clicks, human)) filter (where dimension = 'medium'),
         jsonb_object_agg(value, jsonb_build_array(clicks, human)) filter (where dimension = 'referrer'),
         jsonb_object_agg(value, jsonb_build_array(clicks, human)) filter (where dimension = 'route'),
         jsonb_object_agg(value, jsonb_build_array(clicks, human)) filter (where dimension = 'variant')
    from (select workspace_id, link_id, campaign_id, influencer_id, dimension, shown as value,
                 sum(clicks) as clicks, sum(human) as human
            from (select g.*, case when dimension <> 'reason' and 100 < row_number() over (
                                          partition by workspace_id, link_id, campaign_id, influencer_id, dimension
                                          order by clicks desc, value)
                                   then '(other)' else value end as shown
                    from (select workspace_id, link_id, campaign_id, influencer_id,
                                 case when grouping(country) = 0 then 'country'
                                      when grouping(device) = 0 then 'device'
                                      when grouping(os) = 0 then 'os'
                                      when grouping(browser) = 0 then 'browser'
                                      when grouping(app) = 0 then 'app'
                                      when grouping(platform) = 0 then 'platform'
                                      when grouping(medium) = 0 then 'medium'
                                      when grouping(referrer_host) = 0 then 'referrer'
                                      when grouping(route) = 0 then 'route'
                                      else 'variant' end as dimension,
                                 coalesce(country, device::text, os, browser, app, platform, medium::text,
                                          referrer_host, route::text, variant::text, '') as value,
                                 count(*) as clicks, count(*) filter (where verdict = 'human') as human
                            from kudos.clicks
                           where time >= begins and time < ends and workspace_id = any (owners)
                           group by workspace_id, link_id, campaign_id, influencer_id,
                                 grouping sets ((country), (device), (os), (browser), (app), (platform),
                                                (medium), (referrer_host), (route), (variant))
                           union all
                          select workspace_id, link_id, campaign_id, influencer_id, 'reason',
                                 verdict || coalesce(': ' || rule, ''), count(*), 0
                            from kudos.clicks
                           where time >= begins and time < ends and workspace_id = any (owners)
                             and verdict <> 'human'
                           group by workspace_id, link_id, campaign_id, influencer_id, verdict, rule) g) n
           group by workspace_id, link_id, campaign_id, influencer_id, dimension, shown) v
   group by workspace_id, link_id, campaign_id, influencer_id
   order by workspace_id, campaign_id, influencer_id, link_id;
  insert into kudos.uniques_daily (workspace_id, campaign_id, influencer_id, link_id, clicks, human, visitors,
                                   unidentified, bot, preview, prefetch, datacenter, invalid, internal,
                                   day, grain)
  select workspace_id,
         campaign_id, influencer_id, link_id,
         count(*), count(*) filter (where verdict = 'human'),
         count(distinct visitor) filter (where verdict = 'human'),
         count(*) filter (where verdict = 'human' and visitor is null),
         count(*) filter (where verdict = 'bot'), count(*) filter (where verdict = 'preview'),
         count(*) filter (where verdict = 'prefetch'), count(*) filter (where verdict = 'datacenter'),
         count(*) filter (where verdict = 'invalid'), count(*) filter (where verdict = 'internal'),
         which,
         case when grouping(link_id) = 0 then 'link'
              when grouping(campaign_id, influencer_id) = 0 then 'pair'
              when grouping(campaign_id) = 0 then 'campaign'
              when grouping(influencer_id) = 0 then 'influencer'
              else 'workspace' end::kudos.grain
    from kudos.clicks
   where time >= begins and time < ends and workspace_id = any (owners)
   group by workspace_id, grouping sets ((), (campaign_id), (influencer_id), (campaign_id, influencer_id),
                                         (link_id));
  insert into kudos.click_pairs (workspace_id, influencer_id, campaign_id)
  select workspace_id, influencer_id, campaign_id from kudos.uniques_daily
   where day = which and workspace_id = any (owners) and grain = 'pair' and influencer_id is not null
  on conflict do nothing;
end
$$;
comment on function kudos.count_day(text, date) is
  'Makes the daily figures of a day of a time zone anew from single clicks, for all of its workspaces.';

create function kudos.build_day() returns integer
language plpgsql set search_path = '' as $$
declare
  zone text;
  which date;
  kept timestamptz;
begin
  -- The second is that of making and dropping days: none is dropped from here on. Who wants to does not
  -- wait for it but comes again, so no lock on kudos.clicks is ever waited for behind this.
  if not pg_try_advisory_xact_lock(1802855535, 1003)
     or not pg_try_advisory_xact_lock_shared(1802855535, 1001) then
    return 0;
  end if;
  perform kudos.collect_days();
  select kept_from into kept from kudos.clicks_kept;
  -- Days that were never built come first, the oldest first. A day to which clicks still come late is
  -- built again every ten minutes.
  select d.time_zone, d.day into zone, which
    from kudos.days d
   where d.dirty and d.day <= kudos.last_closed_day(d.time_zone)
     and (d.built_at is null or d.built_at < clock_timestamp() - interval '10 minutes')
   order by d.built_at is not null, d.day, d.time_zone limit 1;
  if found then
    -- Where rows have been dropped, what was counted while they were there stays.
    if which::timestamp at time zone zone >= kept then
      perform kudos.count_day(zone, which);
    end if;
    update kudos.days set dirty = false, built_at = clock_timestamp() where time_zone = zone and day = which;
  end if;
  update kudos.zones z set built_until = n.reached
    from (select time_zone, coalesce(
                   (select min(d.day) - 1 from kudos.days d
                     where d.time_zone = v.time_zone and d.dirty and d.built_at is null
                       and d.day <= kudos.last_closed_day(v.time_zone)),
                   kudos.last_closed_day(v.time_zone)) as reached
            from kudos.zones v) n
   where z.time_zone = n.time_zone and n.reached > z.built_until;
  return (which is not null)::int;
end
$$;
comment on function kudos.build_day() is
  'Builds the daily figures of one day that needs it; how many it built. Does nothing while another is at it. All in one transaction: ended anywhere, it has not happened.';

-- The clicks of conversions ----------------------------------------------------------------------

-- What is known of the click that led to a sale, taken from its row while it is kept, so that reports
-- need not look for single clicks.
create table kudos.conversion_clicks (
  conversion_id bigint primary key references kudos.conversions (id),
  origin bigint not null,
  seq bigint not null,
  click_time timestamptz not null,
  looked boolean not null default false,
  variant smallint,
  route integer,
  country text,
  device kudos.device,
  platform text,
  app text,
  referrer_host text
);
create index conversion_clicks_waiting on kudos.conversion_clicks (click_time) where not looked;
comment on table kudos.conversion_clicks is
  'What is known of the click that a conversion names, copied from its row; all null if the row is not there any more.';
comment on column kudos.conversion_clicks.conversion_id is 'The conversion.';
comment on column kudos.conversion_clicks.origin is 'With seq, the identity of the click.';
comment on column kudos.conversion_clicks.seq is 'With origin, the identity of the click.';
comment on column kudos.conversion_clicks.click_time is 'When it was clicked, to the millisecond.';
comment on column kudos.conversion_clicks.looked is 'Whether the row has been looked for.';
comment on column kudos.conversion_clicks.variant is 'Variant of a split that was chosen; null: none.';
comment on column kudos.conversion_clicks.route is 'Number of the routing rule that matched; null: none.';
comment on column kudos.conversion_clicks.country is 'Country of the click; null: unknown.';
comment on column kudos.conversion_clicks.device is 'Kind of device; null: unknown.';
comment on column kudos.conversion_clicks.platform is 'Platform of the referrer; null: unknown.';
comment on column kudos.conversion_clicks.app is 'App whose built-in browser was used; null: none or unknown.';
comment on column kudos.conversion_clicks.referrer_host is 'Host name of the referring page; null: none given.';

create function kudos.note_conversion_click() returns trigger
language plpgsql set search_path = '' as $$
begin
  insert into kudos.conversion_clicks as c (conversion_id, origin, seq, click_time)
  values (new.id, new.click_origin, new.click_seq, new.click_time)
  on conflict (conversion_id) do update
     set origin = excluded.origin, seq = excluded.seq, click_time = excluded.click_time, looked = false
   where (c.origin, c.seq) is distinct from (excluded.origin, excluded.seq);
  return null;
end
$$;
comment on function kudos.note_conversion_click() is 'Notes that the click of a conversion is to be looked at.';
create trigger note_click after update of click_awaited on kudos.conversions
  for each row when (not new.click_awaited and new.click_seq is not null and new.click_time is not null)
  execute function kudos.note_conversion_click();

insert into kudos.conversion_clicks (conversion_id, origin, seq, click_time)
select id, click_origin, click_seq, click_time from kudos.conversions
 where not click_awaited and click_seq is not null and click_time is not null;

create function kudos.find_conversion_clicks(most integer) returns integer
language plpgsql set search_path = '' as $$
declare
  found_some integer;
begin
  with waiting as (
    select conversion_id, origin, seq, click_time from kudos.conversion_clicks
     where not looked order by click_time limit most for update skip locked)
  update kudos.conversion_clicks f
     set looked = true, variant = c.variant, route = c.route, country = c.country, device = c.device,
         platform = c.platform, app = c.app, referrer_host = c.referrer_host
    from waiting w
    left join lateral (
      select k.* from kudos.clicks k
       where k.time >= w.click_time and k.time < w.click_time + interval '1 millisecond'
         and k.origin = w.origin and k.seq = w.seq
       limit 1) c on true
   where f.conversion_id = w.conversion_id;
  get diagnostics found_some = row_count;
  return found_some;
end
$$;
comment on function kudos.find_conversion_clicks(integer) is
  'Copies what is known of the clicks of conversions that have not been looked at, at most so many; how many it did.';

create index attributions_campaign on kudos.attributions (campaign_id, influencer_id) where won;
create index attributions_link on kudos.attributions (link_id) where won;
create index attributions_code on kudos.attributions (code_id) where won;
