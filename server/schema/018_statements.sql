-- Statements and payouts: a payout made from a contract freezes what the contract had earned by then,
-- line by line. Lines are never changed again; whatever turns out otherwise (a refund, another policy,
-- a click that was none) is the difference of what is earned and what is frozen, and so a line of the
-- next payout by itself.

alter table kudos.payouts add column from_statement boolean not null default false;
comment on column kudos.payouts.from_statement is
  'True: made from what the contract had earned, line by line (kudos.payout_lines). False: its lines were written by hand; earnings do not know of it.';

create table kudos.payout_lines (
  payout_id bigint not null references kudos.payouts (id) deferrable initially deferred,
  position integer not null,
  workspace_id bigint not null,
  contract_id bigint not null references kudos.contracts (id),
  kind text not null,
  key text not null,
  day date not null,
  for_day date not null,
  campaign_id bigint,
  conversion_id bigint,
  event text,
  order_id text,
  quantity bigint,
  unidentified bigint,
  base_minor bigint,
  share integer,
  rate_minor bigint,
  rate_percent numeric(5, 2),
  rule text not null,
  reason text not null,
  currency text not null,
  amount_minor bigint not null check (amount_minor <> 0),
  correction boolean not null,
  primary key (payout_id, position)
);
create index payout_lines_contract on kudos.payout_lines (contract_id);
comment on table kudos.payout_lines is
  'What a payout was made of, as it was then: never changed. What turns out otherwise later is a further line of the next payout.';
comment on column kudos.payout_lines.payout_id is 'The payout.';
comment on column kudos.payout_lines.position is 'From 1, by day.';
comment on column kudos.payout_lines.workspace_id is 'The workspace that pays.';
comment on column kudos.payout_lines.contract_id is 'The contract that it was earned by.';
comment on column kudos.payout_lines.kind is 'flat_fee, clicks, lead, sale, share or bonus.';
comment on column kudos.payout_lines.key is 'With contract, kind and currency, what it is for.';
comment on column kudos.payout_lines.day is 'When it was earned, or taken back.';
comment on column kudos.payout_lines.for_day is 'Day that it belongs to: of a refund, the day of its sale.';
comment on column kudos.payout_lines.campaign_id is 'The campaign; null: none in particular.';
comment on column kudos.payout_lines.conversion_id is 'The conversion; null: none.';
comment on column kudos.payout_lines.event is 'sale, refund, lead …, click; null: neither.';
comment on column kudos.payout_lines.order_id is 'The shop''s order; null: none.';
comment on column kudos.payout_lines.quantity is 'How many: clicks of a day, else 1 (0 or less where something was taken back).';
comment on column kudos.payout_lines.unidentified is 'Those clicks that have no visitor value; null: no clicks.';
comment on column kudos.payout_lines.base_minor is 'The influencer''s part of the amount; null: none.';
comment on column kudos.payout_lines.share is 'The influencer''s percent of the credit; null: no conversion.';
comment on column kudos.payout_lines.rate_minor is 'What one is paid, in minor units; null: a percentage.';
comment on column kudos.payout_lines.rate_percent is 'Percent of the amount; null: a sum for each.';
comment on column kudos.payout_lines.rule is 'The term of the contract.';
comment on column kudos.payout_lines.reason is 'Why it was credited; earned_no_more: an earlier payout had it, and it is credited otherwise now.';
comment on column kudos.payout_lines.currency is 'Currency (ISO 4217).';
comment on column kudos.payout_lines.amount_minor is 'Minor units; below zero: taken back.';
comment on column kudos.payout_lines.correction is 'True if an earlier payout had the same line with another amount.';

create function kudos.is_in_force(p kudos.payouts) returns boolean
language sql immutable as $$
  select p.status in ('open', 'approved', 'paid') or (p.status = 'archived' and p.paid_at is not null)
$$;
comment on function kudos.is_in_force(kudos.payouts) is 'Whether a payout''s lines count: false once it is cancelled, or archived unpaid.';

create function kudos.is_paid(p kudos.payouts) returns boolean
language sql immutable as $$
  select p.status = 'paid' or (p.status = 'archived' and p.paid_at is not null)
