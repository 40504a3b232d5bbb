-- What marketers manage over HTTP: more about influencers, campaigns, codes and links; the keys that
-- let a POST be repeated, and the log of who changed what.

create function kudos.touch() returns trigger
language plpgsql as $$
begin
    new.updated_at := now();
    return new;
end
$$;
comment on function kudos.touch() is 'Sets updated_at of a row that changes.';

alter table kudos.api_keys
    add column per_minute integer check (per_minute > 0);
comment on column kudos.api_keys.per_minute is
    'How many requests the key may make in a minute; null: as the setting key_requests_per_minute says.';

-- Influencers ------------------------------------------------------------------------------------

create type kudos.influencer_status as enum ('active', 'paused', 'archived');
comment on type kudos.influencer_status is
    'active: works with the brand. paused: not now. archived: hidden from lists; what they brought stays.';

alter table kudos.influencers
    add column external_id text check (octet_length(external_id) between 1 and 200),
    add column contact text check (octet_length(contact) <= 1000),
    add column country text check (country ~ '^[A-Z]{2}$'),
    add column tags text[] not null default '{}',
    add column notes text check (octet_length(notes) <= 16384),
    add column status kudos.influencer_status not null default 'active';
create unique index influencers_external on kudos.influencers (workspace_id, external_id)
    where external_id is not null;
create index influencers_tags on kudos.influencers using gin (tags) where tags <> '{}';
comment on column kudos.influencers.external_id is 'Their identity in another system, unique in the workspace; null: none.';
comment on column kudos.influencers.contact is 'Other ways to reach them: a phone number, an agent; null: none known.';
comment on column kudos.influencers.country is 'Where they live (ISO 3166-1 alpha-2); null: unknown.';
comment on column kudos.influencers.tags is 'Words to find them by.';
comment on column kudos.influencers.notes is 'What people wrote about them; null: nothing.';
comment on column kudos.influencers.status is 'active, paused or archived.';
create trigger touch before update on kudos.influencers
    for each row execute function kudos.touch();

alter table kudos.influencer_profiles
    add column handle text check (octet_length(handle) between 1 and 200),
    add column external_id text check (octet_length(external_id) between 1 and 200);
comment on column kudos.influencer_profiles.handle is 'Their name on the platform; null: as elsewhere.';
comment on column kudos.influencer_profiles.external_id is 'Identity of the profile on the platform or in another system; null: unknown.';
create trigger touch before update on kudos.influencer_profiles
    for each row execute function kudos.touch();

-- Campaigns --------------------------------------------------------------------------------------

create type kudos.campaign_status as enum ('draft', 'active', 'paused', 'ended', 'archived');
comment on type kudos.campaign_status is
    'Where a campaign stands, for people: its links go on as they say themselves. archived: hidden from lists.';

alter table kudos.campaigns
    add column external_id text check (octet_length(external_id) between 1 and 200),
    add column brief text check (octet_length(brief) <= 65536),
    add column budget jsonb,
    add column budget_minor bigint generated always as ((budget ->> 'amount_minor')::bigint) stored,
    add column budget_currency text generated always as (budget ->> 'currency') stored,
    add column attribution jsonb not null
        default '{"window_days": 30, "precedence": "code_first"}',
    add column targets jsonb not null default '{}',
    add column tags text[] not null default '{}',
    add column notes text check (octet_length(notes) <= 16384),
    add column status kudos.campaign_status not null default 'active';
create unique index campaigns_external on kudos.campaigns (workspace_id, external_id)
    where external_id is not null;
create index campaigns_tags on kudos.campaigns using gin (tags) where tags <> '{}';
comment on column kudos.campaigns.external_id is 'Its identity in another system, unique in the workspace; null: none.';
comment on column kudos.campaigns.brief is 'What influencers are asked to do; null: not written.';
comment on column kudos.campaigns.budget is 'What may be spent: {"amount_minor", "currency"}; null: not set.';
comment on column kudos.campaigns.budget_minor is 'The budget in minor units of its currency; null: not set.';
comment on column kudos.campaigns.budget_currency is 'Currency of the budget (ISO 4217); null: not set.';
comment on column kudos.campaigns.attribution is
    'Who earns a sale: {"window_days", "precedence"}; precedence is code_first, link_first, last_touch, first_touch or split.';
comment on column kudos.campaigns.targets is 'What the campaign should reach, by KPI: {"clicks": 10000, …}.';
comment on column kudos.campaigns.tags is 'Words to find it by.';
comment on column kudos.campaigns.notes is 'What people wrote about it; null: nothing.';
comment on column kudos.campaigns.status is 'draft, active, paused, ended or archived.';
create trigger touch before update on kudos.campaigns
    for each row execute function kudos.touch();

-- Codes ------------------------------------------------------------------------------------------

create type kudos.code_status as enum ('active', 'disabled', 'archived');
comment on type kudos.code_status is
    'active: honoured. disabled: not now. archived: hidden from lists; it stays taken and what it brought stays.';

