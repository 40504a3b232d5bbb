-- report.attribution_models of a million conversions. Which touches led to a conversion was computed for each that
-- was asked for, and for all of a workspace where a campaign was; now it is kept in kudos.model_touches, by
-- conversion and by campaign, and read from there unless something that it is made of has changed since.
--
-- Notes and builder are those of 025_earned.sql: every change leaves a note by trigger in its own transaction, notes
-- are only ever inserted, and the builder takes away what it sees and computes in a later statement. A note says
-- what has changed (a conversion, a link, a code, a policy …), not what that leads to: that is looked up by whoever
-- reads the note, so that a conversion that its writer could not see yet is not forgotten. The builder first turns
-- notes into conversions, some thousand at a time, and then keeps the touches of those. What is noted, a reader
-- computes, at once for all of it. A crash leaves touches and notes as they were.
--
-- A reference that more than 200 conversions share (a shop that calls everybody "guest") is nobody in particular: it
-- joins nothing. Else each of them would change all the others.

create table kudos.model_touches (
  conversion_id bigint not null references kudos.conversions (id),
  place integer not null,
  touches integer not null,
  kind kudos.touch_kind not null,
  link_id bigint,
  code_id bigint,
  influencer_id bigint,
  campaign_id bigint,
  touched_at timestamptz not null,
  primary key (conversion_id, place)
);
create index model_touches_campaign on kudos.model_touches (campaign_id);
create index model_touches_influencer on kudos.model_touches (influencer_id);
comment on table kudos.model_touches is
  'Touches that led to conversions and count, kept for report.attribution_models; not to be read where kudos.models_changed() has the conversion.';
comment on column kudos.model_touches.conversion_id is 'The conversion; of a refund the touches are those of its sale.';
comment on column kudos.model_touches.place is 'Place of the touch, from 1.';
comment on column kudos.model_touches.touches is 'How many touches the conversion has.';
comment on column kudos.model_touches.kind is 'link or code.';
comment on column kudos.model_touches.link_id is 'The link that was clicked; null: a code.';
comment on column kudos.model_touches.code_id is 'The code that was used; null: a click.';
comment on column kudos.model_touches.influencer_id is 'Whose it is; null: nobody''s in particular.';
comment on column kudos.model_touches.campaign_id is 'Its campaign; null: none.';
comment on column kudos.model_touches.touched_at is 'When the link was clicked, or the code used.';

create table kudos.models_touched (
  what text not null check (what in ('one', 'conversion', 'customer', 'order', 'click', 'link', 'code', 'campaign',
                                     'workspace')),
  number bigint not null,
  word text not null default ''
);
create index models_touched_one on kudos.models_touched (number) where what = 'one';
create index models_touched_rest on kudos.models_touched (what) where what <> 'one';
comment on table kudos.models_touched is
  'Notes for the builder of kudos.model_touches: something has changed that decides which touches led to a conversion.';
comment on column kudos.models_touched.what is
  'What has changed: conversion; customer, order and code: conversions that have it; click, link: those that it led to; campaign: its policy; workspace: all. one: a conversion that the builder has still to do.';
comment on column kudos.models_touched.number is 'The conversion, link or campaign; the origin of a click; of the others the workspace.';
comment on column kudos.models_touched.word is 'The customer''s hash (hex), order, or code in lower case; seq of a click.';

create table kudos.model_crowds (
  workspace_id bigint not null references kudos.workspaces (id),
  customer bytea not null,
  primary key (workspace_id, customer)
);
comment on table kudos.model_crowds is 'Customers with more than 200 conversions, of whom the builder knows: they join nothing.';
comment on column kudos.model_crowds.workspace_id is 'The workspace.';
comment on column kudos.model_crowds.customer is 'Hash of the customer''s reference.';

create function kudos.is_crowd(workspace bigint, who bytea) returns boolean
language sql stable as $$
  select count(*) > 200 from (select from kudos.conversions o where o.workspace_id = workspace and o.customer = who limit 201) x
$$;
comment on function kudos.is_crowd(bigint, bytea) is 'Whether more than 200 conversions share a customer''s reference.';

create index conversion_touches_link on kudos.conversion_touches (link_id);

-- Notes --------------------------------------------------------------------------------------------

