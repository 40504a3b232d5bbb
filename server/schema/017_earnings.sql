-- Earnings: what contracts owe for what was brought, what of it is paid, and what falls due.
--
-- Nothing is added up beforehand. kudos.contract_lines() is all that a contract has earned, computed
-- from what is stored now, so that the order in which facts arrived cannot matter; kudos.payout_lines
-- is what payouts have frozen; the difference of the two (kudos.contract_statement) is what is still
-- to be paid, or to be taken back. Only clicks are counted ahead, a row for each link and day, since
-- single clicks are dropped one day and too many to count again each time.

-- Contracts: since when they hold ------------------------------------------------------------------

alter table kudos.contracts
  add column agreed_at timestamptz,
  add column ended_at timestamptz;
comment on column kudos.contracts.agreed_at is 'When it first became active; null: never, so that nothing is earned by it.';
comment on column kudos.contracts.ended_at is 'When it was ended or archived; null: it was not.';
update kudos.contracts
   set agreed_at = created_at, ended_at = case when status <> 'active' then updated_at end
 where status in ('active', 'ended') or (status = 'archived' and signed_on is not null);

create function kudos.contracts_agreed() returns trigger
language plpgsql set search_path = '' as $$
begin
  if new.status in ('active', 'ended') then
    new.agreed_at := coalesce(new.agreed_at, now());
  end if;
  if new.status in ('draft', 'active') then
    new.ended_at := null;
  elsif new.ended_at is null then
    new.ended_at := now();
  end if;
  return new;
end
$$;
comment on function kudos.contracts_agreed() is 'Sets agreed_at and ended_at of a contract.';
create trigger agreed before insert or update of status on kudos.contracts
  for each row execute function kudos.contracts_agreed();

create view kudos.terms as
select k.id as contract_id, k.workspace_id, k.influencer_id, k.campaign_id,
       coalesce(k.starts_on, (k.created_at at time zone w.time_zone)::date) as first_day,
       least(k.ends_on, (k.ended_at at time zone w.time_zone)::date, 'infinity') as last_day,
       (now() at time zone w.time_zone)::date as today,
       w.time_zone, k.flat_fee, k.per_click, k.per_lead, k.per_sale, k.revenue_share, k.tiers,
       k.bonuses, k.cap, k.payment_days, k.holding_days
  from kudos.contracts k join kudos.workspaces w on w.id = k.workspace_id
 where k.agreed_at is not null and k.status <> 'draft';
comment on view kudos.terms is
  'Contracts by which something is earned, with their days by the workspace''s calendar.';
comment on column kudos.terms.contract_id is 'The contract.';
comment on column kudos.terms.workspace_id is 'The workspace that pays.';
comment on column kudos.terms.influencer_id is 'With whom.';
comment on column kudos.terms.campaign_id is 'For which campaign; null: for all.';
comment on column kudos.terms.first_day is 'First day: starts_on, else the day it was made.';
comment on column kudos.terms.last_day is 'Last day: ends_on or the day it was ended, whichever is earlier; else infinity.';
comment on column kudos.terms.today is 'Today where the workspace is.';
comment on column kudos.terms.time_zone is 'The workspace''s.';
comment on column kudos.terms.flat_fee is 'As in kudos.contracts.';
comment on column kudos.terms.per_click is 'As in kudos.contracts.';
comment on column kudos.terms.per_lead is 'As in kudos.contracts.';
comment on column kudos.terms.per_sale is 'As in kudos.contracts.';
comment on column kudos.terms.revenue_share is 'As in kudos.contracts.';
comment on column kudos.terms.tiers is 'As in kudos.contracts.';
comment on column kudos.terms.bonuses is 'As in kudos.contracts.';
comment on column kudos.terms.cap is 'As in kudos.contracts.';
comment on column kudos.terms.payment_days is 'As in kudos.contracts.';
comment on column kudos.terms.holding_days is 'As in kudos.contracts.';

