-- What contracts have earned, added up ahead, so that a campaign of a hundred thousand sales is answered in a
-- moment. kudos.contract_statement() stays the only arithmetic; kudos.earned keeps sums of its lines, and is
-- never read when something has changed since: then the contract is computed, as it was before.
--
-- How it is known that something has changed: whatever a statement is made of leaves a note in
-- kudos.earnings_touched, with whose contracts it is about, by trigger, in the transaction that changes it.
-- Notes are only ever inserted, so nobody waits for anybody. The builder takes away the notes that it sees and
-- then, in a later statement, computes: what it may not see yet has left a note that it has not taken away. A
-- reader sees sums and notes in one snapshot, so either the sums are exact or a note is there. All that the
-- builder does for a contract is one transaction, so a crash leaves sums and notes as they were. A migration that
-- changes the arithmetic empties kudos.earnings_built.
--
-- What passes with time is no part of the sums: they are kept by the day from which on they are payable, and
-- what is held back is told when they are read. A fee is earned on the contract's first day; sums of a
-- contract that has not begun are not kept.

create table kudos.earnings_touched (
  influencer_id bigint not null,
  clicks boolean not null default false
);
create index earnings_touched_influencer on kudos.earnings_touched (influencer_id);
comment on table kudos.earnings_touched is
  'Notes for the builder of kudos.earned: something that the contracts of an influencer pay for, or a contract itself, has changed.';
comment on column kudos.earnings_touched.influencer_id is 'Whose contracts it is about.';
comment on column kudos.earnings_touched.clicks is 'True: only clicks have changed, which concerns contracts that count them.';

create table kudos.earnings_built (
  contract_id bigint primary key references kudos.contracts (id),
  influencer_id bigint not null,
  counts_clicks boolean not null,
  time_zone text not null,
  built_at timestamptz not null,
  took interval not null
);
create index earnings_built_influencer on kudos.earnings_built (influencer_id);
comment on table kudos.earnings_built is 'Contracts whose sums are kept in kudos.earned.';
comment on column kudos.earnings_built.contract_id is 'The contract.';
comment on column kudos.earnings_built.influencer_id is 'With whom it is.';
comment on column kudos.earnings_built.counts_clicks is 'Whether it pays for clicks, each or from a number on.';
comment on column kudos.earnings_built.time_zone is 'By whose calendar its days were told: not the workspace''s any more, and the sums are not read.';
comment on column kudos.earnings_built.built_at is 'When its sums were made.';
comment on column kudos.earnings_built.took is 'How long that took.';

create table kudos.earned (
  contract_id bigint not null references kudos.contracts (id),
  campaign_id bigint,
  currency text not null,
  payable_on date,
  frozen boolean not null,
  changed boolean not null,
  first_day date not null,
  last_day date not null,
  amount_minor bigint not null,
  full_minor bigint not null,
  paid_minor bigint not null,
  in_payouts_minor bigint not null,
  flat_fee_minor bigint not null,
  clicks_minor bigint not null,
  leads_minor bigint not null,
  sales_minor bigint not null,
  share_minor bigint not null,
  bonus_minor bigint not null,
  refunds_minor bigint not null,
  valid_clicks bigint not null,
  unidentified bigint not null,
  leads bigint not null,
  sales bigint not null,
  refunds bigint not null
);
create index earned_contract on kudos.earned (contract_id);
comment on table kudos.earned is
  'Sums of the lines of kudos.contract_statement(). Read it by kudos.contract_sums(), which knows whether they still hold.';
