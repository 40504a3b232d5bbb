-- Core tables: who uses Kudos (workspaces, keys), where links live (domains), what they are for
-- (campaigns, influencers, codes) and the links themselves.
--
-- Rows that redirects depend on (kudos.links, kudos.domains) carry `changed`, the transaction that
-- wrote them, stamped by trigger whoever writes. `sync` finds what its last snapshot did not see by
-- it, so it needs no lock, no queue and no order. Rows carry state, not deltas; hence nothing is
-- deleted there: archiving is a state.

create schema if not exists kudos;
comment on schema kudos is 'Tables of the Kudos service. Analysts read schema report.';

-- Types ------------------------------------------------------------------------------------------

create type kudos.key_scope as enum ('admin', 'write', 'read', 'conversions');
comment on type kudos.key_scope is
    'What an API key may do: admin everything in its workspace, write change and read, read only read, conversions only report conversions.';

create type kudos.objective as enum
    ('launch', 'event', 'contest', 'discount', 'awareness', 'conversion', 'traffic');
comment on type kudos.objective is 'What a campaign is for.';

create type kudos.link_state as enum ('active', 'disabled', 'archived');
comment on type kudos.link_state is
    'active: redirects. disabled: 404, may come back. archived: 404, hidden from lists; its slug stays taken and its statistics stay.';

-- Workspaces and keys ----------------------------------------------------------------------------

create table kudos.workspaces (
    id bigint generated always as identity primary key,
    name text not null unique check (name <> '' and octet_length(name) <= 100),
    time_zone text not null default 'UTC',
    created_at timestamptz not null default now()
);
comment on table kudos.workspaces is 'A client brand: everything that belongs to it hangs off its workspace.';
comment on column kudos.workspaces.id is 'Identity of the workspace.';
comment on column kudos.workspaces.name is 'Short unique name.';
comment on column kudos.workspaces.time_zone is 'IANA time zone that decides where a day ends in reports.';
comment on column kudos.workspaces.created_at is 'When it was made.';

create table kudos.api_keys (
    id bigint generated always as identity primary key,
    workspace_id bigint not null references kudos.workspaces (id),
    name text not null check (octet_length(name) <= 200),
    scope kudos.key_scope not null,
    prefix text not null check (octet_length(prefix) between 4 and 32),
    hash bytea not null unique,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);
create index api_keys_workspace on kudos.api_keys (workspace_id);
comment on table kudos.api_keys is 'Keys of the admin API. Only a hash is kept; the key itself is shown once.';
comment on column kudos.api_keys.id is 'Identity of the key.';
comment on column kudos.api_keys.workspace_id is 'The workspace that the key sees.';
comment on column kudos.api_keys.name is 'What the key is for, in the words of whoever made it.';
comment on column kudos.api_keys.scope is 'What the key may do.';
comment on column kudos.api_keys.prefix is 'First characters of the key, to recognise it by.';
comment on column kudos.api_keys.hash is 'Hash of the whole key.';
comment on column kudos.api_keys.created_at is 'When it was made.';
comment on column kudos.api_keys.expires_at is 'From when on it is refused; null: never.';
comment on column kudos.api_keys.revoked_at is 'When it was revoked; null: it was not.';
comment on column kudos.api_keys.last_used_at is 'When it was last used, to within some minutes.';

-- Domains ----------------------------------------------------------------------------------------

create table kudos.domains (
    id bigint generated always as identity primary key,
    workspace_id bigint not null references kudos.workspaces (id),
    host text collate "C" not null unique
        check (host = lower(host) and host <> '' and octet_length(host) <= 253),
    case_sensitive boolean not null default false,
    is_default boolean not null default false,
    created_at timestamptz not null default now(),
    changed xid8 not null default pg_current_xact_id()
);
create unique index domains_default on kudos.domains (is_default) where is_default;
create index domains_workspace on kudos.domains (workspace_id);
create index domains_changed on kudos.domains (changed);
comment on table kudos.domains is
    'Hosts that short links live on. A Host that is none of these is served as the default domain.';
comment on column kudos.domains.id is 'Identity of the domain.';
comment on column kudos.domains.workspace_id is
    'The workspace that owns the domain. The default domain may carry links of every workspace.';
comment on column kudos.domains.host is 'Host name, lower case, ASCII form, without a port or trailing dot.';
comment on column kudos.domains.case_sensitive is
    'True: /Abc and /abc are two links. False: they are one. Can change only while the domain has no links.';
comment on column kudos.domains.is_default is 'True for the one domain that serves unregistered hosts.';
comment on column kudos.domains.created_at is 'When it was registered.';
comment on column kudos.domains.changed is 'Transaction that wrote this state; set by trigger, read by sync.';

