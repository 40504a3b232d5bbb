-- What campaigns, influencers and links brought, and what they cost: clicks from closed days and what has
-- come since, sales from conversions and attributions, cost from what contracts have earned, as report.earnings has it.

drop view report.campaign_performance, report.influencer_performance, report.link_performance;

create function kudos.contract_costs(which bigint)
returns table (campaign_id bigint, currency text, amount_minor numeric)
language sql stable security definer set search_path = '' as $$
  select l.campaign_id, l.currency, sum(l.amount_minor) from kudos.contract_lines(which) l group by 1, 2
$$;
comment on function kudos.contract_costs(bigint) is
  'What a contract has earned, by campaign and currency. Analysts, who have no right to the tables behind it, call it by views.';

-- A row per currency in which the campaign sold or costs something.
create view report.campaign_performance as
select w.name as workspace, a.slug as campaign, a.name, a.objective, a.status, a.starts_at, a.ends_at, p.influencers,
       coalesce(h.human, 0)::bigint as clicks,
       (coalesce(h.clicks, 0) - coalesce(h.human, 0))::bigint as filtered_clicks,
       coalesce(s.conversions, 0)::bigint as conversions,
       coalesce(s.refunds, 0)::bigint as refunds,
       coalesce(s.revenue_minor, 0)::bigint as revenue_minor,
       s.currency,
       case when h.human > 0 then round(coalesce(s.conversions, 0)::numeric / h.human, 4) end as conversion_rate,
       a.budget_minor, a.budget_currency, m.posts, m.reach, m.impressions, m.engagements, m.sentiment, a.targets,
       a.id as campaign_id, a.workspace_id,
       coalesce(h.visitors, 0)::bigint as visitors,
       coalesce(h.unidentified, 0)::bigint as unidentified,
       coalesce(h.filtered_by, '{}') as filtered_by,
       coalesce(s.leads, 0)::bigint as leads,
       coalesce(s.sales, 0)::bigint as sales,
       coalesce(s.refunded_minor, 0)::bigint as refunded_minor,
       coalesce(s.cost_minor, 0)::bigint as cost_minor,
       case when s.cost_minor > 0 then round((coalesce(s.revenue_minor, 0) - s.cost_minor)::numeric / s.cost_minor, 4) end as roi,
       case when h.human > 0 then round(coalesce(s.revenue_minor, 0)::numeric / h.human, 2) end as epc_minor,
       case when s.sales > 0 then round(coalesce(s.cost_minor, 0)::numeric / s.sales, 2) end as cac_minor,
       case when m.reach > 0 then round(m.engagements::numeric / m.reach, 4) end as engagement_rate,
       coalesce(t.progress, '{}') as progress
  from kudos.campaigns a
  join kudos.workspaces w on w.id = a.workspace_id
  left join lateral (
    select count(distinct x.influencer_id) as influencers
      from (select influencer_id from kudos.links where campaign_id = a.id
            union all select influencer_id from kudos.codes where campaign_id = a.id) x) p on true
  left join lateral (
    select sum(d.clicks) as clicks, sum(d.human) as human, sum(d.visitors) as visitors, sum(d.unidentified) as unidentified,
           jsonb_strip_nulls(jsonb_build_object('bot', nullif(sum(d.bot), 0), 'preview', nullif(sum(d.preview), 0),
             'prefetch', nullif(sum(d.prefetch), 0), 'datacenter', nullif(sum(d.datacenter), 0),
             'invalid', nullif(sum(d.invalid), 0), 'internal', nullif(sum(d.internal), 0))) as filtered_by
      from kudos.limits o
     cross join lateral (
       select u.clicks, u.human, u.visitors, u.unidentified, u.bot, u.preview, u.prefetch, u.datacenter, u.invalid, u.internal
         from kudos.uniques_daily u
        where u.grain = 'campaign' and u.campaign_id = a.id and u.day <= o.built_until
        union all
       select g.clicks, g.human, 0, 0, case when g.verdict = 'bot' then g.clicks end,
              case when g.verdict = 'preview' then g.clicks end, case when g.verdict = 'prefetch' then g.clicks end,
              case when g.verdict = 'datacenter' then g.clicks end, case when g.verdict = 'invalid' then g.clicks end,
              case when g.verdict = 'internal' then g.clicks end
         from kudos.links l join kudos.clicks_hourly g on g.link_id = l.id and g.hour >= o.open_from
        where l.campaign_id = a.id) d
     where o.workspace_id = a.workspace_id) h on true
  left join lateral (
    select n.currency, sum(n.conversions) as conversions, sum(n.refunds) as refunds, sum(n.leads) as leads,
           sum(n.sales) as sales, sum(n.revenue_minor) as revenue_minor, sum(n.refunded_minor) as refunded_minor,
           sum(n.cost_minor) as cost_minor
      from (select c.currency,
                   count(*) filter (where c.event <> 'refund') as conversions,
                   count(*) filter (where c.event = 'refund') as refunds,
                   count(*) filter (where c.event = 'sale') as sales,
                   count(*) filter (where c.event in ('lead', 'signup', 'install')) as leads,
                   sum(c.amount_minor) as revenue_minor,
                   -sum(c.amount_minor) filter (where c.event = 'refund') as refunded_minor,
                   null::numeric as cost_minor
              from kudos.conversions c
             where c.campaign_id = a.id and c.status = 'credited'
             group by c.currency
             union all
            select e.currency, 0, 0, 0, 0, null, null, sum(e.amount_minor)
              from (select k.id, null::bigint as campaign_id from kudos.contracts k
                     where k.campaign_id = a.id and k.agreed_at is not null
                     union all
                    select k.id, a.id from kudos.contracts k
                     where k.campaign_id is null and k.workspace_id = a.workspace_id and k.agreed_at is not null) k
             cross join lateral kudos.contract_costs(k.id) e
             where k.campaign_id is null or e.campaign_id = k.campaign_id
             group by e.currency having sum(e.amount_minor) <> 0) n
     group by n.currency) s on true
  left join lateral (
    select count(*) as posts, sum(n.reach)::bigint as reach, sum(n.impressions)::bigint as impressions,
           sum(n.engagements)::bigint as engagements, round(avg(n.sentiment), 3) as sentiment
      from kudos.posts o
      left join lateral (
        select reach, impressions, engagements, sentiment from kudos.post_metrics
         where post_id = o.id order by taken_at desc, id desc limit 1) n on true
     where o.campaign_id = a.id) m on true
  left join lateral (
    select jsonb_object_agg(g.key, jsonb_build_object('target', g.value, 'reached', g.reached, 'percent',
             case when g.wanted > 0 then round(100 * g.reached / g.wanted, 1) end)) as progress
      from (select e.key, e.value,
                   case when e.key = 'revenue' then (e.value ->> 'amount_minor')::numeric else (e.value #>> '{}')::numeric end as wanted,
                   case e.key when 'reach' then m.reach when 'impressions' then m.impressions
                     when 'engagements' then m.engagements when 'clicks' then coalesce(h.human, 0)
                     when 'visits' then coalesce(h.visitors, 0) when 'leads' then coalesce(s.leads, 0)
                     when 'conversions' then coalesce(s.conversions, 0) when 'sales' then coalesce(s.sales, 0)
                     when 'posts' then m.posts when 'sentiment' then m.sentiment
                     when 'revenue' then case when e.value ->> 'currency' = s.currency then coalesce(s.revenue_minor, 0) end
                     when 'conversion_rate' then coalesce(s.conversions, 0)::numeric / nullif(h.human, 0)
                     when 'engagement_rate' then m.engagements::numeric / nullif(m.reach, 0)
                     when 'roi' then (coalesce(s.revenue_minor, 0) - s.cost_minor) / nullif(s.cost_minor, 0)
                   end::numeric as reached
              from jsonb_each(a.targets) e) g) t on true;
comment on view report.campaign_performance is
  'What each campaign reached, sold and cost, over its whole life, a row per currency (and one without, for conversions that have no amount). Do not add clicks over currencies. Conversions are those credited, of a split the campaign of the larger or first share. Clicks that were imported are in report.imported_clicks alone.';
comment on column report.campaign_performance.workspace is 'The workspace that runs it.';
comment on column report.campaign_performance.campaign is 'Slug of the campaign.';
comment on column report.campaign_performance.name is 'Its name for people.';
comment on column report.campaign_performance.objective is 'What it is for.';
comment on column report.campaign_performance.status is 'draft, active, paused, ended or archived.';
comment on column report.campaign_performance.starts_at is 'When it starts; null: not set.';
comment on column report.campaign_performance.ends_at is 'When it ends; null: not set.';
comment on column report.campaign_performance.influencers is 'How many have a link or a code of it.';
comment on column report.campaign_performance.clicks is 'Clicks of people on its links.';
comment on column report.campaign_performance.filtered_clicks is 'Clicks that are not counted: bots, previews, prefetches and so on.';
comment on column report.campaign_performance.conversions is 'Conversions credited to it; refunds left out.';
comment on column report.campaign_performance.refunds is 'Refunds of those.';
comment on column report.campaign_performance.revenue_minor is 'Their value in minor units, refunds taken off.';
comment on column report.campaign_performance.currency is 'Original currency; null: no conversions, or none with an amount.';
comment on column report.campaign_performance.conversion_rate is 'Conversions per click; null: no clicks.';
comment on column report.campaign_performance.budget_minor is 'The budget in minor units of budget_currency; null: not set.';
comment on column report.campaign_performance.budget_currency is 'Currency of the budget; null: not set.';
comment on column report.campaign_performance.posts is 'Posts entered for it.';
comment on column report.campaign_performance.reach is 'People its posts reached, by the newest figures of each; null: none entered.';
comment on column report.campaign_performance.impressions is 'How often they were shown; null: none entered.';
comment on column report.campaign_performance.engagements is 'Likes, comments and so on; null: none entered.';
comment on column report.campaign_performance.sentiment is 'Average tone of the posts, -1 to 1; null: none entered.';
comment on column report.campaign_performance.targets is 'What it should reach, by KPI.';
comment on column report.campaign_performance.campaign_id is 'The campaign.';
comment on column report.campaign_performance.workspace_id is 'The workspace.';
comment on column report.campaign_performance.visitors is 'Different people with a pseudonym of closed days, counted anew each day and added up over days.';
comment on column report.campaign_performance.unidentified is 'Clicks of people without one (Sec-GPC, DNT), of closed days.';
comment on column report.campaign_performance.filtered_by is 'filtered_clicks by verdict: {"bot": …, "preview": …}. Rules are in report.filtered.';
comment on column report.campaign_performance.leads is 'Of the conversions, leads, sign-ups and installs.';
comment on column report.campaign_performance.sales is 'Of the conversions, sales.';
comment on column report.campaign_performance.refunded_minor is 'What refunds took back, above zero; it is off in revenue_minor already.';
comment on column report.campaign_performance.cost_minor is 'What influencers have earned with it in this currency (report.earnings).';
comment on column report.campaign_performance.roi is '(revenue - cost) / cost; null: no cost in this currency.';
comment on column report.campaign_performance.epc_minor is 'Revenue per click, in minor units; null: no clicks.';
comment on column report.campaign_performance.cac_minor is 'Cost per sale, in minor units; null: no sales.';
comment on column report.campaign_performance.engagement_rate is 'Engagements per person reached; null: unknown.';
comment on column report.campaign_performance.progress is 'Each target with what is reached and the percentage: {"clicks": {"target", "reached", "percent"}}.';

create view report.influencer_performance as
with pairs as (
  select workspace_id, influencer_id, campaign_id from kudos.links where influencer_id is not null
   union
  select workspace_id, influencer_id, campaign_id from kudos.codes where influencer_id is not null
   union
  select workspace_id, influencer_id, campaign_id from kudos.contracts
   union
  select workspace_id, influencer_id, campaign_id from kudos.click_pairs
   union
  select i.workspace_id, t.influencer_id, t.campaign_id
    from (select influencer_id, campaign_id from kudos.attributions
           where won and influencer_id is not null group by 1, 2) t
    join kudos.influencers i on i.id = t.influencer_id)
select w.name as workspace, i.handle as influencer, a.slug as campaign,
       coalesce(h.human, 0)::bigint as clicks,
       (coalesce(h.clicks, 0) - coalesce(h.human, 0))::bigint as filtered_clicks,
       coalesce(s.conversions, 0)::bigint as conversions,
       coalesce(s.refunds, 0)::bigint as refunds,
       coalesce(s.revenue_minor, 0)::bigint as revenue_minor,
       s.currency,
       case when h.human > 0 then round(coalesce(s.conversions, 0)::numeric / h.human, 4) end as conversion_rate,
       p.influencer_id, p.campaign_id, p.workspace_id,
       coalesce(h.visitors, 0)::bigint as visitors,
       coalesce(s.refunded_minor, 0)::bigint as refunded_minor,
       coalesce(s.cost_minor, 0)::bigint as cost_minor,
       case when s.cost_minor > 0 then round((coalesce(s.revenue_minor, 0) - s.cost_minor)::numeric / s.cost_minor, 4) end as roi,
       case when h.human > 0 then round(coalesce(s.revenue_minor, 0)::numeric / h.human, 2) end as epc_minor,
       coalesce(h.human_28, 0)::bigint as clicks_28_days,
       coalesce(h.human_56, 0)::bigint as clicks_28_days_before,
       case when h.human_56 > 0 then round(100.0 * (h.human_28 - h.human_56) / h.human_56, 1) end as trend_percent,
       h.first_day, h.last_day
  from pairs p
  join kudos.workspaces w on w.id = p.workspace_id
  join kudos.influencers i on i.id = p.influencer_id
  left join kudos.campaigns a on a.id = p.campaign_id
  left join lateral (
    select sum(d.clicks) as clicks, sum(d.human) as human, sum(d.visitors) as visitors,
           coalesce(sum(d.human) filter (where d.day > (now() at time zone w.time_zone)::date - 28), 0) as human_28,
           coalesce(sum(d.human) filter (where d.day > (now() at time zone w.time_zone)::date - 56
                                           and d.day <= (now() at time zone w.time_zone)::date - 28), 0) as human_56,
           min(d.day) as first_day, max(d.day) as last_day
      from (select u.day, u.clicks, u.human, u.visitors
              from kudos.limits o
              join kudos.uniques_daily u on u.grain = 'pair' and u.influencer_id = p.influencer_id
               and u.campaign_id is not distinct from p.campaign_id and u.day <= o.built_until
             where o.workspace_id = p.workspace_id
             union all
            select (g.hour at time zone o.time_zone)::date, g.clicks, g.human, null
              from kudos.limits o
              join kudos.links l on l.influencer_id = p.influencer_id and l.campaign_id is not distinct from p.campaign_id
              join kudos.clicks_hourly g on g.link_id = l.id and g.hour >= o.open_from
             where o.workspace_id = p.workspace_id) d) h on true
  left join lateral (
    select n.currency, sum(n.conversions) as conversions, sum(n.refunds) as refunds,
           sum(n.revenue_minor) as revenue_minor, sum(n.refunded_minor) as refunded_minor, sum(n.cost_minor) as cost_minor
      from (select c.currency,
                   count(*) filter (where c.event <> 'refund') as conversions,
                   count(*) filter (where c.event = 'refund') as refunds,
                   sum(t.amount_minor) as revenue_minor,
                   -sum(t.amount_minor) filter (where c.event = 'refund') as refunded_minor,
                   null::numeric as cost_minor
              from kudos.attributions t join kudos.conversions c on c.id = t.conversion_id
             where t.won and t.influencer_id = p.influencer_id
               and t.campaign_id is not distinct from p.campaign_id
             group by c.currency
             union all
            select e.currency, 0, 0, null, null, sum(e.amount_minor)
              from kudos.contracts k cross join lateral kudos.contract_costs(k.id) e
             where k.influencer_id = p.influencer_id and k.agreed_at is not null
               and (k.campaign_id is null or k.campaign_id = p.campaign_id)
               and coalesce(k.campaign_id, e.campaign_id) is not distinct from p.campaign_id
             group by e.currency having sum(e.amount_minor) <> 0) n
     group by n.currency) s on true;
comment on view report.influencer_performance is
  'What each influencer brought to each campaign, and cost: a row per currency (and one without, for conversions that have no amount). Do not add clicks over currencies. report.influencer_lifetime has all campaigns together.';
comment on column report.influencer_performance.workspace is 'The workspace.';
comment on column report.influencer_performance.influencer is 'Handle of the influencer.';
comment on column report.influencer_performance.campaign is 'Slug of the campaign; null: links and codes outside of any.';
comment on column report.influencer_performance.clicks is 'Clicks of people on their links of this campaign.';
comment on column report.influencer_performance.filtered_clicks is 'Clicks that are not counted: bots, previews, prefetches and so on.';
comment on column report.influencer_performance.conversions is 'Conversions they are credited with, also by half; refunds left out.';
comment on column report.influencer_performance.refunds is 'Refunds among those.';
comment on column report.influencer_performance.revenue_minor is 'What they are credited with in minor units, refunds taken off.';
comment on column report.influencer_performance.currency is 'Original currency; null: no conversions, or none with an amount.';
comment on column report.influencer_performance.conversion_rate is 'Conversions per click; null: no clicks.';
comment on column report.influencer_performance.influencer_id is 'The influencer.';
comment on column report.influencer_performance.campaign_id is 'The campaign; null: none.';
comment on column report.influencer_performance.workspace_id is 'The workspace.';
comment on column report.influencer_performance.visitors is 'Different people of closed days, counted anew each day and added up over days.';
comment on column report.influencer_performance.refunded_minor is 'What refunds took back, above zero; it is off in revenue_minor already.';
comment on column report.influencer_performance.cost_minor is 'What they have earned with it in this currency (report.earnings).';
comment on column report.influencer_performance.roi is '(revenue - cost) / cost; null: no cost in this currency.';
comment on column report.influencer_performance.epc_minor is 'Revenue per click, in minor units; null: no clicks.';
comment on column report.influencer_performance.clicks_28_days is 'Clicks of people today and in the 27 days before.';
comment on column report.influencer_performance.clicks_28_days_before is 'Clicks of people in the 28 days before those.';
comment on column report.influencer_performance.trend_percent is 'By how much the former are more than the latter; null: there were none.';
comment on column report.influencer_performance.first_day is 'Day of the first click; null: none.';
comment on column report.influencer_performance.last_day is 'Day of the latest click; null: none.';

create view report.influencer_lifetime as
select w.name as workspace, i.handle as influencer, i.status,
       (select count(distinct x.campaign_id) from (
          select campaign_id from kudos.links where influencer_id = i.id
           union all select campaign_id from kudos.codes where influencer_id = i.id) x) as campaigns,
       coalesce(h.human, 0)::bigint as clicks,
       (coalesce(h.clicks, 0) - coalesce(h.human, 0))::bigint as filtered_clicks,
       coalesce(h.visitors, 0)::bigint as visitors,
       coalesce(s.conversions, 0) as conversions,
       coalesce(s.refunds, 0) as refunds,
       coalesce(s.revenue_minor, 0) as revenue_minor,
       coalesce(s.refunded_minor, 0) as refunded_minor,
       coalesce(s.cost_minor, 0) as cost_minor,
       s.currency,
       case when h.human > 0 then round(coalesce(s.conversions, 0)::numeric / h.human, 4) end as conversion_rate,
       case when s.cost_minor > 0 then round((s.revenue_minor - s.cost_minor)::numeric / s.cost_minor, 4) end as roi,
       case when h.human > 0 then round(coalesce(s.revenue_minor, 0)::numeric / h.human, 2) end as epc_minor,
       coalesce(h.human_28, 0)::bigint as clicks_28_days,
       coalesce(h.human_56, 0)::bigint as clicks_28_days_before,
       case when h.human_56 > 0 then round(100.0 * (h.human_28 - h.human_56) / h.human_56, 1) end as trend_percent,
       h.first_day, h.last_day, i.id as influencer_id, i.workspace_id
  from kudos.influencers i
  join kudos.workspaces w on w.id = i.workspace_id
  left join lateral (
    select sum(u.clicks) as clicks, sum(u.human) as human, sum(u.visitors) as visitors,
           coalesce(sum(u.human) filter (where u.day >= o.built_until - 27), 0) as human_28,
           coalesce(sum(u.human) filter (where u.day between o.built_until - 55 and o.built_until - 28), 0) as human_56,
           min(u.day) as first_day, max(u.day) as last_day
      from kudos.limits o
      join kudos.uniques_daily u on u.grain = 'influencer' and u.influencer_id = i.id and u.day <= o.built_until
     where o.workspace_id = i.workspace_id) h on true
  left join lateral (
    select n.currency, sum(n.conversions)::bigint as conversions, sum(n.refunds)::bigint as refunds,
           sum(n.revenue_minor)::bigint as revenue_minor, sum(n.refunded_minor)::bigint as refunded_minor,
           sum(n.cost_minor)::bigint as cost_minor
      from (select c.currency, count(*) filter (where c.event <> 'refund') as conversions,
                   count(*) filter (where c.event = 'refund') as refunds, sum(t.amount_minor) as revenue_minor,
                   -sum(t.amount_minor) filter (where c.event = 'refund') as refunded_minor, null::numeric as cost_minor
              from kudos.attributions t join kudos.conversions c on c.id = t.conversion_id
             where t.won and t.influencer_id = i.id
             group by c.currency
             union all
            select e.currency, 0, 0, null, null, sum(e.amount_minor)
              from kudos.contracts k cross join lateral kudos.contract_costs(k.id) e
             where k.influencer_id = i.id and k.agreed_at is not null
             group by e.currency having sum(e.amount_minor) <> 0) n
     group by n.currency) s on true;
comment on view report.influencer_lifetime is
  'What each influencer brought over all campaigns and the whole time, up to the last closed day: a row per currency. Do not add clicks over currencies.';
comment on column report.influencer_lifetime.workspace is 'The workspace.';
comment on column report.influencer_lifetime.influencer is 'Handle of the influencer.';
comment on column report.influencer_lifetime.status is 'active, paused or archived.';
comment on column report.influencer_lifetime.campaigns is 'In how many campaigns they have a link or a code.';
comment on column report.influencer_lifetime.clicks is 'Clicks of people on their links, of closed days.';
comment on column report.influencer_lifetime.filtered_clicks is 'Clicks that are not counted, of closed days.';
comment on column report.influencer_lifetime.visitors is 'Different people of closed days, whatever campaign; counted anew each day.';
comment on column report.influencer_lifetime.conversions is 'Conversions they are credited with, also by half; refunds left out.';
comment on column report.influencer_lifetime.refunds is 'Refunds among those.';
comment on column report.influencer_lifetime.revenue_minor is 'What they are credited with in minor units, refunds taken off.';
comment on column report.influencer_lifetime.refunded_minor is 'What refunds took back, above zero.';
comment on column report.influencer_lifetime.cost_minor is 'What they have earned in this currency (report.earnings).';
comment on column report.influencer_lifetime.currency is 'Original currency; null: no conversions, or none with an amount.';
comment on column report.influencer_lifetime.conversion_rate is 'Conversions per click; null: no clicks.';
comment on column report.influencer_lifetime.roi is '(revenue - cost) / cost; null: no cost in this currency.';
comment on column report.influencer_lifetime.epc_minor is 'Revenue per click, in minor units; null: no clicks.';
comment on column report.influencer_lifetime.clicks_28_days is 'Clicks of people in the last 28 closed days.';
comment on column report.influencer_lifetime.clicks_28_days_before is 'Clicks of people in the 28 days before those.';
comment on column report.influencer_lifetime.trend_percent is 'By how much the former are more than the latter; null: there were none.';
comment on column report.influencer_lifetime.first_day is 'Day of the first click; null: none.';
comment on column report.influencer_lifetime.last_day is 'Day of the latest click; null: none.';
comment on column report.influencer_lifetime.influencer_id is 'The influencer.';
comment on column report.influencer_lifetime.workspace_id is 'The workspace.';

create view report.link_performance as
select w.name as workspace, l.id as link_id, d.host as domain, l.slug, l.title, l.destination, l.state,
       a.name as campaign, i.handle as influencer, l.created_at,
       (coalesce(u.clicks, 0) + coalesce(h.clicks, 0))::bigint as clicks,
       (coalesce(u.human, 0) + coalesce(h.human, 0))::bigint as human,
       (coalesce(u.clicks, 0) + coalesce(h.clicks, 0) - coalesce(u.human, 0) - coalesce(h.human, 0))::bigint as not_human,
       coalesce(h.human_day, 0)::bigint as human_24_hours,
       coalesce(h.human_week, 0)::bigint as human_7_days,
       (select n.hour from kudos.clicks_hourly n where n.link_id = l.id order by n.hour limit 1) as first_hour,
       (select n.hour from kudos.clicks_hourly n where n.link_id = l.id order by n.hour desc limit 1) as last_hour,
       coalesce(u.visitors, 0)::bigint as visitors,
       coalesce(s.conversions, 0)::bigint as conversions,
       coalesce(s.refunds, 0)::bigint as refunds,
       coalesce(s.revenue_minor, '{}') as revenue_minor,
       case when coalesce(u.human, 0) + coalesce(h.human, 0) > 0
            then round(coalesce(s.conversions, 0)::numeric / (coalesce(u.human, 0) + coalesce(h.human, 0)), 4) end as conversion_rate,
       a.slug as campaign_slug, l.campaign_id, l.influencer_id, l.workspace_id
  from kudos.links l
  join (select workspace_id, workspace as name, built_until, open_from from kudos.limits) w on w.workspace_id = l.workspace_id
  join kudos.domains d on d.id = l.domain_id
  left join kudos.campaigns a on a.id = l.campaign_id
  left join kudos.influencers i on i.id = l.influencer_id
  left join lateral (
    select sum(n.clicks) as clicks, sum(n.human) as human, sum(n.visitors) as visitors
      from kudos.uniques_daily n
     where n.grain = 'link' and n.link_id = l.id and n.day <= w.built_until) u on true
  left join lateral (
    select sum(n.clicks) filter (where n.hour >= w.open_from) as clicks,
           sum(n.human) filter (where n.hour >= w.open_from) as human,
           sum(n.human) filter (where n.hour > now() - interval '24 hours') as human_day,
           sum(n.human) filter (where n.hour > now() - interval '7 days') as human_week
      from kudos.clicks_hourly n
     where n.link_id = l.id and n.hour >= least(w.open_from, now() - interval '7 days')) h on true
  left join lateral (
    select sum(n.conversions) as conversions, sum(n.refunds) as refunds,
           jsonb_object_agg(n.currency, n.minor) filter (where n.currency is not null) as revenue_minor
      from (select c.currency, count(*) filter (where c.event <> 'refund') as conversions,
                   count(*) filter (where c.event = 'refund') as refunds, sum(t.amount_minor) as minor
              from kudos.attributions t join kudos.conversions c on c.id = t.conversion_id
             where t.won and t.link_id = l.id
             group by c.currency) n) s on true;
comment on view report.link_performance is
  'One row per link, also those without clicks, over the whole of its life. Campaign and influencer are those of today.';
comment on column report.link_performance.workspace is 'The workspace that owns the link.';
comment on column report.link_performance.link_id is 'The link.';
comment on column report.link_performance.domain is 'Host of the short link.';
comment on column report.link_performance.slug is 'What stands behind its slash.';
comment on column report.link_performance.title is 'Name for people; null: none.';
comment on column report.link_performance.destination is 'Where it leads now.';
comment on column report.link_performance.state is 'active, disabled or archived.';
comment on column report.link_performance.campaign is 'Name of its campaign; null: none.';
comment on column report.link_performance.influencer is 'Its influencer; null: none.';
comment on column report.link_performance.created_at is 'When it was made.';
comment on column report.link_performance.clicks is 'All clicks, of any verdict.';
comment on column report.link_performance.human is 'Clicks by people.';
comment on column report.link_performance.not_human is 'All other clicks: bots, previews, prefetching …';
comment on column report.link_performance.human_24_hours is 'Clicks by people in the last 24 hours, to within an hour.';
comment on column report.link_performance.human_7_days is 'Clicks by people in the last 7 days, to within an hour.';
comment on column report.link_performance.first_hour is 'Hour of the first click; null: none yet.';
comment on column report.link_performance.last_hour is 'Hour of the latest click; null: none yet.';
comment on column report.link_performance.visitors is 'Different people of closed days, counted anew each day and added up over days.';
comment on column report.link_performance.conversions is 'Conversions credited to a click on it, also by half; refunds left out.';
comment on column report.link_performance.refunds is 'Refunds of those.';
comment on column report.link_performance.revenue_minor is 'What is credited to it in minor units by currency, refunds taken off: {"EUR": 4990}.';
comment on column report.link_performance.conversion_rate is 'Conversions per click of people; null: no clicks.';
comment on column report.link_performance.campaign_slug is 'Slug of its campaign; null: none.';
comment on column report.link_performance.campaign_id is 'The campaign; null: none.';
comment on column report.link_performance.influencer_id is 'The influencer; null: none.';
comment on column report.link_performance.workspace_id is 'The workspace.';

grant select on all tables in schema report to kudos_analyst;