comment on column kudos.earned.contract_id is 'The contract.';
comment on column kudos.earned.campaign_id is 'The campaign; null: none in particular.';
comment on column kudos.earned.currency is 'Currency (ISO 4217).';
comment on column kudos.earned.payable_on is 'From when on these lines are payable; infinity: not known yet; null: payouts have them, and they are earned no more.';
comment on column kudos.earned.frozen is 'Whether payouts have these lines.';
comment on column kudos.earned.changed is 'Whether another amount is earned than payouts have.';
comment on column kudos.earned.first_day is 'First day of these lines.';
comment on column kudos.earned.last_day is 'Last day of these lines.';
comment on column kudos.earned.amount_minor is 'What is earned.';
comment on column kudos.earned.full_minor is 'What would be without the cap.';
comment on column kudos.earned.paid_minor is 'What is paid.';
comment on column kudos.earned.in_payouts_minor is 'What payouts have, paid or not.';
comment on column kudos.earned.flat_fee_minor is 'Of the amount, the flat fee.';
comment on column kudos.earned.clicks_minor is 'Of the amount, for clicks.';
comment on column kudos.earned.leads_minor is 'Of the amount, for leads.';
comment on column kudos.earned.sales_minor is 'Of the amount, for sales.';
comment on column kudos.earned.share_minor is 'Of the amount, shares of revenue.';
comment on column kudos.earned.bonus_minor is 'Of the amount, bonuses.';
comment on column kudos.earned.refunds_minor is 'Of the amount, what refunds took back.';
comment on column kudos.earned.valid_clicks is 'Clicks that are paid for.';
comment on column kudos.earned.unidentified is 'Those of them without a visitor value.';
comment on column kudos.earned.leads is 'Leads; each counted in one row of the contract, campaign and currency.';
comment on column kudos.earned.sales is 'Sales, likewise.';
comment on column kudos.earned.refunds is 'Refunds, likewise.';

-- Notes --------------------------------------------------------------------------------------------

create function kudos.note_earners() returns trigger
language plpgsql set search_path = '' as $$
begin
  insert into kudos.earnings_touched (influencer_id, clicks)
  select distinct influencer_id, tg_table_name = 'click_earnings_daily' from changed where influencer_id is not null;
  return null;
end
$$;
comment on function kudos.note_earners() is 'Notes whose earnings a statement has changed.';

create function kudos.note_post_earners() returns trigger
language plpgsql set search_path = '' as $$
begin
  insert into kudos.earnings_touched (influencer_id)
  select distinct p.influencer_id from changed c join kudos.posts p on p.id = c.post_id where p.influencer_id is not null;
  return null;
end
$$;
comment on function kudos.note_post_earners() is 'Notes whose posts a statement has new figures of.';

create function kudos.note_conversion_earners() returns trigger
language plpgsql set search_path = '' as $$
begin
  insert into kudos.earnings_touched (influencer_id)
  select distinct influencer_id from kudos.attributions where conversion_id = new.id and influencer_id is not null;
  return null;
end
$$;
comment on function kudos.note_conversion_earners() is
  'Notes whose earnings change with a conversion. What else is credited to whom is written into kudos.attributions, which notes it.';
create trigger note_earners after update of event, key, order_id, occurred_at, currency on kudos.conversions
  for each row when ((old.event, old.key, old.order_id, old.occurred_at, old.currency)
                     is distinct from (new.event, new.key, new.order_id, new.occurred_at, new.currency))
  execute function kudos.note_conversion_earners();

do $$
declare
  v record;
begin
  for v in select * from (values ('attributions', 'note_earners'), ('contracts', 'note_earners'),
                                 ('posts', 'note_earners'), ('payouts', 'note_earners'),
                                 ('click_earnings_daily', 'note_earners'), ('post_metrics', 'note_post_earners')) n (name, what) loop
    execute format('create trigger note_earners_new after insert on kudos.%1$I referencing new table as changed'
                   ' for each statement execute function kudos.%2$I()', v.name, v.what);
    execute format('create trigger note_earners_gone after delete on kudos.%1$I referencing old table as changed'
                   ' for each statement execute function kudos.%2$I()', v.name, v.what);
    execute format('create trigger note_earners_before after update on kudos.%1$I referencing old table as changed'
                   ' for each statement execute function kudos.%2$I()', v.name, v.what);
    execute format('create trigger note_earners_after after update on kudos.%1$I referencing new table as changed'
                   ' for each statement execute function kudos.%2$I()', v.name, v.what);
  end loop;
end
$$;

-- Sums ---------------------------------------------------------------------------------------------

