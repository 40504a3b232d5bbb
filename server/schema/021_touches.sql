-- Several touches: all the clicks that led to a conversion, joined over the customer's reference, and
-- what each influencer would have earned by the first, by the last, or by all of them alike. Crediting
-- writes its conversion once; `kudos reattribute` decides anew after a change of policy.

create table kudos.conversion_touches (
  conversion_id bigint not null references kudos.conversions (id),
  click_id text not null check (octet_length(click_id) between 1 and 128),
  verified boolean not null,
  problem text,
  origin bigint,
  seq bigint,
  link_id bigint,
  time timestamptz,
  awaited boolean not null default false,
  primary key (conversion_id, click_id)
);
create index conversion_touches_awaited on kudos.conversion_touches (conversion_id) where awaited;
create index conversion_touches_click on kudos.conversion_touches (origin, seq);
comment on table kudos.conversion_touches is
  'Every click id that was told with a conversion, up to 50: the newest that are genuine.';
comment on column kudos.conversion_touches.conversion_id is 'The conversion.';
comment on column kudos.conversion_touches.click_id is 'The click id, as it came.';
comment on column kudos.conversion_touches.verified is 'Whether somebody told it who proved who they are.';
comment on column kudos.conversion_touches.problem is 'Why it can never count: bad_signature, unknown_click, non_human_click; null: nothing is wrong with the click itself.';
comment on column kudos.conversion_touches.origin is 'With seq, the click that it names; null: none.';
comment on column kudos.conversion_touches.seq is 'With origin, the click that it names; null: none.';
comment on column kudos.conversion_touches.link_id is 'The link that was clicked; null: none.';
comment on column kudos.conversion_touches.time is 'When it was clicked; null: no click.';
comment on column kudos.conversion_touches.awaited is 'True while the click''s row has not been flushed, or is to be looked at again.';

-- What is wrong with a click whatever it led to; null: nothing (that is known so far).
create function kudos.click_problem(workspace bigint, link bigint, origin bigint, seq bigint, at timestamptz) returns text
language sql stable as $$
  select case when not exists (select from kudos.links l where l.id = link and l.workspace_id = workspace) then 'unknown_click'
              when (select c.verdict from kudos.clicks c
                     where c.time >= at and c.time < at + interval '1 millisecond'
                       and c.origin = click_problem.origin and c.seq = click_problem.seq) <> 'human' then 'non_human_click' end
$$;
comment on function kudos.click_problem(bigint, bigint, bigint, bigint, timestamptz) is
  'Why a click can never count, whatever it led to; null: it can, as far as is known.';

-- Keeps the clicks of a report; whether there was anything new.
create function kudos.keep_touches(which bigint, workspace bigint, told jsonb) returns boolean
language plpgsql set search_path = '' as $$
declare
  sure boolean := (told ->> 'verified')::boolean;
  kept integer;
begin
  if not told ?| array['touches', 'click_id'] then
    return false;
  end if;
  with listed as (
    select * from jsonb_to_recordset(coalesce(told -> 'touches', '[]'))
      as t (id text, problem text, origin bigint, seq bigint, link_id bigint, "time" timestamptz)
     union
    select told ->> 'click_id', told ->> 'click_problem', (told ->> 'click_origin')::bigint,
           (told ->> 'click_seq')::bigint, (told ->> 'click_link_id')::bigint, (told ->> 'click_time')::timestamptz
     where told ? 'click_id')
  insert into kudos.conversion_touches as t (conversion_id, click_id, verified, problem, origin, seq, link_id, time, awaited)
  select which, l.id, sure,
         coalesce(l.problem, kudos.click_problem(workspace, l.link_id, l.origin, l.seq, l.time)), l.origin, l.seq,
         l.link_id, l.time, l.problem is null and not exists (
           select from kudos.watermarks w where w.origin = l.origin and w.seq >= l.seq)
    from listed l order by l.id
  on conflict (conversion_id, click_id) do update set verified = true where not t.verified and excluded.verified;
  get diagnostics kept = row_count;
  if kept > 0 then
    delete from kudos.conversion_touches t
     using (select click_id, row_number() over (order by problem is not null and time is null, time desc, click_id) as nth
              from kudos.conversion_touches where conversion_id = which) n
     where t.conversion_id = which and t.click_id = n.click_id and n.nth > 50;
  end if;
  return kept > 0;