$$;
comment on function kudos.is_paid(kudos.payouts) is 'Whether a payout has been paid.';

create function kudos.contract_statement(which bigint)
returns table (kind text, key text, day date, for_day date, payable_on date, campaign_id bigint, conversion_id bigint,
               event text, order_id text, quantity bigint, unidentified bigint, base_minor bigint, share integer,
               rate_minor bigint, rate_percent numeric, rule text, reason text, currency text, full_minor bigint,
               amount_minor bigint, in_payouts_minor bigint, paid_minor bigint, held_minor bigint, due_minor bigint,
               payouts bigint[], corrected boolean)
language plpgsql stable security definer rows 100 set search_path = '' set jit = off as $$
#variable_conflict use_column
begin
  return query
  with frozen as (
    select l.kind, l.key, l.currency, sum(l.amount_minor)::bigint as minor,
           (sum(l.amount_minor) filter (where kudos.is_paid(p)))::bigint as paid,
           array_agg(distinct p.id) as payouts, (array_agg(l order by p.id desc))[1] as last
      from kudos.payout_lines l join kudos.payouts p on p.id = l.payout_id
     where l.contract_id = which and kudos.is_in_force(p)
     group by l.kind, l.key, l.currency),
  joined as (
    select l as live, f.last, f.payouts, k.today, coalesce(l.amount_minor, 0) as amount,
           coalesce(f.minor, 0) as frozen, coalesce(f.paid, 0) as paid,
           f.kind is null and l.payable_on > k.today as held, coalesce(l.kind, f.kind) as kind,
           coalesce(l.key, f.key) as key, coalesce(l.currency, f.currency) as currency
      from (select * from kudos.contract_lines(which)) l
      full join frozen f on f.kind = l.kind and f.key = l.key and f.currency = l.currency
     cross join (select (now() at time zone w.time_zone)::date as today from kudos.contracts c
                   join kudos.workspaces w on w.id = c.workspace_id where c.id = which) k)
  select j.kind, j.key, coalesce((j.live).day, (j.last).day), coalesce((j.live).for_day, (j.last).for_day),
         coalesce((j.live).payable_on, j.today), coalesce((j.live).campaign_id, (j.last).campaign_id),
         coalesce((j.live).conversion_id, (j.last).conversion_id), coalesce((j.live).event, (j.last).event),
         coalesce((j.live).order_id, (j.last).order_id), coalesce((j.live).quantity, 0), (j.live).unidentified,
         coalesce((j.live).base_minor, (j.last).base_minor), (j.live).share, coalesce((j.live).rate_minor, (j.last).rate_minor),
         coalesce((j.live).rate_percent, (j.last).rate_percent), coalesce((j.live).rule, (j.last).rule),
         coalesce((j.live).reason, 'earned_no_more'), j.currency, coalesce((j.live).full_minor, 0), j.amount,
         j.frozen, j.paid, case when j.held then j.amount else 0 end,
         j.amount - j.paid - case when j.held then j.amount else 0 end, coalesce(j.payouts, '{}'),
         j.payouts is not null and j.amount <> j.frozen
    from joined j;
end
$$;
comment on function kudos.contract_statement(bigint) is
  'Lines of a contract beside what payouts have of each. amount = held + due + paid; due - (in_payouts - paid) is in no payout yet. A line whose reason is earned_no_more was paid out for what is credited otherwise now.';

create function kudos.refuse_payout(rule text) returns void
language plpgsql set search_path = '' as $$
begin
  raise exception '%', rule using errcode = 'unique_violation', constraint = rule;
end
$$;
comment on function kudos.refuse_payout(text) is 'Fails as a constraint of that name would.';

create function kudos.payouts_freeze() returns trigger
language plpgsql set search_path = '' as $$
declare
  k record;
