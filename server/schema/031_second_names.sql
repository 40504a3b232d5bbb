-- What Stripe tells of one sale under several names: the session by the shop's own order id, the invoice of
-- a subscription (in_…), the payment (pi_…). Each carries the next one's name as external_id. So a sale that
-- is known by an invoice or a payment is the one that carries it, whichever came first; and a refund goes
-- to the first name.

create function kudos.name_rank(named text) returns integer
language plpgsql immutable parallel safe as $$
begin
  return case left(named, 3) when 'pi_' then 2 when 'in_' then 1 else 0 end;
end
$$;
comment on function kudos.name_rank(text) is
  'How far from the shop''s own order id a name is: 0 that itself, 1 an invoice of Stripe, 2 a payment of Stripe.';

create function kudos.is_second_name(c kudos.conversions) returns boolean
language plpgsql stable as $$
begin
  return c.event = 'sale' and kudos.name_rank(c.order_id) > 0 and exists (
    select from kudos.conversions o
     where o.workspace_id = c.workspace_id and o.external_id = c.order_id and o.event = 'sale' and o.verified
       and o.id <> c.id and kudos.name_rank(o.order_id) < kudos.name_rank(c.order_id));
end
$$;
comment on function kudos.is_second_name(kudos.conversions) is
  'Whether a sale is known by the invoice or payment of another one.';

create or replace function kudos.is_duplicate(c kudos.conversions) returns boolean
language plpgsql stable as $$
begin
  if c.order_id is not null or c.external_id is not null then
    return kudos.is_second_name(c);
  end if;
  return c.click_seq is not null and exists (
    select from kudos.conversions o
     where o.click_origin = c.click_origin and o.click_seq = c.click_seq and o.workspace_id = c.workspace_id
       and o.event = c.event and o.id <> c.id and o.verified and coalesce(o.order_id, o.external_id) is not null
       and o.occurred_at between c.occurred_at - interval '1 hour' and c.occurred_at + interval '1 hour');
end
$$;
comment on function kudos.is_duplicate(kudos.conversions) is
  'Whether a conversion is known here by its order, too: one that is known by its click alone (the same click, within an hour), or by its invoice or payment.';

create or replace function kudos.uses_of(k kudos.codes) returns setof kudos.conversions
language sql stable as $$
  select u.* from kudos.conversions u
   where u.workspace_id = k.workspace_id and lower(u.code) = lower(k.code) and u.verified and u.event <> 'refund'
     and (k.inactive_since is null or u.occurred_at < k.inactive_since)
     and (k.starts_at is null or u.occurred_at >= k.starts_at) and (k.ends_at is null or u.occurred_at < k.ends_at)
     and not (coalesce(u.order_id, u.external_id, '') ~ '^(in_|pi_|$)' and kudos.is_duplicate(u))
$$;

-- Names of sales that nobody proved lead no refund away from its order.
create or replace function kudos.refunded_order(workspace bigint, named text) returns text
language plpgsql stable set search_path = '' as $$
declare
  better text;
begin
  for i in 1 .. 2 loop
    exit when kudos.name_rank(named) = 0 and exists (
      select from kudos.conversions c where c.workspace_id = workspace and c.order_id = named and c.event = 'sale');
    select c.order_id into better from kudos.conversions c
     where c.workspace_id = workspace and c.external_id = named and c.event = 'sale' and c.order_id is not null and c.verified
       and (kudos.name_rank(named) = 0 or kudos.name_rank(c.order_id) < kudos.name_rank(named))
     order by c.key collate "C" limit 1;
    exit when better is null;
    named := better;
  end loop;
  return named;
end
$$;
comment on function kudos.refunded_order(bigint, text) is
  'The order id of the sale that a refund names by its order_id or, if no sale has it or it is only an invoice or payment, by its external_id.';

create or replace function kudos.sale_finds_refunds() returns trigger
language plpgsql set search_path = '' as $$
begin
  update kudos.conversions c set order_id = kudos.refunded_order(c.workspace_id, c.order_id)
   where c.workspace_id = new.workspace_id and c.order_id = new.external_id and c.event = 'refund'
     and c.order_id <> kudos.refunded_order(c.workspace_id, c.order_id);
  return null;
end
$$;
drop trigger finds_refunds on kudos.conversions;
create trigger finds_refunds after update of external_id, order_id, verified on kudos.conversions
  for each row when (new.event = 'sale' and new.external_id <> new.order_id
                     and (old.external_id is distinct from new.external_id or old.order_id is distinct from new.order_id
                          or old.verified <> new.verified))
  execute function kudos.sale_finds_refunds();

create or replace function kudos.credit_followers(c kudos.conversions) returns void
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
  -- It may carry the name by which another one is known, which is the same then.
  if c.event = 'sale' and kudos.name_rank(c.external_id) > kudos.name_rank(c.order_id) then
    for follower in select n.id from kudos.conversions n
                     where n.workspace_id = c.workspace_id and n.order_id = c.external_id and n.event = 'sale'
                       and n.id <> c.id order by n.id loop
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
  if c.event = 'refund' or kudos.name_rank(c.order_id) > 0 or c.order_id is null and c.external_id is null and c.click_seq is not null then
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

create or replace function kudos.conversion_joined(was kudos.conversions, new kudos.conversions)
returns kudos.conversions
language plpgsql stable as $$
declare
  r kudos.conversions := was;
  better boolean := new.verified and not was.verified;
begin
  r.verified := was.verified or new.verified;
  r.order_id := coalesce(was.order_id, new.order_id);
  r.external_id := case
    when was.external_id is null or new.external_id is null then coalesce(was.external_id, new.external_id)
    when was.verified <> new.verified then case when better then new.external_id else was.external_id end
    else greatest(was.external_id collate "C", new.external_id collate "C") end;
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
