-- Conversions: what visitors did after the click, who is credited with it, and why.
--
-- One row for each (workspace, event, key), for ever, whatever the path and however often it is told.
-- kudos.record_conversion() takes a report and kudos.credit_conversion() decides who earned it; both
-- are all of it, so that HTTP, the journal's inbox and `kudos reattribute` cannot differ. Credit is a
-- function of what is stored, never of the order of arrival: whatever may come later than the
-- conversion (the click's row, the order of a refund, the code) makes it be decided again.

-- Customers are known by a hash under the workspace's own salt.
alter table kudos.workspaces
  add column customer_salt bytea not null default decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex');
comment on column kudos.workspaces.customer_salt is 'Secret under which customer references are hashed.';

-- A code that is switched off keeps what it earned before.
alter table kudos.codes add column inactive_since timestamptz;
comment on column kudos.codes.inactive_since is 'Since when the code is not active; null: it is.';
update kudos.codes set inactive_since = updated_at where status <> 'active';

create function kudos.codes_inactive_since() returns trigger
language plpgsql set search_path = '' as $$
begin
  if new.status = 'active' then
    new.inactive_since := null;
  elsif tg_op = 'INSERT' or old.status = 'active' then
    new.inactive_since := now();
  end if;
  return new;
end
$$;
comment on function kudos.codes_inactive_since() is 'Sets inactive_since of a code.';
create trigger inactive before insert or update of status on kudos.codes
  for each row execute function kudos.codes_inactive_since();

create type kudos.conversion_status as enum ('credited', 'unattributed', 'unverified');
comment on type kudos.conversion_status is
  'credited: somebody earned it. unattributed: nobody did, see the reason. unverified: told by somebody who could not prove who they are; no money is credited until a signed path tells the same.';

create type kudos.conversion_path as enum
  ('api', 'postback', 'pixel', 'beacon', 'shopify', 'stripe', 'woocommerce');
comment on type kudos.conversion_path is 'How a conversion was told.';

create type kudos.touch_kind as enum ('link', 'code');
comment on type kudos.touch_kind is 'What led to a sale: a click on a link, or a code that was typed.';

create table kudos.conversions (
  id bigint generated always as identity primary key,
  workspace_id bigint not null references kudos.workspaces (id),
  event text not null check (event ~ '^[a-z][a-z0-9_]{0,31}$'),
  key text not null check (octet_length(key) between 1 and 255),
  order_id text check (octet_length(order_id) between 1 and 255),
  external_id text check (octet_length(external_id) between 1 and 255),
  amount_minor bigint,
  currency text check (currency ~ '^[A-Z]{3}$'),
  occurred_at timestamptz not null,
  occurred_told boolean not null,
  received_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  path kudos.conversion_path not null,
  verified boolean not null,
  click_id text check (octet_length(click_id) <= 128),
  click_verified boolean,
  click_problem text,
  click_origin bigint,
  click_seq bigint,
  click_link_id bigint,
  click_time timestamptz,
  click_awaited boolean not null default false,
  code text check (octet_length(code) between 1 and 64),
  code_verified boolean,
  customer bytea,
  items jsonb,
  metadata jsonb,
  status kudos.conversion_status not null default 'unattributed',
  via kudos.touch_kind,
  reason text,
  influencer_id bigint,
  campaign_id bigint,
  unique (workspace_id, event, key),
  check ((amount_minor is null) = (currency is null)),
  check (case when event = 'refund' then amount_minor <= 0 else amount_minor >= 0 end)
);
create index conversions_order on kudos.conversions (workspace_id, order_id);
create index conversions_code on kudos.conversions (workspace_id, lower(code)) where code is not null;
create index conversions_time on kudos.conversions (workspace_id, occurred_at);
create index conversions_campaign on kudos.conversions (campaign_id, occurred_at);
create index conversions_awaited on kudos.conversions (id) where click_awaited;
comment on table kudos.conversions is
  'Sales, leads, sign-ups, refunds and other events: one row for each (workspace, event, key), for ever.';
comment on column kudos.conversions.id is 'Number of the conversion.';
comment on column kudos.conversions.workspace_id is 'The workspace whose shop it happened in.';
comment on column kudos.conversions.event is 'sale, lead, signup, install, refund, or a word of one''s own.';
comment on column kudos.conversions.key is 'What makes it one: the order of a sale, the refund''s own id, else external_id, else the click id.';
comment on column kudos.conversions.order_id is 'The shop''s order; of a refund, the order that it takes back; null: none.';
comment on column kudos.conversions.external_id is 'Its id in another system; null: none.';
comment on column kudos.conversions.amount_minor is 'Value in minor units of the currency; below zero for a refund; null: it has none.';
comment on column kudos.conversions.currency is 'Original currency (ISO 4217); null: no amount.';
comment on column kudos.conversions.occurred_at is 'When it happened, as told.';
comment on column kudos.conversions.occurred_told is 'False if nobody said when it happened, so that it is when it was first told.';
comment on column kudos.conversions.received_at is 'When it was first told.';
comment on column kudos.conversions.updated_at is 'When something about it last changed.';
comment on column kudos.conversions.path is 'How it was first told.';
comment on column kudos.conversions.verified is 'Whether somebody told it who proved who they are.';
comment on column kudos.conversions.click_id is 'The click id that came with it, as it came; null: none.';
comment on column kudos.conversions.click_verified is 'Whether the click id was told by somebody who proved who they are; null: no click id.';
comment on column kudos.conversions.click_problem is 'Why the click id is none of this service''s (bad_signature); null: it is one.';
comment on column kudos.conversions.click_origin is 'With click_seq, the click that it names; null: none.';
comment on column kudos.conversions.click_seq is 'With click_origin, the click that it names; null: none.';
comment on column kudos.conversions.click_link_id is 'The link that was clicked; null: none.';
comment on column kudos.conversions.click_time is 'When it was clicked, to the millisecond; null: no click.';
comment on column kudos.conversions.click_awaited is 'True while the click''s row has not been flushed: credit is decided again when it is there.';
comment on column kudos.conversions.code is 'The discount code that was used, as it came; null: none.';
comment on column kudos.conversions.code_verified is 'Whether the code was told by somebody who proved who they are; null: no code.';
comment on column kudos.conversions.customer is 'Hash of the customer''s reference under the workspace''s salt; null: not told.';
comment on column kudos.conversions.items is 'What was bought, as told; null: not told.';
comment on column kudos.conversions.metadata is 'What else was told; null: nothing.';
comment on column kudos.conversions.status is 'credited, unattributed or unverified.';
comment on column kudos.conversions.via is 'What the winner won by; null: nobody won.';
comment on column kudos.conversions.reason is 'Why: see server/conversions/README.md.';
comment on column kudos.conversions.influencer_id is 'Who earned it (of a split, the one with the larger share); null: nobody in particular.';
comment on column kudos.conversions.campaign_id is 'The campaign that it counts for; null: none.';

create table kudos.attributions (
  conversion_id bigint not null references kudos.conversions (id),
  position smallint not null,
  kind kudos.touch_kind not null,
  influencer_id bigint,
  campaign_id bigint,
  link_id bigint,
  code_id bigint,
  touched_at timestamptz,
  won boolean not null,
  share_percent smallint not null check (share_percent between 0 and 100),
  amount_minor bigint,
  reason text not null,
  primary key (conversion_id, position)
);
create index attributions_influencer on kudos.attributions (influencer_id) where won;
comment on table kudos.attributions is
  'For each conversion every touch that might have earned it: who won, who did not, and why. The amounts of those who won add up to the conversion''s.';
comment on column kudos.attributions.conversion_id is 'The conversion.';
comment on column kudos.attributions.position is 'From 1: winners first.';
comment on column kudos.attributions.kind is 'link or code.';
comment on column kudos.attributions.influencer_id is 'Whose link or code; null: nobody''s in particular, or unknown.';
comment on column kudos.attributions.campaign_id is 'Its campaign; null: none, or unknown.';
comment on column kudos.attributions.link_id is 'The link that was clicked; null: a code, or unknown.';
comment on column kudos.attributions.code_id is 'The code that was used; null: a click, or unknown.';
comment on column kudos.attributions.touched_at is 'When the link was clicked, or the code used.';
comment on column kudos.attributions.won is 'Whether credit was given.';
comment on column kudos.attributions.share_percent is 'Share of the credit.';
comment on column kudos.attributions.amount_minor is 'Part of the amount, in minor units of the conversion''s currency; null: it has no amount.';
comment on column kudos.attributions.reason is 'Why it won or lost: see server/conversions/README.md.';

create table kudos.conversion_conflicts (
  id bigint generated always as identity primary key,
  conversion_id bigint not null references kudos.conversions (id),
  path kudos.conversion_path not null,
  verified boolean not null,
  amount_minor bigint,
  currency text,
  received_at timestamptz not null default now()
);
create index conversion_conflicts_conversion on kudos.conversion_conflicts (conversion_id);
comment on table kudos.conversion_conflicts is
  'Reports of a conversion that is known with another amount or currency. They change nothing.';
comment on column kudos.conversion_conflicts.id is 'Number of the report.';
comment on column kudos.conversion_conflicts.conversion_id is 'The conversion that is known.';
comment on column kudos.conversion_conflicts.path is 'How the other amount was told.';
comment on column kudos.conversion_conflicts.verified is 'Whether whoever told it proved who they are.';
comment on column kudos.conversion_conflicts.amount_minor is 'The other amount.';
comment on column kudos.conversion_conflicts.currency is 'Its currency.';
comment on column kudos.conversion_conflicts.received_at is 'When it was told.';

-- Who earned it ----------------------------------------------------------------------------------

create function kudos.customer_hash(salt bytea, reference text) returns bytea
language sql immutable parallel safe as $$
  select sha256(salt || convert_to(lower(btrim(reference)), 'UTF8'))
$$;
comment on function kudos.customer_hash(bytea, text) is 'Hash of a customer''s reference (an e-mail address, a number) under a workspace''s salt.';

-- The click as a touch: one row, or none without a click id.
create function kudos.touch_by_click(c kudos.conversions) returns kudos.attributions
language plpgsql stable set search_path = '' as $$
declare
  t kudos.attributions;
  days numeric;
  said kudos.verdict;
begin
  if c.click_id is null then
    return null;
  end if;
  t.kind := 'link';
  t.touched_at := c.click_time;
  if c.click_problem is not null then
    t.reason := c.click_problem;
    return t;
  end if;
  select l.id, l.campaign_id, l.influencer_id into t.link_id, t.campaign_id, t.influencer_id
    from kudos.links l where l.id = c.click_link_id and l.workspace_id = c.workspace_id;
  if not found then
    t.reason := 'unknown_click';
    return t;
  end if;
  select (attribution ->> 'window_days')::numeric into days
    from kudos.campaigns where id = t.campaign_id;
  -- The id has the time in milliseconds; clocks of shops may be a little behind.
  select verdict into said from kudos.clicks
   where time >= c.click_time and time < c.click_time + interval '1 millisecond'
     and origin = c.click_origin and seq = c.click_seq;
  t.reason := case
    when c.occurred_at < c.click_time - interval '5 minutes' then 'click_after_conversion'
    when c.occurred_at > c.click_time + coalesce(days, 30) * interval '1 day' then 'outside_window'
    when said <> 'human' then 'non_human_click'
    when t.campaign_id is null and t.influencer_id is null then 'link_of_nobody'
  end;
  return t;
end
$$;
comment on function kudos.touch_by_click(kudos.conversions) is
  'The click that a conversion names, as a touch; its reason says why it cannot be credited, null: it can.';

create function kudos.touch_by_code(c kudos.conversions) returns kudos.attributions
language plpgsql stable set search_path = '' as $$
declare
  t kudos.attributions;
  k kudos.codes;
begin
  if c.code is null then
    return null;
  end if;
  t.kind := 'code';
  t.touched_at := c.occurred_at;
  select * into k from kudos.codes where workspace_id = c.workspace_id and lower(code) = lower(c.code);
  if not found then
    t.reason := 'unknown_code';
    return t;
  end if;
  t.code_id := k.id;
  t.campaign_id := k.campaign_id;
  t.influencer_id := k.influencer_id;
  t.reason := case
    when k.inactive_since <= c.occurred_at then 'code_disabled'
    when k.starts_at > c.occurred_at then 'code_not_started'
    when k.ends_at <= c.occurred_at then 'code_expired'
    when t.campaign_id is null and t.influencer_id is null then 'code_of_nobody'
  end;
  return t;
end
$$;
comment on function kudos.touch_by_code(kudos.conversions) is
  'The code that a conversion names, as a touch; its reason says why it cannot be credited, null: it can.';

create function kudos.store_touch(c kudos.conversions, t kudos.attributions, at smallint, share smallint, part bigint, why text)
returns void
language sql set search_path = '' as $$
  insert into kudos.attributions (conversion_id, position, kind, influencer_id, campaign_id, link_id,
                                  code_id, touched_at, won, share_percent, amount_minor, reason)
  values (c.id, at, t.kind, t.influencer_id, t.campaign_id, t.link_id, t.code_id, t.touched_at,
          share > 0, share, part, why)
$$;
comment on function kudos.store_touch(kudos.conversions, kudos.attributions, smallint, smallint, bigint, text) is
  'Writes one touch of a conversion.';

-- A refund takes back what its order gave, in the same parts; what cannot be divided goes with the
-- first, as it came.
create function kudos.credit_refund(c kudos.conversions) returns void
language plpgsql set search_path = '' as $$
declare
  sale kudos.conversions;
  w kudos.attributions;
  left_minor bigint := c.amount_minor;
  part bigint;
  winners integer;
begin
  select * into sale from kudos.conversions
   where workspace_id = c.workspace_id and event = 'sale' and order_id = c.order_id;
  select count(*) into winners from kudos.attributions where conversion_id = sale.id and won;
  if sale.id is null or winners = 0 then
    update kudos.conversions
       set status = 'unattributed', via = null, influencer_id = null,
           campaign_id = sale.campaign_id,
           reason = case when sale.id is null then 'unknown_order' else 'order_not_credited' end
     where id = c.id;
    return;
  end if;
  for w in select * from kudos.attributions where conversion_id = sale.id and won
            order by position desc loop
    part := case when w.position = 1 then left_minor else c.amount_minor * w.share_percent / 100 end;
    left_minor := left_minor - part;
    perform kudos.store_touch(c, w, w.position, w.share_percent, part, 'refund_of_credited_order');
  end loop;
  update kudos.conversions
     set status = 'credited', via = sale.via, influencer_id = sale.influencer_id,
         campaign_id = sale.campaign_id, reason = 'refund_of_credited_order'
   where id = c.id;
end
$$;
comment on function kudos.credit_refund(kudos.conversions) is 'Gives a refund to whom its order was given.';

create function kudos.credit_touches(c kudos.conversions) returns void
language plpgsql set search_path = '' as $$
declare
  click kudos.attributions := kudos.touch_by_click(c);
  code kudos.attributions := kudos.touch_by_code(c);
  first kudos.attributions;
  second kudos.attributions;
  spare kudos.attributions;
  rule text;
  share smallint := 100;
  part bigint := c.amount_minor;
  itself boolean;
begin
  -- Nobody earns by buying from themselves.
  if c.customer is not null then
    for first in select * from unnest(array[click, code]) loop
      select c.customer = kudos.customer_hash(w.customer_salt, i.email) into itself
        from kudos.influencers i join kudos.workspaces w on w.id = i.workspace_id
       where i.id = first.influencer_id and i.email is not null;
      if itself and first.kind = 'link' then
        click.reason := coalesce(click.reason, 'self_referral');
      elsif itself then
        code.reason := coalesce(code.reason, 'self_referral');
      end if;
    end loop;
  end if;

  select coalesce(attribution ->> 'precedence', 'code_first') into rule from kudos.campaigns
   where id = coalesce(click.campaign_id, code.campaign_id);
  rule := coalesce(rule, 'code_first');
  -- A code is used when the sale is made: it is the last touch, and the click before it the first.
  if rule in ('link_first', 'first_touch') then
    first := click; second := code;
  else
    first := code; second := click;
  end if;
  if first.kind is null or (first.reason is not null and second.kind is not null and second.reason is null) then
    spare := first;
    first := second;
    second := spare;
  end if;

  if first.kind is null or first.reason is not null then
    update kudos.conversions
       set status = 'unattributed', via = null, influencer_id = null,
           campaign_id = coalesce(first.campaign_id, second.campaign_id),
           reason = coalesce(first.reason, 'no_click_and_no_code')
     where id = c.id;
    if first.kind is not null then
      perform kudos.store_touch(c, first, 1::smallint, 0::smallint, 0, first.reason);
    end if;
    if second.kind is not null then
      perform kudos.store_touch(c, second, 2::smallint, 0::smallint, 0, second.reason);
    end if;
    return;
  end if;

  if rule = 'split' and second.kind is not null and second.reason is null then
    share := 50;
    part := c.amount_minor - c.amount_minor / 2;
    perform kudos.store_touch(c, second, 2::smallint, 50::smallint, c.amount_minor / 2, 'split');
  elsif second.kind is not null then
    perform kudos.store_touch(c, second, 2::smallint, 0::smallint, 0, coalesce(second.reason, 'outranked_' || rule));
  end if;
  perform kudos.store_touch(c, first, 1::smallint, share, part,
    case when share = 50 then 'split'
         when second.kind is not null and second.reason is null then rule
         else 'only_' || first.kind end);
  update kudos.conversions
     set status = 'credited', via = first.kind, influencer_id = first.influencer_id,
         campaign_id = first.campaign_id,
         reason = case when share = 50 then 'split'
                       when second.kind is not null and second.reason is null then rule
                       else 'only_' || first.kind end
   where id = c.id;
end
$$;
comment on function kudos.credit_touches(kudos.conversions) is
  'Decides between the click and the code of a conversion and writes winner, loser and reasons.';

create function kudos.credit_conversion(which bigint) returns void
language plpgsql set search_path = '' as $$
declare
  c kudos.conversions;
  flushed boolean;
  follower bigint;
begin
  select * into c from kudos.conversions where id = which for update;
  delete from kudos.attributions where conversion_id = which;
  -- Looked at before the click's row is looked for: if it is there by now, so is the row.
  select exists (select from kudos.watermarks where origin = c.click_origin and seq >= c.click_seq)
    into flushed;
  update kudos.conversions
     set click_awaited = c.click_seq is not null and not flushed, updated_at = now()
   where id = which;
  if not c.verified then
    update kudos.conversions
       set status = 'unverified', via = null, influencer_id = null, campaign_id = null,
           reason = 'not_signed'
     where id = which;
  elsif c.event = 'refund' then
    perform kudos.credit_refund(c);
  else
    perform kudos.credit_touches(c);
  end if;
  if c.event = 'sale' and c.order_id is not null then
    for follower in select id from kudos.conversions
                     where workspace_id = c.workspace_id and event = 'refund' and order_id = c.order_id
                     order by id loop
      perform kudos.credit_conversion(follower);
    end loop;
  end if;
end
$$;
comment on function kudos.credit_conversion(bigint) is
  'Decides anew who earned a conversion, from what is stored now; and the refunds of its order after it.';

-- A report ---------------------------------------------------------------------------------------

-- Which of two reports of the same thing to keep must not depend on which came first: a click id that
-- is one goes before one that is not, then what was proved before what was not, then the later click.
create function kudos.click_rank(problem text, verified boolean, at timestamptz, id text)
returns text
language sql immutable set search_path = '' as $$
  select case when id is null then '' else
    concat((problem is null)::int, (verified is true)::int,
           to_char(coalesce(at, 'epoch') at time zone 'UTC', 'YYYYMMDDHH24MISSUS'), id) end collate "C"
$$;
comment on function kudos.click_rank(text, boolean, timestamptz, text) is
  'Orders the click ids told for one conversion; the largest is kept.';

-- The report as a row, not stored.
create function kudos.conversion_told(workspace bigint, told jsonb) returns kudos.conversions
language sql stable set search_path = '' as $$
  select r from kudos.workspaces w, lateral jsonb_populate_record(null::kudos.conversions,
    told - 'customer' || jsonb_build_object(
      'workspace_id', workspace, 'received_at', now(), 'updated_at', now(), 'click_awaited', false,
      'status', 'unattributed', 'occurred_told', told ? 'occurred_at',
      'occurred_at', coalesce(told -> 'occurred_at', to_jsonb(now())),
      'click_verified', case when told ? 'click_id' then told -> 'verified' end,
      'code_verified', case when told ? 'code' then told -> 'verified' end,
      'customer', kudos.customer_hash(w.customer_salt, told ->> 'customer'))) r
   where w.id = workspace
$$;
comment on function kudos.conversion_told(bigint, jsonb) is
  'A report (server/conversions/report.h) as the row that it would be; members are columns.';

-- What is known with what is told added. Of facts told twice the better proved one is kept.
create function kudos.conversion_joined(was kudos.conversions, new kudos.conversions)
returns kudos.conversions
language plpgsql stable set search_path = '' as $$
declare
  r kudos.conversions := was;
  better boolean := new.verified and not was.verified;
begin
  r.verified := was.verified or new.verified;
  r.order_id := coalesce(was.order_id, new.order_id);
  r.external_id := coalesce(was.external_id, new.external_id);
  if new.amount_minor is not null and (was.amount_minor is null or better) then
    r.amount_minor := new.amount_minor;
    r.currency := new.currency;
  end if;
  if new.occurred_told and (better or not was.occurred_told) then
    r.occurred_at := new.occurred_at;
    r.occurred_told := true;
  elsif new.occurred_told and new.verified = was.verified then
    r.occurred_at := least(was.occurred_at, new.occurred_at);
  end if;
  if kudos.click_rank(new.click_problem, new.click_verified, new.click_time, new.click_id)
     > kudos.click_rank(was.click_problem, was.click_verified, was.click_time, was.click_id) then
    r.click_id := new.click_id;
    r.click_verified := new.click_verified;
    r.click_problem := new.click_problem;
    r.click_origin := new.click_origin;
    r.click_seq := new.click_seq;
    r.click_link_id := new.click_link_id;
    r.click_time := new.click_time;
  end if;
  if new.code is not null and (was.code is null or new.code_verified and not was.code_verified
     or new.code_verified = was.code_verified and lower(new.code) < lower(was.code)) then
    r.code := new.code;
    r.code_verified := new.code_verified;
  end if;
  r.customer := case when better then coalesce(new.customer, was.customer) else coalesce(was.customer, new.customer) end;
  r.items := coalesce(was.items, new.items);
  r.metadata := nullif(coalesce(new.metadata, '{}') || coalesce(was.metadata, '{}'), '{}');
  return r;
end
$$;
comment on function kudos.conversion_joined(kudos.conversions, kudos.conversions) is
  'A conversion with the facts of a further report of it.';

create function kudos.record_conversion(workspace bigint, told jsonb)
returns table (outcome text, id bigint, status kudos.conversion_status, influencer text,
               campaign text, via kudos.touch_kind, reason text)
language plpgsql set search_path = '' as $$
declare
  new kudos.conversions := kudos.conversion_told(workspace, told);
  was kudos.conversions;
  joined kudos.conversions;
begin
  outcome := 'created';
  new.id := nextval(pg_get_serial_sequence('kudos.conversions', 'id'));
  insert into kudos.conversions overriding system value select new.*
  on conflict (workspace_id, event, key) do nothing;
  if not found then
    select * into strict was from kudos.conversions c
     where c.workspace_id = workspace and c.event = new.event and c.key = new.key for update;
    joined := kudos.conversion_joined(was, new);
    if (new.amount_minor, new.currency) is distinct from (joined.amount_minor, joined.currency)
       and new.amount_minor is not null then
      outcome := 'conflict';
      insert into kudos.conversion_conflicts (conversion_id, path, verified, amount_minor, currency)
      values (was.id, new.path, new.verified, new.amount_minor, new.currency);
    elsif joined is not distinct from was then
      outcome := 'repeated';
    else
      outcome := 'enriched';
      update kudos.conversions c
         set (verified, order_id, external_id, amount_minor, currency, occurred_at, occurred_told,
              click_id, click_verified, click_problem, click_origin, click_seq, click_link_id,
              click_time, code, code_verified, customer, items, metadata)
           = (joined.verified, joined.order_id, joined.external_id, joined.amount_minor,
              joined.currency, joined.occurred_at, joined.occurred_told, joined.click_id,
              joined.click_verified, joined.click_problem, joined.click_origin, joined.click_seq,
              joined.click_link_id, joined.click_time, joined.code, joined.code_verified,
              joined.customer, joined.items, joined.metadata)
       where c.id = was.id;
    end if;
    new.id := was.id;
  end if;
  if outcome in ('created', 'enriched') then
    perform kudos.credit_conversion(new.id);
  end if;
  return query
    select outcome, c.id, c.status, i.handle, a.slug, c.via, c.reason
      from kudos.conversions c
      left join kudos.influencers i on i.id = c.influencer_id
      left join kudos.campaigns a on a.id = c.campaign_id
     where c.id = new.id;
end
$$;
comment on function kudos.record_conversion(bigint, jsonb) is
  'Takes a report of a conversion, once for each (workspace, event, key): created; repeated (nothing new); enriched (further facts, credited again); conflict (another amount: noted, nothing changed). Answers who is credited now.';

-- What comes later -------------------------------------------------------------------------------

create function kudos.settle_clicks(most integer) returns integer
language plpgsql set search_path = '' as $$
declare
  which bigint;
  settled integer := 0;
begin
  for which in
    select c.id from kudos.conversions c
      join kudos.watermarks w on w.origin = c.click_origin and w.seq >= c.click_seq
     where c.click_awaited
     order by c.id limit most for update of c skip locked
  loop
    perform kudos.credit_conversion(which);
    settled := settled + 1;
  end loop;
  return settled;
end
$$;
comment on function kudos.settle_clicks(integer) is
  'Decides anew about conversions whose click has been flushed since. Returns how many.';

create function kudos.codes_credit() returns trigger
language plpgsql set search_path = '' as $$
declare
  which bigint;
begin
  for which in select id from kudos.conversions
                where workspace_id = new.workspace_id and lower(code) = lower(new.code) order by id loop
    perform kudos.credit_conversion(which);
  end loop;
  return null;
end
$$;
comment on function kudos.codes_credit() is 'Credits what was sold with a code before the code was entered.';
create trigger credit after insert or update of code on kudos.codes
  for each row execute function kudos.codes_credit();

-- For analysts -----------------------------------------------------------------------------------

create view report.conversions as
select w.name as workspace,
       c.occurred_at,
       c.event,
       c.order_id,
       c.external_id,
       c.amount_minor,
       c.currency,
       c.status,
       c.via,
       c.reason,
       i.handle as influencer,
       a.slug as campaign,
       c.code,
       l.slug,
       c.click_time,
       c.path,
       c.verified,
       c.received_at,
       c.items,
       c.metadata,
       (select count(*) from kudos.conversion_conflicts f where f.conversion_id = c.id) as conflicts,
       c.id as conversion_id,
       c.influencer_id,
       c.campaign_id,
       c.workspace_id
  from kudos.conversions c
  join kudos.workspaces w on w.id = c.workspace_id
  left join kudos.influencers i on i.id = c.influencer_id
  left join kudos.campaigns a on a.id = c.campaign_id
  left join kudos.links l on l.id = c.click_link_id and l.workspace_id = c.workspace_id;
comment on view report.conversions is
  'One row per conversion, with who is credited and why. Of a split the row names the larger or first share; report.attributions has all of them.';
comment on column report.conversions.workspace is 'The workspace whose shop it happened in.';
comment on column report.conversions.occurred_at is 'When it happened.';
comment on column report.conversions.event is 'sale, lead, signup, install, refund, or a word of one''s own.';
comment on column report.conversions.order_id is 'The shop''s order; of a refund, the order that it takes back; null: none.';
comment on column report.conversions.external_id is 'Its id in another system; null: none.';
comment on column report.conversions.amount_minor is 'Value in minor units of the currency; below zero for a refund; null: none.';
comment on column report.conversions.currency is 'Original currency (ISO 4217); null: no amount.';
comment on column report.conversions.status is 'credited, unattributed or unverified.';
comment on column report.conversions.via is 'link or code: what the winner won by; null: nobody won.';
comment on column report.conversions.reason is 'Why it is credited as it is.';
comment on column report.conversions.influencer is 'Handle of who earned it; null: nobody in particular.';
comment on column report.conversions.campaign is 'Slug of the campaign it counts for; null: none.';
comment on column report.conversions.code is 'The discount code that was used; null: none told.';
comment on column report.conversions.slug is 'Slug of the link that was clicked; null: no click told, or none of this workspace.';
comment on column report.conversions.click_time is 'When it was clicked; null: no click told.';
comment on column report.conversions.path is 'How it was first told.';
comment on column report.conversions.verified is 'Whether somebody told it who proved who they are.';
comment on column report.conversions.received_at is 'When it was first told.';
comment on column report.conversions.items is 'What was bought, as told; null: not told.';
comment on column report.conversions.metadata is 'What else was told; null: nothing.';
comment on column report.conversions.conflicts is 'How often it was told again with another amount.';
comment on column report.conversions.conversion_id is 'Number of the conversion.';
comment on column report.conversions.influencer_id is 'Who earned it; null: nobody in particular.';
comment on column report.conversions.campaign_id is 'The campaign; null: none.';
comment on column report.conversions.workspace_id is 'The workspace.';

create view report.attributions as
select w.name as workspace,
       c.occurred_at,
       c.event,
       c.order_id,
       t.kind as via,
       i.handle as influencer,
       a.slug as campaign,
       t.won,
       t.share_percent,
       t.amount_minor,
       c.currency,
       t.reason,
       t.touched_at,
       l.slug,
       k.code,
       c.id as conversion_id,
       t.influencer_id,
       t.campaign_id,
       c.workspace_id
  from kudos.attributions t
  join kudos.conversions c on c.id = t.conversion_id
  join kudos.workspaces w on w.id = c.workspace_id
  left join kudos.influencers i on i.id = t.influencer_id
  left join kudos.campaigns a on a.id = t.campaign_id
  left join kudos.links l on l.id = t.link_id
  left join kudos.codes k on k.id = t.code_id;
comment on view report.attributions is
  'Each touch that might have earned a conversion: winners with their share, losers with the reason. Amounts of winners add up to the conversion''s.';
comment on column report.attributions.workspace is 'The workspace whose shop it happened in.';
comment on column report.attributions.occurred_at is 'When the conversion happened.';
comment on column report.attributions.event is 'sale, lead, signup, install, refund, or a word of one''s own.';
comment on column report.attributions.order_id is 'The shop''s order; null: none.';
comment on column report.attributions.via is 'link or code.';
comment on column report.attributions.influencer is 'Handle of whose link or code it is; null: nobody''s in particular, or unknown.';
comment on column report.attributions.campaign is 'Slug of its campaign; null: none, or unknown.';
comment on column report.attributions.won is 'Whether credit was given.';
comment on column report.attributions.share_percent is 'Share of the credit.';
comment on column report.attributions.amount_minor is 'Part of the amount in minor units; null: the conversion has none.';
comment on column report.attributions.currency is 'Original currency; null: no amount.';
comment on column report.attributions.reason is 'Why it won or lost.';
comment on column report.attributions.touched_at is 'When the link was clicked, or the code used.';
comment on column report.attributions.slug is 'The link that was clicked; null: a code.';
comment on column report.attributions.code is 'The code that was used; null: a click.';
comment on column report.attributions.conversion_id is 'Number of the conversion.';
comment on column report.attributions.influencer_id is 'The influencer; null: nobody in particular.';
comment on column report.attributions.campaign_id is 'The campaign; null: none.';
comment on column report.attributions.workspace_id is 'The workspace.';

create view report.unattributed as
select c.workspace,
       c.occurred_at,
       c.event,
       c.order_id,
       c.external_id,
       c.amount_minor,
       c.currency,
       c.reason,
       c.code,
       c.slug,
       c.campaign,
       c.status,
       c.conversion_id,
       c.workspace_id
  from report.conversions c
 where c.status <> 'credited';
comment on view report.unattributed is 'Conversions that nobody is credited with, each with its reason.';
comment on column report.unattributed.workspace is 'The workspace whose shop it happened in.';
comment on column report.unattributed.occurred_at is 'When it happened.';
comment on column report.unattributed.event is 'sale, lead, signup, install, refund, or a word of one''s own.';
comment on column report.unattributed.order_id is 'The shop''s order; null: none.';
comment on column report.unattributed.external_id is 'Its id in another system; null: none.';
comment on column report.unattributed.amount_minor is 'Value in minor units of the currency; null: none.';
comment on column report.unattributed.currency is 'Original currency (ISO 4217); null: no amount.';
comment on column report.unattributed.reason is 'Why nobody is credited.';
comment on column report.unattributed.code is 'The discount code that was used; null: none told.';
comment on column report.unattributed.slug is 'Slug of the link that was clicked; null: none told.';
comment on column report.unattributed.campaign is 'Campaign of what did not win; null: none.';
comment on column report.unattributed.status is 'unattributed, or unverified: nobody who told it proved who they are.';
comment on column report.unattributed.conversion_id is 'Number of the conversion.';
comment on column report.unattributed.workspace_id is 'The workspace.';

-- Influencer by campaign; totals per currency, so that a pair has a row for each currency it sold in.
create view report.influencer_performance as
with pairs as (
  select workspace_id, influencer_id, campaign_id from kudos.links where influencer_id is not null
  union
  select workspace_id, influencer_id, campaign_id from kudos.codes where influencer_id is not null
  union
  select c.workspace_id, t.influencer_id, t.campaign_id
    from kudos.attributions t join kudos.conversions c on c.id = t.conversion_id
   where t.won and t.influencer_id is not null)
select w.name as workspace,
       i.handle as influencer,
       a.slug as campaign,
       coalesce(h.human, 0)::bigint as clicks,
       (coalesce(h.clicks, 0) - coalesce(h.human, 0))::bigint as filtered_clicks,
       coalesce(s.conversions, 0)::bigint as conversions,
       coalesce(s.refunds, 0)::bigint as refunds,
       coalesce(s.revenue_minor, 0)::bigint as revenue_minor,
       s.currency,
       case when h.human > 0 then round(coalesce(s.conversions, 0)::numeric / h.human, 4) end as conversion_rate,
       p.influencer_id,
       p.campaign_id,
       p.workspace_id
  from pairs p
  join kudos.workspaces w on w.id = p.workspace_id
  join kudos.influencers i on i.id = p.influencer_id
  left join kudos.campaigns a on a.id = p.campaign_id
  left join lateral (
    select sum(n.clicks) as clicks, sum(n.human) as human
      from kudos.links l join kudos.clicks_hourly n on n.link_id = l.id
     where l.influencer_id = p.influencer_id
       and l.campaign_id is not distinct from p.campaign_id) h on true
  left join lateral (
    select c.currency,
           count(*) filter (where c.event <> 'refund') as conversions,
           count(*) filter (where c.event = 'refund') as refunds,
           sum(t.amount_minor) as revenue_minor
      from kudos.attributions t join kudos.conversions c on c.id = t.conversion_id
     where t.won and t.influencer_id = p.influencer_id
       and t.campaign_id is not distinct from p.campaign_id
     group by c.currency) s on true;
comment on view report.influencer_performance is
  'What each influencer brought to each campaign: clicks, conversions and revenue, a row per currency (and one without, for conversions that have no amount). Do not add clicks over currencies.';
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

create view report.code_performance as
select w.name as workspace,
       k.code,
       a.slug as campaign,
       i.handle as influencer,
       k.status,
       coalesce(s.uses, 0)::bigint as uses,
       coalesce(s.credited, 0)::bigint as credited,
       coalesce(s.without_click, 0)::bigint as without_click,
       coalesce(s.amount_minor, 0)::bigint as amount_minor,
       s.currency,
       k.id as code_id,
       k.workspace_id
  from kudos.codes k
  join kudos.workspaces w on w.id = k.workspace_id
  left join kudos.campaigns a on a.id = k.campaign_id
  left join kudos.influencers i on i.id = k.influencer_id
  left join lateral (
    select c.currency, count(*) as uses,
           count(*) filter (where c.status = 'credited' and c.via = 'code') as credited,
           count(*) filter (where c.click_id is null) as without_click,
           sum(c.amount_minor) as amount_minor
      from kudos.conversions c
     where c.workspace_id = k.workspace_id and lower(c.code) = lower(k.code) and c.event <> 'refund'
     group by c.currency) s on true;
comment on view report.code_performance is
  'How often each code was used, a row per currency; without_click tells how far it has travelled on its own.';
comment on column report.code_performance.workspace is 'The workspace.';
comment on column report.code_performance.code is 'The code.';
comment on column report.code_performance.campaign is 'Slug of its campaign; null: none.';
comment on column report.code_performance.influencer is 'Handle of who gives it out; null: nobody in particular.';
comment on column report.code_performance.status is 'active, disabled or archived.';
comment on column report.code_performance.uses is 'Conversions that named it; refunds left out.';
comment on column report.code_performance.credited is 'Those that it won.';
comment on column report.code_performance.without_click is 'Those that named no click.';
comment on column report.code_performance.amount_minor is 'Their value in minor units.';
comment on column report.code_performance.currency is 'Original currency; null: none with an amount.';
comment on column report.code_performance.code_id is 'The code.';
comment on column report.code_performance.workspace_id is 'The workspace.';