create function kudos.rivals_of(which bigint)
returns table (campaign_id bigint, first_day date, last_day date)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
  return query
  select o.campaign_id, o.first_day, o.last_day
    from kudos.terms k join kudos.terms o on o.influencer_id = k.influencer_id and o.contract_id <> k.contract_id
   where k.contract_id = which
     and (o.campaign_id is null or k.campaign_id is null or o.campaign_id = k.campaign_id)
     and (o.campaign_id is not null, o.first_day, o.contract_id)
       > (k.campaign_id is not null, k.first_day, k.contract_id);
end
$$;
comment on function kudos.rivals_of(bigint) is
  'For which campaigns and days another contract of the influencer pays instead: one for the campaign goes before one for all, then the one that began later.';

-- Clicks, a day at a time --------------------------------------------------------------------------

create table kudos.click_earnings_days (
  workspace_id bigint not null references kudos.workspaces (id),
  day date not null,
  closed boolean not null,
  counted_at timestamptz not null default clock_timestamp(),
  took interval not null,
  primary key (workspace_id, day)
);
comment on table kudos.click_earnings_days is 'Days whose valid clicks have been counted.';
comment on column kudos.click_earnings_days.workspace_id is 'The workspace.';
comment on column kudos.click_earnings_days.day is 'Day in the workspace''s time zone.';
comment on column kudos.click_earnings_days.closed is 'False while it goes on, or has ended only now: its clicks are not paid for yet.';
comment on column kudos.click_earnings_days.counted_at is 'When counting it began: what was stored by then is in.';
comment on column kudos.click_earnings_days.took is 'How long that took.';

create table kudos.click_earnings_daily (
  workspace_id bigint not null,
  day date not null,
  link_id bigint not null,
  influencer_id bigint not null,
  campaign_id bigint,
  identified bigint not null,
  unidentified bigint not null,
  human bigint not null,
  foreign key (workspace_id, day) references kudos.click_earnings_days (workspace_id, day)
);
create index click_earnings_daily_day on kudos.click_earnings_daily (workspace_id, day);
create index click_earnings_daily_influencer on kudos.click_earnings_daily (influencer_id, day);
comment on table kudos.click_earnings_daily is
  'Valid clicks per link and day, for workspaces that pay for clicks: identified + unidentified. Kept for ever; a day is counted again when late clicks arrive or an operator reclassifies some.';
comment on column kudos.click_earnings_daily.workspace_id is 'The workspace that owned the link.';
comment on column kudos.click_earnings_daily.day is 'Day in the workspace''s time zone.';
comment on column kudos.click_earnings_daily.link_id is 'The link.';
comment on column kudos.click_earnings_daily.influencer_id is 'Whose it was at the time of the clicks.';
comment on column kudos.click_earnings_daily.campaign_id is 'Its campaign at the time of the clicks; null: none.';
comment on column kudos.click_earnings_daily.identified is 'Visitors: the first click of each on that link and day.';
comment on column kudos.click_earnings_daily.unidentified is 'Clicks by people without a visitor value (Sec-GPC, DNT): each counts.';
comment on column kudos.click_earnings_daily.human is 'All clicks by people, repeated ones too.';

create function kudos.count_click_day(workspace bigint, which date) returns void
language plpgsql set search_path = '' as $$
declare
  begun timestamptz := clock_timestamp();
  zone text;
  low timestamptz;
  high timestamptz;
begin
  select time_zone into zone from kudos.workspaces where id = workspace;
  low := which::timestamp at time zone zone;
  high := (which + 1)::timestamp at time zone zone;
  delete from kudos.click_earnings_daily where workspace_id = workspace and day = which;
  -- Three hours for what is on its way; a day to which clicks come later is counted again.
  insert into kudos.click_earnings_days as d (workspace_id, day, closed, counted_at, took)
  values (workspace, which, now() >= high + interval '3 hours', begun, '0')
  on conflict (workspace_id, day) do update set closed = excluded.closed, counted_at = begun;
  insert into kudos.click_earnings_daily (workspace_id, day, link_id, influencer_id, campaign_id,
                                          identified, unidentified, human)
  select workspace, which, c.link_id, c.influencer_id, c.campaign_id,
         count(*) filter (where c.visitor is not null and c.nth = 1),
         count(*) filter (where c.visitor is null), count(*)
    from (select link_id, influencer_id, campaign_id, visitor,
                 row_number() over (partition by link_id, visitor order by time, origin, seq) as nth
            from kudos.clicks
           where time >= low and time < high and workspace_id = workspace and verdict = 'human') c
   where c.influencer_id is not null
   group by c.link_id, c.influencer_id, c.campaign_id;
  update kudos.click_earnings_days set took = clock_timestamp() - begun
   where workspace_id = workspace and day = which;
