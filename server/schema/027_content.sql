-- Codes and content of campaigns with a hundred thousand sales: the same columns and figures, but what is the same for
-- many rows is looked up once. In report.content, what was sold and has no clicks of its variant yet is there, too.

create or replace view report.code_leakage as
with uses as (
  select k.id, k.workspace_id, w.name as workspace, k.code, k.campaign_id, a.slug as campaign, k.influencer_id, k.status,
         coalesce(c.uses, 0) as uses, coalesce(c.without_click, 0) as without_click,
         coalesce(c.from_coupon_sites, 0) as from_coupon_sites, coalesce(c.others_click, 0) as others_click,
         coalesce(h.human, 0) as clicks
    from kudos.codes k
    join kudos.workspaces w on w.id = k.workspace_id
    left join kudos.campaigns a on a.id = k.campaign_id
    left join lateral (
      -- Clicks are looked up one by one, since the planner takes a code to be used by half of everybody; hosts once each.
      select sum(g.uses)::bigint as uses, sum(g.without_click)::bigint as without_click,
             sum(g.uses) filter (where kudos.is_coupon_site(g.referrer_host))::bigint as from_coupon_sites,
             sum(g.others_click)::bigint as others_click
        from (select f.referrer_host, count(*) as uses, count(*) filter (where c.click_id is null) as without_click,
                     count(*) filter (where l.influencer_id <> k.influencer_id) as others_click
                from kudos.conversions c
                left join kudos.links l on l.id = c.click_link_id
               cross join lateral (
                 select (select n.referrer_host from kudos.conversion_clicks n where n.conversion_id = c.id)) f (referrer_host)
               where c.workspace_id = k.workspace_id and lower(c.code) = lower(k.code) and c.event <> 'refund'
               group by f.referrer_host) g) c on true
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

create or replace view report.content as
with counted as (
  select l.id as link_id, l.workspace_id, l.campaign_id, l.influencer_id, l.slug, n.*
    from kudos.links l
    join kudos.limits o on o.workspace_id = l.workspace_id
   cross join lateral (
     -- What the link sold is read once, not for each of its variants.
     with sold as materialized (
       select f.variant, c.currency, count(*) filter (where c.event <> 'refund') as conversions,
              count(*) filter (where c.event = 'refund') as refunds, sum(t.amount_minor) as revenue_minor
         from kudos.attributions t
         join kudos.conversions c on c.id = t.conversion_id
         left join lateral (
           select s.id from kudos.conversions s
            where c.event = 'refund' and s.workspace_id = c.workspace_id and s.event = 'sale' and s.order_id = c.order_id) sale on true
         left join kudos.conversion_clicks f on f.conversion_id = coalesce(sale.id, c.id)
        where t.won and t.link_id = l.id
        group by f.variant, c.currency),
     clicked as (
       select v.variant, sum(v.clicks) as clicks, sum(v.human) as human
         from (select nullif(r.key, '')::smallint as variant, (r.value ->> 0)::bigint as clicks,
                      (r.value ->> 1)::bigint as human
                 from kudos.clicks_daily d cross join lateral jsonb_each(d.variant) r
                where d.link_id = l.id and r.key <> '(other)' and d.day <= o.built_until
                union all
               select variant, 0, 0 from sold) v
        group by v.variant)
     select v.variant, s.currency, v.clicks, v.human, coalesce(s.conversions, 0) as conversions,
            coalesce(s.refunds, 0) as refunds, coalesce(s.revenue_minor, 0) as revenue_minor
       from clicked v left join sold s on s.variant is not distinct from v.variant) n)
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
