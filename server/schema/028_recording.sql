-- Recording at the rate of a busy season. What is decided is as in 008 and 021; what it cost was planning:
-- functions in SQL that are called one by one are planned anew each time, those that look at a click with a
-- plan for each day there is. Here they are plpgsql, which keeps plans, and whoever comes in from outside
-- asks for plans that do not depend on the values, and makes them anew when the tables have grown. Credit is
-- decided before a new row is written, so that it is written once.

-- A plan that was made while nothing was there may read by the wrong index for ever, in a session that lives
-- for long as much as in one transaction that brings a hundred thousand rows.
create function kudos.plan_anew() returns void
language plpgsql as $$
declare
  size bigint := pg_relation_size('kudos.conversions');
  planned bigint := coalesce(nullif(current_setting('kudos.planned_size', true), ''), '-1')::bigint;
begin
  if size > 2 * planned then
    discard plans;
    perform set_config('kudos.planned_size', size::text, false);
  end if;
end
$$;
comment on function kudos.plan_anew() is
  'Forgets the plans of a session when conversions take twice the room that they took when these were made.';

-- Who looks for one click reads what is not summarised of its day; that is not left to the next vacuum.
do $$
declare
  name regclass;
begin
  for name in select i.inhrelid::regclass from pg_catalog.pg_inherits i
               where i.inhparent = 'kudos.clicks_time'::regclass loop
    execute format('alter index %s set (autosummarize = on)', name);
  end loop;
end
$$;

create or replace function kudos.make_click_day(day date) returns boolean
language plpgsql set search_path = '' set timezone = 'UTC' as $$
declare
  name text := 'clicks_' || to_char(day, 'YYYYMMDD');
  lower timestamptz := day::timestamptz;
  upper timestamptz := (day + 1)::timestamptz;
begin
  perform pg_advisory_xact_lock(1802855535, 1001);
  if to_regclass(format('kudos.%I', name)) is not null then
    return false;
  end if;
  execute format('create table kudos.%I (like kudos.clicks including defaults including constraints)', name);
  execute format('create index on kudos.%I using brin (time) with (pages_per_range = 32, autosummarize = on)', name);
  -- Keeps rows of this day from slipping into the default partition between move and attach.
  lock table kudos.clicks_default in access exclusive mode;
  execute format(
    'with moved as (delete from kudos.clicks_default where time >= %L and time < %L returning *) '
    'insert into kudos.%I select * from moved', lower, upper, name);
  execute format('alter table kudos.clicks attach partition kudos.%I for values from (%L) to (%L)',
                 name, lower, upper);
  execute format('comment on table kudos.%I is %L', name, 'Clicks of ' || day || ' (UTC).');
  return true;
end
$$;

create or replace function kudos.customer_hash(salt bytea, reference text) returns bytea
language plpgsql immutable parallel safe as $$
begin
  return sha256(salt || convert_to(lower(btrim(reference)), 'UTF8'));
end
$$;

create function kudos.click_verdict(origin bigint, seq bigint, at timestamptz) returns kudos.verdict
language plpgsql stable set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
begin
  -- The id has the time in milliseconds.
  return (select c.verdict from kudos.clicks c
           where c.time >= at and c.time < at + interval '1 millisecond'
             and c.origin = click_verdict.origin and c.seq = click_verdict.seq);
end
$$;
comment on function kudos.click_verdict(bigint, bigint, timestamptz) is
  'The verdict of a click; null: its row is not there (yet, or any more).';

create or replace function kudos.click_problem(workspace bigint, link bigint, origin bigint, seq bigint, at timestamptz)
returns text
language plpgsql stable as $$
begin
  if not exists (select from kudos.links l where l.id = link and l.workspace_id = workspace) then
    return 'unknown_click';
  end if;
  return case when kudos.click_verdict(origin, seq, at) <> 'human' then 'non_human_click' end;
end
$$;

create or replace function kudos.is_own_customer(who bigint, customer bytea) returns boolean
language plpgsql stable as $$
begin
  return customer is not null and exists (
    select from kudos.influencers i join kudos.workspaces w on w.id = i.workspace_id
     where i.id = who and i.email is not null and customer = kudos.customer_hash(w.customer_salt, i.email));
end
$$;

create or replace function kudos.is_duplicate(c kudos.conversions) returns boolean
language plpgsql stable as $$
begin
  return c.order_id is null and c.external_id is null and c.click_seq is not null and exists (
    select from kudos.conversions o
     where o.click_origin = c.click_origin and o.click_seq = c.click_seq and o.workspace_id = c.workspace_id
       and o.event = c.event and o.id <> c.id and o.verified and coalesce(o.order_id, o.external_id) is not null
       and o.occurred_at between c.occurred_at - interval '1 hour' and c.occurred_at + interval '1 hour');
