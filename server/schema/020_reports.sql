-- Reports over closed days and what has come since: kudos.clicks_daily and kudos.uniques_daily up to the
-- last day that is built, single clicks behind it. Campaign and influencer of clicks are those at the time
-- of the click. What conversions and contracts say comes from their own tables.

-- How far days are built -------------------------------------------------------------------------

create view kudos.limits as
select w.id as workspace_id, w.name as workspace, w.time_zone, b.built_until,
       (b.built_until + 1)::timestamp at time zone w.time_zone as open_from
  from kudos.workspaces w
  left join kudos.zones z on z.time_zone = w.time_zone
 cross join lateral (
   select coalesce(z.built_until, (select min(day) from kudos.click_days), (now() at time zone w.time_zone)::date) - 1
          + (z.built_until is not null)::int as built_until) b;
comment on view kudos.limits is 'Up to which day reports read daily figures, and since when single clicks.';
comment on column kudos.limits.workspace_id is 'The workspace.';
comment on column kudos.limits.workspace is 'Its name.';
comment on column kudos.limits.time_zone is 'Its time zone.';
comment on column kudos.limits.built_until is 'The last day that comes from daily figures.';
comment on column kudos.limits.open_from is 'From when on single clicks are read.';

create view kudos.open_days as
select o.workspace_id, o.workspace, n.day::date as day,
       n.day at time zone o.time_zone as begins,
       (n.day + interval '1 day') at time zone o.time_zone as ends
  from kudos.limits o
 cross join lateral generate_series((o.built_until + 1)::timestamp,
                                    ((now() at time zone o.time_zone)::date + 1)::timestamp,
                                    interval '1 day') as n (day);
comment on view kudos.open_days is 'Days whose figures come from single clicks: today, and what is not built yet.';
comment on column kudos.open_days.workspace_id is 'The workspace.';
comment on column kudos.open_days.workspace is 'Its name.';
comment on column kudos.open_days.day is 'The day.';
comment on column kudos.open_days.begins is 'When it begins.';
comment on column kudos.open_days.ends is 'When it ends.';

-- People, and what was left out --------------------------------------------------------------------

drop view report.visitors_by_link, report.visitors_by_campaign, report.visitors_by_day, report.filtered, report.daily;

-- Single clicks are taken a day at a time (offset 0 keeps it so, and with it only the partitions of that
-- day are read), names are joined before anything is counted, so that what is not asked for is left out first.
create view report.visitors_by_link as
select o.workspace, u.day, d.host as domain, l.slug, u.visitors, u.unidentified, u.human, u.link_id, u.workspace_id
  from kudos.limits o
  join kudos.uniques_daily u on u.workspace_id = o.workspace_id and u.day <= o.built_until and u.grain = 'link'
  left join kudos.links l on l.id = u.link_id
  left join kudos.domains d on d.id = l.domain_id
 where u.human > 0
 union all
select o.workspace, o.day, d.host, l.slug, count(distinct k.visitor) as visitors,
       count(*) filter (where k.visitor is null) as unidentified, count(*) as human, k.link_id, o.workspace_id
  from kudos.open_days o
 cross join lateral (
   select c.link_id, c.visitor from kudos.clicks c
    where c.workspace_id = o.workspace_id and c.time >= o.begins and c.time < o.ends and c.verdict = 'human'
   offset 0) k
  left join kudos.links l on l.id = k.link_id
  left join kudos.domains d on d.id = l.domain_id
 group by o.workspace, o.day, d.host, l.slug, k.link_id, o.workspace_id;
comment on view report.visitors_by_link is
  'Different people who clicked a link on a day, counted exactly. A pseudonym holds for one day of UTC and one domain: who clicks before and after midnight UTC, or comes back another day, counts again.';
comment on column report.visitors_by_link.workspace is 'The workspace that owned the link.';
comment on column report.visitors_by_link.day is 'Day in the workspace''s time zone.';
comment on column report.visitors_by_link.domain is 'Host of the short link.';
comment on column report.visitors_by_link.slug is 'What stands behind its slash.';
comment on column report.visitors_by_link.visitors is 'Different people with a pseudonym.';
comment on column report.visitors_by_link.unidentified is 'Clicks by people who have none (Sec-GPC, DNT): at least one person if above 0, at most so many.';
comment on column report.visitors_by_link.human is 'All clicks by people.';
comment on column report.visitors_by_link.link_id is 'The link.';
comment on column report.visitors_by_link.workspace_id is 'The workspace.';

