-- What influencers published and what it reached; what was agreed with them and what they are paid.

-- Posts ------------------------------------------------------------------------------------------

create type kudos.post_status as enum ('active', 'removed', 'archived');
comment on type kudos.post_status is
    'active: published. removed: taken down where it was published. archived: hidden from lists.';

create table kudos.posts (
    id bigint generated always as identity primary key,
    workspace_id bigint not null references kudos.workspaces (id),
    campaign_id bigint,
    influencer_id bigint,
    url text not null check (octet_length(url) between 1 and 4096),
    platform text check (octet_length(platform) between 1 and 64),
    title text check (octet_length(title) <= 400),
    published_at timestamptz,
    author_credit text check (octet_length(author_credit) <= 400),
    link_ids bigint[] not null default '{}',
    external_id text check (octet_length(external_id) between 1 and 200),
    tags text[] not null default '{}',
    notes text check (octet_length(notes) <= 16384),
    status kudos.post_status not null default 'active',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (workspace_id, url),
    unique (workspace_id, id),
    foreign key (workspace_id, campaign_id) references kudos.campaigns (workspace_id, id),
    foreign key (workspace_id, influencer_id) references kudos.influencers (workspace_id, id)
);
create unique index posts_external on kudos.posts (workspace_id, external_id)
    where external_id is not null;
create index posts_campaign on kudos.posts (campaign_id);
create index posts_influencer on kudos.posts (influencer_id);
create trigger touch before update on kudos.posts for each row execute function kudos.touch();
comment on table kudos.posts is 'What influencers published: posts, videos, stories.';
comment on column kudos.posts.id is 'Identity of the post.';
comment on column kudos.posts.workspace_id is 'The workspace that follows it.';
comment on column kudos.posts.campaign_id is 'The campaign it was made for; null: none.';
comment on column kudos.posts.influencer_id is 'Who published it; null: not known here.';
comment on column kudos.posts.url is 'Where it is, unique in the workspace.';
comment on column kudos.posts.platform is 'Name of the platform, in lower case; null: not said.';
comment on column kudos.posts.title is 'Name for people; null: none.';
comment on column kudos.posts.published_at is 'When it was published; null: unknown.';
comment on column kudos.posts.author_credit is 'Who is to be named where the content is used again; null: not said.';
comment on column kudos.posts.link_ids is 'Short links that it shows.';
comment on column kudos.posts.external_id is 'Its identity in another system, unique in the workspace; null: none.';
comment on column kudos.posts.tags is 'Words to find it by.';
comment on column kudos.posts.notes is 'What people wrote about it; null: nothing.';
comment on column kudos.posts.status is 'active, removed or archived.';
comment on column kudos.posts.created_at is 'When it was entered.';
comment on column kudos.posts.updated_at is 'When the entry last changed.';

create table kudos.post_metrics (
    id bigint generated always as identity primary key,
    workspace_id bigint not null,
    post_id bigint not null,
    taken_at timestamptz not null,
    source text not null default 'manual' check (octet_length(source) between 1 and 64),
    reach bigint check (reach >= 0),
    impressions bigint check (impressions >= 0),
    engagements bigint check (engagements >= 0),
    likes bigint check (likes >= 0),
    comments bigint check (comments >= 0),
    saves bigint check (saves >= 0),
    shares bigint check (shares >= 0),
    sentiment numeric(4, 3) check (sentiment between -1 and 1),
    external_id text check (octet_length(external_id) between 1 and 200),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint post_metrics_once unique (post_id, source, taken_at),
    foreign key (workspace_id, post_id) references kudos.posts (workspace_id, id)
);
create index post_metrics_workspace on kudos.post_metrics (workspace_id, id);
create unique index post_metrics_external on kudos.post_metrics (workspace_id, external_id)
    where external_id is not null;
create trigger touch before update on kudos.post_metrics
    for each row execute function kudos.touch();