begin
  if not new.from_statement then
    return new;
  end if;
  if new.external_id is not null and exists (
    select from kudos.payouts p where p.workspace_id = new.workspace_id and p.external_id = new.external_id) then
    return new; -- the unique index says what is wrong
  end if;
  -- Whoever else pays by this contract waits here, and then sees the lines below.
  select c.*, (now() at time zone w.time_zone)::date as today into k
    from kudos.contracts c join kudos.workspaces w on w.id = c.workspace_id
   where c.id = new.contract_id and c.workspace_id = new.workspace_id for no key update of c;
  if not found then
    perform kudos.refuse_payout('payouts_contract_needed');
  elsif new.influencer_id <> k.influencer_id
        or new.campaign_id <> k.campaign_id or new.status = 'cancelled' then
    perform kudos.refuse_payout('payouts_of_its_contract');
  end if;
  new.influencer_id := k.influencer_id;
  new.period_to := coalesce(new.period_to, k.today);
  insert into kudos.payout_lines
    (payout_id, position, workspace_id, contract_id, kind, key, day, for_day, campaign_id, conversion_id, event, order_id,
     quantity, unidentified, base_minor, share, rate_minor, rate_percent, rule, reason, currency, amount_minor, correction)
  select new.id, row_number() over (order by s.day, s.kind, s.conversion_id, s.key), new.workspace_id, new.contract_id, s.kind, s.key,
         s.day, s.for_day, s.campaign_id, s.conversion_id, s.event, s.order_id, s.quantity, s.unidentified,
         s.base_minor, s.share, s.rate_minor, s.rate_percent, s.rule, s.reason, s.currency,
         s.amount_minor - s.in_payouts_minor, s.corrected
    from kudos.contract_statement(new.contract_id) s
   where s.currency = new.currency and s.held_minor = 0 and s.amount_minor <> s.in_payouts_minor
     and (s.corrected or (s.payable_on <= k.today and s.for_day <= new.period_to))
     and (new.campaign_id is null or k.campaign_id is not null or s.campaign_id = new.campaign_id);
  new.campaign_id := coalesce(new.campaign_id, k.campaign_id);
  select coalesce(jsonb_agg(jsonb_build_object('text', g.text, 'amount_minor', g.minor) order by g.text), '[]'),
         least(min(g.day), new.period_to)
    into new.lines, k.starts_on
    from (select case what when 'correction' then 'Corrections' when 'flat_fee' then 'Flat fee'
                   when 'clicks' then 'Valid clicks: ' || sum(l.quantity) when 'lead' then 'Leads: ' || count(*)
                   when 'sale' then 'Sales, each: ' || sum(l.quantity)
                   when 'share' then 'Shares of revenue: ' || count(*) else 'Bonuses: ' || count(*) end as text,
                 sum(l.amount_minor)::bigint as minor, min(l.for_day) as day
            from kudos.payout_lines l, lateral (select case when l.correction then 'correction' else l.kind end) w (what)
           where l.payout_id = new.id group by w.what) g;
  new.period_from := coalesce(new.period_from, k.starts_on);
  new.due_on := coalesce(new.due_on, k.today + k.payment_days);
  if kudos.lines_total(new.lines) <= 0 then
    perform kudos.refuse_payout('payouts_nothing_due');
  end if;
  return new;
end
$$;
comment on function kudos.payouts_freeze() is
  'Makes the lines of a payout from what its contract has earned up to period_to and is in no payout yet.';
create trigger statement before insert on kudos.payouts
  for each row execute function kudos.payouts_freeze();

create function kudos.payouts_stay() returns trigger
language plpgsql set search_path = '' as $$
begin
  if old.from_statement and (new.lines, new.contract_id, new.currency, new.influencer_id, new.campaign_id,
                             new.period_from, new.period_to, new.from_statement)
     is distinct from (old.lines, old.contract_id, old.currency, old.influencer_id, old.campaign_id,
                       old.period_from, old.period_to, old.from_statement) then
    perform kudos.refuse_payout('payouts_frozen');
  end if;
  if kudos.is_paid(old) and (not kudos.is_paid(new) or new.paid_at <> old.paid_at)
     or old.from_statement and not kudos.is_in_force(old) and kudos.is_in_force(new) then
    perform kudos.refuse_payout('payouts_over');
  end if;
  return new;
end
$$;
comment on function kudos.payouts_stay() is
  'Keeps the lines of a payout that was made from a statement, and what is paid as paid: it is not paid again, and its lines do not come free.';