create view report.visitors_by_campaign as
select o.workspace, u.day, a.name as campaign, u.visitors, u.unidentified, u.human, u.campaign_id,
       a.slug as campaign_slug, u.workspace_id
  from kudos.limits o
  join kudos.uniques_daily u on u.workspace_id = o.workspace_id and u.day <= o.built_until and u.grain = 'campaign'
   and u.campaign_id is not null
  left join kudos.campaigns a on a.id = u.campaign_id
 where u.human > 0
 union all
select o.workspace, o.day, a.name, count(distinct k.visitor) as visitors,
       count(*) filter (where k.visitor is null) as unidentified, count(*) as human, k.campaign_id, a.slug, o.workspace_id
  from kudos.open_days o
 cross join lateral (
   select c.campaign_id, c.visitor from kudos.clicks c
    where c.workspace_id = o.workspace_id and c.time >= o.begins and c.time < o.ends and c.verdict = 'human'
   offset 0) k
  left join kudos.campaigns a on a.id = k.campaign_id
 where k.campaign_id is not null
 group by o.workspace, o.day, a.name, k.campaign_id, a.slug, o.workspace_id;
comment on view report.visitors_by_campaign is
  'Different people who clicked any link of a campaign on a day, each counted once however many of its links (of one domain) they clicked; else as visitors_by_link.';
comment on column report.visitors_by_campaign.workspace is 'The workspace that runs it.';
comment on column report.visitors_by_campaign.day is 'Day in the workspace''s time zone.';
comment on column report.visitors_by_campaign.campaign is 'Name of the links'' campaign at the time of the clicks.';
comment on column report.visitors_by_campaign.visitors is 'Different people with a pseudonym.';
comment on column report.visitors_by_campaign.unidentified is 'Clicks by people who have none.';
comment on column report.visitors_by_campaign.human is 'All clicks by people.';
comment on column report.visitors_by_campaign.campaign_id is 'The campaign.';
comment on column report.visitors_by_campaign.campaign_slug is 'Its slug.';
comment on column report.visitors_by_campaign.workspace_id is 'The workspace.';

create view report.visitors_by_day as
select o.workspace, u.day, u.visitors, u.unidentified, u.human, u.workspace_id
  from kudos.limits o
  join kudos.uniques_daily u on u.workspace_id = o.workspace_id and u.day <= o.built_until and u.grain = 'workspace'
 where u.human > 0
 union all
select o.workspace, o.day, count(distinct k.visitor) as visitors,
       count(*) filter (where k.visitor is null) as unidentified, count(*) as human, o.workspace_id
  from kudos.open_days o
 cross join lateral (
   select c.visitor from kudos.clicks c
    where c.workspace_id = o.workspace_id and c.time >= o.begins and c.time < o.ends and c.verdict = 'human'
   offset 0) k
 group by o.workspace, o.day, o.workspace_id;
comment on view report.visitors_by_day is
  'Different people who clicked any link of a workspace on a day, each counted once for each domain; else as visitors_by_link.';
comment on column report.visitors_by_day.workspace is 'The workspace.';
comment on column report.visitors_by_day.day is 'Day in the workspace''s time zone.';
comment on column report.visitors_by_day.visitors is 'Different people with a pseudonym.';
comment on column report.visitors_by_day.unidentified is 'Clicks by people who have none.';
comment on column report.visitors_by_day.human is 'All clicks by people.';
comment on column report.visitors_by_day.workspace_id is 'The workspace.';

create view report.filtered as
select o.workspace, n.day, a.name as campaign, i.handle as influencer, d.host as domain, l.slug,
       split_part(r.key, ': ', 1)::kudos.verdict as verdict,
       nullif(substr(r.key, length(split_part(r.key, ': ', 1)) + 3), '') as rule,
       (r.value ->> 0)::bigint as clicks, n.link_id, n.campaign_id, n.influencer_id, a.slug as campaign_slug, n.workspace_id
  from kudos.limits o
  join kudos.clicks_daily n on n.workspace_id = o.workspace_id and n.day <= o.built_until
 cross join lateral jsonb_each(n.reason) r
  left join kudos.links l on l.id = n.link_id
  left join kudos.domains d on d.id = l.domain_id
  left join kudos.campaigns a on a.id = n.campaign_id
  left join kudos.influencers i on i.id = n.influencer_id
 union all