-- Campaigns, influencers, codes ------------------------------------------------------------------

create table kudos.influencers (
    id bigint generated always as identity primary key,
    workspace_id bigint not null references kudos.workspaces (id),
    handle text not null check (handle <> '' and octet_length(handle) <= 200),
    name text not null default '' check (octet_length(name) <= 400),
    email text check (octet_length(email) <= 320),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (workspace_id, id)
);
create unique index influencers_handle on kudos.influencers (workspace_id, lower(handle));
comment on table kudos.influencers is 'People who recommend, as one workspace knows them.';
comment on column kudos.influencers.id is 'Identity of the influencer.';
comment on column kudos.influencers.workspace_id is 'The workspace that works with them.';
comment on column kudos.influencers.handle is 'Name they are known by, unique in the workspace whatever the case.';
comment on column kudos.influencers.name is 'Name in full, as given.';
comment on column kudos.influencers.email is 'Where to reach them; null: unknown.';
comment on column kudos.influencers.created_at is 'When they were entered.';
comment on column kudos.influencers.updated_at is 'When the entry last changed.';

create table kudos.campaigns (
    id bigint generated always as identity primary key,
    workspace_id bigint not null references kudos.workspaces (id),
    slug text not null check (slug ~ '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$' and octet_length(slug) <= 64),
    name text not null check (name <> '' and octet_length(name) <= 400),
    objective kudos.objective not null,
    hashtag text check (octet_length(hashtag) <= 200),
    destination text check (octet_length(destination) <= 4096),
    starts_at timestamptz,
    ends_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (workspace_id, slug),
    unique (workspace_id, id),
    check (ends_at > starts_at)
);
comment on table kudos.campaigns is 'What a group of links and codes is for, and when.';
comment on column kudos.campaigns.id is 'Identity of the campaign.';
comment on column kudos.campaigns.workspace_id is 'The workspace that runs it.';
comment on column kudos.campaigns.slug is 'Short name in lower case, unique in the workspace.';
comment on column kudos.campaigns.name is 'Name for people.';
comment on column kudos.campaigns.objective is 'What the campaign is for.';
comment on column kudos.campaigns.hashtag is 'Hashtag that posts should carry; null: none.';
comment on column kudos.campaigns.destination is 'Where links of the campaign lead unless they say otherwise; null: each link says.';
comment on column kudos.campaigns.starts_at is 'When it starts; null: not set.';
comment on column kudos.campaigns.ends_at is 'When it ends; null: not set.';
comment on column kudos.campaigns.created_at is 'When it was made.';
comment on column kudos.campaigns.updated_at is 'When it last changed.';

create table kudos.codes (
    id bigint generated always as identity primary key,
    workspace_id bigint not null references kudos.workspaces (id),
    campaign_id bigint not null,
    influencer_id bigint,
    code text not null check (code <> '' and octet_length(code) <= 64),
    percent numeric(5, 2) check (percent > 0 and percent <= 100),
    created_at timestamptz not null default now(),
    foreign key (workspace_id, campaign_id) references kudos.campaigns (workspace_id, id),
    foreign key (workspace_id, influencer_id) references kudos.influencers (workspace_id, id)
);
create unique index codes_code on kudos.codes (workspace_id, lower(code));
create index codes_campaign on kudos.codes (campaign_id);
create index codes_influencer on kudos.codes (influencer_id);
comment on table kudos.codes is 'Discount codes: one for each influencer of a campaign.';
comment on column kudos.codes.id is 'Identity of the code.';
comment on column kudos.codes.workspace_id is 'The workspace that honours it.';
comment on column kudos.codes.campaign_id is 'The campaign it belongs to.';
comment on column kudos.codes.influencer_id is 'The influencer who gives it out; null: nobody in particular.';
comment on column kudos.codes.code is 'What buyers type, unique in the workspace whatever the case.';
comment on column kudos.codes.percent is 'Discount in percent; null: another kind of discount.';
comment on column kudos.codes.created_at is 'When it was made.';

-- Links ------------------------------------------------------------------------------------------

