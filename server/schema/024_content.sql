-- Codes and where they leak, what sold, the way from click to sale, and how far figures reach.

drop view report.code_performance, report.data_freshness;

create view report.code_performance as
select w.name as workspace, k.code, a.slug as campaign, i.handle as influencer, k.status,
       coalesce(s.uses, 0)::bigint as uses,
       coalesce(s.credited, 0)::bigint as credited,
       coalesce(s.without_click, 0)::bigint as without_click,
       coalesce(s.amount_minor, 0)::bigint as amount_minor,
       s.currency, k.id as code_id, k.workspace_id,
       coalesce(t.conversions, 0)::bigint as conversions,
       coalesce(t.refunds, 0)::bigint as refunds,
       coalesce(t.revenue_minor, 0)::bigint as revenue_minor,
       s.first_use, s.last_use, k.max_uses, k.campaign_id, k.influencer_id
  from kudos.codes k
  join kudos.workspaces w on w.id = k.workspace_id
  left join kudos.campaigns a on a.id = k.campaign_id
  left join kudos.influencers i on i.id = k.influencer_id
  left join lateral (
    select c.currency, count(*) as uses,
           count(*) filter (where c.status = 'credited' and c.via = 'code') as credited,
           count(*) filter (where c.click_id is null) as without_click,
           sum(c.amount_minor) as amount_minor, min(c.occurred_at) as first_use, max(c.occurred_at) as last_use
      from kudos.conversions c
     where c.workspace_id = k.workspace_id and lower(c.code) = lower(k.code) and c.event <> 'refund'
     group by c.currency) s on true
  left join lateral (
    select count(*) filter (where c.event <> 'refund') as conversions,
           count(*) filter (where c.event = 'refund') as refunds, sum(t.amount_minor) as revenue_minor
      from kudos.attributions t join kudos.conversions c on c.id = t.conversion_id
     where t.won and t.code_id = k.id and c.currency is not distinct from s.currency) t on true;
comment on view report.code_performance is
  'How often each code was used, and what is credited to it, a row per currency; without_click tells how far it has travelled on its own.';
comment on column report.code_performance.workspace is 'The workspace.';
comment on column report.code_performance.code is 'The code.';
comment on column report.code_performance.campaign is 'Slug of its campaign; null: none.';
comment on column report.code_performance.influencer is 'Handle of who gives it out; null: nobody in particular.';
comment on column report.code_performance.status is 'active, disabled or archived.';
comment on column report.code_performance.uses is 'Conversions that named it; refunds left out.';
comment on column report.code_performance.credited is 'Those that it won.';
comment on column report.code_performance.without_click is 'Those that named no click.';
comment on column report.code_performance.amount_minor is 'Value of all uses in minor units.';
comment on column report.code_performance.currency is 'Original currency; null: none with an amount.';
comment on column report.code_performance.code_id is 'The code.';
comment on column report.code_performance.workspace_id is 'The workspace.';
comment on column report.code_performance.conversions is 'Conversions credited to it, also by half; refunds left out.';
comment on column report.code_performance.refunds is 'Refunds of those.';
comment on column report.code_performance.revenue_minor is 'What is credited to it in minor units, refunds taken off.';
comment on column report.code_performance.first_use is 'When it was first used; null: never.';
comment on column report.code_performance.last_use is 'When it was last used; null: never.';
comment on column report.code_performance.max_uses is 'How often it may be used; null: no limit.';
comment on column report.code_performance.campaign_id is 'The campaign; null: none.';
comment on column report.code_performance.influencer_id is 'The influencer; null: nobody in particular.';

-- Leaks ----------------------------------------------------------------------------------------------

create table kudos.coupon_sites (
  host text primary key check (host = lower(host) and host <> '')
);
comment on table kudos.coupon_sites is
  'Sites that collect discount codes: a click that comes from one, or from a host below it, is no recommendation. Add your own.';
