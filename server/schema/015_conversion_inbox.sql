-- Conversions that came through a journal: postbacks, pixels, the page script, webhooks. flush copies
-- them in here with the clicks, in one transaction with the watermark; turning a row into a conversion
-- is a transaction of its own, so that no lock there ever holds back clicks.
--
-- Rows stay: with kudos.clicks, kudos.quarantine and kudos.gaps they are what the watermarks count.

create table kudos.conversion_inbox (
  origin bigint not null,
  seq bigint not null,
  received_at timestamptz not null,
  workspace_id bigint,
  source_id bigint,
  path kudos.conversion_path not null,
  verified boolean not null,
  token_hash bytea check (octet_length(token_hash) = 32),
  digest bytea check (octet_length(digest) = 32),
  signature bytea check (octet_length(signature) = 32),
  told jsonb not null check (jsonb_typeof(told) = 'object'),
  due_at timestamptz default now(),
  tries smallint not null default 0,
  processed_at timestamptz,
  outcome text check (outcome in ('created', 'repeated', 'enriched', 'conflict', 'refused', 'failed')),
  conversion_id bigint references kudos.conversions (id),
  problem text,
  primary key (origin, seq),
  check ((digest is null) = (signature is null)),
  check ((due_at is null) = (processed_at is not null)),
  check (due_at is not null or (conversion_id is not null) <> (outcome = 'refused'))
);
create index conversion_inbox_due on kudos.conversion_inbox (due_at, origin, seq) where due_at is not null;
create index conversion_inbox_conversion on kudos.conversion_inbox (conversion_id);
comment on table kudos.conversion_inbox is
  'One row per report of a conversion that came through a journal (all but POST /v1/conversions), with what became of it.';
comment on column kudos.conversion_inbox.origin is 'Journal that recorded it; (origin, seq) is its identity.';
comment on column kudos.conversion_inbox.seq is 'Number of the event in its journal.';
comment on column kudos.conversion_inbox.received_at is 'When it was told.';
comment on column kudos.conversion_inbox.workspace_id is 'The workspace of the host name that it was told to, or of its source; null: unknown.';
comment on column kudos.conversion_inbox.source_id is 'The source that it named; null: none.';
comment on column kudos.conversion_inbox.path is 'How it was told.';
comment on column kudos.conversion_inbox.verified is 'Whether the process that took it had proved already that its source sent it (webhooks).';
comment on column kudos.conversion_inbox.token_hash is 'SHA-256 of the token that came with it; null: none.';
comment on column kudos.conversion_inbox.digest is 'SHA-256 of what was signed; null: it was not signed.';
comment on column kudos.conversion_inbox.signature is 'The signature that came with it; null: it was not signed.';
comment on column kudos.conversion_inbox.told is 'The report, as columns of kudos.conversions; the customer''s reference, items and metadata are taken out once it is recorded.';
comment on column kudos.conversion_inbox.due_at is 'When it is to be recorded, or tried again; null: it has been.';
comment on column kudos.conversion_inbox.tries is 'How often recording it has failed.';
comment on column kudos.conversion_inbox.processed_at is 'When it was recorded or refused; null: it waits.';
comment on column kudos.conversion_inbox.outcome is 'created, repeated, enriched or conflict (see kudos.record_conversion); refused: there is no workspace to record it in, or it is a webhook that could not be read; failed: it is tried again; null: it waits for its first time.';
comment on column kudos.conversion_inbox.conversion_id is 'The conversion that it told of; null: it waits, or was refused.';
comment on column kudos.conversion_inbox.problem is 'Why it was refused or failed, or why it proves nothing (unknown_token, token_of_another_source, bad_signature, not_signed, unknown_source, pending); null: nothing is wrong.';

comment on table kudos.watermarks is
  'How far each journal has been taken over: every event up to seq is in kudos.clicks, kudos.conversion_inbox, kudos.quarantine or kudos.gaps, and none above.';
comment on column kudos.watermarks.applied is
  'Events stored: clicks, conversions, quarantined ones, and notes of lost clicks and of steps of kudos reclassify.';
comment on table kudos.quarantine is
  'Events that could not be stored as clicks or conversions: unreadable, or refused by the database. They count as applied and can be examined here.';
comment on column kudos.quarantine.link_id is 'The link; null if the event was unreadable, or is no click.';
comment on column kudos.quarantine.human is 'Whether the verdict was human; null if the event was unreadable, or is no click.';