end
$$;
comment on function kudos.keep_touches(bigint, bigint, jsonb) is
  'Keeps the click ids that a report of a conversion names; whether there was anything new.';

insert into kudos.conversion_touches (conversion_id, click_id, verified, problem, origin, seq, link_id, time, awaited)
select c.id, c.click_id, coalesce(c.click_verified, false),
       coalesce(c.click_problem, kudos.click_problem(c.workspace_id, c.click_link_id, c.click_origin, c.click_seq, c.click_time)),
       c.click_origin, c.click_seq, c.click_link_id, c.click_time, c.click_awaited
  from kudos.conversions c where c.click_id is not null;

-- Credit: as in 008, but that what is decided is written once, at the end ---------------------------

drop function kudos.credit_refund(kudos.conversions);
create function kudos.credit_refund(inout c kudos.conversions)
language plpgsql set search_path = '' as $$
declare
  sale kudos.conversions;
  w kudos.attributions;
  left_minor bigint := c.amount_minor;
  part bigint;
  winners integer;
begin
  select * into sale from kudos.conversions s
   where s.workspace_id = c.workspace_id and s.event = 'sale' and s.order_id = c.order_id
   order by s.key = s.order_id desc, s.key limit 1;
  select count(*) into winners from kudos.attributions where conversion_id = sale.id and won;
  c.via := null;
  c.influencer_id := null;
  c.campaign_id := sale.campaign_id;
  if sale.id is null or winners = 0 then
    c.status := 'unattributed';
    c.reason := case when sale.id is null then 'unknown_order' else 'order_not_credited' end;
    return;
  end if;
  for w in select * from kudos.attributions where conversion_id = sale.id and won
            order by position desc loop
    part := case when w.position = 1 then left_minor else c.amount_minor * w.share_percent / 100 end;
    left_minor := left_minor - part;
    perform kudos.store_touch(c, w, w.position, w.share_percent, part, 'refund_of_credited_order');
  end loop;
  c.status := 'credited';
  c.via := sale.via;
  c.influencer_id := sale.influencer_id;
  c.reason := 'refund_of_credited_order';
end
$$;
comment on function kudos.credit_refund(kudos.conversions) is 'Gives a refund to whom its order was given.';

create function kudos.is_own_customer(who bigint, customer bytea) returns boolean
language sql stable as $$
  select exists (select from kudos.influencers i join kudos.workspaces w on w.id = i.workspace_id
                  where i.id = who and i.email is not null
                    and customer = kudos.customer_hash(w.customer_salt, i.email))
$$;
comment on function kudos.is_own_customer(bigint, bytea) is 'Whether a customer is the influencer: nobody earns by buying from themselves.';

create index conversions_click on kudos.conversions (click_origin, click_seq) where click_seq is not null;

-- A page may tell a sale by its click alone while the shop tells it with its order: that is one sale.
create function kudos.is_duplicate(c kudos.conversions) returns boolean
language sql stable as $$
  select c.order_id is null and c.external_id is null and c.click_seq is not null and exists (
    select from kudos.conversions o
     where o.click_origin = c.click_origin and o.click_seq = c.click_seq and o.workspace_id = c.workspace_id
       and o.event = c.event and o.id <> c.id and o.verified and coalesce(o.order_id, o.external_id) is not null
       and o.occurred_at between c.occurred_at - interval '1 hour' and c.occurred_at + interval '1 hour')
$$;
comment on function kudos.is_duplicate(kudos.conversions) is
  'Whether a conversion that is known by its click alone was told with its order, too: by the same click, within an hour.';