comment on table kudos.post_metrics is
    'What a post had reached when somebody looked: totals so far, not growth since the last look.';
comment on column kudos.post_metrics.id is 'Identity of the reading.';
comment on column kudos.post_metrics.workspace_id is 'The workspace.';
comment on column kudos.post_metrics.post_id is 'The post.';
comment on column kudos.post_metrics.taken_at is 'When the numbers were read.';
comment on column kudos.post_metrics.source is 'Where they come from: manual, or the name of a tool.';
comment on column kudos.post_metrics.reach is 'People who saw it; null: unknown.';
comment on column kudos.post_metrics.impressions is 'How often it was shown; null: unknown.';
comment on column kudos.post_metrics.engagements is 'All reactions together; null: unknown.';
comment on column kudos.post_metrics.likes is 'Likes; null: unknown.';
comment on column kudos.post_metrics.comments is 'Comments; null: unknown.';
comment on column kudos.post_metrics.saves is 'How often it was saved; null: unknown.';
comment on column kudos.post_metrics.shares is 'How often it was passed on; null: unknown.';
comment on column kudos.post_metrics.sentiment is 'Mood of the reactions, -1 (bad) to 1 (good); null: unknown.';
comment on column kudos.post_metrics.external_id is 'Identity in another system, unique in the workspace; null: none.';
comment on column kudos.post_metrics.created_at is 'When it was entered.';
comment on column kudos.post_metrics.updated_at is 'When the entry last changed.';

-- Contracts --------------------------------------------------------------------------------------

create type kudos.contract_status as enum ('draft', 'active', 'ended', 'archived');
comment on type kudos.contract_status is
    'draft: not agreed yet. active: what is earned is earned by it. ended: over. archived: hidden from lists.';

create table kudos.contracts (
    id bigint generated always as identity primary key,
    workspace_id bigint not null references kudos.workspaces (id),
    influencer_id bigint not null,
    campaign_id bigint,
    flat_fee jsonb,
    per_click jsonb,
    per_lead jsonb,
    per_sale jsonb,
    revenue_share numeric(5, 2) check (revenue_share > 0 and revenue_share <= 100),
    tiers jsonb not null default '[]',
    bonuses jsonb not null default '[]',
    cap jsonb,
    deliverables text check (octet_length(deliverables) <= 65536),
    otherwise text check (octet_length(otherwise) <= 65536),
    payment_days integer not null default 30 check (payment_days between 0 and 366),
    holding_days integer not null default 0 check (holding_days between 0 and 366),
    starts_on date,
    ends_on date,
    signed_on date,
    external_id text check (octet_length(external_id) between 1 and 200),
    notes text check (octet_length(notes) <= 16384),
    status kudos.contract_status not null default 'draft',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (workspace_id, id),
    constraint contracts_dates check (ends_on >= starts_on),
    foreign key (workspace_id, influencer_id) references kudos.influencers (workspace_id, id),
    foreign key (workspace_id, campaign_id) references kudos.campaigns (workspace_id, id)
);
create unique index contracts_external on kudos.contracts (workspace_id, external_id)
    where external_id is not null;
create index contracts_influencer on kudos.contracts (influencer_id);
create index contracts_campaign on kudos.contracts (campaign_id);
create trigger touch before update on kudos.contracts for each row execute function kudos.touch();
comment on table kudos.contracts is
    'What was agreed with an influencer. Money is {"amount_minor", "currency"}.';
comment on column kudos.contracts.id is 'Identity of the contract.';
comment on column kudos.contracts.workspace_id is 'The workspace that pays.';
comment on column kudos.contracts.influencer_id is 'With whom.';
comment on column kudos.contracts.campaign_id is 'For which campaign; null: for all.';
comment on column kudos.contracts.flat_fee is 'Paid once whatever comes; null: nothing.';
comment on column kudos.contracts.per_click is 'Paid for each billable click; null: nothing.';
comment on column kudos.contracts.per_lead is 'Paid for each lead; null: nothing.';
comment on column kudos.contracts.per_sale is 'Paid for each sale; null: nothing.';
comment on column kudos.contracts.revenue_share is 'Percent of the revenue; null: none.';
comment on column kudos.contracts.tiers is
    'Other terms from a number of sales on: [{"from", "per_sale" or "revenue_share"}], by "from".';