select o.workspace, o.day, a.name, i.handle, d.host, l.slug, k.verdict, k.rule, count(*), k.link_id, k.campaign_id,
       k.influencer_id, a.slug, o.workspace_id
  from kudos.open_days o
 cross join lateral (
   select c.link_id, c.campaign_id, c.influencer_id, c.verdict, c.rule from kudos.clicks c
    where c.workspace_id = o.workspace_id and c.time >= o.begins and c.time < o.ends and c.verdict <> 'human'
   offset 0) k
  left join kudos.links l on l.id = k.link_id
  left join kudos.domains d on d.id = l.domain_id
  left join kudos.campaigns a on a.id = k.campaign_id
  left join kudos.influencers i on i.id = k.influencer_id
 group by o.workspace, o.day, a.name, i.handle, d.host, l.slug, k.verdict, k.rule, k.link_id, k.campaign_id,
       k.influencer_id, a.slug, o.workspace_id;
comment on view report.filtered is
  'How many clicks were left out of billable counts, by verdict and the rule that decided: per link and day.';
comment on column report.filtered.workspace is 'The workspace that owned the link.';
comment on column report.filtered.day is 'Day in the workspace''s time zone.';
comment on column report.filtered.campaign is 'Name of the link''s campaign at the time of the clicks; null: none.';
comment on column report.filtered.influencer is 'The link''s influencer at the time of the clicks; null: none.';
comment on column report.filtered.domain is 'Host of the short link.';
comment on column report.filtered.slug is 'What stands behind its slash.';
comment on column report.filtered.verdict is 'Why they are not counted: bot, preview, prefetch, datacenter, invalid, internal.';
comment on column report.filtered.rule is 'The rule that decided so; "decided: …" where an operator did, afterwards.';
comment on column report.filtered.clicks is 'How many clicks.';
comment on column report.filtered.link_id is 'The link.';
comment on column report.filtered.campaign_id is 'The campaign; null: none.';
comment on column report.filtered.influencer_id is 'The influencer; null: none.';
comment on column report.filtered.campaign_slug is 'Slug of the campaign; null: none.';
comment on column report.filtered.workspace_id is 'The workspace.';

-- Days and hours -----------------------------------------------------------------------------------

create view report.daily as
select o.workspace, u.day, a.name as campaign, i.handle as influencer, d.host as domain, l.slug, u.link_id,
       u.clicks, u.human, u.bot, u.clicks - u.human - u.bot as other, a.slug as campaign_slug, l.campaign_id,
       l.influencer_id, u.workspace_id
  from kudos.limits o
  join kudos.uniques_daily u on u.workspace_id = o.workspace_id and u.day <= o.built_until and u.grain = 'link'
  join kudos.links l on l.id = u.link_id
  join kudos.domains d on d.id = l.domain_id
  left join kudos.campaigns a on a.id = l.campaign_id
  left join kudos.influencers i on i.id = l.influencer_id
 union all
select o.workspace, (h.hour at time zone o.time_zone)::date, a.name, i.handle, d.host, l.slug, l.id,
       sum(h.clicks)::bigint, sum(h.human)::bigint,
       coalesce(sum(h.clicks) filter (where h.verdict = 'bot'), 0)::bigint,
       coalesce(sum(h.clicks - h.human) filter (where h.verdict <> 'bot'), 0)::bigint, a.slug, l.campaign_id,
       l.influencer_id, l.workspace_id
  from kudos.limits o
  join kudos.links l on l.workspace_id = o.workspace_id
 cross join lateral (
   select n.hour, n.verdict, n.clicks, n.human from kudos.clicks_hourly n
    where n.link_id = l.id and n.hour >= o.open_from offset 0) h
  join kudos.domains d on d.id = l.domain_id
  left join kudos.campaigns a on a.id = l.campaign_id
  left join kudos.influencers i on i.id = l.influencer_id
 group by o.workspace, 2, a.name, i.handle, d.host, l.slug, l.id, a.slug, l.campaign_id, l.influencer_id, l.workspace_id;
comment on view report.daily is
  'Clicks per link and day of the workspace''s time zone (of today, where that is not a whole number of hours from UTC, an hour belongs to the day in which it begins). Campaign and influencer are those that the link has now.';