drop function kudos.credit_touches(kudos.conversions);
create function kudos.credit_touches(inout c kudos.conversions)
language plpgsql set search_path = '' as $$
declare
  click kudos.attributions := kudos.touch_by_click(c);
  code kudos.attributions := kudos.touch_by_code(c);
  first kudos.attributions;
  second kudos.attributions;
  rule text;
  share smallint := 100;
  part bigint := c.amount_minor;
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
    click := first;
    first := second;
    second := click;
  end if;
  c.via := null;
  c.influencer_id := null;
  if first.kind is null or first.reason is not null then
    c.status := 'unattributed';
    c.campaign_id := coalesce(first.campaign_id, second.campaign_id);
    c.reason := coalesce(first.reason, 'no_click_and_no_code');
    if first.kind is not null then
      perform kudos.store_touch(c, first, 1::smallint, 0::smallint, 0, first.reason);
    end if;
    if second.kind is not null then
      perform kudos.store_touch(c, second, 2::smallint, 0::smallint, 0, second.reason);
    end if;
    return;
  end if;
  c.status := 'credited';
  c.via := first.kind;
  c.influencer_id := first.influencer_id;
  c.campaign_id := first.campaign_id;
  c.reason := case when second.kind is null or second.reason is not null then 'only_' || first.kind else rule end;
  if c.reason = 'split' then
    share := 50;
    part := c.amount_minor - c.amount_minor / 2;
    perform kudos.store_touch(c, second, 2::smallint, 50::smallint, c.amount_minor / 2, 'split');
  elsif second.kind is not null then
    perform kudos.store_touch(c, second, 2::smallint, 0::smallint, 0, coalesce(second.reason, 'outranked_' || rule));
  end if;
  perform kudos.store_touch(c, first, 1::smallint, share, part, c.reason);
end
$$;
comment on function kudos.credit_touches(kudos.conversions) is
  'Decides between the click and the code of a conversion and writes winner, loser and reasons.';

create or replace function kudos.credit_conversion(which bigint) returns void
language plpgsql set search_path = '' as $$
declare
  was kudos.conversions;
  c kudos.conversions;
  follower bigint;
begin
  select * into was from kudos.conversions where id = which for update;
  c := was;
  delete from kudos.attributions where conversion_id = which;
  -- Looked at before the click's row is looked for: if it is there by now, so is the row.
  c.click_awaited := c.click_seq is not null and not exists (
    select from kudos.watermarks where origin = c.click_origin and seq >= c.click_seq);
  if not c.verified then
    c.status := 'unverified';
    c.via := null;
    c.influencer_id := null;
    c.campaign_id := null;
    c.reason := 'not_signed';
  elsif c.event = 'refund' then
    c := kudos.credit_refund(c);
  else
    c := kudos.credit_touches(c);
  end if;
  if c is distinct from was then
    update kudos.conversions n
       set click_awaited = c.click_awaited, status = c.status, via = c.via, influencer_id = c.influencer_id,
           campaign_id = c.campaign_id, reason = c.reason, updated_at = now()
     where n.id = which;
  end if;
  if c.event = 'sale' and c.order_id is not null then
    for follower in select id from kudos.conversions
                     where workspace_id = c.workspace_id and event = 'refund' and order_id = c.order_id
                     order by id loop
      perform kudos.credit_conversion(follower);
    end loop;
  end if;
  -- It may show that what was told by the same click alone is the same.
  if c.click_seq is not null and coalesce(c.order_id, c.external_id) is not null then
    for follower in select id from kudos.conversions
                     where click_origin = c.click_origin and click_seq = c.click_seq and workspace_id = c.workspace_id
                       and event = c.event and order_id is null and external_id is null order by id loop
      perform kudos.credit_conversion(follower);
    end loop;
  end if;
end
$$;