end
$$;
comment on function kudos.count_click_day(bigint, date) is
  'Counts the valid clicks of a day anew: those by people, of which a visitor''s first on a link and day.';

-- Days that contracts pay clicks for, and that can still be counted.
create view kudos.click_earnings_wanted as
select t.workspace_id, d.day::date as day, t.time_zone, t.today
  from (select t.workspace_id, t.time_zone, t.today, min(t.first_day) as first_day, max(least(t.last_day, t.today)) as last_day
          from kudos.terms t
         where t.per_click is not null or t.bonuses @> '[{"target": "clicks"}]'
         group by t.workspace_id, t.time_zone, t.today) t
 cross join (select kept_from, (select min(day) from kudos.click_days) as oldest from kudos.clicks_kept) n
 cross join lateral generate_series(
   greatest(t.first_day, n.oldest, case when isfinite(n.kept_from) then (n.kept_from at time zone t.time_zone)::date + 1 end)::timestamp,
   t.last_day::timestamp, interval '1 day') d (day);
comment on view kudos.click_earnings_wanted is 'Days whose clicks somebody is paid for and whose single clicks are all still there.';
comment on column kudos.click_earnings_wanted.workspace_id is 'The workspace.';
comment on column kudos.click_earnings_wanted.day is 'Day in the workspace''s time zone.';
comment on column kudos.click_earnings_wanted.time_zone is 'The workspace''s.';
comment on column kudos.click_earnings_wanted.today is 'Today where the workspace is.';

-- That clicks of a day have changed (late ones, kudos reclassify) is seen from kudos.days: its builder
-- makes the day's figures anew then, and with a newer built_at.
create function kudos.count_clicks(most integer) returns integer
language plpgsql set search_path = '' as $$
declare
  each record;
  counted integer := 0;
begin
  -- One at a time; others have nothing to wait for.
  if not pg_try_advisory_xact_lock(1802855535, 1017) then
    return 0;
  end if;
  for each in
    select w.workspace_id, w.day from kudos.click_earnings_wanted w
      left join kudos.click_earnings_days d on d.workspace_id = w.workspace_id and d.day = w.day
     where case when d.day is null then true
                when not d.closed then now() > d.counted_at + greatest(interval '1 minute', 50 * d.took)
                                       or now() >= (w.day + 1)::timestamp at time zone w.time_zone + interval '3 hours'
                else exists (select from kudos.days n
                              where n.time_zone = w.time_zone and n.day = w.day and n.built_at > d.counted_at) end
     order by w.day desc, w.workspace_id
     limit most
  loop
    perform kudos.count_click_day(each.workspace_id, each.day);
    counted := counted + 1;
  end loop;
  return counted;
end
$$;
comment on function kudos.count_clicks(integer) is
  'Counts the days that contracts pay clicks for: what has not been counted yet, what goes on (once a minute), and what has changed since. Returns how many days; call again while that is the most.';

-- What a contract has earned -----------------------------------------------------------------------