comment on column report.daily.workspace is 'The workspace that owns the link.';
comment on column report.daily.day is 'Day in the workspace''s time zone.';
comment on column report.daily.campaign is 'Name of the link''s campaign; null: none.';
comment on column report.daily.influencer is 'The link''s influencer; null: none.';
comment on column report.daily.domain is 'Host of the short link.';
comment on column report.daily.slug is 'What stands behind its slash.';
comment on column report.daily.link_id is 'The link.';
comment on column report.daily.clicks is 'All clicks, of any verdict.';
comment on column report.daily.human is 'Clicks by people.';
comment on column report.daily.bot is 'Clicks by known crawlers and scripts.';
comment on column report.daily.other is 'Clicks that are neither: previews, prefetching, data centres …';
comment on column report.daily.campaign_slug is 'Slug of the campaign; null: none.';
comment on column report.daily.campaign_id is 'The campaign; null: none.';
comment on column report.daily.influencer_id is 'The influencer; null: none.';
comment on column report.daily.workspace_id is 'The workspace.';

create view report.hourly as
select w.name as workspace, h.hour, a.slug as campaign, i.handle as influencer, d.host as domain, l.slug,
       sum(h.clicks)::bigint as clicks, sum(h.human)::bigint as human,
       (sum(h.clicks) - sum(h.human))::bigint as not_human,
       l.id as link_id, l.campaign_id, l.influencer_id, l.workspace_id
  from kudos.links l
  join kudos.clicks_hourly h on h.link_id = l.id
  join kudos.workspaces w on w.id = l.workspace_id
  join kudos.domains d on d.id = l.domain_id
  left join kudos.campaigns a on a.id = l.campaign_id
  left join kudos.influencers i on i.id = l.influencer_id
 group by w.name, h.hour, a.slug, i.handle, d.host, l.slug, l.id, l.campaign_id, l.influencer_id, l.workspace_id;
comment on view report.hourly is
  'Clicks per link and hour, up to the second, kept for ever. Campaign and influencer are those that the link has now.';
comment on column report.hourly.workspace is 'The workspace that owns the link.';
comment on column report.hourly.hour is 'Start of the hour.';
comment on column report.hourly.campaign is 'Slug of the link''s campaign; null: none.';
comment on column report.hourly.influencer is 'The link''s influencer; null: none.';
comment on column report.hourly.domain is 'Host of the short link.';
comment on column report.hourly.slug is 'What stands behind its slash.';
comment on column report.hourly.clicks is 'All clicks, of any verdict.';
comment on column report.hourly.human is 'Clicks by people.';
comment on column report.hourly.not_human is 'All other clicks.';
comment on column report.hourly.link_id is 'The link.';
comment on column report.hourly.campaign_id is 'The campaign; null: none.';
comment on column report.hourly.influencer_id is 'The influencer; null: none.';
comment on column report.hourly.workspace_id is 'The workspace.';

-- By class -----------------------------------------------------------------------------------------

-- The three views are alike but for what they tell apart.
do $$
declare
  v record;