create or replace function kudos.record_conversion(workspace bigint, told jsonb)
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
  if outcome <> 'conflict' and kudos.keep_touches(new.id, workspace, told) and outcome = 'repeated' then
    outcome := 'enriched';
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

create or replace function kudos.settle_clicks(most integer) returns integer
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
  update kudos.conversion_touches t
     set awaited = false, problem = kudos.click_problem(d.workspace_id, t.link_id, t.origin, t.seq, t.time)
    from (select n.conversion_id, n.click_id, c.workspace_id
            from kudos.conversion_touches n
            join kudos.watermarks w on w.origin = n.origin and w.seq >= n.seq
            join kudos.conversions c on c.id = n.conversion_id
           where n.awaited order by n.conversion_id, n.click_id limit most for update of n skip locked) d
   where t.conversion_id = d.conversion_id and t.click_id = d.click_id;
  return settled;
end
$$;

-- Models -------------------------------------------------------------------------------------------

create function kudos.touches_of(c kudos.conversions)
returns table (kind kudos.touch_kind, link_id bigint, code_id bigint, influencer_id bigint, campaign_id bigint,
               touched_at timestamptz, place bigint, touches bigint)
language sql stable security definer rows 2 set search_path = '' as $$
  with told as (
    select c.id, c.code, c.occurred_at
     union all
    select o.id, case when o.occurred_at <= c.occurred_at then o.code end, o.occurred_at from kudos.conversions o
     where o.workspace_id = c.workspace_id and o.customer = c.customer and o.id <> c.id and o.verified and o.event <> 'refund'),
  found as (
    select distinct on (t.origin, t.seq) 'link'::kudos.touch_kind as kind, l.id as link_id, null::bigint as code_id,
           l.influencer_id, l.campaign_id, t.time as touched_at, t.origin as one, t.seq as other
      from told n join kudos.conversion_touches t on t.conversion_id = n.id and t.problem is null
      join kudos.links l on l.id = t.link_id and l.workspace_id = c.workspace_id
     union all
    select 'code', null, k.id, k.influencer_id, k.campaign_id, n.occurred_at, 0, n.id
      from told n join kudos.codes k on k.workspace_id = c.workspace_id and lower(k.code) = lower(n.code)
     where coalesce(k.inactive_since > n.occurred_at, true) and coalesce(k.starts_at <= n.occurred_at, true)
       and coalesce(k.ends_at > n.occurred_at, true)),
  counting as (
    select f.* from found f left join kudos.campaigns a on a.id = f.campaign_id
     where (f.campaign_id is not null or f.influencer_id is not null)
       and c.occurred_at >= f.touched_at - interval '5 minutes'
       and (c.occurred_at <= f.touched_at + coalesce((a.attribution ->> 'window_days')::numeric, 30) * interval '1 day'
            or f.kind = 'code' and f.other = c.id)
       and not kudos.is_own_customer(f.influencer_id, c.customer)
     order by f.touched_at desc, f.kind desc, f.one desc, f.other desc limit 100)
  select n.kind, n.link_id, n.code_id, n.influencer_id, n.campaign_id, n.touched_at,
         row_number() over (order by n.touched_at, n.kind, n.one, n.other), count(*) over ()
    from counting n where c.verified and not kudos.is_duplicate(c)
$$;
comment on function kudos.touches_of(kudos.conversions) is
  'Touches that led to a conversion and count, in order: its own clicks and code, and those of what else the same customer did before; the last hundred.';

create function kudos.part_by(model text, amount bigint, place bigint, touches bigint) returns bigint
language sql immutable parallel safe as $$
  select case model when 'linear' then amount / touches
                         + case when place <= abs(amount % touches) then sign(amount)::bigint else 0 end
                    when 'first' then case when place = 1 then amount else 0 end
                    else case when place = touches then amount else 0 end end
$$;
comment on function kudos.part_by(text, bigint, bigint, bigint) is
  'What a touch gets of an amount under a model. Equal parts add up to the amount: what is left over goes one each to the first.';