comment on column kudos.coupon_sites.host is 'Host name, lower case.';
insert into kudos.coupon_sites (host) values
  ('retailmenot.com'), ('coupons.com'), ('joinhoney.com'), ('honey.com'), ('slickdeals.net'), ('couponfollow.com'),
  ('simplycodes.com'), ('wethrift.com'), ('dealspotr.com'), ('knoji.com'), ('offers.com'), ('savings.com'),
  ('groupon.com'), ('couponbirds.com'), ('capitaloneshopping.com'), ('rakuten.com'), ('hotukdeals.com'),
  ('vouchercodes.co.uk'), ('myvouchercodes.co.uk'), ('mydealz.de'), ('gutscheine.de'), ('gutscheinsammler.de'),
  ('mein-deal.com'), ('dealabs.com'), ('radins.com'), ('poulpeo.com'), ('pepper.com'), ('pepper.pl'), ('chollometro.com'),
  ('ozbargain.com.au'), ('cuponation.com'), ('pepper.it');

create function kudos.is_coupon_site(referrer text) returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (select from kudos.coupon_sites s
                  where lower(referrer) = s.host
                     or right(lower(referrer), length(s.host) + 1) = '.' || s.host)
$$;
comment on function kudos.is_coupon_site(text) is 'Whether a host is, or lies below, one of kudos.coupon_sites.';

create view report.code_leakage as
with uses as (
  select k.id, k.workspace_id, w.name as workspace, k.code, k.campaign_id, a.slug as campaign, k.influencer_id, k.status,
         coalesce(c.uses, 0) as uses, coalesce(c.without_click, 0) as without_click,
         coalesce(c.from_coupon_sites, 0) as from_coupon_sites, coalesce(c.others_click, 0) as others_click,
         coalesce(h.human, 0) as clicks
    from kudos.codes k
    join kudos.workspaces w on w.id = k.workspace_id
    left join kudos.campaigns a on a.id = k.campaign_id
    left join lateral (
      select count(*) as uses, count(*) filter (where c.click_id is null) as without_click,
             count(*) filter (where kudos.is_coupon_site(f.referrer_host)) as from_coupon_sites,
             count(*) filter (where l.influencer_id <> k.influencer_id) as others_click
        from kudos.conversions c
        left join kudos.conversion_clicks f on f.conversion_id = c.id
        left join kudos.links l on l.id = c.click_link_id
       where c.workspace_id = k.workspace_id and lower(c.code) = lower(k.code) and c.event <> 'refund') c on true
    left join lateral (
      select sum(u.human) as human from kudos.uniques_daily u
       where u.grain = 'pair' and u.influencer_id = k.influencer_id
         and u.campaign_id is not distinct from k.campaign_id) h on true),
usual as (
  select u.*, sum(u.uses) over p - u.uses as others_uses, sum(u.clicks) over p - u.clicks as others_clicks
    from uses u window p as (partition by u.workspace, u.workspace_id, u.campaign, u.campaign_id))
select u.workspace, u.code, u.campaign, i.handle as influencer, u.status,
       u.uses::bigint as uses, u.without_click::bigint as without_click,
       case when u.uses > 0 then round(u.without_click::numeric / u.uses, 4) end as without_click_share,
       u.from_coupon_sites::bigint as from_coupon_sites,
       u.others_click::bigint as others_click,
       u.clicks::bigint as clicks,
       case when u.clicks > 0 then round(100.0 * u.uses / u.clicks, 2) end as uses_percent,
       case when u.others_clicks > 0 then round(100.0 * u.others_uses / u.others_clicks, 2) end as usual_percent,
       n.times_usual,
       r.reasons <> '{}' as suspected, r.reasons,
       u.id as code_id, u.campaign_id, u.influencer_id, u.workspace_id
  from usual u
  left join kudos.influencers i on i.id = u.influencer_id
 cross join lateral (
   select case when u.uses > 0 and u.others_uses > 0 and u.others_clicks > 0
               then round(u.uses::numeric * u.others_clicks / (greatest(u.clicks, 1) * u.others_uses), 2) end
          as times_usual) n
 cross join lateral (
   select array_remove(array[
     case when u.from_coupon_sites > 0 then 'coupon_site' end,
     case when u.uses >= 10 and u.without_click > 0.9 * u.uses then 'hardly_any_click' end,
     case when u.uses >= 10 and n.times_usual >= 3 then 'out_of_proportion' end], null) as reasons) r;
comment on view report.code_leakage is
  'Which codes have travelled beyond the influencer''s audience: uses without a click, after a click from a coupon site, on somebody else''s link, or far more than the influencer''s clicks explain, beside the other codes of the campaign. A hint to look, no verdict.';