create trigger stays before update on kudos.payouts
  for each row execute function kudos.payouts_stay();

-- For analysts -------------------------------------------------------------------------------------

-- A contract for one campaign names it itself, so that who asks for a campaign reads its contracts alone.
create view report.earning_lines as
with contracts as (
  select k.*, w.name as workspace, i.handle as influencer
    from kudos.contracts k
    join kudos.workspaces w on w.id = k.workspace_id
    join kudos.influencers i on i.id = k.influencer_id
   where k.agreed_at is not null)
select k.workspace, k.influencer, a.slug as campaign, coalesce(k.external_id, k.id::text) as contract, s.day, s.kind,
       s.event, s.order_id, s.quantity, s.unidentified, s.base_minor, s.share as share_percent, s.rate_minor,
       s.rate_percent, s.rule, s.reason, s.amount_minor, s.full_minor - s.amount_minor as capped_minor, s.held_minor,
       s.due_minor, s.paid_minor, s.in_payouts_minor, s.currency, nullif(s.payable_on, 'infinity') as payable_on,
       nullif(s.payable_on, 'infinity') + k.payment_days as due_on, s.payouts, s.corrected, s.conversion_id, s.key,
       k.id as contract_id, k.influencer_id, a.id as campaign_id, k.workspace_id
  from contracts k
  join kudos.campaigns a on a.id = k.campaign_id
 cross join lateral kudos.contract_statement(k.id) s
 union all
select k.workspace, k.influencer, a.slug, coalesce(k.external_id, k.id::text), s.day, s.kind,
       s.event, s.order_id, s.quantity, s.unidentified, s.base_minor, s.share, s.rate_minor,
       s.rate_percent, s.rule, s.reason, s.amount_minor, s.full_minor - s.amount_minor, s.held_minor,
       s.due_minor, s.paid_minor, s.in_payouts_minor, s.currency, nullif(s.payable_on, 'infinity'),
       nullif(s.payable_on, 'infinity') + k.payment_days, s.payouts, s.corrected, s.conversion_id, s.key,
       k.id, k.influencer_id, a.id, k.workspace_id
  from contracts k
 cross join lateral kudos.contract_statement(k.id) s
  left join kudos.campaigns a on a.id = s.campaign_id
 where k.campaign_id is null;
comment on view report.earning_lines is
  'What contracts have earned, a row for each conversion, each day of clicks, each fee and bonus; with what is paid of it. amount = held + due + paid. Computed from what is stored now; what a payout has frozen is in payouts.';
comment on column report.earning_lines.workspace is 'The workspace that pays.';
comment on column report.earning_lines.influencer is 'Handle of who earned it.';
comment on column report.earning_lines.campaign is 'Slug of the campaign; null: none in particular.';
comment on column report.earning_lines.contract is 'The contract: its external_id, else its number.';
comment on column report.earning_lines.day is 'Day it was earned, or taken back, by the workspace''s calendar.';
comment on column report.earning_lines.kind is 'flat_fee, clicks (of a day), lead, sale (a sum for each), share (of revenue) or bonus.';
comment on column report.earning_lines.event is 'sale, refund, lead …, click; null: a fee or bonus.';
comment on column report.earning_lines.order_id is 'The shop''s order; null: none.';
comment on column report.earning_lines.quantity is 'Valid clicks of the day; else 1, -1 for a sale that is taken back, 0 where nothing is earned.';
comment on column report.earning_lines.unidentified is 'Of the clicks, those without a visitor value (Sec-GPC, DNT); null: no clicks.';
comment on column report.earning_lines.base_minor is 'The influencer''s part of the amount; null: none.';
comment on column report.earning_lines.share_percent is 'The influencer''s percent of the credit; null: no conversion.';
comment on column report.earning_lines.rate_minor is 'What one is paid; null: a percentage.';
comment on column report.earning_lines.rate_percent is 'Percent of the revenue; null: a sum for each.';
comment on column report.earning_lines.rule is 'The term of the contract.';
comment on column report.earning_lines.reason is 'Why it was credited (of conversions, the reason of the attribution); earned_no_more: it was paid out, and is credited otherwise now.';
comment on column report.earning_lines.amount_minor is 'What is earned, in minor units; below zero: taken back.';
comment on column report.earning_lines.capped_minor is 'What the contract''s cap kept back.';
comment on column report.earning_lines.held_minor is 'Of it, held back for refunds until payable_on (clicks: until their day is closed).';
comment on column report.earning_lines.due_minor is 'Of it, payable and not paid, whether a payout has it or not; below zero: paid too much.';
comment on column report.earning_lines.paid_minor is 'Of it, paid.';
comment on column report.earning_lines.in_payouts_minor is 'What payouts have of it, paid or not.';
comment on column report.earning_lines.currency is 'Currency (ISO 4217).';
comment on column report.earning_lines.payable_on is 'From when on it may be in a payout; null: not known yet.';
comment on column report.earning_lines.due_on is 'When it is due if a payout is made on that day; null: not known yet.';
comment on column report.earning_lines.payouts is 'Payouts that have it.';
comment on column report.earning_lines.corrected is 'True if payouts have another amount than what is earned: the difference goes into the next.';
comment on column report.earning_lines.conversion_id is 'The conversion; null: none.';
comment on column report.earning_lines.key is 'With contract, kind and currency, what makes it one.';
comment on column report.earning_lines.contract_id is 'The contract.';
comment on column report.earning_lines.influencer_id is 'Who earned it.';
comment on column report.earning_lines.campaign_id is 'The campaign; null: none in particular.';
comment on column report.earning_lines.workspace_id is 'The workspace.';

