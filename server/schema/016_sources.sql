-- Sources: what tells conversions on the public plane, and how it proves who it is.
--
-- Secrets are kept as they are, since a signature cannot be checked with a hash. The schema kudos is the
-- service's alone; no view of schema report reads this table.

create type kudos.source_kind as enum ('postback', 'shopify', 'stripe', 'woocommerce');
comment on type kudos.source_kind is 'What a source is: something that calls /-/postback, or a shop''s webhooks.';

create table kudos.sources (
  id bigint generated always as identity primary key,
  workspace_id bigint not null references kudos.workspaces (id),
  kind kudos.source_kind not null,
  name text not null check (octet_length(name) between 1 and 200),
  prefix text check (octet_length(prefix) between 4 and 32),
  token_hash bytea unique check (octet_length(token_hash) = 32),
  secrets text[] not null default '{}' check (cardinality(secrets) <= 8),
  previous_token_hash bytea unique check (octet_length(previous_token_hash) = 32),
  previous_secrets text[] not null default '{}' check (cardinality(previous_secrets) <= 8),
  previous_until timestamptz,
  salt bytea not null default uuid_send(gen_random_uuid()),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  last_used_at timestamptz,
  revoked_at timestamptz,
  changed xid8 not null default pg_current_xact_id(),
  check ((kind = 'postback') = (token_hash is not null))
);
create index sources_workspace on kudos.sources (workspace_id);
comment on table kudos.sources is
  'Who may tell conversions on the public plane, and how they prove it: by a token, or by signing with a secret.';
comment on column kudos.sources.id is 'Number of the source; part of the path of its webhooks.';
comment on column kudos.sources.workspace_id is 'The workspace that its conversions belong to.';
comment on column kudos.sources.kind is 'postback, or the shop whose webhooks it takes.';
comment on column kudos.sources.name is 'What it is for, in the words of whoever made it.';
comment on column kudos.sources.prefix is 'How the token or secret begins that was made for it, to recognise it by; null: none was made.';
comment on column kudos.sources.token_hash is 'SHA-256 of its token; null: kinds that have none.';
comment on column kudos.sources.secrets is 'What it may sign with; several while they are being changed.';
comment on column kudos.sources.previous_token_hash is 'The token before it, good until previous_until; null: none.';
comment on column kudos.sources.previous_secrets is 'Secrets before these, good until previous_until.';
comment on column kudos.sources.previous_until is 'When what is previous ends; null: there is nothing previous.';
comment on column kudos.sources.salt is 'What fingerprints of its secrets are made with; shown nowhere.';
comment on column kudos.sources.created_at is 'When it was made.';
comment on column kudos.sources.updated_at is 'When it last changed.';
comment on column kudos.sources.last_used_at is 'When something it told last became a conversion, to within some minutes; null: never.';
comment on column kudos.sources.revoked_at is 'When it was revoked; null: it was not.';
comment on column kudos.sources.changed is 'Transaction that wrote this state; set by trigger, read by sync.';

create function kudos.sources_stamp() returns trigger
  language plpgsql set search_path = '' as $$
begin
  if tg_op = 'UPDATE' and (to_jsonb(new) - 'last_used_at') = (to_jsonb(old) - 'last_used_at') then
    return new;
  end if;
  new.updated_at := now();
  new.changed := pg_current_xact_id();
  return new;
end
$$;
comment on function kudos.sources_stamp() is
  'Sets updated_at and changed of a source, unless only its use was noted.';

create trigger stamp before insert or update on kudos.sources
  for each row execute function kudos.sources_stamp();
alter table kudos.sources enable always trigger stamp;

-- Fingerprints of secrets: they tell secrets apart (which is this, was it changed) and give away nothing,
-- since the salt is shown nowhere.
create function kudos.secret_fingerprints(secrets text[], salt bytea) returns text[]
  language sql immutable set search_path = '' as $$
  select coalesce(array_agg(left(encode(sha256(salt || convert_to(s, 'UTF8')), 'hex'), 12) order by i), '{}')
  from unnest(secrets) with ordinality as x (s, i)
$$;
comment on function kudos.secret_fingerprints(text[], bytea) is 'A name for each secret, in their order.';