alter table kudos.codes
    alter column campaign_id drop not null,
    add column external_id text check (octet_length(external_id) between 1 and 200),
    add column amount jsonb,
    add column amount_minor bigint generated always as ((amount ->> 'amount_minor')::bigint) stored,
    add column amount_currency text generated always as (amount ->> 'currency') stored,
    add column free_shipping boolean not null default false,
    add column starts_at timestamptz,
    add column ends_at timestamptz,
    add column max_uses bigint check (max_uses > 0),
    add column max_uses_per_customer bigint check (max_uses_per_customer > 0),
    add column minimum_order jsonb,
    add column tags text[] not null default '{}',
    add column notes text check (octet_length(notes) <= 16384),
    add column status kudos.code_status not null default 'active',
    add column updated_at timestamptz not null default now(),
    add constraint codes_one_discount
        check (num_nonnulls(percent, amount) + free_shipping::int <= 1),
    add constraint codes_dates check (ends_at > starts_at);
create unique index codes_external on kudos.codes (workspace_id, external_id)
    where external_id is not null;
create index codes_tags on kudos.codes using gin (tags) where tags <> '{}';
comment on column kudos.codes.campaign_id is 'The campaign it belongs to; null: none.';
comment on column kudos.codes.external_id is 'Its identity in another system, unique in the workspace; null: none.';
comment on column kudos.codes.amount is 'Discount as {"amount_minor", "currency"}; null: another kind of discount.';
comment on column kudos.codes.amount_minor is 'The discount in minor units of its currency; null: another kind.';
comment on column kudos.codes.amount_currency is 'Currency of the discount (ISO 4217); null: another kind.';
comment on column kudos.codes.free_shipping is 'Whether the discount is free shipping.';
comment on column kudos.codes.starts_at is 'Before this it is not honoured; null: no start.';
comment on column kudos.codes.ends_at is 'From then on it is not honoured; null: no end.';
comment on column kudos.codes.max_uses is 'How often it may be used in all; null: no limit.';
comment on column kudos.codes.max_uses_per_customer is 'How often one customer may use it; null: no limit.';
comment on column kudos.codes.minimum_order is 'Least value of an order, {"amount_minor", "currency"}; null: none.';
comment on column kudos.codes.tags is 'Words to find it by.';
comment on column kudos.codes.notes is 'What people wrote about it; null: nothing.';
comment on column kudos.codes.status is 'active, disabled or archived.';
comment on column kudos.codes.updated_at is 'When it last changed.';
create trigger touch before update on kudos.codes for each row execute function kudos.touch();

-- Links ------------------------------------------------------------------------------------------

alter table kudos.links
    add column external_id text check (octet_length(external_id) between 1 and 200),
    add column tags text[] not null default '{}',
    add column notes text check (octet_length(notes) <= 16384);
create unique index links_external on kudos.links (workspace_id, external_id)
    where external_id is not null;
create index links_tags on kudos.links using gin (tags) where tags <> '{}';
comment on column kudos.links.external_id is 'Its identity in another system, unique in the workspace; null: none.';
comment on column kudos.links.tags is 'Words to find it by.';
comment on column kudos.links.notes is 'What people wrote about it; null: nothing.';

-- Calls that may be repeated ---------------------------------------------------------------------

-- No foreign keys in the two tables below: each would lock the workspace's row with every write, and
-- writes that come side by side would wait for each other.

create table kudos.idempotency_keys (
    workspace_id bigint not null,
    key text collate "C" not null check (octet_length(key) between 1 and 255),
    fingerprint bytea not null,
    answer json not null,
    created_at timestamptz not null default now(),
    primary key (workspace_id, key)
);
create index idempotency_keys_created on kudos.idempotency_keys using brin (created_at);
comment on table kudos.idempotency_keys is
    'Idempotency-Key of calls that have had their effect, written in the transaction of that effect, and what was answered. Kept for 24 hours.';
comment on column kudos.idempotency_keys.workspace_id is 'The workspace of the API key that called.';
comment on column kudos.idempotency_keys.key is 'The Idempotency-Key as it was sent.';
comment on column kudos.idempotency_keys.fingerprint is 'SHA-256 of method, path, query and body: the same key with another call is refused.';
comment on column kudos.idempotency_keys.answer is 'What the first answer was made of.';
comment on column kudos.idempotency_keys.created_at is 'When the call was made.';

-- Who changed what -------------------------------------------------------------------------------

create table kudos.audit_log (
    id bigint generated always as identity,
    workspace_id bigint not null,
    time timestamptz not null default now(),
    key_id bigint,
    action text not null check (octet_length(action) between 1 and 64),
    resource text not null check (octet_length(resource) between 1 and 64),
    resource_id bigint,
    before jsonb,
    after jsonb,
    primary key (workspace_id, id)
);
create index audit_log_resource on kudos.audit_log (workspace_id, resource, resource_id, id);
comment on table kudos.audit_log is
    'Each change that was made over HTTP, written in the transaction of the change.';
comment on column kudos.audit_log.id is 'Number of the entry; later entries have higher ones.';
comment on column kudos.audit_log.workspace_id is 'The workspace in which it happened.';
comment on column kudos.audit_log.time is 'When.';
comment on column kudos.audit_log.key_id is 'The API key that did it; null: none, as on the command line.';
comment on column kudos.audit_log.action is 'create, update, archive, …';
comment on column kudos.audit_log.resource is 'Kind of thing: link, campaign, …';
comment on column kudos.audit_log.resource_id is 'Which one; null: not a single thing.';
comment on column kudos.audit_log.before is 'The members that changed, as they were; null for something new.';
comment on column kudos.audit_log.after is 'The members that changed, as they became; all of them for something new.';