comment on column report.code_leakage.workspace is 'The workspace.';
comment on column report.code_leakage.code is 'The code.';
comment on column report.code_leakage.campaign is 'Slug of its campaign; null: none.';
comment on column report.code_leakage.influencer is 'Handle of who gives it out; null: nobody in particular.';
comment on column report.code_leakage.status is 'active, disabled or archived.';
comment on column report.code_leakage.uses is 'Conversions that named it; refunds left out.';
comment on column report.code_leakage.without_click is 'Those that named no click.';
comment on column report.code_leakage.without_click_share is 'Part of the uses, 0 to 1; null: no uses.';
comment on column report.code_leakage.from_coupon_sites is 'Those whose click came from a site of kudos.coupon_sites.';
comment on column report.code_leakage.others_click is 'Those whose click was on the link of another influencer.';
comment on column report.code_leakage.clicks is 'Clicks of people, of closed days, on the influencer''s links of the campaign.';
comment on column report.code_leakage.uses_percent is 'Uses per hundred of these clicks; null: no clicks.';
comment on column report.code_leakage.usual_percent is 'The same of the other codes of the campaign together; null: nothing to compare with.';
comment on column report.code_leakage.times_usual is 'How many times as often as those; null: nothing to compare with.';
comment on column report.code_leakage.suspected is 'Whether there is a reason to look.';
comment on column report.code_leakage.reasons is 'coupon_site; hardly_any_click: nine of ten uses, of ten and more; out_of_proportion: three times as often as usual, of ten uses and more.';
comment on column report.code_leakage.code_id is 'The code.';
comment on column report.code_leakage.campaign_id is 'The campaign; null: none.';
comment on column report.code_leakage.influencer_id is 'The influencer; null: nobody in particular.';
comment on column report.code_leakage.workspace_id is 'The workspace.';

-- What sold ------------------------------------------------------------------------------------------

create view report.content as
with counted as (
  select l.id as link_id, l.workspace_id, l.campaign_id, l.influencer_id, l.slug, v.variant, s.currency,
         v.clicks, v.human, coalesce(s.conversions, 0) as conversions, coalesce(s.refunds, 0) as refunds,
         coalesce(s.revenue_minor, 0) as revenue_minor
    from kudos.links l
    join kudos.limits o on o.workspace_id = l.workspace_id
   cross join lateral (
     select n.variant, sum(n.clicks) as clicks, sum(n.human) as human
       from (select nullif(r.key, '')::smallint as variant, (r.value ->> 0)::bigint as clicks,
                    (r.value ->> 1)::bigint as human
               from kudos.clicks_daily d cross join lateral jsonb_each(d.variant) r
              where d.link_id = l.id and r.key <> '(other)' and d.day <= o.built_until
              union all
             select f.variant, 0, 0
               from kudos.attributions t join kudos.conversion_clicks f on f.conversion_id = t.conversion_id
              where t.won and t.link_id = l.id) n
      group by n.variant) v
    left join lateral (
      select c.currency, count(*) filter (where c.event <> 'refund') as conversions,
             count(*) filter (where c.event = 'refund') as refunds, sum(t.amount_minor) as revenue_minor
        from kudos.attributions t
        join kudos.conversions c on c.id = t.conversion_id
        left join kudos.conversions sale on c.event = 'refund' and sale.workspace_id = c.workspace_id
         and sale.event = 'sale' and sale.order_id = c.order_id
        left join kudos.conversion_clicks f on f.conversion_id = coalesce(sale.id, c.id)
       where t.won and t.link_id = l.id and f.variant is not distinct from v.variant
       group by c.currency) s on true)