create function kudos.sum_contract(which bigint) returns setof kudos.earned
language sql stable set search_path = '' as $$
  select which, s.campaign_id, s.currency, s.payable_on, s.frozen, s.changed, min(s.day), max(s.day),
         sum(s.amount_minor)::bigint, sum(s.full_minor)::bigint, sum(s.paid_minor)::bigint, sum(s.in_payouts_minor)::bigint,
         coalesce(sum(s.amount_minor) filter (where s.kind = 'flat_fee'), 0)::bigint,
         coalesce(sum(s.amount_minor) filter (where s.kind = 'clicks'), 0)::bigint,
         coalesce(sum(s.amount_minor) filter (where s.kind = 'lead'), 0)::bigint,
         coalesce(sum(s.amount_minor) filter (where s.kind = 'sale'), 0)::bigint,
         coalesce(sum(s.amount_minor) filter (where s.kind = 'share'), 0)::bigint,
         coalesce(sum(s.amount_minor) filter (where s.kind = 'bonus'), 0)::bigint,
         coalesce(sum(s.amount_minor) filter (where s.event = 'refund'), 0)::bigint,
         coalesce(sum(s.quantity) filter (where s.kind = 'clicks'), 0)::bigint,
         coalesce(sum(s.unidentified) filter (where s.kind = 'clicks'), 0)::bigint,
         count(*) filter (where s.kind = 'lead' and s.nth = 1),
         count(*) filter (where s.event = 'sale' and s.nth = 1),
         count(*) filter (where s.event = 'refund' and s.nth = 1)
    from (select l.campaign_id, l.currency, case when l.reason <> 'earned_no_more' then l.payable_on end as payable_on,
                 l.payouts <> '{}' as frozen, l.amount_minor <> l.in_payouts_minor as changed, l.day, l.amount_minor,
                 l.full_minor, l.paid_minor, l.in_payouts_minor, l.kind, l.event, l.quantity, l.unidentified,
                 row_number() over (partition by l.campaign_id, l.currency, l.conversion_id) as nth
            from kudos.contract_statement(which) l) s
   group by s.campaign_id, s.currency, s.payable_on, s.frozen, s.changed
$$;
comment on function kudos.sum_contract(bigint) is 'The sums of kudos.earned for a contract, computed from what is stored now.';

create function kudos.is_summed(which bigint) returns boolean
language sql stable set search_path = '' as $$
  select exists (select from kudos.earnings_built b
                   join kudos.contracts k on k.id = b.contract_id
                   join kudos.workspaces w on w.id = k.workspace_id and w.time_zone = b.time_zone
                  where b.contract_id = which
                    and not exists (select from kudos.earnings_touched t
                                     where t.influencer_id = b.influencer_id and (b.counts_clicks or not t.clicks)))
$$;
comment on function kudos.is_summed(bigint) is 'Whether kudos.earned has the sums of a contract, and nothing has changed since.';

create function kudos.contract_sums(which bigint) returns setof kudos.earned
language plpgsql stable security definer rows 100 set search_path = '' set jit = off as $$
begin
  if kudos.is_summed(which) then
    return query select * from kudos.earned e where e.contract_id = which;
  else
    return query select * from kudos.sum_contract(which);
  end if;
end
$$;
comment on function kudos.contract_sums(bigint) is
  'Sums of the lines of a contract: those that are kept, or, where something has changed since, computed now.';

create or replace function kudos.contract_costs(which bigint)
returns table (campaign_id bigint, currency text, amount_minor numeric)
language sql stable security definer set search_path = '' as $$
  select s.campaign_id, s.currency, sum(s.amount_minor) from kudos.contract_sums(which) s group by 1, 2
$$;

-- One round: a second, and at least one influencer. Who has just been built waits, the longer the more there is to
-- compute, so that somebody who sells every second keeps nobody busy.
create function kudos.build_earnings() returns integer
language plpgsql set search_path = '' set jit = off as $$
declare
  begun timestamptz := clock_timestamp();
  who bigint;
  each record;
  at timestamptz;
  built integer := 0;