comment on column kudos.contracts.bonuses is
    'Paid once a target is reached: [{"target", "from", "amount"}].';
comment on column kudos.contracts.cap is 'The most that is paid in all; null: no limit.';
comment on column kudos.contracts.deliverables is 'What the influencer does; null: not written.';
comment on column kudos.contracts.otherwise is 'What happens if they do not; null: not written.';
comment on column kudos.contracts.payment_days is 'Days from a statement to its due date.';
comment on column kudos.contracts.holding_days is 'Days that earnings are held back for refunds.';
comment on column kudos.contracts.starts_on is 'First day; null: from its making.';
comment on column kudos.contracts.ends_on is 'Last day; null: until it is ended.';
comment on column kudos.contracts.signed_on is 'Day of signature; null: not signed.';
comment on column kudos.contracts.external_id is 'Its identity in another system, unique in the workspace; null: none.';
comment on column kudos.contracts.notes is 'What people wrote about it; null: nothing.';
comment on column kudos.contracts.status is 'draft, active, ended or archived.';
comment on column kudos.contracts.created_at is 'When it was made.';
comment on column kudos.contracts.updated_at is 'When it last changed.';

-- Payouts ----------------------------------------------------------------------------------------

create function kudos.lines_total(lines jsonb) returns bigint language sql immutable as $$
    select coalesce(sum((line ->> 'amount_minor')::bigint), 0)::bigint
      from pg_catalog.jsonb_array_elements(lines) line
$$;
comment on function kudos.lines_total(jsonb) is 'Sum of the lines of a statement, in minor units.';

create type kudos.payout_status as enum ('open', 'approved', 'paid', 'cancelled', 'archived');
comment on type kudos.payout_status is
    'open: being put together. approved: to be paid. paid, cancelled: over. archived: hidden from lists.';

create table kudos.payouts (
    id bigint generated always as identity primary key,
    workspace_id bigint not null references kudos.workspaces (id),
    influencer_id bigint not null,
    contract_id bigint,
    campaign_id bigint,
    currency text not null check (currency ~ '^[A-Z]{3}$'),
    lines jsonb not null default '[]',
    total_minor bigint not null generated always as (kudos.lines_total(lines)) stored,
    period_from date,
    period_to date,
    due_on date,
    paid_at timestamptz,
    reference text check (octet_length(reference) <= 400),
    external_id text check (octet_length(external_id) between 1 and 200),
    notes text check (octet_length(notes) <= 16384),
    status kudos.payout_status not null default 'open',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint payouts_period check (period_to >= period_from),
    constraint payouts_paid check (status <> 'paid' or paid_at is not null),
    foreign key (workspace_id, influencer_id) references kudos.influencers (workspace_id, id),
    foreign key (workspace_id, contract_id) references kudos.contracts (workspace_id, id),
    foreign key (workspace_id, campaign_id) references kudos.campaigns (workspace_id, id)
);
create unique index payouts_external on kudos.payouts (workspace_id, external_id)
    where external_id is not null;