select w.name as workspace, a.slug as campaign, i.handle as influencer, n.slug, n.variant,
       p.url as post, p.platform, p.title as post_title, p.published_at,
       m.reach, m.engagements, m.sentiment,
       (select count(*) from kudos.posts q
         where q.workspace_id = n.workspace_id and n.link_id = any (q.link_ids)) as posts_of_link,
       n.clicks::bigint as clicks, n.human::bigint as human, n.conversions::bigint as conversions,
       n.refunds::bigint as refunds, n.revenue_minor::bigint as revenue_minor, n.currency,
       case when n.human > 0 then round(n.conversions::numeric / n.human, 4) end as conversion_rate,
       p.id as post_id, n.link_id, n.campaign_id, n.influencer_id, n.workspace_id
  from counted n
  join kudos.workspaces w on w.id = n.workspace_id
  left join kudos.campaigns a on a.id = n.campaign_id
  left join kudos.influencers i on i.id = n.influencer_id
  left join kudos.posts p on p.workspace_id = n.workspace_id and n.link_id = any (p.link_ids)
  left join lateral (
    select reach, engagements, sentiment from kudos.post_metrics
     where post_id = p.id order by taken_at desc, id desc limit 1) m on true;
create index posts_links on kudos.posts using gin (link_ids) where link_ids <> '{}';
comment on view report.content is
  'Which post and which variant of a link sold, over its whole life up to the last closed day: a row per link, variant, post that shows the link, and currency. Where posts_of_link is above 1, clicks and sales are those of all of these posts together: do not add them up.';
comment on column report.content.workspace is 'The workspace.';
comment on column report.content.campaign is 'Slug of the link''s campaign; null: none.';
comment on column report.content.influencer is 'Handle of the link''s influencer; null: none.';
comment on column report.content.slug is 'The link.';
comment on column report.content.variant is 'Variant of its split; null: none.';
comment on column report.content.post is 'Address of a post that shows the link; null: none entered.';
comment on column report.content.platform is 'Platform of the post; null: not said.';
comment on column report.content.post_title is 'Name of the post; null: none.';
comment on column report.content.published_at is 'When the post was published; null: unknown.';
comment on column report.content.reach is 'People it reached, by the newest figures; null: none entered.';
comment on column report.content.engagements is 'Likes, comments and so on; null: none entered.';
comment on column report.content.sentiment is 'Tone, -1 to 1; null: none entered.';
comment on column report.content.posts_of_link is 'How many posts show the link.';
comment on column report.content.clicks is 'All clicks of closed days.';
comment on column report.content.human is 'Those of people.';
comment on column report.content.conversions is 'Conversions credited to a click on it, also by half; refunds left out.';
comment on column report.content.refunds is 'Refunds of those.';
comment on column report.content.revenue_minor is 'What is credited to it in minor units, refunds taken off.';
comment on column report.content.currency is 'Original currency; null: no conversions, or none with an amount.';
comment on column report.content.conversion_rate is 'Conversions per click of people; null: no clicks.';
comment on column report.content.post_id is 'The post; null: none.';
comment on column report.content.link_id is 'The link.';
comment on column report.content.campaign_id is 'The campaign; null: none.';
comment on column report.content.influencer_id is 'The influencer; null: none.';
comment on column report.content.workspace_id is 'The workspace.';

create view report.funnel as
select n.workspace, n.day, n.slug as campaign,
       sum(n.clicks)::bigint as clicks, sum(n.human)::bigint as human, sum(n.visitors)::bigint as visitors,
       sum(n.leads)::bigint as leads, sum(n.sales)::bigint as sales, sum(n.others)::bigint as others,
       sum(n.refunds)::bigint as refunds, n.campaign_id, n.workspace_id
  from (select o.workspace, u.workspace_id, u.campaign_id, a.slug, u.day, u.clicks, u.human,
               u.visitors + (u.unidentified > 0)::int as visitors, 0 as leads, 0 as sales, 0 as others, 0 as refunds
          from kudos.limits o
          join kudos.uniques_daily u on u.workspace_id = o.workspace_id and u.day <= o.built_until and u.grain = 'campaign'
          join kudos.campaigns a on a.id = u.campaign_id
         union all
        select o.workspace, o.workspace_id, k.campaign_id, a.slug, o.day, count(*),
               count(*) filter (where k.verdict = 'human'),
               count(distinct k.visitor) filter (where k.verdict = 'human')
                 + coalesce(bool_or(k.verdict = 'human' and k.visitor is null), false)::int, 0, 0, 0, 0
          from kudos.open_days o
         cross join lateral (
           select c.campaign_id, c.verdict, c.visitor from kudos.clicks c
            where c.workspace_id = o.workspace_id and c.time >= o.begins and c.time < o.ends offset 0) k
          join kudos.campaigns a on a.id = k.campaign_id
         group by 1, 2, 3, 4, 5
         union all
        select w.name, c.workspace_id, c.campaign_id, a.slug, (c.occurred_at at time zone w.time_zone)::date, 0, 0, 0,
               count(*) filter (where c.event in ('lead', 'signup', 'install')),
               count(*) filter (where c.event = 'sale'),
               count(*) filter (where c.event not in ('lead', 'signup', 'install', 'sale', 'refund')),
               count(*) filter (where c.event = 'refund')
          from kudos.conversions c
          join kudos.workspaces w on w.id = c.workspace_id
          join kudos.campaigns a on a.id = c.campaign_id
         where c.status = 'credited'
         group by 1, 2, 3, 4, 5) n
 group by n.workspace, n.day, n.slug, n.campaign_id, n.workspace_id;
