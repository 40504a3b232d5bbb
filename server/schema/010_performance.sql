-- Campaigns side by side: what they were to bring, what they reached, what they sold.

create view report.campaign_performance as
select w.name as workspace,
       a.slug as campaign,
       a.name,
       a.objective,
       a.status,
       a.starts_at,
       a.ends_at,
       p.influencers,
       coalesce(h.human, 0)::bigint as clicks,
       (coalesce(h.clicks, 0) - coalesce(h.human, 0))::bigint as filtered_clicks,
       coalesce(s.conversions, 0)::bigint as conversions,
       coalesce(s.refunds, 0)::bigint as refunds,
       coalesce(s.revenue_minor, 0)::bigint as revenue_minor,
       s.currency,
       case when h.human > 0 then round(coalesce(s.conversions, 0)::numeric / h.human, 4) end as conversion_rate,
       a.budget_minor,
       a.budget_currency,
       m.posts,
       m.reach,
       m.impressions,
       m.engagements,
       m.sentiment,
       a.targets,
       a.id as campaign_id,
       a.workspace_id
  from kudos.campaigns a
  join kudos.workspaces w on w.id = a.workspace_id
  left join lateral (
    select count(distinct x.influencer_id) as influencers
      from (select influencer_id from kudos.links where campaign_id = a.id
            union all select influencer_id from kudos.codes where campaign_id = a.id) x) p on true
  left join lateral (
    select sum(n.clicks) as clicks, sum(n.human) as human
      from kudos.links l join kudos.clicks_hourly n on n.link_id = l.id
     where l.campaign_id = a.id) h on true
  left join lateral (
    select c.currency,
           count(*) filter (where c.event <> 'refund') as conversions,
           count(*) filter (where c.event = 'refund') as refunds,
           sum(c.amount_minor) as revenue_minor
      from kudos.conversions c
     where c.campaign_id = a.id and c.status = 'credited'
     group by c.currency) s on true
  left join lateral (
    select count(*) as posts, sum(n.reach)::bigint as reach, sum(n.impressions)::bigint as impressions,
           sum(n.engagements)::bigint as engagements, round(avg(n.sentiment), 3) as sentiment
      from kudos.posts o
      left join lateral (
        select reach, impressions, engagements, sentiment from kudos.post_metrics
         where post_id = o.id order by taken_at desc, id desc limit 1) n on true
     where o.campaign_id = a.id) m on true;
comment on view report.campaign_performance is
  'What each campaign reached and sold, over its whole life, a row per currency (and one without, for conversions that have no amount). Do not add clicks over currencies. Conversions are those credited, of a split the campaign of the larger or first share.';
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

create view report.payouts_due as
select w.name as workspace,
       i.handle as influencer,
       a.slug as campaign,
       p.status,
       p.total_minor,
       p.currency,
       p.due_on,
       p.due_on - (now() at time zone w.time_zone)::date as days_left,
       coalesce(p.due_on < (now() at time zone w.time_zone)::date, false) as overdue,
       p.period_from,
       p.period_to,
       p.reference,
       p.id as payout_id,
       p.influencer_id,
       p.workspace_id
  from kudos.payouts p
  join kudos.workspaces w on w.id = p.workspace_id
  join kudos.influencers i on i.id = p.influencer_id
  left join kudos.campaigns a on a.id = p.campaign_id
 where p.status in ('open', 'approved');
comment on view report.payouts_due is
  'What has not been paid yet, and how soon it is due: where days_left <= 14 is what falls due in the next two weeks.';
comment on column report.payouts_due.workspace is 'The workspace that pays.';
comment on column report.payouts_due.influencer is 'Handle of who is paid.';
comment on column report.payouts_due.campaign is 'Slug of the campaign; null: none in particular.';
comment on column report.payouts_due.status is 'open: being put together. approved: to be paid.';
comment on column report.payouts_due.total_minor is 'Total in minor units.';
comment on column report.payouts_due.currency is 'Currency (ISO 4217).';
comment on column report.payouts_due.due_on is 'When it is due; null: no date yet.';
comment on column report.payouts_due.days_left is 'Days until then by the workspace''s calendar, below zero if it is late; null: no date yet.';
comment on column report.payouts_due.overdue is 'True if it should have been paid.';
comment on column report.payouts_due.period_from is 'First day that it is for; null: not set.';
comment on column report.payouts_due.period_to is 'Last day that it is for; null: not set.';
comment on column report.payouts_due.reference is 'Reference of the payment; null: none yet.';
comment on column report.payouts_due.payout_id is 'The payout.';
comment on column report.payouts_due.influencer_id is 'Who is paid.';
comment on column report.payouts_due.workspace_id is 'The workspace.';