begin
  for v in select * from (values
    ('geo', array['country'],
     'Where people were, per link and day. Country by network address, where the operator has a GeoIP file.'),
    ('device', array['device', 'os', 'browser', 'app'],
     'What people held in their hands, per link and day: a row for each kind and value. Add up over one kind only.'),
    ('platform', array['platform', 'medium', 'referrer', 'app'],
     'Where people came from, per link and day: a row for each kind and value. Add up over one kind only.'))
    as n (name, kinds, what) loop
    execute format($v$
      create view report.%1$I as
      select o.workspace, n.day, a.slug as campaign, i.handle as influencer, l.slug, %2$s
             (r.value ->> 0)::bigint as clicks, (r.value ->> 1)::bigint as human,
             (r.value ->> 0)::bigint - (r.value ->> 1)::bigint as not_human, n.link_id, n.campaign_id,
             n.influencer_id, n.workspace_id
        from kudos.limits o
        join kudos.clicks_daily n on n.workspace_id = o.workspace_id and n.day <= o.built_until
       cross join lateral (values %3$s) x (kind, counts)
       cross join lateral jsonb_each(x.counts) r
        left join kudos.links l on l.id = n.link_id
        left join kudos.campaigns a on a.id = n.campaign_id
        left join kudos.influencers i on i.id = n.influencer_id
       union all
      select o.workspace, o.day, a.slug, i.handle, l.slug, %4$s count(*),
             count(*) filter (where k.verdict = 'human'), count(*) filter (where k.verdict <> 'human'), k.link_id,
             k.campaign_id, k.influencer_id, o.workspace_id
        from kudos.open_days o
       cross join lateral (
         select c.* from kudos.clicks c
          where c.workspace_id = o.workspace_id and c.time >= o.begins and c.time < o.ends offset 0) k
        left join kudos.links l on l.id = k.link_id
        left join kudos.campaigns a on a.id = k.campaign_id
        left join kudos.influencers i on i.id = k.influencer_id
       cross join lateral (values %5$s) x (kind, value)
       group by o.workspace, o.day, a.slug, i.handle, l.slug, x.kind, x.value, k.link_id, k.campaign_id,
             k.influencer_id, o.workspace_id $v$,
      v.name, case when v.name = 'geo' then 'nullif(r.key, '''') as country,' else 'x.kind, nullif(r.key, '''') as value,' end,
      (select string_agg(format('(%L, n.%I)', k, k), ', ') from unnest(v.kinds) k),
      case when v.name = 'geo' then 'x.value,' else 'x.kind, x.value,' end,
      (select string_agg(format('(%L, k.%I::text)', k, case k when 'referrer' then 'referrer_host' else k end), ', ')
         from unnest(v.kinds) k));
    execute format('comment on view report.%I is %L', v.name, v.what);
    execute format('comment on column report.%1$I.workspace is ''The workspace that owned the link.'';
      comment on column report.%1$I.day is ''Day in the workspace''''s time zone.'';
      comment on column report.%1$I.campaign is ''Slug of the link''''s campaign at the time; null: none.'';
      comment on column report.%1$I.influencer is ''Handle of the link''''s influencer at the time; null: none.'';
      comment on column report.%1$I.slug is ''The link.'';
      comment on column report.%1$I.clicks is ''All clicks, of any verdict.'';
      comment on column report.%1$I.human is ''Clicks by people.'';
      comment on column report.%1$I.not_human is ''All other clicks.'';
      comment on column report.%1$I.link_id is ''The link.'';
      comment on column report.%1$I.campaign_id is ''The campaign; null: none.'';
      comment on column report.%1$I.influencer_id is ''The influencer; null: none.'';
      comment on column report.%1$I.workspace_id is ''The workspace.''', v.name);
  end loop;
end
$$;
comment on column report.geo.country is 'Country, ISO 3166-1 alpha-2; null: unknown.';
comment on column report.device.kind is 'What value is: device, os, browser or app (whose built-in browser was used).';
comment on column report.device.value is 'The device, system, browser or app; null: unknown or none; (other): what is beyond a hundred of a link and day.';
comment on column report.platform.kind is 'What value is: platform, medium, referrer (its host) or app (whose built-in browser was used).';
comment on column report.platform.value is 'The platform, medium, host or app; null: unknown or none; (other): what is beyond a hundred of a link and day.';

create or replace view report.conversions as
select w.name as workspace, c.occurred_at, c.event, c.order_id, c.external_id, c.amount_minor, c.currency, c.status,
       c.via, c.reason, i.handle as influencer, a.slug as campaign, c.code, l.slug, c.click_time, c.path, c.verified,
       c.received_at, c.items, c.metadata,
       (select count(*) from kudos.conversion_conflicts f where f.conversion_id = c.id) as conflicts,
       c.id as conversion_id, c.influencer_id, c.campaign_id, c.workspace_id,
       (c.occurred_at at time zone w.time_zone)::date as day,
       f.country as click_country, f.device::text as click_device, f.platform as click_platform, f.app as click_app,
       f.referrer_host as click_referrer, f.variant as click_variant, f.route as click_route
  from kudos.conversions c
  join kudos.workspaces w on w.id = c.workspace_id
  left join kudos.influencers i on i.id = c.influencer_id
  left join kudos.campaigns a on a.id = c.campaign_id
  left join kudos.links l on l.id = c.click_link_id and l.workspace_id = c.workspace_id
  left join kudos.conversion_clicks f on f.conversion_id = c.id;
comment on column report.conversions.day is 'Day on which it happened, in the workspace''s time zone.';
comment on column report.conversions.click_country is 'Country of the click; null: unknown, or no click.';
comment on column report.conversions.click_device is 'Kind of device of the click; null: unknown, or no click.';
comment on column report.conversions.click_platform is 'Platform that the click came from; null: unknown, or no click.';
comment on column report.conversions.click_app is 'App whose built-in browser clicked; null: none, or no click.';
comment on column report.conversions.click_referrer is 'Host of the page that the click came from; null: none given, or no click.';
comment on column report.conversions.click_variant is 'Variant of a split that was shown; null: none.';
comment on column report.conversions.click_route is 'Routing rule that matched; null: none.';

grant select on all tables in schema report to kudos_analyst;
