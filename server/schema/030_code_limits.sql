-- Codes that were used more often than they may be; and what two who write at the same time cannot see of
-- each other.
--
-- Uses of a code are ordered by occurred_at, then by event and key, never by arrival. So a late report of an
-- earlier use takes the last place of somebody who had it, and kudos.recount_code() decides again about whoever
-- is on the wrong side of the limit. Who writes a use of such a code leaves a row in kudos.unsettled
-- in the same transaction; the one who settles sees it, and all that was committed before.

-- One code's uses in their order.
create index conversions_uses on kudos.conversions (workspace_id, lower(code), occurred_at) where code is not null;
drop index kudos.conversions_code;
alter index kudos.conversions_uses rename to conversions_code;

-- Those of its uses that are within the limit.
create index attributions_within on kudos.attributions (code_id)
  where kind = 'code' and reason <> 'code_used_up';

create table kudos.unsettled (
  id bigint generated always as identity primary key,
  code_id bigint,
  conversion_id bigint,
  waits boolean not null,
  horizon xid8,
  check (num_nonnulls(code_id, conversion_id) = 1)
);
comment on table kudos.unsettled is
  'What is to be decided again: uses of codes with a limit, and what those who wrote at the same time could not see of each other. Rows stay for seconds.';
comment on column kudos.unsettled.id is 'Number of the row.';
comment on column kudos.unsettled.code_id is 'Code whose uses are to be looked at; null: a conversion is.';
comment on column kudos.unsettled.conversion_id is 'Conversion that is to be decided again; null: a code is to be looked at.';
comment on column kudos.unsettled.waits is 'Whether it waits until everybody has ended who may not have seen what was written.';
comment on column kudos.unsettled.horizon is 'Once all transactions below this have ended, nobody is left who did not see it; null: not noted yet.';

-- Uses -------------------------------------------------------------------------------------------

-- Without SET, so that it becomes part of the query that asks.
create function kudos.uses_of(k kudos.codes) returns setof kudos.conversions
language sql stable as $$
  select u.* from kudos.conversions u
   where u.workspace_id = k.workspace_id and lower(u.code) = lower(k.code) and u.verified and u.event <> 'refund'
     and (k.inactive_since is null or u.occurred_at < k.inactive_since)
     and (k.starts_at is null or u.occurred_at >= k.starts_at) and (k.ends_at is null or u.occurred_at < k.ends_at)
     and not (u.order_id is null and u.external_id is null and kudos.is_duplicate(u))
$$;
comment on function kudos.uses_of(kudos.codes) is
  'The conversions that count against a code''s limit: proved, no refunds, none that was told twice, and while the code was valid.';

create function kudos.is_used_up(k kudos.codes, c kudos.conversions) returns boolean
language plpgsql stable as $$
begin
  if k.max_uses is null or kudos.is_duplicate(c) then
    return false;
  end if;
  return k.max_uses <= (
    select count(*) from (
      select from kudos.uses_of(k) u
       where u.id <> c.id and u.occurred_at <= c.occurred_at
         and (u.occurred_at, u.event, u.key collate "C") < (c.occurred_at, c.event, c.key collate "C")
       limit k.max_uses) n);
end
$$;
comment on function kudos.is_used_up(kudos.codes, kudos.conversions) is
  'Whether a code had been used as often as it may be before a conversion that names it while it is valid.';

create or replace function kudos.touch_by_code(c kudos.conversions) returns kudos.attributions
language plpgsql stable as $$
declare
  t kudos.attributions;
  k kudos.codes;
begin
  if c.code is null then
    return null;
  end if;
  t.kind := 'code';
  t.touched_at := c.occurred_at;
  select * into k from kudos.codes n where n.workspace_id = c.workspace_id and lower(n.code) = lower(c.code);
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
    when kudos.is_used_up(k, c) then 'code_used_up'
    when t.campaign_id is null and t.influencer_id is null then 'code_of_nobody'
  end;
  return t;
end
$$;

create function kudos.note_use(c kudos.conversions) returns void
language plpgsql as $$
declare
  k bigint;
begin
  if c.code is null or c.event = 'refund' then
    return;
  end if;
  select n.id into k from kudos.codes n
   where n.workspace_id = c.workspace_id and lower(n.code) = lower(c.code) and n.max_uses is not null;
  if found then
    insert into kudos.unsettled (code_id, waits) values (k, false);
  end if;
end
$$;
comment on function kudos.note_use(kudos.conversions) is
  'Has the uses of a conversion''s code looked at, if it has a limit.';

-- Who is on the wrong side of the limit.
create function kudos.recount_code(which bigint, most integer) returns integer
language plpgsql set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  k kudos.codes;
  edge kudos.conversions;
  wrong bigint;
  decided integer := 0;