create view report.attribution_models as
select w.name as workspace,
       m.model,
       c.occurred_at,
       c.event,
       c.order_id,
       i.handle as influencer,
       a.slug as campaign,
       t.kind as via,
       t.touched_at,
       t.place as position,
       coalesce(t.touches, 0) as touches,
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
  from kudos.conversions c
  join kudos.workspaces w on w.id = c.workspace_id
  cross join (values ('first'), ('last'), ('linear')) m (model)
  -- A refund takes back from whom its order was given to.
  left join lateral (
    select s as sale, s.id, s.amount_minor, s.currency from kudos.conversions s
     where c.event = 'refund' and s.workspace_id = c.workspace_id and s.event = 'sale' and s.order_id = c.order_id
     order by s.key = s.order_id desc, s.key limit 1) s on true
  -- What is left of the order behind this line, so that parts of parts add up.
  cross join lateral (
    select case when c.event <> 'refund' or s.id is null then c.amount_minor
                else (case when s.currency = c.currency then s.amount_minor else 0 end
                      + (select sum(r.amount_minor) from kudos.conversions r
                          where r.workspace_id = c.workspace_id and r.event = 'refund' and r.order_id = c.order_id
                            and r.verified and r.currency = c.currency
                            and (r.occurred_at, r.key) <= (c.occurred_at, c.key)))::bigint end as after) n
  left join lateral kudos.touches_of(case when c.event = 'refund' then s.sale else c end) t
         on m.model = 'linear' or t.place = case m.model when 'first' then 1 else t.touches end
  left join kudos.influencers i on i.id = t.influencer_id
  left join kudos.campaigns a on a.id = t.campaign_id
  left join kudos.links l on l.id = t.link_id
  left join kudos.codes k on k.id = t.code_id
 where c.verified;
comment on view report.attribution_models is
  'Who would be credited by the first touch, by the last, or by all alike (model: first, last, linear): a row for each touch that gets a part. Ask for one model. Under each of them the amounts of a conversion''s rows add up to its amount, and so do all rows to all revenue; what no touch led to has a row without an influencer. Contracts pay by report.attributions, not by these.';
comment on column report.attribution_models.workspace is 'The workspace whose shop it happened in.';
comment on column report.attribution_models.model is 'first, last or linear.';
comment on column report.attribution_models.occurred_at is 'When the conversion happened.';
comment on column report.attribution_models.event is 'sale, lead, signup, install, refund, or a word of one''s own.';
comment on column report.attribution_models.order_id is 'The shop''s order; null: none.';
comment on column report.attribution_models.influencer is 'Handle of whose link or code it is; null: nobody''s in particular, or no touch counts.';
comment on column report.attribution_models.campaign is 'Slug of its campaign; null: none.';
comment on column report.attribution_models.via is 'link or code; null: no touch counts.';
comment on column report.attribution_models.touched_at is 'When the link was clicked, or the code used.';
comment on column report.attribution_models.position is 'Place of the touch, from 1.';
comment on column report.attribution_models.touches is 'How many touches count.';
comment on column report.attribution_models.amount_minor is 'Part of the amount in minor units; below zero for a refund; null: the conversion has none.';
comment on column report.attribution_models.currency is 'Original currency (ISO 4217); null: no amount.';
comment on column report.attribution_models.slug is 'The link that was clicked; null: a code.';
comment on column report.attribution_models.code is 'The code that was used; null: a click.';
comment on column report.attribution_models.conversion_id is 'Number of the conversion.';
comment on column report.attribution_models.influencer_id is 'The influencer; null: nobody in particular.';
comment on column report.attribution_models.campaign_id is 'The campaign; null: none.';
comment on column report.attribution_models.workspace_id is 'The workspace.';

-- kudos reattribute --------------------------------------------------------------------------------

create index attributions_decided on kudos.attributions (campaign_id, conversion_id);