-- The source that a token proves at a time: one that is not revoked, by its token or the one before it.
create function kudos.source_of_token(token_hash bytea, at timestamptz)
  returns table (id bigint, workspace_id bigint)
  language sql stable set search_path = '' as $$
  select s.id, s.workspace_id from kudos.sources s
  where s.revoked_at is null and s.token_hash = $1
  union all
  select s.id, s.workspace_id from kudos.sources s
  where s.revoked_at is null and s.previous_token_hash = $1 and s.previous_until > $2
$$;
comment on function kudos.source_of_token(bytea, timestamptz) is
  'The source that a token proves at a time; no row: none.';

-- What a source may sign with at a time.
create function kudos.source_secrets(source bigint, at timestamptz)
  returns text[] language sql stable set search_path = '' as $$
  select s.secrets || case when s.previous_until > $2 then s.previous_secrets else '{}' end
  from kudos.sources s where s.id = $1 and s.revoked_at is null
$$;
comment on function kudos.source_secrets(bigint, timestamptz) is
  'What a source may sign with at a time; null: it is unknown or revoked.';

-- A refund may name its order by another id than the sale does: Stripe's refunds name the payment, while
-- a shop that tells its own order id has the payment as external_id. Whichever comes first, the refund
-- ends up with the order id of the sale.
create index conversions_external on kudos.conversions (workspace_id, external_id)
  where external_id is not null;

create function kudos.refund_finds_order() returns trigger
  language plpgsql set search_path = '' as $$
begin
  if not exists (select from kudos.conversions c where c.workspace_id = new.workspace_id
                    and c.order_id = new.order_id and c.event = 'sale') then
    new.order_id := coalesce((select c.order_id from kudos.conversions c
                               where c.workspace_id = new.workspace_id and c.external_id = new.order_id
                                 and c.event = 'sale' and c.order_id is not null
                               order by c.id limit 1), new.order_id);
  end if;
  return new;
end
$$;
comment on function kudos.refund_finds_order() is
  'Gives a refund the order id of the sale that has what it names as external_id, if no sale has it as order_id.';
create trigger finds_order before insert on kudos.conversions
  for each row when (new.event = 'refund' and new.order_id is not null)
  execute function kudos.refund_finds_order();

create function kudos.sale_finds_refunds() returns trigger
  language plpgsql set search_path = '' as $$
begin
  update kudos.conversions c set order_id = new.order_id
   where c.workspace_id = new.workspace_id and c.order_id = new.external_id and c.event = 'refund'
     and not exists (select from kudos.conversions s where s.workspace_id = new.workspace_id
                        and s.order_id = new.external_id and s.event = 'sale');
  return null;
end
$$;
comment on function kudos.sale_finds_refunds() is
  'Gives refunds that came before their sale, and name it by its external_id, the sale''s order id.';
create trigger finds_refunds_new after insert on kudos.conversions
  for each row when (new.event = 'sale' and new.external_id <> new.order_id)
  execute function kudos.sale_finds_refunds();
create trigger finds_refunds after update of external_id, order_id on kudos.conversions
  for each row when (new.event = 'sale' and new.external_id <> new.order_id
                     and (old.external_id is distinct from new.external_id
                          or old.order_id is distinct from new.order_id))
  execute function kudos.sale_finds_refunds();

-- An order may have several discount codes, of which a conversion counts one: the first that is somebody's
-- here, those that are active before others.
create function kudos.told_code(workspace bigint, told jsonb) returns jsonb
  language sql stable set search_path = '' as $$
  select coalesce((
    select jsonb_build_object('code', c.code)
      from jsonb_array_elements_text(case jsonb_typeof(told -> 'metadata' -> 'codes')
             when 'array' then told -> 'metadata' -> 'codes' else '[]' end) with ordinality as c (code, i)
      join kudos.codes k on k.workspace_id = workspace and lower(k.code) = lower(c.code)
     order by k.status <> 'active', k.influencer_id is null, c.i limit 1), '{}')
$$;
comment on function kudos.told_code(bigint, jsonb) is
  'Which of several codes of an order counts, as {"code"}; {}: the one that was told, since none is known here.';