end
$$;

create or replace function kudos.told_code(workspace bigint, told jsonb) returns jsonb
language plpgsql stable as $$
declare
  codes jsonb := told -> 'metadata' -> 'codes';
begin
  if jsonb_typeof(codes) is distinct from 'array' then
    return '{}';
  end if;
  return coalesce((
    select jsonb_build_object('code', c.code)
      from jsonb_array_elements_text(codes) with ordinality as c (code, i)
      join kudos.codes k on k.workspace_id = workspace and lower(k.code) = lower(c.code)
     order by k.status <> 'active', k.influencer_id is null, c.i limit 1), '{}');
end
$$;

create or replace function kudos.source_of_token(token_hash bytea, at timestamptz)
returns table (id bigint, workspace_id bigint)
language plpgsql stable set search_path = '' as $$
begin
  return query
    select s.id, s.workspace_id from kudos.sources s
     where s.revoked_at is null and s.token_hash = source_of_token.token_hash
    union all
    select s.id, s.workspace_id from kudos.sources s
     where s.revoked_at is null and s.previous_token_hash = source_of_token.token_hash and s.previous_until > at;
end
$$;

create or replace function kudos.conversion_told(workspace bigint, told jsonb) returns kudos.conversions
language plpgsql stable as $$
declare
  c kudos.conversions := jsonb_populate_record(null::kudos.conversions, told - 'customer');
begin
  c.workspace_id := workspace;
  c.received_at := coalesce(c.received_at, now());
  c.updated_at := now();
  c.click_awaited := false;
  c.status := 'unattributed';
  c.occurred_told := told ? 'occurred_at';
  c.occurred_at := coalesce(c.occurred_at, c.received_at);
  c.click_verified := case when told ? 'click_id' then c.verified end;
  c.code_verified := case when told ? 'code' then c.verified end;
  if told ? 'customer' then
    select kudos.customer_hash(w.customer_salt, told ->> 'customer') into c.customer
      from kudos.workspaces w where w.id = workspace;
  end if;
  return c;
end
$$;

-- Touches ----------------------------------------------------------------------------------------

-- What is wrong with the click of a conversion, as its touches know it; else looked for.
create function kudos.click_problem(c kudos.conversions) returns text
language plpgsql stable as $$
declare
  t kudos.conversion_touches;
begin
  if c.click_seq is null then
    return null;
  end if;
  select * into t from kudos.conversion_touches n where n.conversion_id = c.id and n.click_id = c.click_id;
  if found and not t.awaited then
    return t.problem;
  end if;
  return kudos.click_problem(c.workspace_id, c.click_link_id, c.click_origin, c.click_seq, c.click_time);
end
$$;
comment on function kudos.click_problem(kudos.conversions) is
  'Why the click of a conversion can never count, whatever it led to; null: it can, as far as is known, or there is none.';

create function kudos.keep_touch(c kudos.conversions, t kudos.conversion_touches, looked text) returns boolean
language plpgsql as $$
begin
  t.awaited := t.problem is null and not exists (
    select from kudos.watermarks w where w.origin = t.origin and w.seq >= t.seq);
  if t.problem is null then
    t.problem := case when t.click_id = c.click_id then looked
                      else kudos.click_problem(c.workspace_id, t.link_id, t.origin, t.seq, t.time) end;
  end if;
  insert into kudos.conversion_touches as n (conversion_id, click_id, verified, problem, origin, seq, link_id, time, awaited)
  values (c.id, t.click_id, t.verified, t.problem, t.origin, t.seq, t.link_id, t.time, t.awaited)
  on conflict (conversion_id, click_id) do update set verified = true where not n.verified and excluded.verified;
  return found;
end
$$;
comment on function kudos.keep_touch(kudos.conversions, kudos.conversion_touches, text) is
  'Keeps one click id that was told with a conversion; looked: what kudos.click_problem said of the conversion''s own. Whether it was new.';

drop function kudos.keep_touches(bigint, bigint, jsonb);
create function kudos.keep_touches(c kudos.conversions, told jsonb, sure boolean, looked text) returns boolean
language plpgsql as $$
declare
  t kudos.conversion_touches;
  touch jsonb;
  kept boolean := false;
begin
  if told ? 'click_id' then
    t.click_id := told ->> 'click_id';
    t.problem := told ->> 'click_problem';
    t.origin := told ->> 'click_origin';
    t.seq := told ->> 'click_seq';
    t.link_id := told ->> 'click_link_id';
    t.time := told ->> 'click_time';
    t.verified := sure;
    kept := kudos.keep_touch(c, t, looked);
  end if;
  if told ? 'touches' then
    for touch in select x.value from jsonb_array_elements(told -> 'touches') x loop
      continue when touch ->> 'id' = t.click_id; -- told with the ones before, or right above
      t := jsonb_populate_record(null::kudos.conversion_touches, touch);
      t.click_id := touch ->> 'id';
      t.verified := sure;
      kept := kudos.keep_touch(c, t, looked) or kept;
    end loop;
  end if;
  return kept;