create view report.earnings as
select l.workspace, l.influencer, l.campaign, l.contract, l.currency,
       sum(l.amount_minor)::bigint as earned_minor,
       sum(l.held_minor)::bigint as held_minor,
       sum(l.due_minor)::bigint as due_minor,
       sum(l.paid_minor)::bigint as paid_minor,
       (sum(l.in_payouts_minor) - sum(l.paid_minor))::bigint as in_payouts_minor,
       coalesce(sum(l.amount_minor) filter (where l.kind = 'flat_fee'), 0)::bigint as flat_fee_minor,
       coalesce(sum(l.amount_minor) filter (where l.kind = 'clicks'), 0)::bigint as clicks_minor,
       coalesce(sum(l.amount_minor) filter (where l.kind = 'lead'), 0)::bigint as leads_minor,
       coalesce(sum(l.amount_minor) filter (where l.kind = 'sale'), 0)::bigint as sales_minor,
       coalesce(sum(l.amount_minor) filter (where l.kind = 'share'), 0)::bigint as share_minor,
       coalesce(sum(l.amount_minor) filter (where l.kind = 'bonus'), 0)::bigint as bonus_minor,
       coalesce(sum(l.amount_minor) filter (where l.event = 'refund'), 0)::bigint as refunds_minor,
       sum(l.capped_minor)::bigint as capped_minor,
       coalesce(sum(l.quantity) filter (where l.kind = 'clicks'), 0)::bigint as valid_clicks,
       coalesce(sum(l.unidentified) filter (where l.kind = 'clicks'), 0)::bigint as unidentified_clicks,
       count(distinct l.conversion_id) filter (where l.kind = 'lead') as leads,
       count(distinct l.conversion_id) filter (where l.event = 'sale') as sales,
       count(distinct l.conversion_id) filter (where l.event = 'refund') as refunds,
       min(l.due_on) filter (where l.amount_minor <> l.in_payouts_minor) as next_due_on,
       l.contract_id, l.influencer_id, l.campaign_id, l.workspace_id
  from report.earning_lines l
 group by l.workspace, l.influencer, l.campaign, l.contract, l.currency, l.contract_id, l.influencer_id,
          l.campaign_id, l.workspace_id;
comment on view report.earnings is
  'What each contract has earned in each campaign and currency, and what is paid of it: earned = held + due + paid, and earned = flat_fee + clicks + leads + sales + share + bonus. Never add currencies. Payouts with lines written by hand are not in it.';