create index payouts_workspace on kudos.payouts (workspace_id, id);
create index payouts_influencer on kudos.payouts (influencer_id);
create trigger touch before update on kudos.payouts for each row execute function kudos.touch();
comment on table kudos.payouts is 'Statements to influencers, and whether they are paid.';
comment on column kudos.payouts.id is 'Identity of the payout.';
comment on column kudos.payouts.workspace_id is 'The workspace that pays.';
comment on column kudos.payouts.influencer_id is 'Who is paid.';
comment on column kudos.payouts.contract_id is 'By which contract; null: none.';
comment on column kudos.payouts.campaign_id is 'For which campaign; null: none in particular.';
comment on column kudos.payouts.currency is 'Currency of all lines (ISO 4217).';
comment on column kudos.payouts.lines is 'What it is made of: [{"text", "amount_minor"}]; below zero for what is taken back.';
comment on column kudos.payouts.total_minor is 'Sum of the lines, in minor units.';
comment on column kudos.payouts.period_from is 'First day that it is for; null: not said.';
comment on column kudos.payouts.period_to is 'Last day that it is for; null: not said.';
comment on column kudos.payouts.due_on is 'When it must be paid; null: not set.';
comment on column kudos.payouts.paid_at is 'When it was paid; null: it is not.';
comment on column kudos.payouts.reference is 'What the bank transfer says; null: nothing.';
comment on column kudos.payouts.external_id is 'Its identity in another system, unique in the workspace; null: none.';
comment on column kudos.payouts.notes is 'What people wrote about it; null: nothing.';
comment on column kudos.payouts.status is 'open, approved, paid, cancelled or archived.';
comment on column kudos.payouts.created_at is 'When it was made.';
comment on column kudos.payouts.updated_at is 'When it last changed.';

-- Erasures ---------------------------------------------------------------------------------------

create table kudos.erasures (
    id bigint generated always as identity primary key,
    workspace_id bigint not null,
    key_id bigint,
    kind text not null check (kind in ('customer', 'influencer')),
    influencer_id bigint,
    erased jsonb not null,
    remaining jsonb not null,
    created_at timestamptz not null default now()
);
create index erasures_workspace on kudos.erasures (workspace_id, id);
comment on table kudos.erasures is
    'That somebody was erased, and what was found and left: never who it was.';
comment on column kudos.erasures.id is 'Identity of the erasure.';
comment on column kudos.erasures.workspace_id is 'The workspace.';
comment on column kudos.erasures.key_id is 'The API key that asked for it.';
comment on column kudos.erasures.kind is 'customer: a customer reference. influencer: an influencer''s contact data.';
comment on column kudos.erasures.influencer_id is 'The influencer; null for customers.';
comment on column kudos.erasures.erased is 'How many rows were changed or deleted, by table.';
comment on column kudos.erasures.remaining is 'How many rows still held it afterwards, by table: all 0.';
comment on column kudos.erasures.created_at is 'When.';

-- Links: names_code is set by the trigger that runs anyway. As a generated column its expression was
-- parsed with every insert, a tenth of what one costs.

alter table kudos.links alter column names_code drop expression, alter column names_code set default false;

create or replace function kudos.links_before_write() returns trigger
language plpgsql as $$
begin
    if tg_op = 'INSERT' or new.slug is distinct from old.slug
       or new.domain_id is distinct from old.domain_id
       or new.slug_key is distinct from old.slug_key then
        -- The lock makes a change of case_sensitive wait for this link, and the other way round.
        select case when case_sensitive then new.slug else lower(new.slug collate "C") end
          into new.slug_key
          from kudos.domains where id = new.domain_id for share;
        if not found then
            new.slug_key := new.slug; -- the foreign key says what is wrong
        end if;
    end if;
    if tg_op = 'UPDATE' then
        -- Touched by another table's trigger, or used up: nobody changed the link itself.
        if new.changed = old.changed and new.used_up = old.used_up then
            new.updated_at := now();
        end if;
        if new.max_clicks is distinct from old.max_clicks then
            new.used_up := new.max_clicks is not null
                           and kudos.human_clicks(new.id) >= new.max_clicks;
        end if;
    end if;
    new.names_code := kudos.names_code(new.destination, new.fallback, new.rules, new.utm);
    new.changed := pg_current_xact_id();
    return new;
end
$$;

comment on function kudos.links_before_write() is
    'Sets slug_key, updated_at, names_code and changed of a link, and used_up when max_clicks changes.';