-- What was told through a journal carries the time at which it was told, which may be long ago.
create or replace function kudos.conversion_told(workspace bigint, told jsonb) returns kudos.conversions
language sql stable set search_path = '' as $$
  select r from kudos.workspaces w, lateral jsonb_populate_record(null::kudos.conversions,
    told - 'customer' || jsonb_build_object(
      'workspace_id', workspace, 'received_at', coalesce(told -> 'received_at', to_jsonb(now())),
      'updated_at', now(), 'click_awaited', false,
      'status', 'unattributed', 'occurred_told', told ? 'occurred_at',
      'occurred_at', coalesce(told -> 'occurred_at', told -> 'received_at', to_jsonb(now())),
      'click_verified', case when told ? 'click_id' then told -> 'verified' end,
      'code_verified', case when told ? 'code' then told -> 'verified' end,
      'customer', kudos.customer_hash(w.customer_salt, told ->> 'customer'))) r
   where w.id = workspace
$$;

-- Signatures --------------------------------------------------------------------------------------

create function kudos.hmac_sha256(key bytea, message bytea) returns bytea
language plpgsql immutable parallel safe set search_path = '' as $$
declare
  padded bytea := case when octet_length(key) > 64 then sha256(key) else key end;
  inner_pad bytea;
  outer_pad bytea;