create function kudos.note_model_conversion() returns trigger
language plpgsql set search_path = '' as $$
begin
  insert into kudos.models_touched (what, number) values ('conversion', new.id);
  if tg_op = 'UPDATE' then
    insert into kudos.models_touched (what, number, word)
    select n.what, n.number, n.word
      from (values ('customer', old.workspace_id, encode(old.customer, 'hex'), encode(new.customer, 'hex')),
                   ('order', old.workspace_id, old.order_id, new.order_id),
                   ('order', old.workspace_id, old.external_id, new.external_id),
                   ('click', old.click_origin, old.click_seq::text,
                    case when new.click_origin = old.click_origin then new.click_seq::text end)) n (what, number, word, now)
     where n.word is distinct from n.now and n.word is not null and n.number is not null;
  end if;
  return null;
end
$$;
comment on function kudos.note_model_conversion() is 'Notes a conversion, and what it was joined with before.';
create trigger note_models_new after insert on kudos.conversions
  for each row execute function kudos.note_model_conversion();
create trigger note_models after update of workspace_id, event, key, order_id, external_id, occurred_at, verified, customer,
    code, click_origin, click_seq on kudos.conversions
  for each row when (
    (old.workspace_id, old.event, old.key, old.order_id, old.external_id, old.occurred_at, old.verified, old.customer,
     old.code, old.click_origin, old.click_seq) is distinct from
    (new.workspace_id, new.event, new.key, new.order_id, new.external_id, new.occurred_at, new.verified, new.customer,
     new.code, new.click_origin, new.click_seq))
  execute function kudos.note_model_conversion();

create function kudos.note_model_touches() returns trigger
language plpgsql set search_path = '' as $$
begin
  insert into kudos.models_touched (what, number) select distinct 'conversion', conversion_id from changed;
  return null;
end
$$;
comment on function kudos.note_model_touches() is 'Notes the conversions whose click ids a statement has changed.';
create trigger note_models_new after insert on kudos.conversion_touches
  referencing new table as changed for each statement execute function kudos.note_model_touches();
create trigger note_models_after after update on kudos.conversion_touches
  referencing new table as changed for each statement execute function kudos.note_model_touches();
create trigger note_models_gone after delete on kudos.conversion_touches
  referencing old table as changed for each statement execute function kudos.note_model_touches();

create function kudos.note_models() returns trigger
language plpgsql set search_path = '' as $$
begin
  if tg_table_name = 'codes' then
    insert into kudos.models_touched (what, number, word) values ('code', new.workspace_id, lower(new.code));
    if tg_op = 'UPDATE' then
      insert into kudos.models_touched (what, number, word) values ('code', old.workspace_id, lower(old.code));
    end if;
  elsif tg_table_name = 'influencers' then
    insert into kudos.models_touched (what, number, word)
    select 'customer', w.id, encode(kudos.customer_hash(w.customer_salt, e.email), 'hex')
      from kudos.workspaces w, (values (old.email), (new.email)) e (email)
     where w.id = new.workspace_id and e.email is not null;
  else
    insert into kudos.models_touched (what, number) values (rtrim(tg_table_name, 's'), new.id);
  end if;
  return null;
end
$$;
comment on function kudos.note_models() is
  'Notes a link or code that is somebody else''s now or holds for other times, another policy of a campaign, another address of an influencer.';
create trigger note_models after update of influencer_id, campaign_id, workspace_id on kudos.links
  for each row when ((old.influencer_id, old.campaign_id, old.workspace_id)
                     is distinct from (new.influencer_id, new.campaign_id, new.workspace_id))
  execute function kudos.note_models();
create trigger note_models_new after insert on kudos.codes
  for each row execute function kudos.note_models();
create trigger note_models after update on kudos.codes
  for each row when ((old.workspace_id, lower(old.code), old.influencer_id, old.campaign_id, old.inactive_since, old.starts_at,
                      old.ends_at) is distinct from
                     (new.workspace_id, lower(new.code), new.influencer_id, new.campaign_id, new.inactive_since, new.starts_at,
                      new.ends_at))
  execute function kudos.note_models();
create trigger note_models after update of attribution on kudos.campaigns
  for each row when (old.attribution -> 'window_days' is distinct from new.attribution -> 'window_days')
  execute function kudos.note_models();
create trigger note_models after update of email on kudos.influencers
  for each row when (old.email is distinct from new.email) execute function kudos.note_models();
create trigger note_models after update of customer_salt on kudos.workspaces
  for each row when (old.customer_salt is distinct from new.customer_salt) execute function kudos.note_models();

insert into kudos.models_touched (what, number) select 'one', id from kudos.conversions;

-- Which conversions notes are about ------------------------------------------------------------------