begin
  if not pg_try_advisory_xact_lock(1802855535, 1025) then
    return 0;
  end if;
  delete from kudos.earnings_touched t
   where t.clicks and not exists (select from kudos.contracts k where k.influencer_id = t.influencer_id
                                     and (k.per_click is not null or k.bonuses @> '[{"target": "clicks"}]'));
  loop
    select t.influencer_id into who from kudos.earnings_touched t
     where not exists (select from kudos.earnings_built b where b.influencer_id = t.influencer_id
                         and b.built_at + 20 * b.took > clock_timestamp()) limit 1;
    if not found then
      select t.influencer_id into who from kudos.terms t
       where t.first_day <= t.today and not exists (select from kudos.earnings_built b
               where b.contract_id = t.contract_id and b.time_zone = t.time_zone) limit 1;
    end if;
    exit when who is null;
    delete from kudos.earnings_touched where influencer_id = who;
    delete from kudos.earned e using kudos.earnings_built b where b.influencer_id = who and e.contract_id = b.contract_id;
    delete from kudos.earnings_built where influencer_id = who;
    for each in select * from kudos.terms where influencer_id = who and first_day <= today loop
      at := clock_timestamp();
      insert into kudos.earned select * from kudos.sum_contract(each.contract_id);
      insert into kudos.earnings_built (contract_id, influencer_id, counts_clicks, time_zone, built_at, took)
      values (each.contract_id, who, each.per_click is not null or each.bonuses @> '[{"target": "clicks"}]',
              each.time_zone, clock_timestamp(), clock_timestamp() - at);
    end loop;
    built := built + 1;
    exit when clock_timestamp() > begun + interval '1 second';
  end loop;
  return built;
end
$$;
comment on function kudos.build_earnings() is
  'Keeps the sums of contracts, of one influencer after the other, for a second or until all is done; of how many influencers. Does nothing while another is at it.';

-- For analysts -------------------------------------------------------------------------------------

-- A contract for one campaign names it itself, so that who asks for a campaign reads its contracts alone.
create view kudos.earning_sums as
with contracts as (
  select k.*, w.name as workspace, i.handle as influencer, (now() at time zone w.time_zone)::date as today
    from kudos.contracts k
    join kudos.workspaces w on w.id = k.workspace_id
    join kudos.influencers i on i.id = k.influencer_id
   where k.agreed_at is not null),
named as (
  select k.workspace, k.influencer, a.slug as campaign, coalesce(k.external_id, k.id::text) as contract, k.today,
         k.payment_days, k.influencer_id, a.id as campaign_of, k.workspace_id, s.*
    from contracts k
    join kudos.campaigns a on a.id = k.campaign_id
   cross join lateral kudos.contract_sums(k.id) s
   union all
  select k.workspace, k.influencer, a.slug, coalesce(k.external_id, k.id::text), k.today, k.payment_days,
         k.influencer_id, a.id, k.workspace_id, s.*
    from contracts k
   cross join lateral kudos.contract_sums(k.id) s
    left join kudos.campaigns a on a.id = s.campaign_id
   where k.campaign_id is null)
select n.*, case when not n.frozen and n.payable_on > n.today then n.amount_minor else 0 end as held_minor,
       nullif(coalesce(n.payable_on, n.today), 'infinity') + n.payment_days as due_on
  from named n;
comment on view kudos.earning_sums is 'Sums of the lines of contracts, with names, and what passes with time: what is held back, and when it is due.';
do $$
declare
  v record;
begin
  for v in select a.attname, d.description from pg_catalog.pg_attribute a
             join pg_catalog.pg_description d on d.objoid = 'kudos.earned'::regclass and d.objsubid > 0
             join pg_catalog.pg_attribute o on o.attrelid = d.objoid and o.attnum = d.objsubid and o.attname = a.attname
            where a.attrelid = 'kudos.earning_sums'::regclass and a.attnum > 0 loop
    execute format('comment on column kudos.earning_sums.%I is %L', v.attname, v.description);
  end loop;