create function kudos.contract_conversions(which bigint)
returns table (conversion_id bigint, sale_id bigint, workspace_id bigint, event text, order_id text, day date,
               sale_day date, at timestamptz, key text, campaign_id bigint, share integer, amount_minor bigint,
               currency text, reason text)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
  return query
  with rivals as materialized (select * from kudos.rivals_of(which)),
  touches as (
    select c.id, c.workspace_id, c.event, c.order_id, (c.occurred_at at time zone k.time_zone)::date as day,
           k.time_zone, c.occurred_at, c.key, c.currency, a.position, a.campaign_id, a.influencer_id,
           a.share_percent, a.amount_minor, a.reason
      from kudos.terms k
      join kudos.attributions a on a.influencer_id = k.influencer_id and a.won
      join kudos.conversions c on c.id = a.conversion_id and c.event <> 'refund'
     where k.contract_id = which
       and (k.campaign_id is null or a.campaign_id = k.campaign_id)
       and (c.occurred_at at time zone k.time_zone)::date between k.first_day and k.last_day
       and not exists (select from rivals o where (o.campaign_id is null or o.campaign_id = a.campaign_id)
                       and (c.occurred_at at time zone k.time_zone)::date between o.first_day and o.last_day)),
  everything as (
    select t.id, t.id as sale_id, t.workspace_id, t.event, t.order_id, t.day, t.day as sale_day, t.occurred_at,
           t.key, t.currency, t.position, t.campaign_id, t.share_percent, t.amount_minor, t.reason
      from touches t
     union all
    -- A refund belongs to the contract of its sale, whenever it comes.
    select r.id, t.id, t.workspace_id, r.event, r.order_id,
           greatest((r.occurred_at at time zone t.time_zone)::date, t.day), t.day, r.occurred_at,
           r.key, r.currency, a.position, a.campaign_id, a.share_percent, a.amount_minor, a.reason
      from touches t
      join kudos.conversions r on r.workspace_id = t.workspace_id and r.order_id = t.order_id and r.event = 'refund'
      join kudos.attributions a on a.conversion_id = r.id and a.position = t.position and a.won
                               and a.influencer_id = t.influencer_id
     where t.event = 'sale')
  select e.id, e.sale_id, e.workspace_id, e.event, e.order_id, e.day, e.sale_day, e.occurred_at, e.key,
         (array_agg(e.campaign_id order by e.position))[1], sum(e.share_percent)::integer,
         sum(e.amount_minor)::bigint, e.currency, (array_agg(e.reason order by e.position))[1]
    from everything e
   group by e.id, e.sale_id, e.workspace_id, e.event, e.order_id, e.day, e.sale_day, e.occurred_at, e.key, e.currency;
end
$$;
comment on function kudos.contract_conversions(bigint) is
  'Conversions that a contract pays for, with the influencer''s part of each; refunds with the sale they take back.';

create function kudos.contract_sales(which bigint)
returns table (conversion_id bigint, sale_id bigint, event text, order_id text, day date, sale_day date, at timestamptz,
               key text, campaign_id bigint, share integer, amount_minor bigint, currency text, reason text,
               net_minor bigint, net_before bigint, still boolean, still_before boolean, kept boolean, number bigint)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
  return query
  with orders as (
    -- The sale, then its refunds; what is left of it after each, in the same currency.
    select c.*, sum(c.amount_minor) over (partition by c.sale_id, c.currency
                                          order by c.conversion_id <> c.sale_id, c.at, c.key) as net,
           first_value(c.currency) over (partition by c.sale_id order by c.conversion_id <> c.sale_id) as sold_in
      from kudos.contract_conversions(which) c),
  states as (
    select o.*, coalesce(lag(o.net) over (partition by o.sale_id, o.currency
                                          order by o.conversion_id <> o.sale_id, o.at, o.key), 0) as net_before,
           bool_and(o.is_left) over (partition by o.sale_id order by o.conversion_id <> o.sale_id, o.at, o.key) as still,
           bool_and(o.is_left) over (partition by o.sale_id) as kept
      from (select *, conversion_id = sale_id or net > 0 or coalesce(currency <> sold_in, false) as is_left
              from orders) o),
  numbered as (
    select s.*, coalesce(sum((s.conversion_id = s.sale_id and s.kept)::integer)
                           over (partition by s.event order by s.at, s.key, s.conversion_id
                                 rows between unbounded preceding and 1 preceding), 0) + 1 as nth
      from states s)
  select n.conversion_id, n.sale_id, n.event, n.order_id, n.day, n.sale_day, n.at, n.key, n.campaign_id, n.share,
         n.amount_minor, n.currency, n.reason, n.net::bigint, n.net_before::bigint, n.still,
         lag(n.still, 1, false) over (partition by n.sale_id order by n.conversion_id <> n.sale_id, n.at, n.key), n.kept,
         first_value(n.nth) over (partition by n.sale_id order by n.conversion_id <> n.sale_id)
    from numbered n;