-- Few notes and large tables: from the notes on, by their indexes, whatever the planner knows of them.
create function kudos.models_about(notes kudos.models_touched[]) returns setof bigint
language sql stable set search_path = '' set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off
set jit = off as $$
  with n as materialized (select what, number, word from unnest(notes)),
  named as (
    select number as id, true as itself from n where what = 'conversion'
     union
    select c.id, false from n join kudos.conversions c on c.workspace_id = n.number and c.customer = decode(n.word, 'hex')
     where n.what = 'customer'
     union
    select c.id, false from n join kudos.conversions c on c.workspace_id = n.number and c.order_id = n.word
     where n.what = 'order'
     union
    select c.id, false from n join kudos.conversions c on c.click_origin = n.number and c.click_seq = n.word::bigint
     where n.what = 'click'
     union
    select t.conversion_id, false from n join kudos.conversion_touches t on t.link_id = n.number where n.what = 'link'
     union
    select c.id, false from n join kudos.conversions c on c.workspace_id = n.number and lower(c.code) = n.word
     where n.what = 'code'
     union
    select t.conversion_id, false from n join kudos.links l on l.campaign_id = n.number
      join kudos.conversion_touches t on t.link_id = l.id where n.what = 'campaign'
     union
    select c.id, false from n join kudos.codes k on k.campaign_id = n.number
      join kudos.conversions c on c.workspace_id = k.workspace_id and lower(c.code) = lower(k.code) where n.what = 'campaign'
     union
    select c.id, false from n join kudos.conversions c on c.workspace_id = n.number where n.what = 'workspace'),
  -- What was told by the same click alone may be the same as a conversion that is told now.
  alike as (
    select id from named
     union
    select o.id from named m join kudos.conversions c on c.id = m.id
      join kudos.conversions o on o.click_origin = c.click_origin and o.click_seq = c.click_seq where m.itself
     union
    -- So may be what is known by a name that this one carries, too.
    select o.id from named m join kudos.conversions c on c.id = m.id
      join kudos.conversions o on o.workspace_id = c.workspace_id and o.order_id = c.external_id where m.itself),
  -- A customer's touches are those of all of their conversions, but for what is known to be no person; refunds have
  -- those of their sales.
  joined as (
    select id from alike
     union
    select o.id from alike m join kudos.conversions c on c.id = m.id
      join kudos.conversions o on o.workspace_id = c.workspace_id and o.customer = c.customer
     where not exists (select from kudos.model_crowds g where g.workspace_id = c.workspace_id and g.customer = c.customer))
  select id from joined
   union
  select r.id from joined m join kudos.conversions s on s.id = m.id and s.event = 'sale'
    join kudos.conversions r on r.workspace_id = s.workspace_id and r.order_id = s.order_id and r.event = 'refund'
$$;
comment on function kudos.models_about(kudos.models_touched[]) is 'The conversions to whose touches notes may make a difference.';

create function kudos.models_changed() returns setof bigint
language sql stable security definer rows 1000 set search_path = '' set jit = off as $$
  select number from kudos.models_touched where what = 'one'
   union
  select * from kudos.models_about(array(select t from kudos.models_touched t where t.what <> 'one'))
$$;
comment on function kudos.models_changed() is 'The conversions whose touches are not kept, or may have changed since.';

-- Touches --------------------------------------------------------------------------------------------

create function kudos.touches_among(ids bigint[])
returns table (conversion_id bigint, place bigint, touches bigint, kind kudos.touch_kind, link_id bigint, code_id bigint,
               influencer_id bigint, campaign_id bigint, touched_at timestamptz)