end
$$;
comment on function kudos.keep_touches(kudos.conversions, jsonb, boolean, text) is
  'Keeps the click ids that a report of a conversion names; sure: somebody proved who they are; looked: as kudos.keep_touch. Whether there was anything new.';

-- Credit -----------------------------------------------------------------------------------------

drop function kudos.touch_by_click(kudos.conversions);
create function kudos.touch_by_click(c kudos.conversions, looked text) returns kudos.attributions
language plpgsql stable as $$
declare
  t kudos.attributions;
  days numeric;
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
  select l.id, l.campaign_id, l.influencer_id, (a.attribution ->> 'window_days')::numeric
    into t.link_id, t.campaign_id, t.influencer_id, days
    from kudos.links l left join kudos.campaigns a on a.id = l.campaign_id
   where l.id = c.click_link_id and l.workspace_id = c.workspace_id;
  if not found then
    t.reason := 'unknown_click';
    return t;
  end if;
  -- Clocks of shops may be a little behind.
  t.reason := case
    when c.occurred_at < c.click_time - interval '5 minutes' then 'click_after_conversion'
    when c.occurred_at > c.click_time + coalesce(days, 30) * interval '1 day' then 'outside_window'
    when looked is not null then looked
    when t.campaign_id is null and t.influencer_id is null then 'link_of_nobody'
  end;
  return t;
end
$$;
comment on function kudos.touch_by_click(kudos.conversions, text) is
  'The click that a conversion names, as a touch, of which kudos.click_problem said what it looked like; its reason says why it cannot be credited, null: it can.';

drop function kudos.store_touch(kudos.conversions, kudos.attributions, smallint, smallint, bigint, text);
create function kudos.touch_decided(c kudos.conversions, t kudos.attributions, at integer, share integer, part bigint, why text)
returns kudos.attributions
language plpgsql immutable as $$
begin
  t.conversion_id := c.id;
  t.position := at;
  t.share_percent := share;
  t.won := share > 0;
  t.amount_minor := part;
  t.reason := why;
  return t;
end
$$;
comment on function kudos.touch_decided(kudos.conversions, kudos.attributions, integer, integer, bigint, text) is
  'A touch with what was decided about it.';

drop function kudos.credit_refund(kudos.conversions);
create function kudos.decide_refund(inout c kudos.conversions, out touches kudos.attributions[])
language plpgsql stable as $$
declare
  sale kudos.conversions;
  w kudos.attributions;
  left_minor bigint := c.amount_minor;
  part bigint;
begin
  select * into sale from kudos.conversions s
   where s.workspace_id = c.workspace_id and s.event = 'sale' and s.order_id = c.order_id
   order by s.key = s.order_id desc, s.key limit 1;
  touches := '{}';
  for w in select * from kudos.attributions a where a.conversion_id = sale.id and a.won
            order by a.position desc loop
    part := case when w.position = 1 then left_minor else c.amount_minor * w.share_percent / 100 end;
    left_minor := left_minor - part;
    touches := touches || kudos.touch_decided(c, w, w.position, w.share_percent, part, 'refund_of_credited_order');
  end loop;
  c.campaign_id := sale.campaign_id;
  if cardinality(touches) > 0 then
    c.status := 'credited';
    c.via := sale.via;
    c.influencer_id := sale.influencer_id;
    c.reason := 'refund_of_credited_order';
  else
    c.status := 'unattributed';
    c.via := null;
    c.influencer_id := null;
    c.reason := case when sale.id is null then 'unknown_order' else 'order_not_credited' end;
  end if;
end
$$;
comment on function kudos.decide_refund(kudos.conversions) is 'Gives a refund to whom its order was given.';

drop function kudos.credit_touches(kudos.conversions);
create function kudos.decide_touches(inout c kudos.conversions, looked text, out touches kudos.attributions[])
language plpgsql stable as $$
declare
  click kudos.attributions := kudos.touch_by_click(c, looked);
  code kudos.attributions := kudos.touch_by_code(c);
  first kudos.attributions;
  second kudos.attributions;
  rule text;