begin
  padded := padded || decode(repeat('00', 64 - octet_length(padded)), 'hex');
  inner_pad := padded;
  outer_pad := padded;
  for i in 0 .. 63 loop
    inner_pad := set_byte(inner_pad, i, get_byte(padded, i) # 54);
    outer_pad := set_byte(outer_pad, i, get_byte(padded, i) # 92);
  end loop;
  return sha256(outer_pad || sha256(inner_pad || message));
end
$$;
comment on function kudos.hmac_sha256(bytea, bytea) is 'HMAC-SHA256 (RFC 2104).';

-- Who told it, if that is proved: the source and its workspace; else why not (null: nobody said who).
create function kudos.prove_told(r kudos.conversion_inbox, out source bigint, out workspace bigint, out problem text)
language plpgsql stable set search_path = '' as $$
declare
  secret text;
begin
  if r.verified then
    select s.id, s.workspace_id into source, workspace from kudos.sources s where s.id = r.source_id;
    if source is null then
      problem := 'unknown_source';
    end if;
    return;
  end if;
  if r.signature is not null then
    problem := 'bad_signature';
    foreach secret in array coalesce(kudos.source_secrets(r.source_id, r.received_at), '{}') loop
      if kudos.hmac_sha256(convert_to(secret, 'UTF8'), convert_to(encode(r.digest, 'hex'), 'UTF8')) = r.signature then
        select s.id, s.workspace_id into source, workspace from kudos.sources s where s.id = r.source_id;
        problem := null;
        return;
      end if;
    end loop;
    return;
  end if;
  if r.token_hash is not null then
    select s.id, s.workspace_id into source, workspace
      from kudos.source_of_token(r.token_hash, r.received_at) s;
    if source is null then
      problem := 'unknown_token';
    elsif r.source_id is not null and r.source_id <> source then
      source := null;
      workspace := null;
      problem := 'token_of_another_source';
    end if;
  elsif r.source_id is not null then
    problem := 'not_signed';
  end if;
end
$$;
comment on function kudos.prove_told(kudos.conversion_inbox) is
  'Which source told a report, if its token or signature proves it, and the source''s workspace; else why it proves nothing.';

-- The inbox ---------------------------------------------------------------------------------------

-- One row. What goes wrong with it is kept with it, and it is tried again, later each time.
create function kudos.process_told(r kudos.conversion_inbox) returns void
language plpgsql set search_path = '' as $$
declare
  proof record;
  done record;
  home bigint;
  -- What its source calls pending is proved by nobody yet: shown, and credited no money.
  pending boolean := r.told -> 'pending' = 'true';
begin
  select * into proof from kudos.prove_told(r);
  -- The workspace is that of whoever proved who they are; else of the link that was clicked, since
  -- every shop may be told of under every host name.
  home := coalesce(proof.workspace,
                   (select l.workspace_id from kudos.links l where l.id = (r.told ->> 'click_link_id')::bigint),
                   (select w.id from kudos.workspaces w where w.id = r.workspace_id));
  -- A webhook that could not be read is kept as one that tells a problem.
  if home is null or r.told ? 'problem' then
    update kudos.conversion_inbox i
       set due_at = null, processed_at = clock_timestamp(), outcome = 'refused',
           problem = coalesce(r.told ->> 'problem', 'unknown_workspace'), told = i.told - array['customer', 'items', 'metadata']
     where i.origin = r.origin and i.seq = r.seq;
    return;
  end if;
  select * into strict done from kudos.record_conversion(home,
    r.told || kudos.told_code(home, r.told) || jsonb_build_object('path', r.path, 'received_at', r.received_at,
                                 'verified', proof.source is not null and pending is not true));
  update kudos.conversion_inbox i
     set due_at = null, processed_at = clock_timestamp(), outcome = done.outcome,
         conversion_id = done.id, problem = coalesce(proof.problem, case when pending then 'pending' end), told = i.told - array['customer', 'items', 'metadata']
   where i.origin = r.origin and i.seq = r.seq;
  update kudos.sources s set last_used_at = now()
   where s.id = (select f.id from kudos.sources f where f.id = proof.source
                   and (f.last_used_at is null or f.last_used_at < now() - interval '5 minutes')
                   for update skip locked);
exception
  when lock_not_available or deadlock_detected or serialization_failure then
    update kudos.conversion_inbox i set due_at = clock_timestamp() + interval '1 second'
     where i.origin = r.origin and i.seq = r.seq;
  when others then
    update kudos.conversion_inbox i
       set due_at = clock_timestamp() + least(interval '1 hour', interval '1 second' * 2 ^ least(r.tries, 12)),
           tries = least(i.tries + 1, 1000), outcome = 'failed', problem = sqlstate || ': ' || sqlerrm
     where i.origin = r.origin and i.seq = r.seq;
end
$$;
comment on function kudos.process_told(kudos.conversion_inbox) is
  'Records one report of the inbox, or notes why that failed.';

-- Bounded in rows and in time, also where others hold locks: flush calls it between two passes.
create function kudos.process_inbox(most integer, out taken integer, out failed integer, out waiting bigint)
language plpgsql set search_path = '' set lock_timeout = '50ms' as $$
declare
  r kudos.conversion_inbox;
  began timestamptz := clock_timestamp();
begin
  taken := 0;
  for r in select * from kudos.conversion_inbox i where i.due_at <= now()
           order by i.due_at, i.origin, i.seq limit most for update skip locked loop
    perform kudos.process_told(r);
    taken := taken + 1;
    exit when clock_timestamp() > began + interval '250 milliseconds';
  end loop;
  select count(*) filter (where i.outcome = 'failed'), count(*) into failed, waiting
    from (select outcome from kudos.conversion_inbox where due_at is not null limit 10000) i;
end
$$;
comment on function kudos.process_inbox(integer) is
  'Records reports that wait in the inbox, oldest first, for at most a quarter of a second. How many were taken, how many have failed and how many wait in all (up to 10,000).';

-- Erasing a customer reaches what is not recorded yet.
create or replace function kudos.erase_customer(workspace bigint, reference text, out erased jsonb, out remaining jsonb)
language plpgsql set search_path = '' as $$
declare
    hash bytea; salt bytea;
    conversions bigint; answers bigint; reports bigint;
begin
    select w.customer_salt into salt from kudos.workspaces w where w.id = workspace;
    hash := kudos.customer_hash(salt, reference);
    update kudos.conversions c set customer = null, metadata = null
     where c.workspace_id = workspace and c.customer = hash;
    get diagnostics conversions = row_count;
    update kudos.conversion_inbox i set told = i.told - array['customer', 'metadata']
     where i.due_at is not null and kudos.customer_hash(salt, i.told ->> 'customer') = hash;
    get diagnostics reports = row_count;
    delete from kudos.idempotency_keys k
     where k.workspace_id = workspace and strpos(k.answer::text, reference) > 0;
    get diagnostics answers = row_count;
    erased := jsonb_build_object('conversions', conversions, 'conversion_inbox', reports,
        'idempotency_keys', answers);
    remaining := jsonb_build_object(
        'conversions', (select count(*) from kudos.conversions c
            where c.workspace_id = workspace and c.customer = hash),
        'conversion_inbox', (select count(*) from kudos.conversion_inbox i
            where i.due_at is not null and kudos.customer_hash(salt, i.told ->> 'customer') = hash),
        'idempotency_keys', (select count(*) from kudos.idempotency_keys k
            where k.workspace_id = workspace and strpos(k.answer::text, reference) > 0));
end
$$;