end
$$;
comment on column kudos.earning_sums.workspace is 'The workspace that pays.';
comment on column kudos.earning_sums.influencer is 'Handle of who earned it.';
comment on column kudos.earning_sums.campaign is 'Slug of the campaign; null: none in particular.';
comment on column kudos.earning_sums.contract is 'The contract: its external_id, else its number.';
comment on column kudos.earning_sums.today is 'Today where the workspace is.';
comment on column kudos.earning_sums.payment_days is 'Days between what is payable and what is due.';
comment on column kudos.earning_sums.influencer_id is 'Who earned it.';
comment on column kudos.earning_sums.campaign_of is 'The campaign; null: none in particular.';
comment on column kudos.earning_sums.workspace_id is 'The workspace.';
comment on column kudos.earning_sums.held_minor is 'Of the amount, held back until payable_on.';
comment on column kudos.earning_sums.due_on is 'When it is due if a payout is made on the day from which on it is payable; null: not known yet.';

create or replace view report.earnings as
select l.workspace, l.influencer, l.campaign, l.contract, l.currency,
       sum(l.amount_minor)::bigint as earned_minor,
       sum(l.held_minor)::bigint as held_minor,
       sum(l.amount_minor - l.paid_minor - l.held_minor)::bigint as due_minor,
       sum(l.paid_minor)::bigint as paid_minor,
       (sum(l.in_payouts_minor) - sum(l.paid_minor))::bigint as in_payouts_minor,
       sum(l.flat_fee_minor)::bigint as flat_fee_minor,
       sum(l.clicks_minor)::bigint as clicks_minor,
       sum(l.leads_minor)::bigint as leads_minor,
       sum(l.sales_minor)::bigint as sales_minor,
       sum(l.share_minor)::bigint as share_minor,
       sum(l.bonus_minor)::bigint as bonus_minor,
       sum(l.refunds_minor)::bigint as refunds_minor,
       sum(l.full_minor - l.amount_minor)::bigint as capped_minor,
       sum(l.valid_clicks)::bigint as valid_clicks,
       sum(l.unidentified)::bigint as unidentified_clicks,
       sum(l.leads)::bigint as leads,
       sum(l.sales)::bigint as sales,
       sum(l.refunds)::bigint as refunds,
       min(l.due_on) filter (where l.changed) as next_due_on,
       l.contract_id, l.influencer_id, l.campaign_of as campaign_id, l.workspace_id
  from kudos.earning_sums l
 group by l.workspace, l.influencer, l.campaign, l.contract, l.currency, l.contract_id, l.influencer_id,
          l.campaign_of, l.workspace_id;

create or replace view report.payouts_due as
select w.name as workspace, i.handle as influencer, a.slug as campaign,
       coalesce(k.external_id, k.id::text) as contract, p.status::text as status, p.total_minor, p.currency, p.due_on,
       p.due_on - (now() at time zone w.time_zone)::date as days_left,
       coalesce(p.due_on < (now() at time zone w.time_zone)::date, false) as overdue,
       p.period_from, p.period_to, p.reference, p.id as payout_id, p.contract_id, p.influencer_id, p.workspace_id
  from kudos.payouts p
  join kudos.workspaces w on w.id = p.workspace_id
  join kudos.influencers i on i.id = p.influencer_id
  left join kudos.campaigns a on a.id = p.campaign_id
  left join kudos.contracts k on k.id = p.contract_id
 where p.status in ('open', 'approved')
 union all
select e.workspace, e.influencer, e.campaign, e.contract, 'earned', sum(e.amount_minor - e.in_payouts_minor)::bigint,
       e.currency, e.due_on, e.due_on - e.today,
       coalesce(sum(e.amount_minor - e.in_payouts_minor) > 0 and e.due_on < e.today, false),
       min(e.first_day), max(e.last_day), null, null, e.contract_id, e.influencer_id, e.workspace_id
  from kudos.earning_sums e
 where e.changed
 group by e.workspace, e.influencer, e.campaign, e.contract, e.currency, e.due_on, e.today, e.contract_id,
          e.influencer_id, e.workspace_id;