comment on column report.earnings.workspace is 'The workspace that pays.';
comment on column report.earnings.influencer is 'Handle of who earned it.';
comment on column report.earnings.campaign is 'Slug of the campaign; null: what a contract for all campaigns pays for none in particular.';
comment on column report.earnings.contract is 'The contract: its external_id, else its number.';
comment on column report.earnings.currency is 'Currency (ISO 4217).';
comment on column report.earnings.earned_minor is 'All that is earned, refunds taken off, up to the cap; minor units.';
comment on column report.earnings.held_minor is 'Of it, still held back for refunds (clicks: until their day is closed).';
comment on column report.earnings.due_minor is 'Of it, payable and not paid yet; below zero: more is paid than earned.';
comment on column report.earnings.paid_minor is 'Of it, paid.';
comment on column report.earnings.in_payouts_minor is 'Of what is due, what open and approved payouts have.';
comment on column report.earnings.flat_fee_minor is 'Earned by the flat fee.';
comment on column report.earnings.clicks_minor is 'Earned per valid click.';
comment on column report.earnings.leads_minor is 'Earned per lead.';
comment on column report.earnings.sales_minor is 'Earned per sale.';
comment on column report.earnings.share_minor is 'Earned as a share of the revenue.';
comment on column report.earnings.bonus_minor is 'Earned by reaching targets.';
comment on column report.earnings.refunds_minor is 'What refunds took back; it is taken off in sales_minor and share_minor already.';
comment on column report.earnings.capped_minor is 'What the cap kept back.';
comment on column report.earnings.valid_clicks is 'Clicks that were paid for.';
comment on column report.earnings.unidentified_clicks is 'Those of them without a visitor value (Sec-GPC, DNT).';
comment on column report.earnings.leads is 'Leads that were paid for.';
comment on column report.earnings.sales is 'Sales that were paid for, refunded ones too.';
comment on column report.earnings.refunds is 'Refunds of those.';
comment on column report.earnings.next_due_on is 'When the first of what no payout has yet is due; null: nothing is left.';
comment on column report.earnings.contract_id is 'The contract.';
comment on column report.earnings.influencer_id is 'Who earned it.';
comment on column report.earnings.campaign_id is 'The campaign; null: none in particular.';
comment on column report.earnings.workspace_id is 'The workspace.';

create view report.payout_lines as
select w.name as workspace, i.handle as influencer, a.slug as campaign,
       coalesce(k.external_id, k.id::text) as contract, p.status, l.day, l.position, l.kind, l.event, l.order_id,
       l.quantity, l.unidentified, l.base_minor, l.share as share_percent, l.rate_minor, l.rate_percent, l.rule,
       l.reason, l.amount_minor, l.currency, l.correction, l.payout_id, l.contract_id, l.conversion_id,
       p.influencer_id, l.campaign_id, l.workspace_id
  from kudos.payout_lines l
  join kudos.payouts p on p.id = l.payout_id
  join kudos.workspaces w on w.id = l.workspace_id
  join kudos.influencers i on i.id = p.influencer_id
  join kudos.contracts k on k.id = l.contract_id
  left join kudos.campaigns a on a.id = l.campaign_id;
comment on view report.payout_lines is
  'The lines that payouts were made of, as they were then; they add up to the payout. Of those that were cancelled, the lines have come free again.';
