-- What analysts see: documented views in schema report, for the read-only role kudos_analyst. Every
-- view begins with the workspace; views run with the service's rights, so the role needs none on the
-- tables behind them.

create schema if not exists report;
comment on schema report is
  'Documented views for analysts. All times are timestamptz; every view begins with the workspace. See server/schema/README.md.';

do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'kudos_analyst') then
    create role kudos_analyst nologin;
  end if;
exception
  -- Another database of this server was migrated at the same moment.
  when duplicate_object or unique_violation then
    null;
  when insufficient_privilege then
    raise exception 'role kudos_analyst does not exist, and this role may not create it'
      using hint = 'As a superuser: create role kudos_analyst nologin;';
end
$$;

create view report.clicks as
select w.name as workspace,
       c.time,
       l.slug,
       d.host as domain,
       a.name as campaign,
       i.handle as influencer,
       c.verdict,
       c.verdict = 'human' as human,
       c.rule,
       coalesce(c.device::text, 'unknown') as device,
       coalesce(c.os, 'unknown') as os,
       coalesce(c.browser, 'unknown') as browser,
       c.app,
       c.referrer_host,
       coalesce(c.medium::text, 'unknown') as medium,
       c.platform,
       c.language,
       c.country,
       c.region,
       c.city,
       c.asn,
       c.visitor,
       c.flags & 1 <> 0 as not_followed,
       c.flags & 2 <> 0 as time_corrected,
       c.flags & 4 = 0 as has_click_id,
       c.status,
       c.route,
       c.variant,
       c.link_id,
       c.domain_id,
       c.campaign_id,
       c.influencer_id,
       c.workspace_id,
       c.origin,
       c.seq
  from kudos.clicks c
  left join kudos.workspaces w on w.id = c.workspace_id
  left join kudos.links l on l.id = c.link_id
  left join kudos.domains d on d.id = c.domain_id
  left join kudos.campaigns a on a.id = c.campaign_id
  left join kudos.influencers i on i.id = c.influencer_id;
comment on view report.clicks is
  'One row per click on a link, of any verdict; count those with human for what is billable. Give a range of time: only its days are read. Single clicks are kept for retention_days; link_performance and daily go back for ever.';
comment on column report.clicks.workspace is 'The workspace that owned the link.';
comment on column report.clicks.time is 'When the click was answered.';
comment on column report.clicks.slug is 'What stands behind the slash of the short link.';
comment on column report.clicks.domain is 'Host of the short link.';
comment on column report.clicks.campaign is 'The link''s campaign at the time of the click; null: none.';
comment on column report.clicks.influencer is 'The link''s influencer at the time of the click; null: none.';
comment on column report.clicks.verdict is 'human, or why it is not counted as one: bot, preview, prefetch, datacenter, invalid, internal.';
comment on column report.clicks.human is 'True if this was a person.';
comment on column report.clicks.rule is 'The rule that decided the verdict; null for a plain human.';
comment on column report.clicks.device is 'Kind of device, or unknown.';
comment on column report.clicks.os is 'Operating system, or unknown.';
comment on column report.clicks.browser is 'Browser, or unknown.';
comment on column report.clicks.app is 'App whose built-in browser was used; null: none known.';
comment on column report.clicks.referrer_host is 'Host of the page that led here; null: none given.';
comment on column report.clicks.medium is 'How the visitor got here, by the referrer, or unknown.';
comment on column report.clicks.platform is 'Platform that led here; null: none known.';
comment on column report.clicks.language is 'First language that the browser asked for (BCP 47); null: none given.';
comment on column report.clicks.country is 'Country by network address (ISO 3166-1 alpha-2); null: unknown.';
comment on column report.clicks.region is 'Region by network address (ISO 3166-2 without the country); null: unknown.';
comment on column report.clicks.city is 'City by network address; null: unknown.';
comment on column report.clicks.asn is 'Number of the network; null: unknown.';
comment on column report.clicks.visitor is 'Pseudonym of the visitor, good for one day and one domain; null: none.';
comment on column report.clicks.not_followed is 'True if the visitor asked not to be followed (Sec-GPC or DNT); there is no pseudonym then.';
comment on column report.clicks.time_corrected is 'True if the redirecting machine''s clock was ahead and time is that of storing.';
comment on column report.clicks.has_click_id is 'False if the destination was opened without a click id, so that no sale can name this click.';
comment on column report.clicks.status is 'HTTP status that was answered.';
comment on column report.clicks.route is 'Number of the routing rule that matched; null: none.';
comment on column report.clicks.variant is 'Variant of a split that was chosen; null: none.';
comment on column report.clicks.link_id is 'The link.';
comment on column report.clicks.domain_id is 'The domain.';
comment on column report.clicks.campaign_id is 'The campaign; null: none.';
comment on column report.clicks.influencer_id is 'The influencer; null: none.';
comment on column report.clicks.workspace_id is 'The workspace.';
comment on column report.clicks.origin is 'With seq, the identity of the click: the journal that recorded it.';
comment on column report.clicks.seq is 'With origin, the identity of the click: its number there.';