language sql stable security definer rows 1000 set search_path = '' set jit = off set work_mem = '32MB' as $$
  with about as materialized (
    -- A refund takes back from whom its order was given to.
    select c.id, case when c.event = 'refund' then s.id else c.id end as subject
      from kudos.conversions c
      left join lateral (
        select s.id from kudos.conversions s
         where c.event = 'refund' and s.workspace_id = c.workspace_id and s.event = 'sale' and s.order_id = c.order_id
         order by s.key = s.order_id desc, s.key limit 1) s on true
     where c.id = any (ids) and c.verified),
  subjects as materialized (
    select c.id, c.workspace_id, c.code, c.occurred_at, c.customer,
           case when not kudos.is_crowd(c.workspace_id, c.customer) then c.customer end as person from kudos.conversions c
     where c.id in (select subject from about) and c.verified and not kudos.is_duplicate(c)),
  told as materialized (
    select x.id as subject, x.id, x.code, x.occurred_at from subjects x
     union all
    select x.id, o.id, case when o.occurred_at <= x.occurred_at then o.code end, o.occurred_at
      from subjects x join kudos.conversions o on o.workspace_id = x.workspace_id and o.customer = x.person
       and o.id <> x.id and o.verified and o.event <> 'refund'),
  found as (
    select distinct on (n.subject, t.origin, t.seq) n.subject, 'link'::kudos.touch_kind as kind, t.link_id,
           null::bigint as code_id, l.influencer_id, l.campaign_id, t.time as touched_at, t.origin as one, t.seq as other
      from told n join subjects x on x.id = n.subject
      join kudos.conversion_touches t on t.conversion_id = n.id and t.problem is null
      join kudos.links l on l.id = t.link_id and l.workspace_id = x.workspace_id
     union all
    select n.subject, 'code', null, k.id, k.influencer_id, k.campaign_id, n.occurred_at, 0, n.id
      from told n join subjects x on x.id = n.subject
      join kudos.codes k on k.workspace_id = x.workspace_id and lower(k.code) = lower(n.code)
     where coalesce(k.inactive_since > n.occurred_at, true) and coalesce(k.starts_at <= n.occurred_at, true)
       and coalesce(k.ends_at > n.occurred_at, true)
       and not exists (select from kudos.attributions a
                        where a.conversion_id = n.id and a.code_id = k.id and a.reason = 'code_used_up')),
  counting as (
    select f.*, row_number() over (partition by f.subject order by f.touched_at desc, f.kind desc, f.one desc, f.other desc) as back
      from found f join subjects x on x.id = f.subject left join kudos.campaigns a on a.id = f.campaign_id
     where (f.campaign_id is not null or f.influencer_id is not null)
       and x.occurred_at >= f.touched_at - interval '5 minutes'
       and (x.occurred_at <= f.touched_at + coalesce((a.attribution ->> 'window_days')::numeric, 30) * interval '1 day'
            or f.kind = 'code' and f.other = x.id)
       and (x.customer is null or not kudos.is_own_customer(f.influencer_id, x.customer)))
  select b.id, row_number() over (partition by b.id order by n.touched_at, n.kind, n.one, n.other),
         count(*) over (partition by b.id), n.kind, n.link_id, n.code_id, n.influencer_id, n.campaign_id, n.touched_at
    from about b join counting n on n.subject = b.subject and n.back <= 100
$$;
comment on function kudos.touches_among(bigint[]) is
  'Touches that led to conversions and count, in order: their own clicks and code, and those of what else the same customer did before; the last hundred.';

create function kudos.build_models(most integer) returns integer
language plpgsql set search_path = '' set jit = off as $$
declare
  notes kudos.models_touched[];
  ids bigint[];
begin
  if not pg_try_advisory_xact_lock(1802855535, 1026) then
    return 0;
  end if;
  with gone as (delete from kudos.models_touched where ctid = any (array(
                  select ctid from kudos.models_touched where what not in ('one', 'crowd') limit most)) returning *)
  select array_agg(distinct (g.what, g.number, g.word)::kudos.models_touched) into notes from gone g;
  if notes is not null then
    -- What is no crowd any more, and then what has become one: for the last time with all that it has.
    delete from kudos.model_crowds g using unnest(notes) n
     where n.what = 'customer' and g.workspace_id = n.number and g.customer = decode(n.word, 'hex')
       and not kudos.is_crowd(g.workspace_id, g.customer);
    insert into kudos.models_touched (what, number) select 'one', id from kudos.models_about(notes) id;
    insert into kudos.model_crowds (workspace_id, customer)
    select distinct c.workspace_id, c.customer from unnest(notes) n
      join kudos.conversions c on c.id = n.number and c.customer is not null
     where n.what = 'conversion' and kudos.is_crowd(c.workspace_id, c.customer)
    on conflict do nothing;
  end if;
  with gone as (delete from kudos.models_touched where ctid = any (array(
                  select ctid from kudos.models_touched where what = 'one' limit most)) returning number)
  select array_agg(distinct number) into ids from gone;
  if ids is not null then
    delete from kudos.model_touches where conversion_id = any (ids);
    insert into kudos.model_touches (conversion_id, place, touches, kind, link_id, code_id, influencer_id, campaign_id, touched_at)
    select t.conversion_id, t.place, t.touches, t.kind, t.link_id, t.code_id, t.influencer_id, t.campaign_id, t.touched_at
      from kudos.touches_among(ids) t;
  end if;
  return coalesce(cardinality(ids), 0);