begin
  select * into k from kudos.codes n where n.id = which;
  if k.max_uses is not null then
    select u.* into edge from kudos.uses_of(k) u
     order by u.occurred_at, u.event, u.key collate "C" offset k.max_uses - 1 limit 1;
  end if;
  for wrong in
    select u.id from kudos.uses_of(k) u
      join kudos.attributions a on a.conversion_id = u.id and a.code_id = k.id and a.reason = 'code_used_up'
     where edge.id is null or u.occurred_at <= edge.occurred_at
       and (u.occurred_at, u.event, u.key collate "C") <= (edge.occurred_at, edge.event, edge.key collate "C")
     union
    select u.id from kudos.attributions a join kudos.conversions u on u.id = a.conversion_id
     where edge.id is not null and a.code_id = k.id and a.kind = 'code' and a.reason <> 'code_used_up' and u.verified
       and a.reason not in ('code_disabled', 'code_not_started', 'code_expired', 'duplicate') and u.event <> 'refund'
       and (u.occurred_at, u.event, u.key collate "C") > (edge.occurred_at, edge.event, edge.key collate "C")
     order by 1 limit most
  loop
    perform kudos.credit_conversion(wrong);
    decided := decided + 1;
  end loop;
  return decided;
end
$$;
comment on function kudos.recount_code(bigint, integer) is
  'Decides again about uses of a code that are within its limit and not credited for it, or the other way round; at most so many. How many it did.';

-- Settling ---------------------------------------------------------------------------------------

create function kudos.refunded_order(workspace bigint, named text) returns text
language plpgsql stable set search_path = '' as $$
begin
  if exists (select from kudos.conversions c where c.workspace_id = workspace and c.order_id = named and c.event = 'sale') then
    return named;
  end if;
  return coalesce((select c.order_id from kudos.conversions c
                    where c.workspace_id = workspace and c.external_id = named and c.event = 'sale' and c.order_id is not null
                    order by c.id limit 1), named);
end
$$;
comment on function kudos.refunded_order(bigint, text) is
  'The order id of the sale that a refund names by its order_id or, if no sale has it, by its external_id.';

create or replace function kudos.refund_finds_order() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.order_id := kudos.refunded_order(new.workspace_id, new.order_id);
  return new;
end
$$;

-- A code that was entered while somebody wrote a conversion that names it.
create function kudos.credit_unknown(which bigint) returns void
language plpgsql set search_path = '' as $$
declare
  missed bigint;
begin
  for missed in select c.id from kudos.codes k
                  join kudos.conversions c on c.workspace_id = k.workspace_id and lower(c.code) = lower(k.code)
                  join kudos.attributions a on a.conversion_id = c.id and a.kind = 'code' and a.reason = 'unknown_code'
                 where k.id = which order by c.id loop
    perform kudos.credit_conversion(missed);
  end loop;
end
$$;
comment on function kudos.credit_unknown(bigint) is
  'Decides again about conversions that name a code and did not know it.';

create function kudos.settle_written(most integer) returns integer
language plpgsql set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  u kudos.unsettled;
  which bigint;
  decided integer := 0;
begin
  -- Codes with a limit: each use brings a row, so what is not seen now will be.
  for which in select distinct n.code_id from kudos.unsettled n where n.code_id is not null and not n.waits loop
    exit when decided >= most;
    delete from kudos.unsettled n
     where n.id in (select x.id from kudos.unsettled x where x.code_id = which and not x.waits for update skip locked);
    decided := decided + kudos.recount_code(which, most - decided);
    if decided >= most then
      insert into kudos.unsettled (code_id, waits) values (which, false);
    end if;
  end loop;
  for u in select * from kudos.unsettled n
            where n.waits and n.horizon <= pg_snapshot_xmin(pg_current_snapshot())
            order by n.id limit greatest(most - decided, 0) for update skip locked loop
    if u.code_id is not null then
      perform kudos.credit_unknown(u.code_id);
    else
      update kudos.conversions c set order_id = kudos.refunded_order(c.workspace_id, c.order_id)
       where c.id = u.conversion_id and c.event = 'refund'
         and c.order_id <> kudos.refunded_order(c.workspace_id, c.order_id);
      perform kudos.credit_conversion(u.conversion_id);
    end if;
    delete from kudos.unsettled n where n.id = u.id;
    decided := decided + 1;
  end loop;
  update kudos.unsettled n set horizon = pg_snapshot_xmax(pg_current_snapshot()) where n.waits and n.horizon is null;
  return decided;
end
$$;
comment on function kudos.settle_written(integer) is
  'Decides again about what was written with others at the same time, and about codes with a limit that were used. How many it did.';

create or replace function kudos.codes_credit() returns trigger
language plpgsql set search_path = '' as $$
declare
  which bigint;
begin
  if tg_op = 'INSERT' or new.code is distinct from old.code then
    for which in select id from kudos.conversions
                  where workspace_id = new.workspace_id and lower(code) = lower(new.code) order by id loop
      perform kudos.credit_conversion(which);
    end loop;
    insert into kudos.unsettled (code_id, waits) values (new.id, true);
  end if;
  insert into kudos.unsettled (code_id, waits) values (new.id, false);
  return null;
