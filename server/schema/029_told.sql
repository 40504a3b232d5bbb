-- How a report of a conversion becomes a row, and the inbox is worked off: as in 015 and 021, with the functions of
-- 028_recording.sql.

-- A report ---------------------------------------------------------------------------------------

-- The first report of something, written as decided. False if somebody else was faster.
create function kudos.create_conversion(c kudos.conversions, told jsonb) returns boolean
language plpgsql as $$
declare
  d record;
  looked text;
begin
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
  if c.event = 'refund' then
    perform kudos.credit_conversion(c.id); -- its order may have been found while it was written
    return true;
  end if;
  insert into kudos.attributions select t.* from unnest(d.touches) t;
  perform kudos.credit_followers(c);
  return true;
end
$$;
comment on function kudos.create_conversion(kudos.conversions, jsonb) is
  'Writes a conversion that is not known yet, and who earned it; false: it is known by now.';

create function kudos.take_conversion(workspace bigint, told jsonb, out outcome text, out id bigint)
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
    perform kudos.credit_conversion(was.id);
  end if;
end
$$;
comment on function kudos.take_conversion(bigint, jsonb) is
  'Takes a report of a conversion, once for each (workspace, event, key): created; repeated (nothing new); enriched (further facts, credited again); conflict (another amount: noted, nothing changed).';

create or replace function kudos.record_conversion(workspace bigint, told jsonb)
returns table (outcome text, id bigint, status kudos.conversion_status, influencer text,
               campaign text, via kudos.touch_kind, reason text)
language plpgsql set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  taken record;
begin
  taken := kudos.take_conversion(workspace, told);
  return query
    select taken.outcome, c.id, c.status, i.handle, a.slug, c.via, c.reason
      from kudos.conversions c
      left join kudos.influencers i on i.id = c.influencer_id
      left join kudos.campaigns a on a.id = c.campaign_id
     where c.id = taken.id;
end
$$;
comment on function kudos.record_conversion(bigint, jsonb) is
  'kudos.take_conversion, and who is credited now.';

-- The inbox ---------------------------------------------------------------------------------------

drop function kudos.process_told(kudos.conversion_inbox);
create function kudos.process_told(inout r kudos.conversion_inbox, out source bigint)
language plpgsql as $$
declare
  proof record;
  done record;
  home bigint;
  -- What its source calls pending is proved by nobody yet: shown, and credited no money.
  pending boolean := r.told -> 'pending' = 'true';
begin
  proof := kudos.prove_told(r);
  -- The workspace is that of whoever proved who they are; else of the link that was clicked, since
  -- every shop may be told of under every host name.
  home := coalesce(proof.workspace,
                   (select l.workspace_id from kudos.links l where l.id = (r.told ->> 'click_link_id')::bigint),
                   (select w.id from kudos.workspaces w where w.id = r.workspace_id));
  -- A webhook that could not be read is kept as one that tells a problem.
  if home is null or r.told ? 'problem' then
    r.outcome := 'refused';
    r.problem := coalesce(r.told ->> 'problem', 'unknown_workspace');
  else
    done := kudos.take_conversion(home,
      r.told || kudos.told_code(home, r.told) || jsonb_build_object('path', r.path, 'received_at', r.received_at,
                                   'verified', proof.source is not null and pending is not true));
    r.outcome := done.outcome;
    r.conversion_id := done.id;
    r.problem := coalesce(proof.problem, case when pending then 'pending' end);
    source := proof.source;
  end if;
  r.told := r.told - array['customer', 'items', 'metadata'];
  r.due_at := null;
  r.processed_at := clock_timestamp();
exception
  when lock_not_available or deadlock_detected or serialization_failure then
    r.due_at := clock_timestamp() + interval '1 second';
  when others then
    r.due_at := clock_timestamp() + least(interval '1 hour', interval '1 second' * 2 ^ least(r.tries, 12));
    r.tries := least(r.tries + 1, 1000);
    r.outcome := 'failed';
    r.problem := sqlstate || ': ' || sqlerrm;
end
$$;
comment on function kudos.process_told(kudos.conversion_inbox) is
  'Records one report of the inbox: the row with what became of it or when it is to be tried again, and which source proved that it told it. Its caller writes it back.';

create or replace function kudos.process_inbox(most integer, out taken integer, out failed integer, out waiting bigint)
language plpgsql set search_path = '' set lock_timeout = '50ms'
  set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  r kudos.conversion_inbox;
  done record;
  rows kudos.conversion_inbox[] := '{}';
  sources bigint[] := '{}';
  began timestamptz := clock_timestamp();
begin
  taken := 0;
  for r in select * from kudos.conversion_inbox i where i.due_at <= now()
           order by i.due_at, i.origin, i.seq limit most for update skip locked loop
    done := kudos.process_told(r);
    rows := rows || done.r;
    if done.source is not null and not done.source = any (sources) then
      sources := sources || done.source;
    end if;
    taken := taken + 1;
    exit when clock_timestamp() > began + interval '250 milliseconds';
  end loop;
  update kudos.conversion_inbox i
     set (due_at, processed_at, outcome, conversion_id, problem, tries, told)
       = (d.due_at, d.processed_at, d.outcome, d.conversion_id, d.problem, d.tries, d.told)
    from unnest(rows) d where i.origin = d.origin and i.seq = d.seq;
  update kudos.sources s set last_used_at = now()
   where s.id in (select f.id from kudos.sources f where f.id = any (sources)
                     and (f.last_used_at is null or f.last_used_at < now() - interval '5 minutes')
                     for update skip locked);
  select count(*) filter (where i.outcome = 'failed'), count(*) into failed, waiting
    from (select outcome from kudos.conversion_inbox where due_at is not null limit 10000) i;
end
$$;