comment on view report.funnel is
  'From click to sale, per campaign and day of the workspace''s time zone. A conversion counts on the day on which it happened, its click on the day of the click.';
comment on column report.funnel.workspace is 'The workspace.';
comment on column report.funnel.day is 'The day.';
comment on column report.funnel.campaign is 'Slug of the campaign.';
comment on column report.funnel.clicks is 'All clicks, of any verdict.';
comment on column report.funnel.human is 'Clicks by people.';
comment on column report.funnel.visitors is 'Different people: those with a pseudonym, and one more if there were clicks without.';
comment on column report.funnel.leads is 'Leads, sign-ups and installs credited to it.';
comment on column report.funnel.sales is 'Sales credited to it.';
comment on column report.funnel.others is 'Other events credited to it; refunds left out.';
comment on column report.funnel.refunds is 'Refunds of credited sales.';
comment on column report.funnel.campaign_id is 'The campaign.';
comment on column report.funnel.workspace_id is 'The workspace.';

create view report.data_freshness as
select o.workspace,
       (select max(m.hour) from kudos.links l cross join lateral (
          select h.hour from kudos.clicks_hourly h where h.link_id = l.id order by h.hour desc limit 1) m
         where l.workspace_id = o.workspace_id) as last_hour,
       (select max(updated_at) from kudos.watermarks) as stored_at,
       (select nullif(kept_from, '-infinity') from kudos.clicks_kept) as clicks_kept_from,
       (select coalesce(sum(count), 0)::bigint from kudos.gaps where kind = 'lost') as lost_clicks,
       (select coalesce(sum(count), 0)::bigint from kudos.gaps where kind <> 'lost')
         as missing_events,
       (select count(*) from kudos.quarantine) as quarantined,
       o.built_until as daily_until,
       (select count(*) from kudos.days d where d.time_zone = o.time_zone and d.dirty and d.day <= o.built_until)
         as days_to_rebuild,
       o.workspace_id
  from kudos.limits o;
comment on view report.data_freshness is
  'How far the figures reach, and what is known to be missing from them. Lost, missing and quarantined are about the whole service.';
comment on column report.data_freshness.workspace is 'The workspace.';
comment on column report.data_freshness.last_hour is 'Hour of the latest click stored; null: none yet.';
comment on column report.data_freshness.stored_at is 'When clicks (of any workspace) were last stored; null: never.';
comment on column report.data_freshness.clicks_kept_from is 'Single clicks before this time have been dropped; null: none have.';
comment on column report.data_freshness.lost_clicks is 'Clicks that were answered but could not be recorded (disk full); 0 is what you want to see.';
comment on column report.data_freshness.missing_events is 'Recorded events that could not be read any more; 0 is what you want to see.';
comment on column report.data_freshness.quarantined is 'Clicks that are held back since the database refused them; see kudos.quarantine.';
comment on column report.data_freshness.daily_until is 'The last day whose figures are counted ahead; later ones come from single clicks.';
comment on column report.data_freshness.days_to_rebuild is 'Days before that to which clicks have come late or changed, and that are about to be counted again.';
comment on column report.data_freshness.workspace_id is 'The workspace.';

grant select on all tables in schema report to kudos_analyst;

-- Reports name many partitions and few rows: compiling a query takes seconds, running it milliseconds.
do $$
begin
  execute format('alter database %I set jit = off', current_database());
exception
  when insufficient_privilege then
    raise notice 'this role does not own the database: set jit = off yourself, or reports take seconds longer';
end
$$;