end
$$;
comment on function kudos.codes_credit() is
  'Credits what was sold with a code before the code was entered, and has its uses counted when its limit changes.';
drop trigger credit on kudos.codes;
create trigger credit after insert or update of code, max_uses on kudos.codes
  for each row execute function kudos.codes_credit();

-- Who writes -------------------------------------------------------------------------------------

create or replace function kudos.credit_conversion(which bigint) returns void
language plpgsql set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  was kudos.conversions;
  c kudos.conversions;
  d record;
begin
  select * into was from kudos.conversions n where n.id = which for update;
  c := was;
  c.click_awaited := kudos.is_click_awaited(c);
  d := kudos.decide(c, kudos.click_problem(c));
  c := d.c;
  delete from kudos.attributions a where a.conversion_id = which;
  insert into kudos.attributions select t.* from unnest(d.touches) t;
  if c is distinct from was then
    update kudos.conversions n
       set click_awaited = c.click_awaited, status = c.status, via = c.via, influencer_id = c.influencer_id,
           campaign_id = c.campaign_id, reason = c.reason, updated_at = now()
     where n.id = which;
    perform kudos.note_use(c);
  end if;
  perform kudos.credit_followers(c);
end
$$;

create or replace function kudos.create_conversion(c kudos.conversions, told jsonb) returns boolean
language plpgsql as $$
declare
  d record;
  looked text;
begin
  perform pg_current_xact_id(); -- so that a code that is entered meanwhile waits for this
  c.click_awaited := kudos.is_click_awaited(c);
  looked := kudos.click_problem(c);
  d := kudos.decide(c, looked);
  c := d.c;
  insert into kudos.conversions overriding system value select c.*
  on conflict (workspace_id, event, key) do nothing;
  if not found then
    return false;
  end if;
  perform kudos.keep_touches(c, told, c.verified, looked);
  perform kudos.note_use(c);
  -- Its order, or the same with an order, may be being written now.
  if c.event = 'refund' or c.order_id is null and c.external_id is null and c.click_seq is not null then
    insert into kudos.unsettled (conversion_id, waits) values (c.id, true);
  end if;
  if c.event = 'refund' then
    perform kudos.credit_conversion(c.id); -- its order may have been found while it was written
    return true;
  end if;
  insert into kudos.attributions select t.* from unnest(d.touches) t;
  perform kudos.credit_followers(c);
  return true;
end
$$;

create or replace function kudos.take_conversion(workspace bigint, told jsonb, out outcome text, out id bigint)
language plpgsql set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  new kudos.conversions := kudos.conversion_told(workspace, told);
  was kudos.conversions;
  joined kudos.conversions;
begin
  perform kudos.plan_anew();
  loop
    select * into was from kudos.conversions c
     where c.workspace_id = workspace and c.event = new.event and c.key = new.key for update;
    exit when found;
    new.id := nextval('kudos.conversions_id_seq');
    if kudos.create_conversion(new, told) then
      outcome := 'created';
      id := new.id;
      return;
    end if;
  end loop;
  id := was.id;
  joined := kudos.conversion_joined(was, new);
  if (new.amount_minor, new.currency) is distinct from (joined.amount_minor, joined.currency)
     and new.amount_minor is not null then
    outcome := 'conflict';
    insert into kudos.conversion_conflicts (conversion_id, path, verified, amount_minor, currency)
    values (was.id, new.path, new.verified, new.amount_minor, new.currency);
    return;
  end if;
  outcome := 'repeated';
  if joined is distinct from was then
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
  if kudos.keep_touches(joined, told, new.verified, kudos.click_problem(joined)) then
    outcome := 'enriched';
    delete from kudos.conversion_touches t
     using (select n.click_id, row_number() over (order by n.problem is not null and n.time is null, n.time desc, n.click_id) as nth
              from kudos.conversion_touches n where n.conversion_id = was.id) n
     where t.conversion_id = was.id and t.click_id = n.click_id and n.nth > 50;
  end if;
  if outcome = 'enriched' then
    perform kudos.note_use(was);
    perform kudos.note_use(joined);
    perform kudos.credit_conversion(was.id);
  end if;
end
$$;

-- Models count no use that the code did not allow (kudos.touches_among, in 026_models.sql).
create function kudos.note_model_use() returns trigger
language plpgsql set search_path = '' as $$
begin
  insert into kudos.models_touched (what, number)
  values ('conversion', case when tg_op = 'DELETE' then old.conversion_id else new.conversion_id end);
  return null;
end
$$;
comment on function kudos.note_model_use() is 'Notes a conversion whose code has been found used up, or is not any more.';
create trigger note_models_new after insert on kudos.attributions
  for each row when (new.reason = 'code_used_up') execute function kudos.note_model_use();
create trigger note_models after update of reason on kudos.attributions
  for each row when ((old.reason = 'code_used_up') is distinct from (new.reason = 'code_used_up'))
  execute function kudos.note_model_use();
create trigger note_models_gone after delete on kudos.attributions
  for each row when (old.reason = 'code_used_up') execute function kudos.note_model_use();