create table kudos.reattributions (
  id bigint generated always as identity primary key,
  campaign_id bigint not null references kudos.campaigns (id),
  policy jsonb not null,
  made_by text not null default session_user,
  began_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  upto bigint not null default 0,
  conversions bigint not null default 0,
  changed bigint not null default 0,
  sums jsonb not null default '{}'
);
comment on table kudos.reattributions is 'Runs of kudos reattribute.';
comment on column kudos.reattributions.id is 'Number of the run.';
comment on column kudos.reattributions.campaign_id is 'The campaign.';
comment on column kudos.reattributions.policy is 'The campaign''s policy by which it credits.';
comment on column kudos.reattributions.made_by is 'The role that the command logged in as.';
comment on column kudos.reattributions.began_at is 'When it began.';
comment on column kudos.reattributions.ended_at is 'When it was done; null: it is at work or was interrupted: the same command goes on.';
comment on column kudos.reattributions.upto is 'Conversions up to this number are done.';
comment on column kudos.reattributions.conversions is 'How many it has decided about, refunds with their orders.';
comment on column kudos.reattributions.changed is 'How many of them are credited otherwise since.';
comment on column kudos.reattributions.sums is 'By influencer and currency: [before, after] in minor units, and how many.';

create function kudos.credit_sums(ids bigint[]) returns jsonb
language sql stable set search_path = '' as $$
  select coalesce(jsonb_object_agg(g.who, jsonb_build_array(g.minor, g.n)), '{}')
    from (select coalesce(i.handle, '') || ' ' || coalesce(c.currency, '') as who,
                 coalesce(sum(case when t.won then t.amount_minor else c.amount_minor end), 0)::bigint as minor, count(*) as n
            from kudos.conversions c
            left join kudos.attributions t on t.conversion_id = c.id and t.won
            left join kudos.influencers i on i.id = t.influencer_id
           where c.id = any (ids) group by 1) g
$$;
comment on function kudos.credit_sums(bigint[]) is
  'Of these conversions, what each influencer is credited with: {"handle currency": [minor units, how many]}; without a handle what nobody is.';

create function kudos.reattribute(campaign bigint, beyond bigint, most integer)
returns table (upto bigint, conversions bigint, changed bigint, before jsonb, after jsonb)
language plpgsql set search_path = '' as $$
declare
  chosen bigint[];
  everything bigint[];
  one bigint;
  was jsonb;
begin
  select array(select distinct a.conversion_id from kudos.attributions a
                 join kudos.conversions c on c.id = a.conversion_id and c.event <> 'refund'
                where a.campaign_id = campaign and a.conversion_id > beyond order by 1 limit most) into chosen;
  perform from kudos.conversions c where c.id = any (chosen) order by c.id for update;
  select array(select unnest(chosen) union
               select r.id from kudos.conversions s join kudos.conversions r on r.workspace_id = s.workspace_id
                  and r.event = 'refund' and r.order_id = s.order_id
                where s.id = any (chosen) and s.event = 'sale') into everything;
  before := kudos.credit_sums(everything);
  select jsonb_object_agg(e.id, (select jsonb_agg(jsonb_build_array(t.influencer_id, t.share_percent) order by t.position)
                                   from kudos.attributions t where t.conversion_id = e.id and t.won))
    into was from unnest(everything) e (id);
  foreach one in array chosen loop
    perform kudos.credit_conversion(one);
  end loop;
  after := kudos.credit_sums(everything);
  select count(*) into changed from unnest(everything) e (id)
   where (select jsonb_agg(jsonb_build_array(t.influencer_id, t.share_percent) order by t.position)
            from kudos.attributions t where t.conversion_id = e.id and t.won)
         is distinct from nullif(was -> e.id::text, 'null');
  upto := (select max(n) from unnest(chosen) n);
  conversions := cardinality(everything);
  return next;
end
$$;
comment on function kudos.reattribute(bigint, bigint, integer) is
  'Decides anew about the next conversions that a campaign has, or had, a part in, and their refunds. upto is null when there are none left.';