create view report.link_performance as
select w.name as workspace,
       l.id as link_id,
       d.host as domain,
       l.slug,
       l.title,
       l.destination,
       l.state,
       a.name as campaign,
       i.handle as influencer,
       l.created_at,
       coalesce(h.clicks, 0)::bigint as clicks,
       coalesce(h.human, 0)::bigint as human,
       (coalesce(h.clicks, 0) - coalesce(h.human, 0))::bigint as not_human,
       coalesce(h.human_day, 0)::bigint as human_24_hours,
       coalesce(h.human_week, 0)::bigint as human_7_days,
       h.first_hour,
       h.last_hour
  from kudos.links l
  join kudos.workspaces w on w.id = l.workspace_id
  join kudos.domains d on d.id = l.domain_id
  left join kudos.campaigns a on a.id = l.campaign_id
  left join kudos.influencers i on i.id = l.influencer_id
  left join lateral (
    select sum(n.clicks) as clicks, sum(n.human) as human,
           sum(n.human) filter (where n.hour > now() - interval '24 hours') as human_day,
           sum(n.human) filter (where n.hour > now() - interval '7 days') as human_week,
           min(n.hour) as first_hour, max(n.hour) as last_hour
      from kudos.clicks_hourly n
     where n.link_id = l.id) h on true;
comment on view report.link_performance is
  'One row per link, also those without clicks, over the whole of its life. Campaign and influencer are those of today.';
comment on column report.link_performance.workspace is 'The workspace that owns the link.';
comment on column report.link_performance.link_id is 'The link.';
comment on column report.link_performance.domain is 'Host of the short link.';
comment on column report.link_performance.slug is 'What stands behind its slash.';
comment on column report.link_performance.title is 'Name for people; null: none.';
comment on column report.link_performance.destination is 'Where it leads now.';
comment on column report.link_performance.state is 'active, disabled or archived.';
comment on column report.link_performance.campaign is 'Its campaign; null: none.';
comment on column report.link_performance.influencer is 'Its influencer; null: none.';
comment on column report.link_performance.created_at is 'When it was made.';
comment on column report.link_performance.clicks is 'All clicks, of any verdict.';
comment on column report.link_performance.human is 'Clicks by people.';
comment on column report.link_performance.not_human is 'All other clicks: bots, previews, prefetching …';
comment on column report.link_performance.human_24_hours is 'Clicks by people in the last 24 hours, to within an hour.';
comment on column report.link_performance.human_7_days is 'Clicks by people in the last 7 days, to within an hour.';
comment on column report.link_performance.first_hour is 'Hour of the first click; null: none yet.';
comment on column report.link_performance.last_hour is 'Hour of the latest click; null: none yet.';

create view report.daily as
select w.name as workspace,
       (h.hour at time zone w.time_zone)::date as day,
       a.name as campaign,
       i.handle as influencer,
       d.host as domain,
       l.slug,
       l.id as link_id,
       sum(h.clicks)::bigint as clicks,
       sum(h.human)::bigint as human,
       coalesce(sum(h.clicks) filter (where h.verdict = 'bot'), 0)::bigint as bot,
       coalesce(sum(h.clicks - h.human) filter (where h.verdict <> 'bot'), 0)::bigint as other
  from kudos.clicks_hourly h
  join kudos.links l on l.id = h.link_id
  join kudos.workspaces w on w.id = l.workspace_id
  join kudos.domains d on d.id = l.domain_id
  left join kudos.campaigns a on a.id = l.campaign_id
  left join kudos.influencers i on i.id = l.influencer_id
 group by 1, 2, 3, 4, 5, 6, 7;
comment on view report.daily is
  'Clicks per link and day. A day is one of the workspace''s time zone; where that is not a whole number of hours from UTC, an hour belongs to the day in which it begins. Campaign and influencer are those of today.';
comment on column report.daily.workspace is 'The workspace that owns the link.';
comment on column report.daily.day is 'Day in the workspace''s time zone.';
comment on column report.daily.campaign is 'The link''s campaign; null: none.';
comment on column report.daily.influencer is 'The link''s influencer; null: none.';
comment on column report.daily.domain is 'Host of the short link.';
comment on column report.daily.slug is 'What stands behind its slash.';
comment on column report.daily.link_id is 'The link.';
comment on column report.daily.clicks is 'All clicks, of any verdict.';
comment on column report.daily.human is 'Clicks by people.';
comment on column report.daily.bot is 'Clicks by known crawlers and scripts.';
comment on column report.daily.other is 'Clicks that are neither: previews, prefetching, data centres …';

create view report.data_freshness as
select w.name as workspace,
       (select max(h.hour) from kudos.clicks_hourly h join kudos.links l on l.id = h.link_id
         where l.workspace_id = w.id) as last_hour,
       (select max(updated_at) from kudos.watermarks) as stored_at,
       (select nullif(kept_from, '-infinity') from kudos.clicks_kept) as clicks_kept_from,
       (select coalesce(sum(count), 0)::bigint from kudos.gaps where kind = 'lost') as lost_clicks,
       (select coalesce(sum(count), 0)::bigint from kudos.gaps where kind <> 'lost')
         as missing_events,
       (select count(*) from kudos.quarantine) as quarantined
  from kudos.workspaces w;
comment on view report.data_freshness is
  'How far the figures reach, and what is known to be missing from them. The last four columns are about the whole service.';
comment on column report.data_freshness.workspace is 'The workspace.';
comment on column report.data_freshness.last_hour is 'Hour of the latest click stored; null: none yet.';
comment on column report.data_freshness.stored_at is 'When clicks (of any workspace) were last stored; null: never.';
comment on column report.data_freshness.clicks_kept_from is 'Single clicks before this time have been dropped; null: none have.';
comment on column report.data_freshness.lost_clicks is 'Clicks that were answered but could not be recorded (disk full); 0 is what you want to see.';
comment on column report.data_freshness.missing_events is 'Recorded events that could not be read any more; 0 is what you want to see.';
comment on column report.data_freshness.quarantined is 'Clicks that are held back since the database refused them; see kudos.quarantine.';

grant usage on schema report to kudos_analyst;
grant select on all tables in schema report to kudos_analyst;
alter default privileges in schema report grant select on tables to kudos_analyst;