end
$$;
comment on function kudos.contract_sales(bigint) is
  'Conversions that a contract pays for, with the refunds of each: what is left of the order after each line, whether it counts (something is left), and its number among those of its kind that count.';

create function kudos.tiers_of(k kudos.terms)
returns table (starts bigint, ends bigint, per_sale jsonb, percent numeric)
language sql stable set search_path = '' as $$
  select t.starts, lead(t.starts) over (order by t.starts), t.per_sale, t.percent
    from (select distinct on (1) (e.t ->> 'from')::bigint as starts, nullif(e.t -> 'per_sale', 'null') as per_sale,
                 round((e.t ->> 'revenue_share')::numeric, 2) as percent
            from jsonb_array_elements(k.tiers) with ordinality e (t, n) order by 1, e.n desc) t
$$;
comment on function kudos.tiers_of(kudos.terms) is
  'The tiers of a contract: each holds for sales by their numbers, from starts to before ends (null: to the end).';

create function kudos.minor_of(money jsonb) returns bigint
language sql immutable as $$
  select (money ->> 'amount_minor')::bigint
$$;
comment on function kudos.minor_of(jsonb) is 'The minor units of {"amount_minor", "currency"}.';

create function kudos.contract_reach(k kudos.terms)
returns table (day date, at timestamptz, more bigint)
language sql stable set search_path = '' as $$
  -- A post has reached its largest figure so far, whoever read it.
  select (m.taken_at at time zone k.time_zone)::date, m.taken_at, m.best - coalesce(m.before, 0)
    from (select n.taken_at, n.best, lag(n.best) over (partition by n.post_id order by n.taken_at, n.id) as before
            from (select r.id, r.post_id, r.taken_at,
                         max(r.reach) over (partition by r.post_id order by r.taken_at, r.id) as best
                    from kudos.posts p join kudos.post_metrics r on r.post_id = p.id and r.reach is not null
                   where p.influencer_id = k.influencer_id and p.workspace_id = k.workspace_id
                     and (k.campaign_id is null or p.campaign_id = k.campaign_id)
                     and (coalesce(p.published_at, p.created_at) at time zone k.time_zone)::date
                         between k.first_day and k.last_day
                     and not exists (select from kudos.rivals_of(k.contract_id) o where (o.campaign_id is null or o.campaign_id = p.campaign_id)
                       and (coalesce(p.published_at, p.created_at) at time zone k.time_zone)::date between o.first_day and o.last_day)) n) m
$$;
comment on function kudos.contract_reach(kudos.terms) is 'By how much the posts of a contract reached further, at each reading.';

create function kudos.target_reached(k kudos.terms, target text, count bigint)
returns table (day date, at timestamptz, closed boolean)
language sql stable set search_path = '' as $$
  select g.day, g.at, g.closed
    from (select e.day, e.at, e.closed, sum(e.more) over (order by e.at, e.tie rows unbounded preceding) as total, e.tie
            from (select s.day, s.at, true as closed, 1::bigint as more, s.key as tie
                    from kudos.contract_sales(k.contract_id) s
                   where s.event = case target when 'sales' then 'sale' when 'leads' then 'lead' end and s.kept
                   union all
                  select d.day, (d.day + 1)::timestamp at time zone k.time_zone, n.closed, d.identified + d.unidentified, ''
                    from kudos.click_earnings_daily d
                    join kudos.click_earnings_days n on n.workspace_id = d.workspace_id and n.day = d.day
                   where target = 'clicks' and d.influencer_id = k.influencer_id and d.workspace_id = k.workspace_id
                     and (k.campaign_id is null or d.campaign_id = k.campaign_id)
                     and d.day between k.first_day and k.last_day
                     and not exists (select from kudos.rivals_of(k.contract_id) o where (o.campaign_id is null or o.campaign_id = d.campaign_id)
                       and d.day between o.first_day and o.last_day)
                   union all
                  select r.day, r.at, true, r.more, '' from kudos.contract_reach(k) r where target = 'reach') e) g
   where g.total >= count order by g.at, g.tie limit 1