begin
  if click.reason is null and kudos.is_own_customer(click.influencer_id, c.customer) then
    click.reason := 'self_referral';
  end if;
  if code.reason is null and kudos.is_own_customer(code.influencer_id, c.customer) then
    code.reason := 'self_referral';
  end if;
  if kudos.is_duplicate(c) then
    click.reason := coalesce(click.reason, 'duplicate');
    code.reason := coalesce(code.reason, 'duplicate');
  end if;
  select a.attribution ->> 'precedence' into rule from kudos.campaigns a
   where a.id = coalesce(click.campaign_id, code.campaign_id);
  rule := coalesce(rule, 'code_first');
  -- A code is used when the sale is made: it is the last touch, and the click before it the first.
  if rule in ('link_first', 'first_touch') then
    first := click; second := code;
  else
    first := code; second := click;
  end if;
  if first.kind is null or (first.reason is not null and second.kind is not null and second.reason is null) then
    click := first;
    first := second;
    second := click;
  end if;
  touches := '{}';
  c.via := null;
  c.influencer_id := null;
  if first.kind is null or first.reason is not null then
    c.status := 'unattributed';
    c.campaign_id := coalesce(first.campaign_id, second.campaign_id);
    c.reason := coalesce(first.reason, 'no_click_and_no_code');
    if first.kind is not null then
      touches := touches || kudos.touch_decided(c, first, 1, 0, 0, first.reason);
    end if;
    if second.kind is not null then
      touches := touches || kudos.touch_decided(c, second, 2, 0, 0, second.reason);
    end if;
    return;
  end if;
  c.status := 'credited';
  c.via := first.kind;
  c.influencer_id := first.influencer_id;
  c.campaign_id := first.campaign_id;
  c.reason := case when second.kind is null or second.reason is not null then 'only_' || first.kind else rule end;
  if c.reason = 'split' then
    touches := array[kudos.touch_decided(c, first, 1, 50, c.amount_minor - c.amount_minor / 2, 'split'),
                     kudos.touch_decided(c, second, 2, 50, c.amount_minor / 2, 'split')];
    return;
  end if;
  touches := touches || kudos.touch_decided(c, first, 1, 100, c.amount_minor, c.reason);
  if second.kind is not null then
    touches := touches || kudos.touch_decided(c, second, 2, 0, 0, coalesce(second.reason, 'outranked_' || rule));
  end if;
end
$$;
comment on function kudos.decide_touches(kudos.conversions, text) is
  'Decides between the click and the code of a conversion: winner, loser and reasons.';

-- Writes nothing, so that a new conversion can be written as decided.
create function kudos.decide(inout c kudos.conversions, looked text, out touches kudos.attributions[])
language plpgsql stable as $$
declare
  d record;
begin
  if not c.verified then
    c.status := 'unverified';
    c.via := null;
    c.influencer_id := null;
    c.campaign_id := null;
    c.reason := 'not_signed';
    touches := '{}';
    return;
  elsif c.event = 'refund' then
    d := kudos.decide_refund(c);
  else
    d := kudos.decide_touches(c, looked);
  end if;
  c := d.c;
  touches := d.touches;
end
$$;
comment on function kudos.decide(kudos.conversions, text) is
  'Who earned a conversion, from what is stored now: the conversion with its status, and its touches.';

create function kudos.is_click_awaited(c kudos.conversions) returns boolean
language plpgsql stable as $$
begin
  return c.click_seq is not null and not exists (
    select from kudos.watermarks w where w.origin = c.click_origin and w.seq >= c.click_seq);
end
$$;
comment on function kudos.is_click_awaited(kudos.conversions) is
  'Whether the click of a conversion is still on its way. To be asked before the click''s row is looked for: if it has come, so has the row.';

create function kudos.credit_followers(c kudos.conversions) returns void
language plpgsql as $$
declare
  follower bigint;
begin
  if c.event = 'sale' and c.order_id is not null then
    for follower in select n.id from kudos.conversions n
                     where n.workspace_id = c.workspace_id and n.event = 'refund' and n.order_id = c.order_id
                     order by n.id loop
      perform kudos.credit_conversion(follower);
    end loop;
  end if;
  -- It may show that what was told by the same click alone is the same.
  if c.click_seq is not null and coalesce(c.order_id, c.external_id) is not null then
    for follower in select n.id from kudos.conversions n
                     where n.click_origin = c.click_origin and n.click_seq = c.click_seq and n.workspace_id = c.workspace_id
                       and n.event = c.event and n.order_id is null and n.external_id is null order by n.id loop
      perform kudos.credit_conversion(follower);
    end loop;
  end if;
end
$$;
comment on function kudos.credit_followers(kudos.conversions) is
  'Decides anew about what depends on a conversion: refunds of its order, and what was told by its click alone.';

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
  end if;
  perform kudos.credit_followers(c);
end
$$;

-- A click that has come is looked at, also that of a conversion that was told after it.
drop trigger note_click on kudos.conversions;
create trigger note_click after insert or update of click_awaited on kudos.conversions
  for each row when (not new.click_awaited and new.click_seq is not null and new.click_time is not null)
  execute function kudos.note_conversion_click();