end
$$;
comment on function kudos.build_models(integer) is
  'Keeps the touches of at most so many conversions that have changed; of how many it did. Does nothing while another is at it.';

-- For analysts -------------------------------------------------------------------------------------

-- Who asks for a campaign comes by its touches, who asks for an order by its conversion.
create view kudos.model_parts as
with changed as materialized (select id from kudos.models_changed() id)
select t.conversion_id, t.place, t.touches, t.kind, t.link_id, t.code_id, t.influencer_id, t.campaign_id,
       a.slug as campaign, t.touched_at
  from kudos.model_touches t
  left join kudos.campaigns a on a.id = t.campaign_id
 where t.conversion_id not in (select id from changed)
 union all
select n.id, t.place, coalesce(t.touches, 0), t.kind, t.link_id, t.code_id, t.influencer_id, t.campaign_id, a.slug,
       t.touched_at
  from changed n
  left join kudos.touches_among(array(select id from changed)) t on t.conversion_id = n.id
  left join kudos.campaigns a on a.id = t.campaign_id
 union all
-- What no touch led to.
select c.id, null, 0, null, null, null, null, null, null, null
  from kudos.conversions c
 where not exists (select from kudos.model_touches t where t.conversion_id = c.id)
   and c.id not in (select id from changed);
comment on view kudos.model_parts is
  'The touches of each conversion, those that are kept and those that are not, and a row for what no touch led to.';
comment on column kudos.model_parts.conversion_id is 'The conversion.';
comment on column kudos.model_parts.place is 'Place of the touch, from 1; null: no touch counts.';
comment on column kudos.model_parts.touches is 'How many touches count.';
comment on column kudos.model_parts.kind is 'link or code.';
comment on column kudos.model_parts.link_id is 'The link that was clicked; null: a code.';
comment on column kudos.model_parts.code_id is 'The code that was used; null: a click.';
comment on column kudos.model_parts.influencer_id is 'Whose it is; null: nobody''s in particular.';
comment on column kudos.model_parts.campaign_id is 'Its campaign; null: none.';
comment on column kudos.model_parts.campaign is 'Slug of its campaign; null: none.';
comment on column kudos.model_parts.touched_at is 'When the link was clicked, or the code used.';

create or replace view report.attribution_models as
select w.name as workspace,
       m.model,
       c.occurred_at,
       c.event,
       c.order_id,
       i.handle as influencer,
       t.campaign,
       t.kind as via,
       t.touched_at,
       t.place::bigint as position,
       t.touches::bigint as touches,
       case when t.place is null then c.amount_minor
            else kudos.part_by(m.model, n.after, t.place, t.touches)
               - kudos.part_by(m.model, n.after - c.amount_minor, t.place, t.touches) end as amount_minor,
       c.currency,
       l.slug,
       k.code,
       c.id as conversion_id,
       t.influencer_id,
       t.campaign_id,
       c.workspace_id
  from kudos.model_parts t
  join kudos.conversions c on c.id = t.conversion_id
  join kudos.workspaces w on w.id = c.workspace_id
  join (values ('first'), ('last'), ('linear')) m (model)
    on m.model = 'linear' or t.place is null or t.place = case m.model when 'first' then 1 else t.touches end
  -- What is left of the order behind this line, so that parts of parts add up.
  left join lateral (
    select s.id, s.amount_minor, s.currency from kudos.conversions s
     where c.event = 'refund' and s.workspace_id = c.workspace_id and s.event = 'sale' and s.order_id = c.order_id
     order by s.key = s.order_id desc, s.key limit 1) s on c.event = 'refund'
  cross join lateral (
    select case when c.event <> 'refund' or s.id is null then c.amount_minor
                else (case when s.currency = c.currency then s.amount_minor else 0 end
                      + (select sum(r.amount_minor) from kudos.conversions r
                          where r.workspace_id = c.workspace_id and r.event = 'refund' and r.order_id = c.order_id
                            and r.verified and r.currency = c.currency
                            and (r.occurred_at, r.key) <= (c.occurred_at, c.key)))::bigint end as after) n
  left join kudos.influencers i on i.id = t.influencer_id
  left join kudos.links l on l.id = t.link_id
  left join kudos.codes k on k.id = t.code_id
 where c.verified;

drop function kudos.touches_of(kudos.conversions);