$$;
comment on function kudos.target_reached(kudos.terms, text, bigint) is
  'When a target of a contract was reached (sales and leads that are still there, clicks, reach of posts); no row: it is not.';

-- What is earned line by line, before the cap. Rounding: once for each order and currency, half away
-- from zero; the lines of its refunds are the differences, so that they add up to the part of what is left.
create function kudos.contract_facts(which bigint)
returns table (kind text, key text, day date, for_day date, at timestamptz, payable_on date, campaign_id bigint,
               conversion_id bigint, event text, order_id text, quantity bigint, unidentified bigint, base_minor bigint,
               share integer, rate_minor bigint, rate_percent numeric, rule text, reason text, currency text,
               full_minor bigint)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
  return query
  with k as materialized (select * from kudos.terms where contract_id = which),
  rivals as materialized (select * from kudos.rivals_of(which)),
  tiers as materialized (select t.* from k, lateral kudos.tiers_of(k) t),
  sales as materialized (select * from kudos.contract_sales(which)),
  clicks as materialized (
    select d.day, d.campaign_id, sum(d.identified + d.unidentified)::bigint as valid,
           sum(d.unidentified)::bigint as unidentified, bool_and(n.closed) as closed
      from k join kudos.click_earnings_daily d on d.influencer_id = k.influencer_id and d.workspace_id = k.workspace_id
      join kudos.click_earnings_days n on n.workspace_id = d.workspace_id and n.day = d.day
     where (k.per_click is not null or k.bonuses @> '[{"target": "clicks"}]')
       and (k.campaign_id is null or d.campaign_id = k.campaign_id)
       and d.day between k.first_day and k.last_day and not exists (select from rivals o where (o.campaign_id is null or o.campaign_id = d.campaign_id)
                       and d.day between o.first_day and o.last_day)
     group by d.day, d.campaign_id),
  rates as (
    select s.*, k.holding_days, t.starts as tier_from,
           case when t.starts is null then k.per_sale else t.per_sale end as per_sale,
           case when t.starts is null then round(k.revenue_share, 2) else t.percent end as percent
      from k cross join sales s
      left join tiers t on s.event in ('sale', 'refund') and s.number >= t.starts and (t.ends is null or s.number < t.ends))
  select 'flat_fee'::text, ''::text, k.first_day, k.first_day, k.first_day::timestamp at time zone k.time_zone, k.first_day, k.campaign_id,
         null::bigint, null::text, null::text, 1::bigint, null::bigint, null::bigint, null::integer, kudos.minor_of(k.flat_fee),
         null::numeric, 'flat_fee'::text, 'agreed'::text, k.flat_fee ->> 'currency', kudos.minor_of(k.flat_fee)
    from k where k.flat_fee is not null and k.first_day <= least(k.today, k.last_day)
   union all
  select 'clicks', c.day || coalesce(':' || c.campaign_id, ''), c.day, c.day, (c.day + 1)::timestamp at time zone k.time_zone,
         case when c.closed then c.day + greatest(k.holding_days, 1) else 'infinity' end, c.campaign_id,
         null, 'click', null, c.valid, c.unidentified, null, null, kudos.minor_of(k.per_click), null, 'per_click',
         case when c.closed then 'valid_clicks' else 'day_not_closed' end, k.per_click ->> 'currency',
         c.valid * kudos.minor_of(k.per_click)
    from k cross join clicks c where k.per_click is not null and c.valid > 0
   union all
  select 'lead', r.conversion_id::text, r.day, r.sale_day, r.at, r.day + k.holding_days, r.campaign_id, r.conversion_id,
         r.event, r.order_id, 1, null, r.amount_minor, r.share, kudos.minor_of(k.per_lead), null, 'per_lead', r.reason,
         k.per_lead ->> 'currency', round(kudos.minor_of(k.per_lead) * r.share / 100.0)::bigint
    from k cross join sales r where r.event = 'lead' and k.per_lead is not null
   union all
  -- A fee for each sale; the refund that leaves nothing of the order takes it back.
  select 'sale', r.conversion_id::text, r.day, r.sale_day, r.at, greatest(r.day, r.sale_day + r.holding_days), r.campaign_id,
         r.conversion_id, r.event, r.order_id, r.still::integer - r.still_before::integer, null, r.amount_minor,
         r.share, kudos.minor_of(r.per_sale), null, coalesce('tier from ' || r.tier_from || ': ', '') || 'per_sale',
         r.reason, r.per_sale ->> 'currency',
         (r.still::integer - r.still_before::integer) * round(kudos.minor_of(r.per_sale) * r.share / 100.0)::bigint
    from rates r where r.event in ('sale', 'refund') and r.per_sale is not null
     and (r.still <> r.still_before or r.conversion_id = r.sale_id)
   union all
  select 'share', r.conversion_id::text, r.day, r.sale_day, r.at, greatest(r.day, r.sale_day + r.holding_days), r.campaign_id,
         r.conversion_id, r.event, r.order_id, 1, null, r.amount_minor, r.share, null, r.percent,
         coalesce('tier from ' || r.tier_from || ': ', '') || 'revenue_share', r.reason, r.currency,
         (round(r.percent * r.net_minor / 100) - round(r.percent * r.net_before / 100))::bigint
    from rates r where r.percent is not null and r.amount_minor is not null
   union all
  select 'bonus', b.target || ':' || b.count, n.day, n.day, n.at, case when n.closed then n.day + k.holding_days else 'infinity' end,
         k.campaign_id, null, null, null, 1, null, null, null, b.minor, null,
         'bonus: ' || b.count || ' ' || b.target, 'target_reached', b.currency, b.minor
    from k
    cross join lateral (select e ->> 'target' as target, (e ->> 'from')::bigint as count, e -> 'amount' ->> 'currency' as currency,
                               sum(kudos.minor_of(e -> 'amount'))::bigint as minor
                          from jsonb_array_elements(k.bonuses) e group by 1, 2, 3) b
    cross join lateral kudos.target_reached(k, b.target, b.count) n;