comment on column report.payout_lines.workspace is 'The workspace that pays.';
comment on column report.payout_lines.influencer is 'Handle of who is paid.';
comment on column report.payout_lines.campaign is 'Slug of the campaign; null: none in particular.';
comment on column report.payout_lines.contract is 'The contract: its external_id, else its number.';
comment on column report.payout_lines.status is 'Of the payout: open, approved, paid, cancelled or archived.';
comment on column report.payout_lines.day is 'Day it was earned, or taken back.';
comment on column report.payout_lines.position is 'Its place in the payout, from 1.';
comment on column report.payout_lines.kind is 'flat_fee, clicks, lead, sale, share or bonus.';
comment on column report.payout_lines.event is 'sale, refund, lead …, click; null: a fee or bonus.';
comment on column report.payout_lines.order_id is 'The shop''s order; null: none.';
comment on column report.payout_lines.quantity is 'Valid clicks of the day; else 1, -1 for a sale that is taken back.';
comment on column report.payout_lines.unidentified is 'Of the clicks, those without a visitor value; null: no clicks.';
comment on column report.payout_lines.base_minor is 'The influencer''s part of the amount; null: none.';
comment on column report.payout_lines.share_percent is 'The influencer''s percent of the credit; null: no conversion.';
comment on column report.payout_lines.rate_minor is 'What one is paid; null: a percentage.';
comment on column report.payout_lines.rate_percent is 'Percent of the revenue; null: a sum for each.';
comment on column report.payout_lines.rule is 'The term of the contract.';
comment on column report.payout_lines.reason is 'Why it was credited; earned_no_more: an earlier payout had it, and it is credited otherwise now.';
comment on column report.payout_lines.amount_minor is 'Minor units; below zero: taken back.';
comment on column report.payout_lines.currency is 'Currency (ISO 4217).';
comment on column report.payout_lines.correction is 'True if an earlier payout had the same line with another amount: this is the difference.';
comment on column report.payout_lines.payout_id is 'The payout.';
comment on column report.payout_lines.contract_id is 'The contract.';
comment on column report.payout_lines.conversion_id is 'The conversion; null: none.';
comment on column report.payout_lines.influencer_id is 'Who is paid.';
comment on column report.payout_lines.campaign_id is 'The campaign; null: none in particular.';
comment on column report.payout_lines.workspace_id is 'The workspace.';

drop view report.payouts_due;
create view report.payouts_due as
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
select e.workspace, e.influencer, e.campaign, e.contract, 'earned', e.minor, e.currency, e.due_on,
       e.due_on - (now() at time zone w.time_zone)::date,
       coalesce(e.minor > 0 and e.due_on < (now() at time zone w.time_zone)::date, false),
       e.first_day, e.last_day, null, null, e.contract_id, e.influencer_id, e.workspace_id
  from (select l.workspace, l.influencer, l.campaign, l.contract, l.currency, l.due_on, l.contract_id, l.influencer_id,
               l.workspace_id, sum(l.amount_minor - l.in_payouts_minor)::bigint as minor, min(l.day) as first_day,
               max(l.day) as last_day
          from report.earning_lines l
         where l.amount_minor <> l.in_payouts_minor
         group by l.workspace, l.influencer, l.campaign, l.contract, l.currency, l.due_on, l.contract_id,
                  l.influencer_id, l.workspace_id) e
  join kudos.workspaces w on w.id = e.workspace_id;
comment on view report.payouts_due is
  'What has not been paid yet, and how soon it is due: payouts, and what is earned and in no payout so far (status earned), a row for each due date. where days_left <= 14 is what falls due in the next two weeks; overdue is what is late.';
comment on column report.payouts_due.workspace is 'The workspace that pays.';
comment on column report.payouts_due.influencer is 'Handle of who is paid.';
comment on column report.payouts_due.campaign is 'Slug of the campaign; null: none in particular.';
comment on column report.payouts_due.contract is 'The contract: its external_id, else its number; null: none.';
comment on column report.payouts_due.status is 'earned: in no payout yet. open: being put together. approved: to be paid.';
comment on column report.payouts_due.total_minor is 'Total in minor units; below zero: paid too much, to be set off.';
comment on column report.payouts_due.currency is 'Currency (ISO 4217).';
comment on column report.payouts_due.due_on is 'When it is due (of what is in no payout: had one been made when it became payable); null: no date yet.';
comment on column report.payouts_due.days_left is 'Days until then by the workspace''s calendar, below zero if it is late; null: no date yet.';
comment on column report.payouts_due.overdue is 'True if it should have been paid.';
comment on column report.payouts_due.period_from is 'First day that it is for; null: not set.';
comment on column report.payouts_due.period_to is 'Last day that it is for; null: not set.';
comment on column report.payouts_due.reference is 'Reference of the payment; null: none yet.';
comment on column report.payouts_due.payout_id is 'The payout; null: none yet.';
comment on column report.payouts_due.contract_id is 'The contract; null: none.';
comment on column report.payouts_due.influencer_id is 'Who is paid.';
comment on column report.payouts_due.workspace_id is 'The workspace.';