create table kudos.links (
    id bigint generated always as identity primary key,
    workspace_id bigint not null references kudos.workspaces (id),
    domain_id bigint not null references kudos.domains (id),
    campaign_id bigint,
    influencer_id bigint,
    slug text collate "C" not null check (octet_length(slug) between 1 and 64),
    slug_key text collate "C" not null,
    destination text not null check (octet_length(destination) between 1 and 4096),
    redirect_status smallint not null default 302 check (redirect_status in (301, 302, 307, 308)),
    pass_query boolean not null default false,
    click_id boolean not null default true,
    state kudos.link_state not null default 'active',
    starts_at timestamptz,
    expires_at timestamptz,
    fallback text check (octet_length(fallback) between 1 and 4096),
    title text check (octet_length(title) <= 400),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    changed xid8 not null default pg_current_xact_id(),
    unique (domain_id, slug_key),
    foreign key (workspace_id, campaign_id) references kudos.campaigns (workspace_id, id),
    foreign key (workspace_id, influencer_id) references kudos.influencers (workspace_id, id)
);
create index links_changed on kudos.links (changed);
create index links_workspace on kudos.links (workspace_id, id);
create index links_campaign on kudos.links (campaign_id);
create index links_influencer on kudos.links (influencer_id);
comment on table kudos.links is
    'Short links. Never deleted: a link that should be gone is archived, its slug stays taken.';
comment on column kudos.links.id is 'Identity of the link.';
comment on column kudos.links.workspace_id is 'The workspace that owns it.';
comment on column kudos.links.domain_id is 'The domain it lives on.';
comment on column kudos.links.campaign_id is 'The campaign it counts for; null: none.';
comment on column kudos.links.influencer_id is 'The influencer it was made for; null: none.';
comment on column kudos.links.slug is 'What stands behind the slash, as it was given.';
comment on column kudos.links.slug_key is
    'What requests are matched with: the slug in lower case (ASCII only) unless the domain is case_sensitive. Set by trigger.';
comment on column kudos.links.destination is 'Where visitors go: an absolute http or https URL, normalised.';
comment on column kudos.links.redirect_status is 'HTTP status of the redirect: 301, 302, 307 or 308.';
comment on column kudos.links.pass_query is 'Whether query parameters of the request go on to the destination.';
comment on column kudos.links.click_id is 'Whether the click id is added to the destination.';
comment on column kudos.links.state is 'active, disabled or archived.';
comment on column kudos.links.starts_at is 'Before this it answers 404; null: no start.';
comment on column kudos.links.expires_at is 'From then on it answers 410, or leads to the fallback; null: never.';
comment on column kudos.links.fallback is 'Where visitors of an expired link go; null: nowhere, 410.';
comment on column kudos.links.title is 'Name for people; null: none.';
comment on column kudos.links.created_at is 'When it was made.';
comment on column kudos.links.updated_at is 'When it last changed.';
comment on column kudos.links.changed is 'Transaction that wrote this state; set by trigger, read by sync.';

-- Triggers ---------------------------------------------------------------------------------------

create function kudos.links_before_write() returns trigger
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
        new.updated_at := now();
    end if;
    new.changed := pg_current_xact_id();
    return new;
end
$$;
comment on function kudos.links_before_write() is 'Sets slug_key, updated_at and changed of a link.';

create function kudos.domains_before_write() returns trigger
language plpgsql as $$
begin
    if tg_op = 'UPDATE' and new.case_sensitive <> old.case_sensitive
       and exists (select from kudos.links where domain_id = old.id) then
        raise exception 'domain % has links, so case_sensitive cannot change', old.host
            using errcode = 'object_not_in_prerequisite_state',
                  hint = 'Register another domain and make the links there.';
    end if;
    new.changed := pg_current_xact_id();
    return new;
end
$$;
comment on function kudos.domains_before_write() is
    'Sets changed of a domain; refuses to change case_sensitive of a domain that has links.';

create function kudos.refuse_delete() returns trigger
language plpgsql as $$
begin
    raise exception 'rows of kudos.% are never deleted: servers learn of changes from rows', tg_table_name
        using errcode = 'restrict_violation',
              hint = case tg_table_name
                  when 'links' then 'Archive it: update kudos.links set state = ''archived'' where id = …'
                  else 'Archive its links: update kudos.links set state = ''archived'' where domain_id = …'
              end;
end
$$;
comment on function kudos.refuse_delete() is 'Refuses delete and truncate where rows carry state.';

-- sync looks for the two stamping triggers by their name.
create trigger before_write before insert or update on kudos.links
    for each row execute function kudos.links_before_write();
create trigger before_write before insert or update on kudos.domains
    for each row execute function kudos.domains_before_write();
create trigger refuse_delete before delete on kudos.links
    for each row execute function kudos.refuse_delete();
create trigger refuse_delete before delete on kudos.domains
    for each row execute function kudos.refuse_delete();
create trigger refuse_truncate before truncate on kudos.links
    for each statement execute function kudos.refuse_delete();
create trigger refuse_truncate before truncate on kudos.domains
    for each statement execute function kudos.refuse_delete();

-- Also for rows that arrive by logical replication, which fires no ordinary triggers.
alter table kudos.links enable always trigger before_write;
alter table kudos.domains enable always trigger before_write;