end
$$;
comment on function kudos.contract_facts(bigint) is
  'All that a contract has earned, line by line, before its cap. Rounded once for each order and currency, half away from zero.';

create function kudos.contract_lines(which bigint)
returns table (kind text, key text, day date, for_day date, payable_on date, campaign_id bigint, conversion_id bigint,
               event text, order_id text, quantity bigint, unidentified bigint, base_minor bigint, share integer,
               rate_minor bigint, rate_percent numeric, rule text, reason text, currency text, full_minor bigint,
               amount_minor bigint)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
  return query
  select f.kind, f.key, f.day, f.for_day, f.payable_on, f.campaign_id, f.conversion_id, f.event, f.order_id, f.quantity,
         f.unidentified, f.base_minor, f.share, f.rate_minor, f.rate_percent, f.rule, f.reason, f.currency, f.full_minor,
         case when f.currency = k.cap ->> 'currency'
              then (least(kudos.minor_of(k.cap), f.so_far) - least(kudos.minor_of(k.cap), f.so_far - f.full_minor))::bigint
              else f.full_minor end
    from kudos.terms k
   cross join lateral (
     select e.*, sum(e.full_minor) over (partition by e.currency order by e.day, e.at, e.kind, e.key
                                         rows unbounded preceding) as so_far
       from kudos.contract_facts(which) e) f
   where k.contract_id = which;
end
$$;
comment on function kudos.contract_lines(bigint) is
  'All that a contract has earned, line by line in the order of days, up to its cap (which counts money of its own currency alone).';
